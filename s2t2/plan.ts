/**
 * A translation plan outside the graph: sparse, with the vocabularies it belongs to, and what can be said of it.
 *
 * Rows are the ordinary tokens of the target vocabulary, or those that it adds to the source's, and columns those of
 * the source; special tokens, and kept ones, map one to one beside the plan, and padded rows of a model have no
 * column. A token that the training text never shows has no row either, since no loss says what it is made of. Values
 * are the joint probabilities P.
 */
import type { Variant } from './sinkhorn.ts';

/** What fixes how a cost becomes a plan and a plan the ends of a model. */
export interface PlanSettings {
  readonly variant: Variant;
  readonly iterations: number;
  /** α̂: the regulariser is α = α̂ u v. */
  readonly alpha: number;
  /** What the translated embedding divides by: the plan's actual row sums, or the nominal marginal μ. */
  readonly rowNormalisation: 'actual' | 'nominal';
  /**
   * What the translated head divides by: the plan's column sums ν, as in the paper, which makes logits of scale v/u, or
   * the same row sums as the embedding, which keeps the source's scale.
   */
  readonly headNormalisation: 'columns' | 'rows';
}

/** P in compressed rows, with marginals and vocabularies. */
export interface Plan {
  /** Row i has the entries pointers[i] … pointers[i+1] of `columns` and `values`. */
  readonly pointers: Int32Array;
  readonly columns: Int32Array;
  readonly values: Float32Array;
  /** μ over rows, ν over columns; each sums to 1. */
  readonly mu: Float32Array;
  readonly nu: Float32Array;
  /** The token id of each row in the target vocabulary, of each column in the source vocabulary. */
  readonly targetIds: Int32Array;
  readonly sourceIds: Int32Array;
  /** Pairs (target id, source id) of tokens that map one to one, flat: special tokens, and kept ones. */
  readonly specials: Int32Array;
  /**
   * Pairs (target id, source id), flat, of the pieces of tokens that the training text never shows, those of a token
   * together: its row is the mean of theirs.
   */
  readonly unseen: Int32Array;
  /** Hashes of the vocabularies. */
  readonly target: string;
  readonly source: string;
  readonly settings: PlanSettings;
  /** Of a `dual` plan the duality gap after rounding to the marginals (`dualityGap`), null of others. */
  readonly gap: number | null;
}

/** A source row's share in that of a target token. */
export interface Share {
  readonly target: number;
  readonly source: number;
  readonly share: number;
}

/** The source rows whose means are the rows of tokens that are never shown. */
export function unseenShares({ unseen }: Pick<Plan, 'unseen'>): Share[] {
  const counts = new Map<number, number>();
  for (let s = 0; s < unseen.length; s += 2) counts.set(unseen[s], (counts.get(unseen[s]) ?? 0) + 1);
  return Array.from({ length: unseen.length / 2 }, (_, p) => {
    const [target, source] = unseen.subarray(2 * p);
    return { target, source, share: 1 / counts.get(target)! };
  });
}

/** The tokens that are never shown, each once. */
export const unseenIds = (plan: Pick<Plan, 'unseen'>): number[] => [
  ...new Set(unseenShares(plan).map(({ target }) => target)),
];

/** By id, the target tokens whose rows are made of source rows: all but special and kept ones, which are copies. */
export const madeIds = (plan: Pick<Plan, 'targetIds' | 'unseen'>): number[] =>
  [...plan.targetIds, ...unseenIds(plan)].sort((a, b) => a - b);

/** Compresses a dense plan (u, v), row-major. */
export function compress(
  dense: ArrayLike<number>,
  u: number,
  v: number,
): Pick<Plan, 'pointers' | 'columns' | 'values'> {
  const pointers = new Int32Array(u + 1);
  const [columns, values]: [number[], number[]] = [[], []];
  for (let i = 0; i < u; i++) {
    for (let j = 0; j < v; j++) {
      if (dense[i * v + j] === 0) continue;
      columns.push(j);
      values.push(dense[i * v + j]);
    }
    pointers[i + 1] = columns.length;
  }
  return { pointers, columns: Int32Array.from(columns), values: Float32Array.from(values) };
}

/**
 * What part of a plan's rows the text of the tokens says, 1 − ε, with ε the uniform part of ν: v times its smallest
 * entry. That is the `smoothing` of the prior coupling (`prior.ts`) where every target token has source pieces and some
 * source token is in none of them. 1 where ν is uniform, which says nothing of any part.
 */
export function textShare({ nu }: Pick<Plan, 'nu'>): number {
  const uniform = nu.length * nu.reduce((least, x) => Math.min(least, x));
  return uniform < 1 - 1e-3 ? 1 - uniform : 1;
}

/** The plan as a dense array (u, v). */
export function expand({ pointers, columns, values, mu, nu }: Plan): Float32Array<ArrayBuffer> {
  const dense = new Float32Array(mu.length * nu.length);
  for (let i = 0; i < mu.length; i++) {
    for (let e = pointers[i]; e < pointers[i + 1]; e++) dense[i * nu.length + columns[e]] = values[e];
  }
  return dense;
}

/** Calls `visit` for every entry. */
function eachEntry(
  { pointers, columns, values, mu }: Plan,
  visit: (row: number, column: number, value: number) => void,
): void {
  for (let i = 0; i < mu.length; i++)
    for (let e = pointers[i]; e < pointers[i + 1]; e++) visit(i, columns[e], values[e]);
}

