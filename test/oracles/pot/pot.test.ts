/** The sparse Sinkhorn layer against POT's solvers of the same problem (`plans.json`, made by `make.py`). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { createReferenceBackend, scope, tensor } from '../../../engine/index.ts';
import { sparseSinkhorn, type Variant } from '../../../s2t2/sinkhorn.ts';

interface Problem {
  readonly u: number;
  readonly v: number;
  readonly alpha: number;
  readonly mu: readonly number[];
  readonly nu: readonly number[];
  readonly cost: readonly number[];
  /** POT's plans: L-BFGS on the dual and on the semi-dual. */
  readonly dual: readonly number[];
  readonly semiDual: readonly number[];
}
const problems = JSON.parse(readFileSync(new URL('plans.json', import.meta.url), 'utf8')) as Problem[];
const backend = createReferenceBackend();

const apart = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i])));

function planOf({ u, v, alpha, mu, nu, cost }: Problem, variant: Variant, iterations: number): Float64Array {
  return scope(() => {
    const float64 = (values: readonly number[], shape: number[]) =>
      tensor(Float64Array.from(values), { shape, backend });
    return sparseSinkhorn(
      float64(
        cost.map(c => -c / alpha),
        [u, v],
      ),
      float64(mu, [u]),
      float64(nu, [v]),
      { variant, iterations },
    ).plan.dataSync() as Float64Array;
  });
}

/** Both marginals are met to a billionth: the columns always are, so the rows decide. */
function converged(problem: Problem, variant: Variant): Float64Array {
  for (let iterations = 100; iterations <= 25_600; iterations *= 4) {
    const plan = planOf(problem, variant, iterations);
    const rows = problem.mu.map((_, i) => plan.slice(i * problem.v, (i + 1) * problem.v).reduce((a, b) => a + b, 0));
    if (apart(rows, problem.mu) < 1e-9) return plan;
  }
  throw new Error(`${variant} does not converge`);
}

describe.each(['dual', 'dykstra'] as const)("%s at convergence is POT's plan", variant => {
  test.each(problems.map(p => [p.u, p.v, p.alpha, p] as const))('%i × %i, α = %d', (_, __, ___, problem) => {
    const plan = converged(problem, variant);
    // As near to each of POT's plans as those are to each other, and the margin of both marginals.
    const margin = apart(problem.dual, problem.semiDual) + 2e-8;
    expect(apart(plan, problem.dual)).toBeLessThan(margin);
    expect(apart(plan, problem.semiDual)).toBeLessThan(margin);
    expect(margin).toBeLessThan(2e-7);
  });
});
