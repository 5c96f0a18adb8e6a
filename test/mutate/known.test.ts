/** What an earlier call found, and what holds of it when tests have changed since. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../models/temporary.ts';
import { digestOf, Findings, keyOf, untried, versionOf, type Finding } from './known.ts';
import type { Mutant } from './mutants.ts';
import type { Batch } from './order.ts';

const mutant: Mutant = {
  file: 'engine/shape.ts',
  kind: 'constant',
  start: 3,
  end: 4,
  replacement: '2',
  site: { start: 3, end: 4, statement: false },
};
const key = keyOf(mutant);

/** One test file with so many tests. */
const batches = (test: string, tests: number): Batch[] => [
  {
    test,
    milliseconds: 0,
    cases: [...Array(tests)].map((_, i) => ({ id: `${test} ${i}`, name: '', milliseconds: 0, reaches: [] })),
  },
];

test('a survivor still has to meet the tests that it has not met, and all tests of a file that has changed', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.func(fc.boolean()), fc.boolean(), (n, isMet, changed) => {
      const all = [...Array(n).keys()].map(i => `a ${i}`);
      const met = all.filter(id => isMet(id));
      const finding: Finding = { key, status: 'survived', met: met.map(id => versionOf('old', id)) };
      const digests = new Map([['a', changed ? 'new' : 'old']]);
      expect(untried(finding, batches('a', n), digests)).toEqual(changed ? all : all.filter(id => !met.includes(id)));
      expect(untried(undefined, batches('a', n), digests)).toEqual(all);
      expect(untried({ ...finding, status: 'killed', by: { test: 'a', id: 'a 0' } }, batches('a', n), digests)).toEqual(
        [],
      );
    }),
  );
});

test('findings are read back, the latest of each mutant; a kill by a changed test file is forgotten', async () => {
  const file = join(temporaryDirectory(), 'findings.jsonl');
  const now = new Map([['a', 'digest']]);
  const killed: Finding = { key, status: 'killed', by: { test: 'a', id: 'a 0' }, digest: 'digest', met: ['x'] };
  const first = await Findings.open(file, now);
  expect(first.get(mutant)).toBeUndefined();
  await first.add({ key, status: 'survived', met: ['x'] });
  await first.add(killed);
  expect(first.get(mutant)).toEqual(killed);
  expect((await Findings.open(file, now)).get(mutant)).toEqual(killed);
  for (const later of [new Map([['a', 'another']]), new Map<string, string>()])
    expect((await Findings.open(file, later)).get(mutant)).toEqual({ key, status: 'survived', met: ['x'] });
});

test('the digest of a test file changes with the test code that it imports and with nothing else', async () => {
  const project = temporaryDirectory();
  mkdirSync(join(project, 'test'));
  mkdirSync(join(project, 'engine'));
  const write = (path: string, text: string) => writeFileSync(join(project, path), text);
  write('engine/index.ts', '1');
  write('test/other.ts', '1');
  write('test/b.ts', "import { a } from './a.test.ts'; import { c } from './c.ts';");
  write('test/c.ts', '1');
  write(
    'test/a.test.ts',
    "import { b } from './b.ts'; import { e } from '../engine/index.ts'; import fc from 'fast-check';",
  );
  const before = await digestOf(project, 'test/a.test.ts');
  write('engine/index.ts', '2');
  write('test/other.ts', '2');
  expect(await digestOf(project, 'test/a.test.ts')).toBe(before);
  write('test/c.ts', '2');
  expect(await digestOf(project, 'test/a.test.ts')).not.toBe(before);
});
