/**
 * The sparse Sinkhorn layer: the translation plan as a differentiable function of the cost.
 *
 * With X = −C/α the plan is the Euclidean projection of X on the transport polytope
 *
 *     U(μ, ν) = { P ≥ 0, P 1 = μ, Pᵀ 1 = ν },    argmin over U of ⟨P, C⟩ + (α/2) ‖P‖²    (arXiv 2411.00593, section 3)
 *
 * reached by `iterations` rounds of projections on one marginal at a time, each of them a scaled sparsemax, rows
 * first. Gradients flow to X through the unrolled rounds; the marginals are constants.
 */
import {
  add,
  exp,
  log,
  logsumexp,
  neg,
  noGrad,
  scope,
  simplexGradient,
  simplexProjection,
  simplexThreshold,
  sub,
  withGradient,
  type Tensor,
} from '../engine/index.ts';

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
  /** X, and φ (u, 1) and γ (1, v), of `dual`: P = max(X + φ + γ, 0). */
  readonly x?: Tensor;
  readonly potentials?: { readonly phi: Tensor; readonly gamma: Tensor };
}

/** P from X = −C/α (u, v), row marginal μ (u, 1) and column marginal ν (1, v). */
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
      return { plan: lean(x, mu, nu, variant, iterations) };
    case 'dual':
      return dual(x, mu, nu, iterations);
  }
}

/** The projection on { Y ≥ 0, Y 1 = μ }: row i becomes μᵢ sparsemax(xᵢ/μᵢ). */
const projectRows = (x: Tensor, mu: Tensor): Tensor => simplexProjection(x, mu, 1);
/** The projection on { Y ≥ 0, Yᵀ 1 = ν }. */
const projectColumns = (x: Tensor, nu: Tensor): Tensor => simplexProjection(x, nu, 0);

/** One round: what a variant carries from one to the next, and the two projections that it went through. */
interface Round {
  readonly rows: Tensor;
  readonly plan: Tensor;
  /** What the projection on rows took away, given back before the next; the same for columns. Dykstra only. */
  readonly p?: Tensor;
  readonly q?: Tensor;
}

function alternatingRound(plan: Tensor, mu: Tensor, nu: Tensor): Round {
  const rows = projectRows(plan, mu);
  return { rows, plan: projectColumns(rows, nu) };
}

function dykstraRound(before: Tensor, mu: Tensor, nu: Tensor, carried?: Round): Round {
  const beforeRows = carried ? add(before, carried.p!) : before;
  const rows = projectRows(beforeRows, mu);
  const beforeColumns = carried ? add(rows, carried.q!) : rows;
  const plan = projectColumns(beforeColumns, nu);
  return { rows, plan, p: sub(beforeRows, rows), q: sub(beforeColumns, plan) };
}

/** All rounds as plain operations: the definition. The graph keeps every value in between. */
export function unrolled(
  x: Tensor,
  mu: Tensor,
  nu: Tensor,
  variant: 'alternating' | 'dykstra',
  iterations: number,
): Tensor {
  let round: Round | undefined;
  for (let t = 0; t < iterations; t++) {
    round =
      variant === 'dykstra'
        ? dykstraRound(round?.plan ?? x, mu, nu, round)
        : alternatingRound(round?.plan ?? x, mu, nu);
  }
  return round!.plan;
}

/**
 * The same value and gradient with less memory: a projection's derivative needs no more than its support, so of each
 * round only the two projections are kept, and the corrections of Dykstra live for one round.
 */
function lean(x: Tensor, mu: Tensor, nu: Tensor, variant: 'alternating' | 'dykstra', iterations: number): Tensor {
  const rounds: { rows: Tensor; plan: Tensor }[] = [];
  noGrad(() => {
    let last: Round | undefined;
    for (let t = 0; t < iterations; t++) {
      const carried = last;
      last = scope(() =>
        variant === 'dykstra'
          ? dykstraRound(carried?.plan ?? x, mu, nu, carried)
          : alternatingRound(carried?.plan ?? x, mu, nu),
      );
      [carried?.p, carried?.q].forEach(c => c?.dispose());
      rounds.push(last);
    }
    [last?.p, last?.q].forEach(c => c?.dispose());
  });
  const backward = variant === 'dykstra' ? dykstraBackward : alternatingBackward;
  return withGradient('sparseSinkhorn', [x], rounds.at(-1)!.plan.alias(), g => [() => backward(g, rounds)]);
}

type Projections = readonly { readonly rows: Tensor; readonly plan: Tensor }[];

function alternatingBackward(g: Tensor, rounds: Projections): Tensor {
  return rounds.reduceRight(
    (gradient, { rows, plan }) => scope(() => simplexGradient(simplexGradient(gradient, plan, 0), rows, 1)),
    g,
  );
}

/** Reverse mode by hand through `dykstraRound`; a gradient of 0 is null. */
function dykstraBackward(g: Tensor, rounds: Projections): Tensor {
  let [gPlan, gP, gQ]: [Tensor, Tensor | null, Tensor | null] = [g, null, null];
  for (const { rows, plan } of [...rounds].reverse()) {
    const [beforeColumns, beforeRows]: Tensor[] = scope(() => {
      const throughColumns = simplexGradient(gQ ? sub(gPlan, gQ) : gPlan, plan, 0); // plan = P(b), q = b − plan
      const b = gQ ? add(throughColumns, gQ) : throughColumns; // b = rows + q of the round before
      const throughRows = simplexGradient(gP ? sub(b, gP) : b, rows, 1); // rows = P(a), p = a − rows
      return [b, gP ? add(throughRows, gP) : throughRows]; // a = plan + p of the round before
    });
    [gPlan, gP, gQ].forEach(t => {
      if (t !== g) t?.dispose();
    });
    [gPlan, gP, gQ] = [beforeRows, beforeRows, beforeColumns];
  }
  gQ?.dispose();
  return gPlan;
}

/**
 * The plan is max(X + φ + γ, 0), computed as the projection of X + φ on the columns, whose threshold −γ is. The sum would
 * carry a rounding error of order ε |X|, which can exceed ν; the projection subtracts the maximum of each column first.
 */
function dual(x: Tensor, mu: Tensor, nu: Tensor, iterations: number): SinkhornResult {
  let [phi, gamma] = [x, x]; // set in the first round
  let shifted = x; // X + φ
  for (let t = 0; t < iterations; t++) {
    phi = neg(simplexThreshold(t === 0 ? x : add(x, gamma), mu, 1)); // (u, 1): max(X + φ + γ, 0) has row sums μ
    shifted = add(x, phi);
    gamma = neg(simplexThreshold(shifted, nu, 0)); // (1, v): … and now column sums ν
  }
  return { plan: projectColumns(shifted, nu), x, potentials: { phi, gamma } };
}

/**
 * The dense counterpart, with an entropic regulariser in place of the quadratic one: P = exp(X + φ + γ), rows and
 * columns scaled in turn to their marginals (Cuturi 2013), in logarithms.
 */
export function denseSinkhorn(x: Tensor, mu: Tensor, nu: Tensor, iterations: number): SinkhornResult {
  const [logMu, logNu] = [log(mu), log(nu)]; // (u, 1), (1, v)
  let shifted = x; // X + φ + γ
  for (let t = 0; t < iterations; t++) {
    const rows = add(shifted, sub(logMu, logsumexp(shifted, 1, { keepdim: true }))); // row sums μ
    shifted = add(rows, sub(logNu, logsumexp(rows, 0, { keepdim: true }))); // column sums ν
  }
  return { plan: exp(shifted) };
}