/** The figures of a plan: support, entropy, marginal residual, duality gap. */
export interface PlanReport {
  readonly rows: number;
  readonly columns: number;
  /** Non-zero entries. */
  readonly support: number;
  /** Source tokens of a target token: smallest, mean, largest. */
  readonly supportPerRow: readonly [number, number, number];
  /** Mean entropy of P(source | target) over rows, in bits. */
  readonly entropy: number;
  /** Mass in the wrong place: ½ (‖P 1 − μ‖₁ + ‖Pᵀ 1 − ν‖₁), between 0 and 1. */
  readonly residual: number;
  /** Of a `dual` plan, how far its rounding to the marginals is from the optimum, at most; null of others. */
  readonly gap: number | null;
}

/** The mass of each row of a plan (u), in double precision. */
export function rowSums(plan: Plan): Float64Array {
  const sums = new Float64Array(plan.mu.length);
  eachEntry(plan, (i, _, value) => {
    sums[i] += value;
  });
  return sums;
}

/** The first token whose row or column holds no mass, or none that is finite; undefined of a plan that can be used. */
export function emptyLine(plan: Plan): { readonly side: 'target' | 'source'; readonly id: number } | undefined {
  const columns = new Float64Array(plan.nu.length);
  eachEntry(plan, (_, j, value) => {
    columns[j] += value;
  });
  const first = (sums: Float64Array) => sums.findIndex(sum => !(sum > 0 && sum < Infinity));
  const [row, column] = [first(rowSums(plan)), first(columns)];
  if (row >= 0) return { side: 'target', id: plan.targetIds[row] };
  return column >= 0 ? { side: 'source', id: plan.sourceIds[column] } : undefined;
}

/** Measures a plan; entropy is in bits, the mean over rows. */
export function reportPlan(plan: Plan): PlanReport {
  const [u, v] = [plan.mu.length, plan.nu.length];
  const rows = rowSums(plan);
  const columns = new Float64Array(v);
  let entropy = 0;
  eachEntry(plan, (i, j, value) => {
    columns[j] += value;
    const p = value / rows[i];
    entropy -= (p * Math.log2(p)) / u;
  });
  const misplaced = (sums: Float64Array, marginal: Float32Array) =>
    sums.reduce((total, s, i) => total + Math.abs(s - marginal[i]), 0);
  const perRow = Array.from({ length: u }, (_, i) => plan.pointers[i + 1] - plan.pointers[i]);
  return {
    rows: u,
    columns: v,
    support: plan.values.length,
    supportPerRow: [Math.min(...perRow), plan.values.length / u, Math.max(...perRow)],
    entropy,
    residual: (misplaced(rows, plan.mu) + misplaced(columns, plan.nu)) / 2,
    gap: plan.gap,
  };
}

/**
 * The nearest plan that meets both marginals, by Altschuler, Weed & Rigollet 2017, algorithm 2: shrink rows, shrink
 * columns, spread what is missing. P dense (u, v), in double precision.
 */
export function roundToMarginals(dense: ArrayLike<number>, mu: ArrayLike<number>, nu: ArrayLike<number>): Float64Array {
  const [u, v] = [mu.length, nu.length];
  const P = new Float64Array(dense);
  // Cells in the order of memory, for columns too.
  const shrink = (marginal: ArrayLike<number>, lineOf: (i: number, j: number) => number): Float64Array => {
    const sums = new Float64Array(marginal.length);
    for (let i = 0; i < u; i++) for (let j = 0; j < v; j++) sums[lineOf(i, j)] += P[i * v + j];
    const scales = sums.map((total, line) => (total > marginal[line] ? marginal[line] / total : 1));
    for (let i = 0; i < u; i++) for (let j = 0; j < v; j++) P[i * v + j] *= scales[lineOf(i, j)];
    return sums.map((total, line) => total * scales[line]);
  };
  shrink(mu, i => i);
  const columnSums = shrink(nu, (_, j) => j);
  const missingColumns = columnSums.map((s, j) => Math.max(0, nu[j] - s));
  const missingRows = Float64Array.from(mu, (mass, i) => {
    let total = 0;
    for (let j = 0; j < v; j++) total += P[i * v + j];
    return Math.max(0, mass - total);
  });
  const missing = missingRows.reduce((a, b) => a + b, 0);
  if (missing > 0)
    for (let i = 0; i < u; i++)
      for (let j = 0; j < v; j++) P[i * v + j] += (missingRows[i] * missingColumns[j]) / missing;
  return P;
}

/**
 * The duality gap that certifies a `dual` plan: ½‖R‖² − ⟨R, X⟩ of the rounded plan R, minus the dual objective
 * ⟨φ, μ⟩ + ⟨γ, ν⟩ − ½‖max(X + φ + γ, 0)‖². Never negative, zero at the optimum. In units of the objective over α.
 */
export function dualityGap(
  x: ArrayLike<number>,
  phi: ArrayLike<number>,
  gamma: ArrayLike<number>,
  mu: ArrayLike<number>,
  nu: ArrayLike<number>,
): number {
  const [u, v] = [mu.length, nu.length];
  const P = new Float64Array(u * v);
  for (let i = 0; i < u; i++) for (let j = 0; j < v; j++) P[i * v + j] = Math.max(0, x[i * v + j] + phi[i] + gamma[j]);
  const R = roundToMarginals(P, mu, nu);
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    let total = 0;
    for (let i = 0; i < a.length; i++) total += a[i] * b[i];
    return total;
  };
  return dot(R, R) / 2 - dot(R, x) - (dot(phi, mu) + dot(gamma, nu) - dot(P, P) / 2);
}
