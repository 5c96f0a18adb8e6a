/** Laws of the rows that finetuning starts from. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { isotropicParts, noiseShares, rowVariance, spreadRows } from '../../s2t2/spread.ts';

const width = 4;
const covariance = (rows: ArrayLike<number>, a: number, b: number) => {
  let sum = 0;
  for (let i = 0; i < rows.length; i += width) sum += rows[i + a] * rows[i + b];
  return (sum * width) / rows.length;
};

/** Rows of any rank, some of them alike, and the variance to reach. */
const cases = fc
  .record({
    n: fc.integer({ min: 1, max: 9 }),
    variance: fc.double({ min: 1e-3, max: 10, noNaN: true }),
    numbers: fc.infiniteStream(fc.oneof(fc.constant(1), fc.double({ min: -3, max: 3, noNaN: true }))),
  })
  .map(({ n, variance, numbers }) => ({ n, variance, values: Float32Array.from(numbers.take(n * width)) }));
const ids = (n: number) => Int32Array.from({ length: n }, (_, i) => i);
/** |rowᵢ|² of rows (n, width). */
const squaresOf = (rows: Float64Array) =>
  Array.from(ids(rows.length / width), i =>
    rows.subarray(i * width, (i + 1) * width).reduce((sum, x) => sum + x * x, 0),
  );

test('kept and drawn rows together have covariance σ² I, and kept rows have mean 0', () => {
  fc.assert(
    fc.property(cases, ({ n, variance, values }) => {
      const { kept, drawn } = isotropicParts({ values, ids: ids(n) }, width, variance);
      for (let a = 0; a < width; a++) {
        let mean = 0;
        for (let i = 0; i < n; i++) mean += kept[i * width + a] / n;
        // Sums of n values of up to 3, turned by a matrix of norm 1.
        expect(Math.abs(mean)).toBeLessThan(3 * n * width * 2 ** -45);
        for (let b = 0; b < width; b++) {
          let noise = 0;
          for (let k = 0; k < width; k++) noise += drawn[a * width + k] * drawn[b * width + k];
          const total = covariance(kept, a, b) + noise;
          expect(Math.abs(total - (a === b ? variance : 0))).toBeLessThan((variance + 9 * width) * 2 ** -36);
        }
      }
    }),
  );
});

test('rows that are isotropic already stay as they are but for their mean, whatever the seed', () => {
  fc.assert(
    fc.property(fc.integer(), fc.double({ min: -2, max: 2, noNaN: true }), (seed, shift) => {
      // ± each axis: mean 0, covariance I / width.
      const axes = Float32Array.from({ length: 2 * width * width }, (_, e) =>
        Math.floor(e / width) % width === e % width ? (e < width * width ? 1 : -1) : 0,
      );
      const options = { variance: 1 / width, scale: 1, random: new Random(Math.abs(seed)) };
      const spread = spreadRows({ values: axes.map(x => x + shift), ids: ids(2 * width) }, width, options);
      // √(σ² − λ) is the root of a rounding error of λ, and shift + 1 is a float32.
      spread.forEach((x, e) => expect(Math.abs(x - axes[e])).toBeLessThan(5e-3));
    }),
    { numRuns: 30 },
  );
});

test('identical rows are drawn again, normal with the requested variance, and scaled', () => {
  const [n, variance, scale] = [4000, 0.25, 0.5];
  const values = new Float32Array(n * width).fill(7);
  const spread = spreadRows({ values, ids: ids(n) }, width, { variance, scale, random: new Random(3) });
  for (let a = 0; a < width; a++)
    for (let b = 0; b <= a; b++) {
      const expected = a === b ? scale ** 2 * variance : 0;
      // The standard error of a covariance of n normal pairs is at most √2 σ² / √n; five of them.
      expect(Math.abs(covariance(spread, a, b) - expected)).toBeLessThan(
        (5 * Math.SQRT2 * scale ** 2 * variance) / Math.sqrt(n),
      );
    }
});

test('a row takes the more noise the less of it is kept, none where enough is, and the mean square is 1', () => {
  fc.assert(
    fc.property(cases, ({ n, variance, values }) => {
      const { kept } = isotropicParts({ values, ids: ids(n) }, width, variance);
      const shares = noiseShares(kept, width, variance);
      const squares = squaresOf(kept);
      const rounding = 2 ** -40 * (variance + Math.max(...squares));
      const lacking = squares.map(square => Math.max(0, width * variance - square));
      fc.pre(Math.max(...lacking) > rounding);
      expect(Math.abs(shares.reduce((sum, x) => sum + x * x, 0) - n)).toBeLessThan(n * 2 ** -40);
      for (let i = 0; i < n; i++) {
        if (lacking[i] === 0) expect(shares[i]).toBe(0);
        for (let j = 0; j < n; j++)
          if (squares[i] < squares[j] - rounding) expect(shares[i]).toBeGreaterThanOrEqual(shares[j]);
      }
    }),
  );
});

