/**
 * The weight translation (arXiv 2411.00593, section 3): from a plan P (u, v) to new ends of a model,
 *
 *     E' = diag(1/μ) P E     each target token a convex combination of source embeddings, P(source | target)
 *     L' = P diag(1/ν) L     logits by P(target | source), or, on request, diag(1/μ) P L: rows on the source's scale
 *
 * twice: on tensors, for learning the plan by the model's loss, and on plain arrays from a stored plan, for applying
 * it.
 */
import { concat, noGrad, ones, scope, sparseMatmul, tensor, type Tensor } from '../engine/index.ts';
import { isExtension, type Tokenizer } from '../models/tokenizer/index.ts';
import type { Sequences } from '../models/sequences.ts';
import type { Ends } from '../models/weights.ts';
import { madeIds, rowSums, unseenIds, unseenShares, type Plan, type PlanSettings } from './plan.ts';

/** Which rows of the source's ends a plan reads, and where its rows go in the target's. */
export interface TokenMap {
  /** Token ids of the plan's columns (v) and rows (u). */
  readonly sourceIds: Int32Array;
  readonly targetIds: Int32Array;
  /** Pairs (target id, source id) of tokens that map one to one, flat: special tokens, and kept ones. */
  readonly specials: Int32Array;
  /** Pairs (target id, source id) of the pieces of ordinary tokens that have no row, as `Plan.unseen`. */
  readonly unseen: Int32Array;
  /** Rows of the target's ends. */
  readonly targetSize: number;
}

export { isExtension };

/**
 * Which tokens the plan translates, and the tokens that map one to one: special tokens by the part they play, or, where
 * the target extends the source, every token of the source to itself. A token that is not `shown` has no row in the
 * plan; if none is, all have.
 */
export function tokenMap(source: Tokenizer, target: Tokenizer, shown: (id: number) => boolean = () => true): TokenMap {
  const split = (ids: Int32Array) => {
    const rows = ids.filter(id => shown(id));
    if (rows.length === 0) return { targetIds: ids, unseen: new Int32Array() };
    const pieces = (id: number) => Array.from(source.encodeBytes(target.tokenBytes(id)), piece => [id, piece]);
    const unseen = Array.from(
      ids.filter(id => !shown(id)),
      pieces,
    );
    return { targetIds: rows, unseen: Int32Array.from(unseen.flat(2)) };
  };
  if (isExtension(source, target)) {
    const { vocabSize } = source;
    return {
      sourceIds: source.ordinaryIds(),
      ...split(Int32Array.from({ length: target.vocabSize - vocabSize }, (_, i) => vocabSize + i)),
      specials: Int32Array.from({ length: 2 * vocabSize }, (_, i) => i >> 1),
      targetSize: target.vocabSize,
    };
  }
  const specials: number[] = [];
  const fallback = source.specialTokens.eos;
  for (const id of target.parts.special.values()) {
    const role = (['bos', 'eos', 'pad', 'unk'] as const).find(r => target.specialTokens[r] === id);
    const counterpart = (role && source.specialTokens[role]) ?? fallback;
    if (counterpart === undefined)
      throw new Error(`translate: the source tokenizer has no counterpart of ${target.token(id)}`);
    specials.push(id, counterpart);
  }
  return {
    sourceIds: source.ordinaryIds(),
    ...split(target.ordinaryIds()),
    specials: Int32Array.from(specials),
    targetSize: target.vocabSize,
  };
}

/** Which tokens sequences of ids below `vocabSize` show. */
export function tokensShown(sequences: Sequences, vocabSize: number): (id: number) => boolean {
  const isShown = new Uint8Array(vocabSize);
  for (const { ids } of sequences) for (const id of ids) isShown[id] = 1;
  return id => isShown[id] === 1;
}

/** For each target id its row in [translated ordinary tokens; copied special tokens; tokens never shown]. */
function placement(map: TokenMap): Int32Array<ArrayBuffer> {
  const { targetIds, specials, targetSize } = map;
  const rows = new Int32Array(targetSize).fill(-1);
  targetIds.forEach((id, i) => {
    rows[id] = i;
  });
  for (let s = 0; s < specials.length; s += 2) rows[specials[s]] = targetIds.length + s / 2;
  unseenIds(map).forEach((id, i) => {
    rows[id] = targetIds.length + specials.length / 2 + i;
  });
  const missing = rows.indexOf(-1);
  if (missing >= 0)
    throw new Error(`translate: target token ${missing} is neither a row of the plan nor a special token`);
  return rows;
}

/**
 * [E, diag(1/ν) L, 1] (v, 2C + 1) of the plan's columns, with L as it is where the head is divided by rows. A constant:
 * nothing of what it is made from stays in memory.
 */
function sourceFactor({ embedding, head }: Ends, nu: Tensor, columns: Tensor, byColumns: boolean): Tensor {
  return noGrad(() =>
    scope(() => {
      const own = columns.embedding(head); // (v, C)
      const scaled = byColumns ? own.div(nu.reshape([-1, 1])) : own;
      return concat([columns.embedding(embedding), scaled, ones([nu.size, 1])], 1);
    }),
  );
}

