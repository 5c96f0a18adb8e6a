/** Laws of the sparse Sinkhorn layer, in float64, and its gradient against differences. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createReferenceBackend, grad, mul, Random, scope, setBackend, sum, tensor, type Tensor } from '../../engine/index.ts';
import { dualityGap, roundToMarginals } from '../../s2t2/plan.ts';
import { sparseSinkhorn, unrolled, variants, type Variant } from '../../s2t2/sinkhorn.ts';
import { problems, type Problem } from '../arbitraries/transport.ts';

setBackend(createReferenceBackend()); // float64 lives there

/** Runs the layer in float64 and returns plain arrays. */
function solve({ x, u, v, mu, nu }: Problem, variant: Variant, iterations: number) {
  return scope(() => {
    const t = (values: ArrayLike<number>, shape: number[]) => tensor(Float64Array.from(values), { shape });
    const { plan, potentials } = sparseSinkhorn(t(x, [u, v]), t(mu, [u, 1]), t(nu, [1, v]), { variant, iterations });
    const read = (a?: Tensor) => (a ? Array.from(a.dataSync()) : []);
    return { plan: read(plan), phi: read(potentials?.phi), gamma: read(potentials?.gamma) };
  });
}

const rowSums = (P: number[], u: number, v: number) => Array.from({ length: u }, (_, i) => P.slice(i * v, (i + 1) * v).reduce((a, b) => a + b, 0));
const columnSums = (P: number[], u: number, v: number) => Array.from({ length: v }, (_, j) => Array.from({ length: u }, (__, i) => P[i * v + j]).reduce((a, b) => a + b, 0));
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.max(0, ...Array.from(a, (value, i) => Math.abs(value - b[i])));

describe('sparse Sinkhorn', () => {
  test.each(variants)('%s: non-negative, and the last half-step meets the column marginal', variant => {
    fc.assert(fc.property(problems(), fc.integer({ min: 1, max: 5 }), (p, T) => {
      const { plan } = solve(p, variant, T);
      expect(Math.min(...plan)).toBeGreaterThanOrEqual(0);
      expect(distance(columnSums(plan, p.u, p.v), p.nu)).toBeLessThan(1e-12);
    }));
  });

  test('alternating and dykstra agree in the first iteration', () => {
    fc.assert(fc.property(problems(), p => {
      expect(solve(p, 'dykstra', 1).plan).toEqual(solve(p, 'alternating', 1).plan);
    }));
  });

  test('converged: dual and dykstra give one plan, feasible, with a gap of zero', () => {
    fc.assert(fc.property(problems({ scale: 0.1 }), p => {
      const dual = solve(p, 'dual', 600);
      const dykstra = solve(p, 'dykstra', 600);
      expect(distance(dual.plan, dykstra.plan)).toBeLessThan(1e-6);
      expect(distance(rowSums(dual.plan, p.u, p.v), p.mu)).toBeLessThan(1e-6);
      const gap = dualityGap(p.x, dual.phi, dual.gamma, p.mu, p.nu);
      expect(gap).toBeGreaterThan(-1e-12);
      expect(gap).toBeLessThan(1e-6);
    }), { numRuns: 30 });
  });

  test('the optimum beats every other feasible plan', () => {
    const cost = (P: ArrayLike<number>, x: readonly number[]) => x.reduce((total, xe, e) => total - P[e] * xe + (P[e] * P[e]) / 2, 0);
    fc.assert(fc.property(problems({ scale: 0.1 }), fc.integer(), (p, seed) => {
      const best = roundToMarginals(solve(p, 'dual', 600).plan, p.mu, p.nu);
      const random = new Random(Math.abs(seed));
      const other = roundToMarginals(p.x.map(() => random.uniform()), p.mu, p.nu);
      expect(cost(best, p.x)).toBeLessThan(cost(other, p.x) + 1e-7);
    }), { numRuns: 30 });
  });

  test('shifting rows and columns of the cost moves nothing at convergence; transposing the problem transposes the plan', () => {
    fc.assert(fc.property(problems({ scale: 0.1 }), p => {
      const { plan } = solve(p, 'dual', 600);
      const shifted = p.x.map((value, e) => value + 0.3 * Math.floor(e / p.v) - 0.2 * (e % p.v));
      expect(distance(solve({ ...p, x: shifted }, 'dual', 600).plan, plan)).toBeLessThan(1e-6);
      const transpose = (a: number[], u: number, v: number) => Array.from({ length: u * v }, (_, e) => a[(e % u) * v + Math.floor(e / u)]);
      const flipped = solve({ x: transpose(p.x, p.u, p.v), u: p.v, v: p.u, mu: p.nu, nu: p.mu }, 'dual', 600).plan;
      expect(distance(flipped, transpose(plan, p.u, p.v))).toBeLessThan(1e-6);
    }), { numRuns: 30 });
  });

  test('on a 12×20 Gaussian cost with α = 1 the optimum is a vertex with 31 entries or fewer; alternating stays away from it', () => {
    const random = new Random(3);
    const p: Problem = { u: 12, v: 20, x: Array.from({ length: 240 }, () => random.normal()), mu: Array(12).fill(1 / 12), nu: Array(20).fill(1 / 20) };
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
    const mu = tensor(new Float64Array(u).fill(1 / u), { shape: [u, 1] });
    const nu = tensor(new Float64Array(v).fill(1 / v), { shape: [1, v] });
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

  test.each(['alternating', 'dykstra'] as const)('%s: with less memory, the value and the gradient of the plain rounds', variant => {
    fc.assert(fc.property(problems(), fc.integer({ min: 1, max: 4 }), fc.infiniteStream(fc.double({ min: -1, max: 1, noNaN: true })), ({ x, u, v, mu, nu }, iterations, weights) => scope(() => {
      const t = (values: ArrayLike<number>, shape: number[], requiresGrad = false) => tensor(Float64Array.from(values), { shape, requiresGrad });
      const [m, n, w] = [t(mu, [u, 1]), t(nu, [1, v]), t([...weights.take(u * v)], [u, v])];
      const [cost, same] = [t(x, [u, v], true), t(x, [u, v], true)];
      const plain = unrolled(cost, m, n, variant, iterations);
      const { plan } = sparseSinkhorn(same, m, n, { variant, iterations });
      expect(plan.dataSync()).toEqual(plain.dataSync());
      const [expected, actual] = [grad(plain, [cost], { outputGrad: w })[0], grad(plan, [same], { outputGrad: w })[0]];
      // The same sums in another order: a few roundings of numbers of order one a round.
      expect(distance(actual.dataSync(), expected.dataSync())).toBeLessThan(1e-13 * iterations * (u + v));
    })));
  });

  test('refuses a number of rounds that is none', () => {
    const one = tensor([[1]]);
    expect(() => sparseSinkhorn(one, one, one, { variant: 'dual', iterations: 0 })).toThrow('sparseSinkhorn: iterations is 0');
  });
});
