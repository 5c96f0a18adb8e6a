/**
 * The sparse Sinkhorn layer: the translation plan as a differentiable function of the cost.
 *
 * With X = −C/α the plan is the Euclidean projection of X on the transport polytope
 *
 *     U(μ, ν) = { P ≥ 0, P 1 = μ, Pᵀ 1 = ν },    argmin over U of ⟨P, C⟩ + (α/2) ‖P‖²    (arXiv 2411.00593, section 3)
 *
 * reached by `iterations` rounds of projections on one marginal at a time, each of them a scaled sparsemax, rows
 * first. The rounds are unrolled, so gradients flow to X by the engine's rules.
 */
import { add, relu, simplexProjection, simplexThreshold, sub, neg, type Tensor } from '../engine/index.ts';

/**
 * How the rounds hang together:
 * - `alternating`: nothing is carried over. Meets both marginals in the limit, but not the optimum.
 * - `dykstra`: Boyle–Dykstra corrections; converges to the projection itself.
 * - `dual`: alternating maximisation of the dual over φ = f/α and γ = g/α; the same optimum with O(u + v) of state.
 */
export type Variant = 'alternating' | 'dykstra' | 'dual';
export const variants: readonly Variant[] = ['alternating', 'dykstra', 'dual'];

export interface SinkhornOptions {
  readonly variant: Variant;
  /** T, 3 in the paper. */
  readonly iterations: number;
}

export interface SinkhornResult {
  /** P (u, v). Its columns sum to ν, as the last projection is theirs; its rows only at convergence to μ. */
  readonly plan: Tensor;
  /** φ (u, 1) and γ (1, v) of `dual`: P = max(X + φ + γ, 0). */
  readonly potentials?: { readonly phi: Tensor; readonly gamma: Tensor };
}

/** P from X = −C/α (u, v), row marginal μ (u, 1) and column marginal ν (1, v). */
export function sparseSinkhorn(x: Tensor, mu: Tensor, nu: Tensor, { variant, iterations }: SinkhornOptions): SinkhornResult {
  if (!Number.isInteger(iterations) || iterations < 1) throw new Error(`sparseSinkhorn: iterations is ${iterations}; it must be a whole number of 1 or more`);
  switch (variant) {
    case 'alternating': return alternating(x, mu, nu, iterations);
    case 'dykstra': return dykstra(x, mu, nu, iterations);
    case 'dual': return dual(x, mu, nu, iterations);
  }
}

/** The projection on { Y ≥ 0, Y 1 = μ }: row i becomes μᵢ sparsemax(xᵢ/μᵢ). */
const projectRows = (x: Tensor, mu: Tensor): Tensor => simplexProjection(x, mu, 1);
/** The projection on { Y ≥ 0, Yᵀ 1 = ν }. */
const projectColumns = (x: Tensor, nu: Tensor): Tensor => simplexProjection(x, nu, 0);

function alternating(x: Tensor, mu: Tensor, nu: Tensor, iterations: number): SinkhornResult {
  let plan = x;
  for (let t = 0; t < iterations; t++) plan = projectColumns(projectRows(plan, mu), nu);
  return { plan };
}

function dykstra(x: Tensor, mu: Tensor, nu: Tensor, iterations: number): SinkhornResult {
  let plan = x;
  let p: Tensor | null = null; // what the projection on rows took away last time, given back before the next
  let q: Tensor | null = null; // the same for columns
  for (let t = 0; t < iterations; t++) {
    const beforeRows: Tensor = p ? add(plan, p) : plan;
    const rows = projectRows(beforeRows, mu);
    p = sub(beforeRows, rows);
    const beforeColumns: Tensor = q ? add(rows, q) : rows;
    plan = projectColumns(beforeColumns, nu);
    q = sub(beforeColumns, plan);
  }
  return { plan };
}

function dual(x: Tensor, mu: Tensor, nu: Tensor, iterations: number): SinkhornResult {
  let shifted = x; // X + γ
  let [phi, gamma] = [x, x]; // set in the first round
  for (let t = 0; t < iterations; t++) {
    phi = neg(simplexThreshold(shifted, mu, 1)); // (u, 1): max(X + φ + γ, 0) has row sums μ
    gamma = neg(simplexThreshold(add(x, phi), nu, 0)); // (1, v): … and now column sums ν
    shifted = add(x, gamma);
  }
  return { plan: relu(add(shifted, phi)), potentials: { phi, gamma } };
}
