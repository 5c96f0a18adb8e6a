/** Values of tensors: from subnormal to 1e30, with ties, equal lines and masks. */
import fc from 'fast-check';

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const filled = <T>(of: fc.Arbitrary<T>, n: number) => fc.array(of, { minLength: n, maxLength: n });

/** Ordinary numbers, among them many that are equal. */
export const ordinary: fc.Arbitrary<number> = fc.oneof(
  fc.double({ min: -4, max: 4, noNaN: true }),
  fc.constantFrom(0, -0, 1, -1, 0.5, 2),
);

/** Every finite float32: subnormal, tiny, huge. Rounded, so that float32 and float64 hold the same number. */
export const wide: fc.Arbitrary<number> = fc.oneof(
  fc.float({ min: -4, max: 4, noNaN: true }),
  fc.float({ min: Math.fround(-1e30), max: Math.fround(1e30), noNaN: true }),
  fc.constantFrom(0, -0, 2 ** -149, -(2 ** -149), 2 ** -126, 1e-30, 1e30, -1e30).map(Math.fround),
);

export const special: fc.Arbitrary<number> = fc.oneof(ordinary, fc.constantFrom(NaN, Infinity, -Infinity));

/** Row-major values for `shape`. */
export const valuesOf = (shape: readonly number[], of: fc.Arbitrary<number> = ordinary): fc.Arbitrary<number[]> =>
  filled(of, size(shape));

/** Zeros and ones. */
export const masksOf = (shape: readonly number[]): fc.Arbitrary<number[]> => filled(fc.constantFrom(0, 1), size(shape));

/** Indices below n. */
export const indicesOf = (shape: readonly number[], n: number): fc.Arbitrary<number[]> =>
  filled(fc.nat(n - 1), size(shape));

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: number[];
}

/** Matrices that are not empty, some with all rows equal. */
export const matrices = ({ maxRows = 5, maxColumns = 7, of = ordinary } = {}): fc.Arbitrary<Matrix> =>
  fc
    .tuple(
      fc.integer({ min: 1, max: maxRows }),
      fc.integer({ min: 1, max: maxColumns }),
      fc.integer({ min: 0, max: 4 }),
    )
    .chain(([rows, columns, kind]) =>
      (kind === 0
        ? filled(of, columns).map(line => Array.from({ length: rows }, () => line).flat())
        : filled(of, rows * columns)
      ).map(values => ({ rows, columns, values })),
    );
