/**
 * Makes `cases.json.gz` anew: `npm run build && node dist/test/oracles/onnx/convert.js`, on Debian.
 *
 * It downloads the package libonnx-testdata, unpacks it without installing it, and takes from it every test of one node
 * that the engine can express (`operators.ts`) and whose files are no larger than 32 kB.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { scope } from '../../../engine/index.ts';
import { evaluate } from './evaluate.ts';
import { operators, type Case, type Values } from './operators.ts';
import { modelOf, tensorOf } from './protobuf.ts';

const largest = 32_000;
/** What it expects was computed with ε = 0.01, which the attributes of its node do not say. */
const wrong = ['test_adam_multiple'];
const into = fileURLToPath(new URL('../../../../test/oracles/onnx/cases.json.gz', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'onnx-'));
try {
  execFileSync('apt-get', ['download', 'libonnx-testdata'], { cwd: directory });
  const [archive] = readdirSync(directory);
  execFileSync('dpkg-deb', ['-x', archive, '.'], { cwd: directory });
  const data = join(directory, 'usr/share/libonnx-testdata/data');
  const cases = ['node', 'pytorch-operator', 'pytorch-converted', 'simple']
    .flatMap(kind =>
      readdirSync(join(data, kind))
        .sort()
        .map(name => caseOf(join(data, kind, name), name)),
    )
    .filter(c => c !== null);
  const lines = cases.map(c =>
    JSON.stringify(c, (_, value: unknown) => (typeof value === 'number' ? shortest(value) : value)),
  );
  writeFileSync(into, gzipSync(`[\n${lines.join(',\n')}\n]\n`, { level: 9 }));
  console.log(
    `${archive}: ${cases.length} tests of ${new Set(cases.map(c => c.operator)).size} operators, ` +
      `${statSync(into).size} bytes`,
  );
} finally {
  rmSync(directory, { recursive: true });
}

/**
 * The same float32 in as few digits as give it again; any other number as it is; as a text what JSON has no number for.
 */
function shortest(value: number): number | string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.fround(value) !== value) return value;
  for (let digits = 6; digits < 9; digits++)
    if (Math.fround(Number(value.toPrecision(digits))) === value) return Number(value.toPrecision(digits));
  return Number(value.toPrecision(9));
}

function caseOf(path: string, name: string): Case | null {
  const set = join(path, 'test_data_set_0');
  if (wrong.includes(name) || !existsSync(join(path, 'model.onnx')) || !existsSync(set)) return null;
  const files = readdirSync(set);
  if (files.reduce((size, file) => size + statSync(join(set, file)).size, 0) > largest) return null;
  const model = modelOf(readFileSync(join(path, 'model.onnx')));
  if (!model || !(model.operator in operators)) return null;
  const read = (file: string) => tensorOf(readFileSync(join(set, `${file}.pb`)))?.values;
  const fed = new Map<string, Values | undefined>([
    ...model.constants,
    ...model.fed.map((input, i) => [input, read(`input_${i}`)] as const),
  ]);
  const inputs = model.inputs.map(input => (input === '' ? null : fed.get(input)));
  const outputs = model.outputs.filter(output => output !== '').map((_, i) => read(`output_${i}`));
  if (inputs.includes(undefined) || outputs.includes(undefined)) return null;
  const found = {
    name,
    operator: model.operator,
    opset: model.opset,
    attributes: model.attributes,
    inputs: inputs as (Values | null)[],
    outputs: outputs as Values[],
  };
  return scope(() => evaluate(found)) === null ? null : found;
}
