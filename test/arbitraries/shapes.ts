/** Shapes: with lengths of 0 and 1, shapes that broadcast together, operands of a matrix product. */
import fc from 'fast-check';

/** Any shape, a scalar's [] included. */
export const shapes = ({ minRank = 0, maxRank = 3, min = 0, max = 4 } = {}): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min, max }), { minLength: minRank, maxLength: maxRank });

export interface Broadcast {
  readonly out: number[];
  /** Each stretches to `out`, and together they give it. */
  readonly shapes: number[][];
}

/**
 * `count` shapes that broadcast together, and what they broadcast to: of one shape, dims become 1 or, at the left, are
 * left out, by choice in every operand but a `keeper` chosen for each dim.
 */
export const broadcastShapes = (count = 2, { maxRank = 3, max = 4 } = {}): fc.Arbitrary<Broadcast> =>
  shapes({ maxRank, max }).chain(out =>
    fc
      .record({
        cut: fc.array(fc.array(fc.boolean(), { minLength: out.length, maxLength: out.length }), {
          minLength: count,
          maxLength: count,
        }),
        keeper: fc.array(fc.nat(count - 1), { minLength: out.length, maxLength: out.length }),
      })
      .map(({ cut, keeper }) => ({
        out,
        shapes: cut.map((cuts, operand) => {
          const lengths = out.map((n, d) => (cuts[d] && keeper[d] !== operand ? 1 : n));
          const first = lengths.findIndex((n, d) => n !== 1 || !cuts[d] || keeper[d] === operand);
          return lengths.slice(first < 0 ? lengths.length : first);
        }),
      })),
  );

export interface Product {
  readonly a: number[];
  readonly b: number[];
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly batch: number[];
}

/** Operands of a batched matrix product, either one transposed, batch dims broadcast. */
export const products = (): fc.Arbitrary<Product> =>
  fc
    .record({
      batches: broadcastShapes(2, { maxRank: 2, max: 3 }),
      m: fc.nat(4),
      k: fc.nat(4),
      n: fc.nat(4),
      transposeA: fc.boolean(),
      transposeB: fc.boolean(),
    })
    .map(({ batches, m, k, n, transposeA, transposeB }) => ({
      a: [...batches.shapes[0], ...(transposeA ? [k, m] : [m, k])],
      b: [...batches.shapes[1], ...(transposeB ? [n, k] : [k, n])],
      transposeA,
      transposeB,
      m,
      k,
      n,
      batch: batches.out,
    }));