/**
 * E' and L' (target size, C) of a plan (u, v) with marginals μ (u) and ν (v), on tensors and differentiable with
 * respect to the plan: the model is frozen while one is learned.
 *
 * Both ends and the row sums are one sparse product. It gives a gradient on the support of the plan only, and no other
 * is needed: a plan of `sparseSinkhorn` comes out of a projection, whose derivative reads nothing and gives 0 outside
 * the support. For a plan with negative entries `product` is `matmul`.
 */
export function translateEnds(
  plan: Tensor,
  mu: Tensor,
  nu: Tensor,
  source: Ends,
  map: TokenMap,
  { rowNormalisation, headNormalisation }: Pick<PlanSettings, 'rowNormalisation' | 'headNormalisation'>,
  product = sparseMatmul,
): Ends {
  const columns = tensor(Int32Array.from(map.sourceIds));
  const copied = tensor(Int32Array.from({ length: map.specials.length / 2 }, (_, i) => map.specials[2 * i + 1]));
  const place = tensor(placement(map));
  const means = meansOf(map);
  const assemble = (translated: Tensor, end: Tensor) => {
    const beside = noGrad(() => [copied.embedding(end), ...means(end)]);
    return place.embedding(concat([translated, ...beside])); // (target size, C)
  };
  const C = source.embedding.shape[1];
  const byColumns = headNormalisation === 'columns';
  const sums = product(plan, sourceFactor(source, nu, columns, byColumns)); // (u, 2C + 1)
  const rows = rowNormalisation === 'actual' ? sums.slice(1, 2 * C) : mu.unsqueeze(1); // (u, 1)
  const head = sums.slice(1, C, 2 * C); // (u, C)
  return {
    embedding: assemble(sums.slice(1, 0, C).div(rows), source.embedding),
    head: assemble(byColumns ? head : head.div(rows), source.head),
  };
}

/** The rows of tokens that are never shown (tokens, C), means of those of their pieces; nothing if there are none. */
function meansOf(map: TokenMap): (end: Tensor) => Tensor[] {
  const parts = unseenShares(map);
  if (parts.length === 0) return () => [];
  const rowOf = new Map(unseenIds(map).map((id, i) => [id, i]));
  const rows = tensor(Int32Array.from(parts, p => rowOf.get(p.target)!));
  const sources = tensor(Int32Array.from(parts, p => p.source));
  const shares = tensor(Float32Array.from(parts, p => p.share)).unsqueeze(1); // (pieces, 1)
  return end => [sources.embedding(end).mul(shares).scatterAdd(rows, rowOf.size)];
}

/** Rows of the ends that a plan makes: every token of the target vocabulary. */
export const targetSize = (plan: Plan): number => madeIds(plan).length + plan.specials.length / 2;

/**
 * A stored plan at work on one end of a model, on plain arrays and row by row, so that a matrix need not be in memory.
 */
export interface PlanApplication {
  /** Takes the source's row of a token; each is given once, and in the order of ids for the same bits every time. */
  add(sourceId: number, row: Float32Array): void;
  /** (target size, width), when all rows have been given. */
  result(): Float32Array<ArrayBuffer>;
}

/** Applies a stored plan to one end, a matrix of rows of `width`, row by row. */
export function planApplication(plan: Plan, end: 'embedding' | 'head', width: number): PlanApplication {
  const { pointers, columns, values, mu, nu, targetIds, sourceIds, specials, settings } = plan;
  const totals = settings.rowNormalisation === 'actual' ? rowSums(plan) : mu;
  const byColumns = end === 'head' && settings.headNormalisation === 'columns';
  /** By source id: the target ids that take something of its row, and how much. */
  const uses = new Map<number, { readonly target: number; readonly weight: number }[]>();
  const use = (source: number, target: number, weight: number) => {
    const list = uses.get(source);
    if (list) list.push({ target, weight });
    else uses.set(source, [{ target, weight }]);
  };
  for (let i = 0; i < mu.length; i++) {
    for (let e = pointers[i]; e < pointers[i + 1]; e++) {
      const weight = values[e] / (byColumns ? nu[columns[e]] : totals[i]);
      use(sourceIds[columns[e]], targetIds[i], weight);
    }
  }
  for (const { source, target, share } of unseenShares(plan)) use(source, target, share);
  const copies = new Map<number, number[]>();
  for (let s = 0; s < specials.length; s += 2)
    copies.set(specials[s + 1], [...(copies.get(specials[s + 1]) ?? []), specials[s]]);
  const sums = new Float64Array(targetSize(plan) * width);
  return {
    add(sourceId, row) {
      for (const { target, weight } of uses.get(sourceId) ?? []) {
        const to = target * width;
        for (let c = 0; c < width; c++) sums[to + c] += weight * row[c];
      }
      for (const target of copies.get(sourceId) ?? []) sums.set(row, target * width);
    },
    result: () => new Float32Array(sums),
  };
}

/** The same for a whole matrix: `source` (rows, width) → (target size, width). */
export function applyPlan(
  plan: Plan,
  end: 'embedding' | 'head',
  source: Float32Array,
  width: number,
): Float32Array<ArrayBuffer> {
  const application = planApplication(plan, end, width);
  for (let id = 0; id < source.length / width; id++) application.add(id, source.subarray(id * width, (id + 1) * width));
  return application.result();
}
