/** Jacobi's rotations against the definition of eigenvalues, on matrices of any rank. */
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
            product += vectors[a * d + k] * values[k] * vectors[b * d + k];
            inner += vectors[k * d + a] * vectors[k * d + b];
          }
          // Entries up to 6, a few sweeps of d² / 2 rotations of two roundings each.
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
