/**
 * The coupling that a plan is learned from: what the text of the tokens says, as a transport plan. Fast vocabulary
 * transfer (Gee et al. 2022) makes a target token the mean of the source tokens of its text; with a row for each target
 * token, P⁰ᵢⱼ = μᵢ · (share of source token j among the pieces of target token i). Mixed with the independent coupling
 * it has full support and positive column sums, so it is feasible for its own marginals. Rows are the tokens that the
 * training text shows (`tokenMap`): the others take no mass from μ. Ours: the paper leaves marginals and start open.
 */
import type { Tokenizer } from '../models/tokenizer/index.ts';
import type { TokenMap } from './translate.ts';

/** A joint distribution with its marginals. */
export interface Coupling {
  /** P (u, v), row-major. */
  readonly values: Float32Array<ArrayBuffer>;
  /** Row sums (u): uniform. */
  readonly mu: Float32Array<ArrayBuffer>;
  /** Column sums (v). */
  readonly nu: Float32Array<ArrayBuffer>;
}

/**
 * (1 − ε) P⁰ + ε/(u v), with ε = `smoothing` in (0, 1]. At 1 the text counts for nothing: uniform marginals and a
 * constant plan, the paper's form as we read it.
 */
export function priorCoupling(source: Tokenizer, target: Tokenizer, map: TokenMap, smoothing: number): Coupling {
  if (!(smoothing > 0 && smoothing <= 1))
    throw new Error(
      `priorCoupling: smoothing is ${smoothing}; it must be above 0, or columns are empty, and at most 1`,
    );
  const [u, v] = [map.targetIds.length, map.sourceIds.length];
  const columnOf = new Map(Array.from(map.sourceIds, (id, j) => [id, j]));
  const values = new Float32Array(u * v).fill(smoothing / (u * v));
  const nu = new Float64Array(v).fill(smoothing / v);
  map.targetIds.forEach((id, i) => {
    const pieces = Array.from(source.encodeBytes(target.tokenBytes(id)), piece => columnOf.get(piece));
    // A byte that the source cannot write is an unknown token there, which has no column and says nothing.
    const known = pieces.filter(j => j !== undefined);
    const columns = known.length > 0 ? known : map.sourceIds.keys();
    const share = (1 - smoothing) / (u * (known.length || v));
    for (const j of columns) {
      values[i * v + j] += share;
      nu[j] += share;
    }
  });
  return { values, mu: new Float32Array(u).fill(1 / u), nu: Float32Array.from(nu) };
}
