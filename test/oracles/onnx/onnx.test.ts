/**
 * ONNX's own node tests (`cases.json.gz`, made by `convert.ts` from Debian's libonnx-testdata), all that the engine can
 * express: outputs that numpy computed, in float32.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { createReferenceBackend, createWasmBackend, scope } from '../../../engine/index.ts';
import { evaluate } from './evaluate.ts';
import { operators, type Case, type Values } from './operators.ts';

const cases = (
  JSON.parse(gunzipSync(readFileSync(new URL('cases.json.gz', import.meta.url))).toString()) as Case[]
).map((c): Case => {
  const numbers = (v: Values): Values => ({ ...v, values: v.values.map(Number) }); // NaN and infinities are texts
  return { ...c, inputs: c.inputs.map(v => v && numbers(v)), outputs: c.outputs.map(numbers) };
});
const backends = [
  ['reference, float64', createReferenceBackend(), 'float64'],
  ['reference, float32', createReferenceBackend(), 'float32'],
  ['wasm, float32', createWasmBackend({ threads: 1 }), 'float32'],
] as const;

const unit = 2 ** -24;

test('there is a case for every operator, and no other', () => {
  expect([...new Set(cases.map(c => c.operator))].sort()).toEqual(Object.keys(operators).sort());
});

describe.each(backends)('%s', (_, backend, dtype) => {
  test.each(cases.map(c => [c.operator, c.name, c] as const))('%s: %s', (__, ___, c) => {
    scope(() => {
      const outputs = evaluate(c, backend, dtype)!.slice(0, c.outputs.length);
      expect(outputs.length).toBeGreaterThan(0);
      // numpy rounds every operation to float32. The functions are good to a few units, and an output adds up as many
      // numbers as there are inputs for it, none larger than the largest number of the case.
      const numbers = [...c.inputs, ...c.outputs].flatMap(v => v?.values ?? []);
      const terms = numbers.length / Math.min(...c.outputs.map(y => Math.max(1, y.values.length)));
      const tolerance = (8 + terms) * unit * Math.max(1, ...numbers.filter(Number.isFinite).map(Math.abs));
      outputs.forEach((y, i) => {
        const { shape, values } = c.outputs[i];
        expect([y.shape, y.size]).toEqual([shape, values.length]);
        y.dataSync().forEach((v, j) => {
          const same = Object.is(v, values[j]) || v === values[j] || Math.abs(v - values[j]) <= tolerance;
          if (!same) expect.fail(`output ${i}, element ${j}: ${v}, ONNX has ${values[j]}`);
        });
      });
    });
  });
});
