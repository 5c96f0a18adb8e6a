/**
 * What is asked of a plan: the overlap of supports against counting cells, rows that change hands and nothing else, and
 * its cosines against BLOSUM62.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { trainBPE } from '../../../../models/tokenizer/index.ts';

import { readBlosum62 } from '../../../../s2t2/app/data/blosum.ts';
import { tokenMap } from '../../../../s2t2/translate.ts';
import { compress, type Plan } from '../../../../s2t2/plan.ts';
import { againstBlosum, overlapOf, shuffledRows } from '../../../../s2t2/app/paper/meaning.ts';
import { correlation } from '../../../../s2t2/app/paper/statistics.ts';
import { plans } from '../../../arbitraries/plans.ts';
import { tinyModel } from '../../fixture.ts';

/** A few plans of one size, as matrices of zeros and ones with a one in every row. */
const supports = fc
  .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 8 }), fc.integer({ min: 2, max: 4 }))
  .chain(([u, v, n]) =>
    fc.tuple(
      fc.constant([u, v] as const),
      fc.array(fc.array(fc.array(fc.boolean(), { minLength: v, maxLength: v }), { minLength: u, maxLength: u }), {
        minLength: n,
        maxLength: n,
      }),
    ),
  );

test('overlap is the mean over pairs of shared cells over cells in either; shuffled rows give other rows', () => {
  fc.assert(
    fc.property(supports, ([[u, v], matrices]) => {
      const filled = matrices.map(rows => rows.map((row, i) => row.map((x, j) => x || j === i % v)));
      const asPlans = filled.map(
        rows =>
          ({
            ...compress(Float32Array.from(rows.flat(), Number), u, v),
            mu: new Float32Array(u),
            nu: new Float32Array(v),
          }) as unknown as Plan,
      );
      const pairs = filled.flatMap((a, i) => filled.slice(0, i).map(b => [a, b] as const));
      const jaccard = (a: readonly boolean[], b: readonly boolean[]) =>
        a.filter((x, k) => x && b[k]).length / a.filter((x, k) => x || b[k]).length;
      const { seeds, shuffled } = overlapOf(asPlans);
      expect(seeds).toBeCloseTo(pairs.reduce((sum, [a, b]) => sum + jaccard(a.flat(), b.flat()), 0) / pairs.length, 12);
      // One order of rows serves all pairs: some permutation gives it.
      const orders = permutations(Array.from({ length: u }, (_, i) => i));
      const possible = orders.map(
        order =>
          pairs.reduce(
            (sum, [a, b]) =>
              sum +
              jaccard(
                a.flat(),
                order.flatMap(i => b[i]),
              ),
            0,
          ) / pairs.length,
      );
      expect(Math.min(...possible.map(p => Math.abs(p - shuffled)))).toBeLessThan(1e-12);
      expect(overlapOf([asPlans[0], asPlans[0]]).seeds).toBe(1);
    }),
    { numRuns: 50 },
  );
});

test('against BLOSUM62: cosines of mean source embeddings under the plan for the 20 letters', async () => {
  const source = await tinyModel();
  const letters = 'ACDEFGHIKLMNPQRSTVWY';
  const target = trainBPE([`${letters}${letters}`, 'ACACAC'], { vocabSize: 25, alphabet: 'seen' });
  const map = tokenMap(source.tokenizer, target);
  const { targetIds, sourceIds } = map;
  const [u, v, width] = [targetIds.length, sourceIds.length, source.model.config.width];
  // Every target token takes from two source tokens, one and three parts.
  const dense = new Float32Array(u * v);
  for (let i = 0; i < u; i++)
    for (const [k, mass] of [
      [7 * i, 1],
      [11 * i + 5, 3],
    ])
      dense[i * v + (k % v)] += mass / (4 * u);
  const plan: Plan = {
    ...compress(dense, u, v),
    mu: new Float32Array(u).fill(1 / u),
    nu: new Float32Array(v).fill(1 / v),
    ...map,
    target: target.hash,
    source: source.tokenizer.hash,
    settings: { variant: 'dual', iterations: 1, alpha: 1, rowNormalisation: 'actual', headNormalisation: 'columns' },
    gap: null,
  };
  const embedding = await source.model.embedding.data();
  const rows = [...letters].map(letter => {
    const i = targetIds.indexOf(target.encode(letter)[0]);
    return Array.from(
      { length: width },
      (_, c) =>
        u *
        dense
          .subarray(i * v, (i + 1) * v)
          .reduce((sum, mass, j) => sum + mass * embedding[sourceIds[j] * width + c], 0),
    );
  });
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, c) => sum + x * b[c], 0);
  const blosum = await readBlosum62();
  expect(blosum.letters).toBe(letters);
  const pairs = rows.flatMap((_, i) => rows.slice(0, i).map((__, j) => [i, j] as const));
  const cosines = pairs.map(([i, j]) => dot(rows[i], rows[j]) / Math.hypot(...rows[i]) / Math.hypot(...rows[j]));
  const found = await againstBlosum({ source, target }, plan);
  expect(found.correlation).toBeCloseTo(
    correlation(
      cosines,
      pairs.map(([i, j]) => blosum.scores[i][j]),
    ),
    5,
  ); // embeddings are float32
});

function permutations(items: readonly number[]): number[][] {
  return items.length < 2
    ? [[...items]]
    : items.flatMap(first => permutations(items.filter(i => i !== first)).map(rest => [first, ...rest]));
}

test('shuffled rows are the same rows, given to the same tokens in another order', () => {
  fc.assert(
    fc.property(plans(), ({ plan }) => {
      const shuffled = shuffledRows(plan);
      expect({ ...shuffled, targetIds: plan.targetIds }).toEqual(plan);
      expect(shuffled.targetIds.toSorted()).toEqual(plan.targetIds.toSorted());
    }),
  );
});
