/** Eigenvalues and eigenvectors against their definition, on symmetric matrices of any rank. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { symmetricEigen } from '../../s2t2/eigen.ts';

/** Symmetric matrices of up to 7 rows, of which some are singular or diagonal. */
const symmetric = fc.integer({ min: 1, max: 7 }).chain(d =>
  fc
    .array(fc.oneof(fc.constant(0), fc.double({ min: -3, max: 3, noNaN: true })), {
      minLength: d * d,
      maxLength: d * d,
    })
    .map(values => ({
      d,
      matrix: Array.from({ length: d * d }, (_, e) => values[e] + values[(e % d) * d + Math.floor(e / d)]),
    })),
);

test('A = V diag(λ) Vᵀ with orthonormal V', () => {
  fc.assert(
    fc.property(symmetric, ({ d, matrix }) => {
      const { values, vectors } = symmetricEigen(matrix, d);
      for (let a = 0; a < d; a++)
        for (let b = 0; b < d; b++) {
          let [product, inner] = [0, 0];
          for (let k = 0; k < d; k++) {
            product += vectors[k * d + a] * values[k] * vectors[k * d + b];
            inner += vectors[a * d + k] * vectors[b * d + k];
          }
          // Entries up to 6, d reflections and a few times d² rotations of as many roundings each.
          expect(Math.abs(product - matrix[a * d + b])).toBeLessThan(6 * d ** 3 * 2 ** -46);
          expect(Math.abs(inner - (a === b ? 1 : 0))).toBeLessThan(d ** 3 * 2 ** -46);
        }
    }),
  );
});

test('a 2×2 matrix by its characteristic polynomial', () => {
  const { values } = symmetricEigen([2, 1, 1, 2], 2);
  expect([...values].sort()).toEqual([expect.closeTo(1, 14), expect.closeTo(3, 14)]);
});

test('a matrix with numbers that are not finite gives NaN, and ends', () => {
  for (const x of [NaN, Infinity])
    expect(symmetricEigen([1, x, 2, x, 1, x, 2, x, 3], 3).values.some(Number.isNaN)).toBe(true);
});

test('the eigenvalues of a path of 300 vertices', { timeout: 20_000 }, () => {
  const d = 300;
  const matrix = Float64Array.from({ length: d * d }, (_, e) => (Math.abs(Math.floor(e / d) - (e % d)) === 1 ? 1 : 0));
  const values = symmetricEigen(matrix, d).values.sort();
  values.forEach((lambda, k) =>
    expect(Math.abs(lambda - 2 * Math.cos(((d - k) * Math.PI) / (d + 1)))).toBeLessThan(d * 2 ** -48),
  );
});
