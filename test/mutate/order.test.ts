/** Which tests a mutant meets: all that reach it, once each, those first that are likely to notice. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Mutant } from './mutants.ts';
import { Order, within, wordsAround, type TestFile } from './order.ts';

const source = 'const one = 1;\nexport const softplus = (x) => log1p(exp(x + 1));\n';
const mutantAt = (file: string, text: string): Mutant => {
  const start = source.indexOf(text);
  return {
    file,
    kind: 'constant',
    start,
    end: start + 1,
    replacement: '2',
    site: { start, end: start + 1, statement: false },
  };
};
const mutant = mutantAt('engine/ops/elementwise.ts', '1));');
/** A word that all files have tells nothing. */
const sources = new Map([
  [mutant.file, source],
  ...Array.from({ length: 40 }, (_, i) => [`engine/ops/${i}.ts`, 'export const other = (x) => exp(x);'] as const),
]);

/** Test files in two directories; a test's name is its id. */
const files = fc
  .uniqueArray(fc.tuple(fc.constantFrom('test/engine/', 'test/models/'), fc.integer({ min: 0, max: 20 })), {
    selector: String,
    maxLength: 6,
  })
  .chain(names =>
    fc.tuple(
      ...names.map(([directory, i]) =>
        fc.tuple(
          fc.constant(`${directory}${i}.test.ts`),
          fc.record({
            overhead: fc.nat(2000),
            reaches: fc.subarray([0, 1, 2]),
            cases: fc
              .array(fc.record({ milliseconds: fc.nat(3000), reaches: fc.subarray([0, 1, 2]) }), { maxLength: 8 })
              .map(cases =>
                cases.map((each, k) => ({ ...each, id: `${directory}${i} ${k}`, name: `${directory}${i} ${k}` })),
              ),
          }),
        ),
      ),
    ),
  )
  .map(entries => Object.fromEntries(entries) as Record<string, TestFile>);

test('a mutant meets each test of its directories that reaches it once, and no other, in any order of verdicts', () => {
  fc.assert(
    fc.property(
      files,
      fc.constantFrom(0, 1, 2),
      fc.array(fc.tuple(fc.nat(5), fc.nat(7))),
      fc.boolean(),
      (all, n, kills, both) => {
        const order = new Order(all, sources);
        const names = Object.keys(all);
        for (const [i, k] of kills)
          if (all[names[i]]?.cases[k]) order.add(mutant.file, names[i], all[names[i]].cases[k].id);
        const directories = both ? ['test/engine/', 'test/models/'] : ['test/models/'];
        const batches = order.batches(n, mutant, directories);
        const expected = names
          .filter(name => both || name.startsWith('test/models/'))
          .flatMap(name =>
            all[name].cases
              .filter(({ reaches }) => all[name].reaches.includes(n) || reaches.includes(n))
              .map(({ id }) => id),
          );
        expect(batches.flatMap(({ cases }) => cases.map(({ id }) => id)).sort()).toEqual(expected.sort());
        for (const { test: name, cases, milliseconds } of batches) {
          expect(cases.length).toBeGreaterThan(0);
          expect(milliseconds).toBe(cases.reduce((sum, each) => sum + each.milliseconds, all[name].overhead));
        }
        const among = expected.filter((_, i) => i % 2 === 0);
        expect(
          order
            .batches(n, mutant, directories, new Set(among))
            .flatMap(({ cases }) => cases.map(({ id }) => id))
            .sort(),
        ).toEqual(among.sort());
      },
    ),
  );
});

test('as much of a batch as fits: never more than the time, and nothing is left out that would fit in', () => {
  fc.assert(
    fc.property(files, fc.nat(12_000), (all, most) => {
      for (const batch of new Order(all, sources).batches(0, mutant, ['test/'])) {
        const part = within(batch, most);
        expect(part.cases.length === 0 || part.milliseconds <= most).toBe(true);
        expect(batch.milliseconds - part.milliseconds).toBe(
          batch.cases.filter(each => !part.cases.includes(each)).reduce((sum, each) => sum + each.milliseconds, 0),
        );
        for (const each of batch.cases)
          if (!part.cases.includes(each)) expect(part.milliseconds + each.milliseconds).toBeGreaterThan(most);
      }
    }),
  );
});

test('first tests that noticed a mutant of the file, then those named like its line, then those that reach it', () => {
  const fillers = Array.from({ length: 40 }, (_, i) => ({
    id: `x${i}`,
    name: `other ${i}`,
    milliseconds: 10,
    reaches: [],
  }));
  const each = (id: string, name: string, reaches: number[]) => ({
    overhead: 0,
    reaches: [0],
    cases: [{ id, name, milliseconds: 10, reaches }],
  });
  const order = new Order(
    {
      'test/engine/a.test.ts': { overhead: 0, reaches: [0], cases: fillers },
      'test/engine/b.test.ts': each('own', 'some law', [0]),
      'test/engine/c.test.ts': each('named', 'Softplus: a law', []),
      'test/engine/d.test.ts': each('killer', 'a law of exp', []),
    },
    sources,
  );
  const first = () => order.batches(0, mutant, ['test/']).map(({ cases }) => cases[0].id);
  expect(first()).toEqual(['named', 'own', 'killer', 'x0']);
  order.add(mutant.file, 'test/engine/d.test.ts', 'killer');
  expect(first()).toEqual(['killer', 'named', 'own', 'x0']);
});

test('the words around a mutant are those of its line and of the lines that open the blocks around it', () => {
  expect([...wordsAround(mutant, source)].sort()).toEqual(['const', 'exp', 'export', 'log1p', 'softplus']);
  const nested =
    'const other = 2;\nfunction rows() {\n  const before = 0;\n  for (const each of all) {\n    skipped();\n\n    ' +
    'count += 1;\n  }\n}';
  expect([...wordsAround({ start: nested.indexOf('1;') }, nested)].sort()).toEqual([
    'all',
    'const',
    'count',
    'each',
    'for',
    'function',
    'rows',
  ]);
});
