/** Optimal transport problems: X = −C/α with marginals bounded away from zero. */
import fc from 'fast-check';

export interface Problem {
  readonly u: number;
  readonly v: number;
  /** (u, v), row-major. */
  readonly x: number[];
  readonly mu: number[];
  readonly nu: number[];
}

const marginal = (n: number) =>
  fc.array(fc.double({ min: 0.2, max: 1, noNaN: true }), { minLength: n, maxLength: n }).map(weights => {
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map(w => w / total);
  });

export const problems = ({ scale = 3 }: { scale?: number } = {}): fc.Arbitrary<Problem> =>
  fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })).chain(([u, v]) =>
    fc.record({
      u: fc.constant(u),
      v: fc.constant(v),
      x: fc.array(fc.double({ min: -scale, max: scale, noNaN: true }), { minLength: u * v, maxLength: u * v }),
      mu: marginal(u),
      nu: marginal(v),
    }),
  );
