/**
 * The sparse Sinkhorn layer: the translation plan as a differentiable function of the cost.
 *
 * With X = −C/α the plan is the Euclidean projection of X on the transport polytope
 *
 *     U(μ, ν) = { P ≥ 0, P 1 = μ, Pᵀ 1 = ν },    argmin over U of ⟨P, C⟩ + (α/2) ‖P‖²    (arXiv 2411.00593, section 3)
 *
 * reached by `iterations` rounds of projections on one marginal at a time, each of them a scaled sparsemax, rows
 * first. Gradients flow to X through all rounds; the marginals are constants. P is piecewise linear in X: where a cell
 * enters the support of a projection its gradient jumps, so two backends agree on it to roundoff except where a cell's
 * margin is roundoff itself.
 */
import { checkpoint, type Tensor } from '../engine/index.ts';

/**
 * How the rounds hang together:
 * - `alternating`: nothing is carried over. Meets both marginals in the limit, but not the optimum.
 * - `dykstra`: Boyle–Dykstra corrections; converges to the projection itself.
 * - `dual`: alternating maximisation of the dual over φ = f/α and γ = g/α; the same optimum with O(u + v) of state.
 */
export type Variant = 'alternating' | 'dykstra' | 'dual';
/** The names of the variants. */
export const variants: readonly Variant[] = ['alternating', 'dykstra', 'dual'];

/** Which iteration runs, and for how many rounds. */
export interface SinkhornOptions {
  readonly variant: Variant;
  /** T, 3 in the paper. */
  readonly iterations: number;
}

/** A plan, and for `dual` the potentials it was made from. */
export interface SinkhornResult {
  /** P (u, v). Its columns sum to ν, as the last projection is theirs; its rows only at convergence to μ. */
  readonly plan: Tensor;
  /** X, and φ (u, 1) and γ (1, v), of `dual`: P = max(X + φ + γ, 0). */
  readonly x?: Tensor;
  readonly potentials?: { readonly phi: Tensor; readonly gamma: Tensor };
}

/** P from X = −C/α (u, v), row marginal μ (u) and column marginal ν (v). */
export function sparseSinkhorn(
  x: Tensor,
  mu: Tensor,
  nu: Tensor,
  { variant, iterations }: SinkhornOptions,
): SinkhornResult {
  if (!Number.isInteger(iterations) || iterations < 1)
    throw new Error(`sparseSinkhorn: iterations is ${iterations}; it must be a whole number of 1 or more`);
  switch (variant) {
    case 'alternating':
    case 'dykstra':
      return { plan: checkpoint(([cost]) => rounds(cost, mu, nu, variant, iterations), [x]) };
    case 'dual':
      return dual(x, mu, nu, iterations);
  }
}

/**
 * The rounds of the first two variants. `sparseSinkhorn` computes them again in the backward pass: nothing of them is
 * kept while the model that reads the plan takes its own memory.
 */
export function rounds(
  x: Tensor,
  mu: Tensor,
  nu: Tensor,
  variant: 'alternating' | 'dykstra',
  iterations: number,
): Tensor {
  let plan = x;
  // What a projection took away, given back before the next one of its kind: Dykstra's corrections.
  let p: Tensor | undefined;
  let q: Tensor | undefined;
  for (let t = 0; t < iterations; t++) {
    const beforeRows: Tensor = p ? plan.add(p) : plan;
    const rows = beforeRows.simplexProjection(mu, 1); // row i is μᵢ sparsemax(xᵢ/μᵢ)
    const beforeColumns: Tensor = q ? rows.add(q) : rows;
    plan = beforeColumns.simplexProjection(nu, 0);
    if (variant === 'dykstra') [p, q] = [beforeRows.sub(rows), beforeColumns.sub(plan)];
  }
  return plan;
}

/**
 * The plan is max(X + φ + γ, 0), computed as the projection of X + φ on the columns, whose threshold −γ is. The sum
 * would carry a rounding error of order ε |X|, which can exceed ν; the projection subtracts the maximum of each column
 * first.
 */
function dual(x: Tensor, mu: Tensor, nu: Tensor, iterations: number): SinkhornResult {
  let [phi, gamma] = [x, x]; // set in the first round
  let shifted = x; // X + φ
  for (let t = 0; t < iterations; t++) {
    phi = (t === 0 ? x : x.add(gamma)).simplexThreshold(mu, 1).neg(); // (u, 1): max(X + φ + γ, 0) has row sums μ
    shifted = x.add(phi);
    gamma = shifted.simplexThreshold(nu, 0).neg(); // (1, v): … and now column sums ν
  }
  return { plan: shifted.simplexProjection(nu, 0), x, potentials: { phi, gamma } };
}

/**
 * The dense counterpart, with an entropic regulariser in place of the quadratic one: P = exp(X + φ + γ), rows and
 * columns scaled in turn to their marginals (Cuturi 2013), in logarithms.
 */
export function denseSinkhorn(x: Tensor, mu: Tensor, nu: Tensor, iterations: number): SinkhornResult {
  const [logMu, logNu] = [mu.log().unsqueeze(1), nu.log()]; // (u, 1), (v)
  let shifted = x; // X + φ + γ
  for (let t = 0; t < iterations; t++) {
    const rows = shifted.add(logMu.sub(shifted.logsumexp(1, { keepdim: true }))); // row sums μ
    shifted = rows.add(logNu.sub(rows.logsumexp(0, { keepdim: true }))); // column sums ν
  }
  return { plan: shifted.exp() };
}