test('where no row is longer than a source row, all have its square, on average over the noise', () => {
  fc.assert(
    fc.property(cases, ({ n, variance, values }) => {
      const { kept, drawn } = isotropicParts({ values, ids: ids(n) }, width, variance);
      const shares = noiseShares(kept, width, variance);
      const squares = squaresOf(kept);
      fc.pre(Math.max(...squares) <= width * variance);
      const drawnSquare = drawn.reduce((sum, x) => sum + x * x, 0);
      squares.forEach((square, i) => {
        const expected = square + shares[i] ** 2 * drawnSquare;
        expect(Math.abs(expected - width * variance)).toBeLessThan((variance + 9 * width) * n * 2 ** -36);
      });
    }),
  );
});

test('a row that stands out is kept without noise, whatever the seed', () => {
  const values = new Float32Array(8 * width);
  values[0] = 100; // kept: a square of 7 σ², and 4 σ² is a source row's
  const spread = (seed: number) =>
    spreadRows({ values, ids: ids(8) }, width, { variance: 1, scale: 1, random: new Random(seed) });
  expect(spread(0).slice(0, width)).toEqual(spread(1).slice(0, width));
  expect(spread(0).slice(width)).not.toEqual(spread(1).slice(width));
});

test('other rows of the matrix are copied; one seed gives one result, another seed another', () => {
  const values = Float32Array.from({ length: 5 * width }, (_, e) => Math.sin(e));
  const rows = { values, ids: Int32Array.of(0, 3, 4) };
  const spread = (seed: number) => spreadRows(rows, width, { variance: 1, scale: 0.5, random: new Random(seed) });
  const once = spread(0);
  expect(once.slice(width, 3 * width)).toEqual(values.slice(width, 3 * width));
  expect(spread(0)).toEqual(once);
  expect(spread(1)).not.toEqual(once);
});

test('the variance of rows is about their mean', () => {
  const variance = rowVariance(2);
  variance.add([1, 5]);
  variance.add([3, 5]);
  expect(variance.result()).toBe(0.5);
});

test('a variance does not change with the order of rows or a shift, and scales with the square of the rows', () => {
  fc.assert(
    fc.property(cases, fc.double({ min: 0.1, max: 4, noNaN: true }), ({ n, values }, scale) => {
      const rows = ids(n).reduce<number[][]>(
        (all, i) => [...all, [...values.subarray(i * width, (i + 1) * width)]],
        [],
      );
      const varianceOf = (list: readonly number[][]) => {
        const variance = rowVariance(width);
        for (const row of list) variance.add(row);
        return variance.result();
      };
      const variance = varianceOf(rows);
      const expectSame = (x: number) => expect(Math.abs(x - variance)).toBeLessThan(200 * 2 ** -50);
      expectSame(varianceOf(rows.toReversed()));
      expectSame(varianceOf([...rows, ...rows]));
      expectSame(varianceOf(rows.map(row => row.map((x, c) => x + c))));
      expectSame(varianceOf(rows.map(row => row.map(x => scale * x))) / scale ** 2);
    }),
  );
});

test('fewer rows than dimensions: the parts are those of the same rows given many times over', () => {
  fc.assert(
    fc.property(cases, ({ n, variance, values }) => {
      const few = Math.min(n, width - 1);
      const copies = Float32Array.from({ length: 3 * few * width }, (_, e) => values[e % (few * width)]);
      // 3 n ≥ d rows take the covariance's spectrum, n < d that of the Gram matrix; both rows have one covariance.
      const many = isotropicParts({ values: copies, ids: ids(3 * few) }, width, variance);
      const once = isotropicParts({ values, ids: ids(few) }, width, variance);
      const scale = Math.sqrt(variance) + 3;
      once.kept.forEach((x, e) => expect(Math.abs(x - many.kept[e])).toBeLessThan(2 ** -22 * scale));
      once.drawn.forEach((x, e) => expect(Math.abs(x - many.drawn[e])).toBeLessThan(2 ** -22 * scale));
    }),
  );
});

test('rows mixed with a share of one row are recovered when divided by the rest', () => {
  fc.assert(
    fc.property(cases, fc.double({ min: 0.05, max: 0.95, noNaN: true }), ({ n, variance, values }, smoothing) => {
      const common = [1, -2, 0.5, 3];
      const mixed = Float64Array.from(values, (x, e) => (1 - smoothing) * x + smoothing * common[e % width]);
      const plain = isotropicParts({ values, ids: ids(n) }, width, variance);
      const { kept } = isotropicParts({ values: mixed, ids: ids(n), share: 1 - smoothing }, width, variance);
      // Both are the same numbers up to a few roundings, magnified by 1 / (1 − ε) ≤ 20; eigenvalues near σ² may be
      // capped in one and not in the other, which is a rounding as well.
      kept.forEach((x, e) => expect(Math.abs(x - plain.kept[e])).toBeLessThan(2 ** -24 * (1 + Math.sqrt(variance))));
    }),
  );
});
