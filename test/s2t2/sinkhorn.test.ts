/** Laws of the sparse Sinkhorn layer, in float64, and its gradient against differences. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createReferenceBackend,
  grad,
  mul,
  Random,
  scope,
  setBackend,
  sum,
  tensor,
  type Tensor,
} from '../../engine/index.ts';
import { dualityGap, roundToMarginals } from '../../s2t2/plan.ts';
import { sparseSinkhorn, rounds, variants, type Variant } from '../../s2t2/sinkhorn.ts';
import { problems, type Problem } from '../arbitraries/transport.ts';

setBackend(createReferenceBackend()); // float64 lives there

/** Runs the layer in float64 and returns plain arrays. */
function solve({ x, u, v, mu, nu }: Problem, variant: Variant, iterations: number) {
  return scope(() => {
    const t = (values: ArrayLike<number>, shape: number[]) => tensor(Float64Array.from(values), { shape });
    const { plan, potentials } = sparseSinkhorn(t(x, [u, v]), t(mu, [u]), t(nu, [v]), { variant, iterations });
    const read = (a?: Tensor) => (a ? Array.from(a.dataSync()) : []);
    return { plan: read(plan), phi: read(potentials?.phi), gamma: read(potentials?.gamma) };
  });
}

const rowSums = (P: number[], u: number, v: number) =>
  Array.from({ length: u }, (_, i) => P.slice(i * v, (i + 1) * v).reduce((a, b) => a + b, 0));
const columnSums = (P: number[], u: number, v: number) =>
  Array.from({ length: v }, (_, j) => Array.from({ length: u }, (__, i) => P[i * v + j]).reduce((a, b) => a + b, 0));
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(0, ...Array.from(a, (value, i) => Math.abs(value - b[i])));

/** The projection of a line on { y ≥ 0, Σ y = mass }, by sorting. */
function projectLine(line: readonly number[], mass: number): number[] {
  let [total, tau] = [0, 0];
  line
    .toSorted((a, b) => b - a)
    .forEach((z, i) => {
      total += z;
      if ((i + 1) * z > total - mass) tau = (total - mass) / (i + 1);
    });
  return line.map(z => Math.max(0, z - tau));
}

const transposed = (a: readonly number[], u: number, v: number) =>
  Array.from({ length: u * v }, (_, e) => a[(e % u) * v + Math.floor(e / u)]);
const onRows = (a: readonly number[], v: number, masses: readonly number[]) =>
  masses.flatMap((mass, i) => projectLine(a.slice(i * v, (i + 1) * v), mass));
const onColumns = (a: readonly number[], u: number, v: number, masses: readonly number[]) =>
  transposed(onRows(transposed(a, u, v), u, masses), v, u);

/** The rounds as plain loops over numbers; every half-step is checked to meet its marginal. */
function naive({ x, u, v, mu, nu }: Problem, variant: Variant, iterations: number): number[] {
  let plan = [...x];
  let [p, q] = [plan.map(() => 0), plan.map(() => 0)];
  let gamma = nu.map(() => 0);
  for (let t = 0; t < iterations; t++) {
    const start = variant === 'dual' ? x.map((value, e) => value + gamma[e % v]) : plan.map((value, e) => value + p[e]);
    const rows = onRows(start, v, mu);
    expect(distance(rowSums(rows, u, v), mu)).toBeLessThan(1e-13);
    // Of the dual, φ is what the projection subtracted: rows = max(x + γ + φ, 0).
    const phi = mu.map(
      (_, i) =>
        Array.from({ length: v }, (__, j) => i * v + j)
          .filter(e => rows[e] > 0)
          .map(e => rows[e] - start[e])[0],
    );
    const between =
      variant === 'dual' ? x.map((value, e) => value + phi[Math.floor(e / v)]) : rows.map((value, e) => value + q[e]);
    plan = onColumns(between, u, v, nu);
    expect(distance(columnSums(plan, u, v), nu)).toBeLessThan(1e-13);
    gamma = nu.map(
      (_, j) =>
        Array.from({ length: u }, (__, i) => i * v + j)
          .filter(e => plan[e] > 0)
          .map(e => plan[e] - between[e])[0],
    );
    if (variant === 'dykstra')
      [p, q] = [start.map((value, e) => value - rows[e]), between.map((value, e) => value - plan[e])];
  }
  return plan;
}

