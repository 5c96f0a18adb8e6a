/** Translation plans: sparse, with marginals that they need not meet, among ids in any order. */
import fc from 'fast-check';
import { compress, type Plan } from '../../s2t2/plan.ts';

export interface PlanExample {
  readonly plan: Plan;
  /** P (u, v), row-major. */
  readonly dense: number[];
  /** Tokens of either vocabulary, special ones included; the source has some that the plan does not know. */
  readonly sourceSize: number;
  readonly targetSize: number;
}

const marginal = (n: number) =>
  fc.array(fc.integer({ min: 1, max: 9 }), { minLength: n, maxLength: n }).map(weights => {
    const total = weights.reduce((a, b) => a + b, 0);
    return Float32Array.from(weights, w => w / total);
  });
const permutation = (n: number) =>
  fc.shuffledSubarray(
    Array.from({ length: n }, (_, i) => i),
    { minLength: n },
  );

/** No row is empty; columns may be. */
export const plans = ({ maxRows = 5, maxColumns = 7 } = {}): fc.Arbitrary<PlanExample> =>
  fc
    .record({
      u: fc.integer({ min: 1, max: maxRows }),
      v: fc.integer({ min: 1, max: maxColumns }),
      specials: fc.integer({ min: 0, max: 3 }),
      /** Pieces of each token that is never shown. */
      pieces: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
      unused: fc.integer({ min: 0, max: 2 }),
    })
    .chain(({ u, v, specials, pieces, unused }) =>
      fc
        .record({
          masses: fc.array(fc.integer({ min: 0, max: 8 }), { minLength: u * v, maxLength: u * v }),
          keep: fc.array(fc.nat(v - 1), { minLength: u, maxLength: u }),
          mu: marginal(u),
          nu: marginal(v),
          targets: permutation(u + specials + pieces.length),
          sources: permutation(v + specials + unused),
          rowNormalisation: fc.constantFrom('actual' as const, 'nominal' as const),
          headNormalisation: fc.constantFrom('columns' as const, 'rows' as const),
          variant: fc.constantFrom('alternating' as const, 'dykstra' as const, 'dual' as const),
        })
        .map(({ masses, keep, mu, nu, targets, sources, rowNormalisation, headNormalisation, variant }) => {
          const dense = masses.map(
            (mass, e) => Math.max(mass, keep[Math.floor(e / v)] === e % v ? 1 : 0) / (8 * u * v),
          );
          const plan: Plan = {
            ...compress(dense, u, v),
            mu,
            nu,
            targetIds: Int32Array.from(targets.slice(0, u)),
            sourceIds: Int32Array.from(sources.slice(0, v)),
            specials: Int32Array.from(targets.slice(u, u + specials).flatMap((target, i) => [target, sources[v + i]])),
            unseen: Int32Array.from(
              pieces.flatMap((n, i) =>
                Array.from({ length: n }, (_, p) => [
                  targets[u + specials + i],
                  sources[(i + p) % sources.length],
                ]).flat(),
              ),
            ),
            target: 'the target',
            source: 'the source',
            settings: { variant, iterations: 3, alpha: 0.5, rowNormalisation, headNormalisation },
            gap: variant === 'dual' ? 0.25 : null,
          };
          return { plan, dense: dense.map(Math.fround), sourceSize: sources.length, targetSize: targets.length };
        }),
    );
