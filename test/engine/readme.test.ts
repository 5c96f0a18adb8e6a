/** engine/README.md: its example prints what it says, and the files that its tour names exist. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import * as engine from '../../engine/index.ts';

const folder = join(import.meta.dirname, '../../engine');
const readme = readFileSync(join(folder, 'README.md'), 'utf8');

test('the example prints what it says', () => {
  const [, names, code] = /```ts\nimport \{([^}]*)\} from 's2t2\/engine';\n([\s\S]*?)```/.exec(readme)!;
  const [, expected] = /```text\n([\s\S]*?)```/.exec(readme)!;
  const printed: string[] = [];
  const run = new Function('engine', 'console', `const {${names}} = engine;\n${code}`);
  run(engine, { log: (x: unknown) => printed.push(String(x)) });
  expect(`${printed.join('\n')}\n`).toBe(expected);
});

test('the files of the tour exist', () => {
  const names = [...readme.matchAll(/`([\w/-]+(?:\.ts|\/))`/g)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(20);
  const places = ['', 'wasm', 'ops', '..'];
  expect(names.filter(name => !places.some(place => existsSync(join(folder, place, name))))).toEqual([]);
});