const permutation = (n: number) =>
  fc.shuffledSubarray(
    Array.from({ length: n }, (_, i) => i),
    { minLength: n },
  );

/**
 * The gradient of ⟨w, P⟩ at an optimum with support S: dP = 1_S (dX + df ⊕ dg) has row and column sums 0, so it is
 * 1_S (w + a ⊕ b), with (a, b) from the Laplacian of the bipartite graph S,
 *
 *     [ diag(S 1)   S         ] [a]     [ (S∘w) 1  ]
 *     [ Sᵀ          diag(Sᵀ1) ] [b] = − [ (S∘w)ᵀ 1 ]
 *
 * singular by one constant for each connected component, any of which gives the same a ⊕ b on S.
 */
function implicitGradient(plan: readonly number[], w: readonly number[], u: number, v: number): number[] {
  const inside = plan.map(value => (value > 0 ? 1 : 0));
  const masked = w.map((value, e) => inside[e] * value);
  const laplacian = Array.from({ length: u + v }, () => new Array<number>(u + v).fill(0));
  inside.forEach((one, e) => {
    const [i, j] = [Math.floor(e / v), u + (e % v)];
    for (const [r, c] of [
      [i, i],
      [i, j],
      [j, i],
      [j, j],
    ])
      laplacian[r][c] += one;
  });
  const ab = solveSingular(
    laplacian,
    [...rowSums(masked, u, v), ...columnSums(masked, u, v)].map(x => -x),
  );
  return w.map((value, e) => inside[e] * (value + ab[Math.floor(e / v)] + ab[u + (e % v)]));
}

/** Some solution of A y = b, A singular and b in its range: Gauss's elimination, unknowns without a pivot are 0. */
function solveSingular(A: readonly (readonly number[])[], b: readonly number[]): number[] {
  const rows = A.map((row, i) => [...row, b[i]]);
  const pivots: number[] = [];
  for (let column = 0; column < A.length; column++) {
    const at = pivots.length;
    const best = rows
      .slice(at)
      .reduce((most, row, i) => (Math.abs(row[column]) > Math.abs(rows[most][column]) ? at + i : most), at);
    if (best >= rows.length || Math.abs(rows[best][column]) < 1e-9) continue;
    [rows[at], rows[best]] = [rows[best], rows[at]];
    rows.forEach((row, i) => {
      if (i === at) return;
      const factor = row[column] / rows[at][column];
      row.forEach((_, c) => {
        row[c] -= factor * rows[at][c];
      });
    });
    pivots.push(column);
  }
  const y = new Array<number>(A.length).fill(0);
  pivots.forEach((column, i) => {
    y[column] = rows[i][A.length] / rows[i][column];
  });
  return y;
}

describe('sparse Sinkhorn', () => {
  test.each(variants)(
    '%s: plain loops give the same plan, and each of their half-steps meets its marginal',
    variant => {
      fc.assert(
        fc.property(problems(), fc.integer({ min: 1, max: 4 }), (p, T) => {
          // Sums of up to 12 numbers of size 3 in every one of 2 T projections.
          expect(distance(solve(p, variant, T).plan, naive(p, variant, T))).toBeLessThan(2 * T * 12 * 3 * 2 ** -50);
        }),
      );
    },
  );

  test("dual: φ meets μ under the γ of the round before, and the potentials are the plan's", () => {
    fc.assert(
      fc.property(problems(), fc.integer({ min: 2, max: 4 }), (p, T) => {
        const [before, last] = [solve(p, 'dual', T - 1), solve(p, 'dual', T)];
        const planOf = (gamma: number[]) =>
          p.x.map((value, e) => Math.max(0, value + last.phi[Math.floor(e / p.v)] + gamma[e % p.v]));
        expect(distance(rowSums(planOf(before.gamma), p.u, p.v), p.mu)).toBeLessThan(1e-12);
        expect(distance(planOf(last.gamma), last.plan)).toBeLessThan(1e-12);
      }),
    );
  });

  test.each(variants)('%s: permuting rows and columns permutes the plan', variant => {
    const permuted = problems().chain(p =>
      fc.record({ p: fc.constant(p), rows: permutation(p.u), columns: permutation(p.v) }),
    );
    fc.assert(
      fc.property(permuted, fc.integer({ min: 1, max: 4 }), ({ p, rows, columns }, T) => {
        const move = (a: readonly number[]) => rows.flatMap(i => columns.map(j => a[i * p.v + j]));
        const moved = { ...p, x: move(p.x), mu: rows.map(i => p.mu[i]), nu: columns.map(j => p.nu[j]) };
        expect(distance(solve(moved, variant, T).plan, move(solve(p, variant, T).plan))).toBeLessThan(1e-12);
      }),
    );
  });

  test.each(variants)(
    '%s: P(sX, sμ, sν) = sP(X, μ, ν); a cost and its regulariser, both times s, leave X and so the plan',
    variant => {
      fc.assert(
        fc.property(problems(), fc.integer({ min: 1, max: 4 }), fc.integer({ min: -20, max: 20 }), (p, T, log) => {
          const s = 2 ** log; // exact
          const { plan } = solve(p, variant, T);
          const scaled = { ...p, x: p.x.map(value => s * value), mu: p.mu.map(m => s * m), nu: p.nu.map(m => s * m) };
          expect(
            distance(
              solve(scaled, variant, T).plan,
              plan.map(value => s * value),
            ),
          ).toBeLessThan(1e-12 * s);
          const alpha = 0.75;
          const cost = p.x.map(value => -alpha * value);
          const fromCost = (k: number) => solve({ ...p, x: cost.map(c => -(k * c) / (k * alpha)) }, variant, T).plan;
          expect(fromCost(s)).toEqual(fromCost(1));
        }),
      );
    },
  );
  test.each(variants)('%s: non-negative, and the last half-step meets the column marginal', variant => {
    fc.assert(
      fc.property(problems(), fc.integer({ min: 1, max: 5 }), (p, T) => {
        const { plan } = solve(p, variant, T);
        expect(Math.min(...plan)).toBeGreaterThanOrEqual(0);
        expect(distance(columnSums(plan, p.u, p.v), p.nu)).toBeLessThan(1e-12);
      }),
    );
  });

  test('alternating and dykstra agree in the first iteration', () => {
    fc.assert(
      fc.property(problems(), p => {
        expect(solve(p, 'dykstra', 1).plan).toEqual(solve(p, 'alternating', 1).plan);
      }),
    );
  });

  test('converged: dual and dykstra give one plan, feasible, with a gap of zero', () => {
    fc.assert(
      fc.property(problems({ scale: 0.1 }), p => {
        const dual = solve(p, 'dual', 600);
        const dykstra = solve(p, 'dykstra', 600);
        expect(distance(dual.plan, dykstra.plan)).toBeLessThan(1e-6);
        expect(distance(rowSums(dual.plan, p.u, p.v), p.mu)).toBeLessThan(1e-6);
        const gap = dualityGap(p.x, dual.phi, dual.gamma, p.mu, p.nu);
        expect(gap).toBeGreaterThan(-1e-12);
        expect(gap).toBeLessThan(1e-6);
      }),
      { numRuns: 30 },
    );
  });

  test('the optimum beats every other feasible plan', () => {
    const cost = (P: ArrayLike<number>, x: readonly number[]) =>
      x.reduce((total, xe, e) => total - P[e] * xe + (P[e] * P[e]) / 2, 0);
    fc.assert(
      fc.property(problems({ scale: 0.1 }), fc.integer(), (p, seed) => {
        const best = roundToMarginals(solve(p, 'dual', 600).plan, p.mu, p.nu);
        const random = new Random(Math.abs(seed));
        const other = roundToMarginals(
          p.x.map(() => random.uniform()),
          p.mu,
          p.nu,
        );
        expect(cost(best, p.x)).toBeLessThan(cost(other, p.x) + 1e-7);
      }),
      { numRuns: 30 },
    );
  });

  test('shifting rows and columns of the cost changes nothing at convergence; transposition commutes', () => {
    fc.assert(
      fc.property(problems({ scale: 0.1 }), p => {
        const { plan } = solve(p, 'dual', 600);
        const shifted = p.x.map((value, e) => value + 0.3 * Math.floor(e / p.v) - 0.2 * (e % p.v));
        expect(distance(solve({ ...p, x: shifted }, 'dual', 600).plan, plan)).toBeLessThan(1e-6);
        const transpose = (a: number[], u: number, v: number) =>
          Array.from({ length: u * v }, (_, e) => a[(e % u) * v + Math.floor(e / u)]);
        const flipped = solve({ x: transpose(p.x, p.u, p.v), u: p.v, v: p.u, mu: p.nu, nu: p.mu }, 'dual', 600).plan;
        expect(distance(flipped, transpose(plan, p.u, p.v))).toBeLessThan(1e-6);
      }),
      { numRuns: 30 },
    );
  });

  test('on a 12×20 Gaussian cost with α = 1 the optimum is a vertex (≤ 31 entries) that alternating misses', () => {
    const random = new Random(3);
    const p: Problem = {
      u: 12,
      v: 20,
      x: Array.from({ length: 240 }, () => random.normal()),
      mu: Array(12).fill(1 / 12),
      nu: Array(20).fill(1 / 20),
    };
    const support = (P: number[]) => P.filter(value => value > 1e-9).length;
    const optimum = solve(p, 'dual', 4000);
    expect(support(optimum.plan)).toBeLessThanOrEqual(31);
    expect(dualityGap(p.x, optimum.phi, optimum.gamma, p.mu, p.nu)).toBeLessThan(1e-9);
    const alternating = solve(p, 'alternating', 1000).plan;
    expect(distance(rowSums(alternating, 12, 20), p.mu)).toBeLessThan(1e-12);
    expect(distance(alternating, optimum.plan)).toBeGreaterThan(0.01);
  });

  test.each(variants)('%s: the gradient through three rounds is that of the plan', variant => {
    const random = new Random(11);
    const [u, v] = [5, 7];
    const x = Float64Array.from({ length: u * v }, () => 0.1 * random.normal());
    const d = x.map(() => random.normal());
    const w = x.map(() => random.normal());
    const mu = tensor(new Float64Array(u).fill(1 / u));
    const nu = tensor(new Float64Array(v).fill(1 / v));
    const objective = (values: Float64Array<ArrayBuffer>) => {
      const cost = tensor(values, { shape: [u, v], requiresGrad: true });
      const { plan } = sparseSinkhorn(cost, mu, nu, { variant, iterations: 3 });
      return { cost, value: sum(mul(plan, tensor(w, { shape: [u, v] }))) };
    };
    const at = (h: number) => objective(x.map((value, i) => value + h * d[i])).value.dataSync()[0];
    const { cost, value } = objective(x);
    const slope = Array.from(grad(value, [cost])[0].dataSync()).reduce((total, g, i) => total + g * d[i], 0);
    expect(Math.abs(slope - (at(1e-6) - at(-1e-6)) / 2e-6)).toBeLessThan(1e-7);
  });

  test.each(['alternating', 'dykstra'] as const)(
    '%s: with less memory, the value and the gradient of the plain rounds',
    variant => {
      fc.assert(
        fc.property(
          problems(),
          fc.integer({ min: 1, max: 4 }),
          fc.infiniteStream(fc.double({ min: -1, max: 1, noNaN: true })),
          ({ x, u, v, mu, nu }, iterations, weights) =>
            scope(() => {
              const t = (values: ArrayLike<number>, shape: number[], requiresGrad = false) =>
                tensor(Float64Array.from(values), { shape, requiresGrad });
              const [m, n, w] = [t(mu, [u]), t(nu, [v]), t([...weights.take(u * v)], [u, v])];
              const [cost, same] = [t(x, [u, v], true), t(x, [u, v], true)];
              const plain = rounds(cost, m, n, variant, iterations);
              const { plan } = sparseSinkhorn(same, m, n, { variant, iterations });
              expect(plan.dataSync()).toEqual(plain.dataSync());
              const [expected, actual] = [
                grad(plain, [cost], { outputGrad: w })[0],
                grad(plan, [same], { outputGrad: w })[0],
              ];
              expect(actual.dataSync()).toEqual(expected.dataSync());
            }),
        ),
      );
    },
  );

  test('the gradient through a converged plan is the implicit one, by the Laplacian of its support', () => {
    fc.assert(
      fc.property(
        problems({ scale: 0.1 }),
        fc.infiniteStream(fc.double({ min: -1, max: 1, noNaN: true })),
        (p, weights) => {
          const { plan, phi, gamma } = solve(p, 'dual', 300);
          fc.pre(distance(rowSums(plan, p.u, p.v), p.mu) < 1e-12);
          // Where no entry is about to enter or leave the support.
          fc.pre(p.x.every((value, e) => Math.abs(value + phi[Math.floor(e / p.v)] + gamma[e % p.v]) > 1e-4));
          const w = [...weights.take(p.u * p.v)];
          const unrolledGradient = scope(() => {
            const t = (values: ArrayLike<number>, shape: number[], requiresGrad = false) =>
              tensor(Float64Array.from(values), { shape, requiresGrad });
            const x = t(p.x, [p.u, p.v], true);
            const { plan: out } = sparseSinkhorn(x, t(p.mu, [p.u]), t(p.nu, [p.v]), {
              variant: 'dual',
              iterations: 300,
            });
            return Array.from(grad(out, [x], { outputGrad: t(w, [p.u, p.v]) })[0].dataSync());
          });
          expect(distance(unrolledGradient, implicitGradient(plan, w, p.u, p.v))).toBeLessThan(1e-8);
        },
      ),
      { numRuns: 15 },
    );
  });

  test('rejects an invalid number of iterations', () => {
    const one = tensor([1]);
    expect(() => sparseSinkhorn(tensor([[1]]), one, one, { variant: 'dual', iterations: 0 })).toThrow(
      'sparseSinkhorn: iterations is 0',
    );
  });
});

describe('in float32', () => {
  /** Problems whose X has the size |X| from 10⁻³ to 10⁵. */
  const sized = fc.tuple(problems({ scale: 1 }), fc.double({ min: -3, max: 5, noNaN: true })).map(([p, exponent]) => ({
    ...p,
    x: p.x.map(value => value * 10 ** exponent),
  }));
  const solveSingle = ({ x, u, v, mu, nu }: Problem, variant: Variant) =>
    scope(() => {
      const t = (values: readonly number[], shape: number[]) => tensor(Float32Array.from(values), { shape });
      const options = { variant, iterations: 3 };
      return Array.from(sparseSinkhorn(t(x, [u, v]), t(mu, [u]), t(nu, [v]), options).plan.dataSync());
    });

  test.each(variants)('%s: columns sum to ν at every scale of X, and no column is empty', variant => {
    fc.assert(
      fc.property(sized, p => {
        const sums = columnSums(solveSingle(p, variant), p.u, p.v);
        // τ and each of at most 6 entries are rounded once, at the size of ν.
        sums.forEach((sum, j) => expect(Math.abs(sum / p.nu[j] - 1)).toBeLessThan(1e-6));
      }),
    );
  });
});
