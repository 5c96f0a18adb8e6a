/**
 * From token sequences to batches. A sequence runs from its begin token to its end token, so that every token after
 * the first is scored exactly once. Which batch comes at which step is a function of the seed alone: a run resumes at
 * any step without having stored where it was in the data.
 */
import { type Random, tensor, type Tensor } from '../engine/index.ts';

export interface Sequence {
  /** Begin token, tokens, end token. */
  readonly ids: Int32Array;
  /** Raw bytes that the scored tokens stand for; the end token stands for none. */
  readonly bytes: number;
  /** Tokens after the first that are context only: read, but not scored. */
  readonly context?: number;
}

/** Tokens of a sequence that are scored: all after the first, but for those that are context only. */
export const scoredTokens = ({ ids, context = 0 }: Sequence): number => ids.length - 1 - context;

export interface Batch {
  /** (B, T), padded with 0 after the end. */
  readonly inputs: Int32Array<ArrayBuffer>;
  /** (B, T): the token after each input, −100 where there is none. */
  readonly targets: Int32Array<ArrayBuffer>;
  readonly shape: readonly [number, number];
  /** Scored tokens, without padding. */
  readonly tokens: number;
  readonly bytes: number;
}

/** Joins sequences to one batch, padded to the longest. */
export function makeBatch(sequences: readonly Sequence[]): Batch {
  const T = Math.max(...sequences.map(s => s.ids.length)) - 1;
  const inputs = new Int32Array(sequences.length * T);
  const targets = new Int32Array(sequences.length * T).fill(-100);
  let [tokens, bytes] = [0, 0];
  sequences.forEach((s, row) => {
    inputs.set(s.ids.subarray(0, -1), row * T);
    const { context = 0 } = s;
    targets.set(s.ids.subarray(1 + context), row * T + context);
    tokens += scoredTokens(s);
    bytes += s.bytes;
  });
  return { inputs, targets, shape: [sequences.length, T], tokens, bytes };
}

export const batchTensors = (batch: Batch): { ids: Tensor; targets: Tensor } => ({
  ids: tensor(batch.inputs, { shape: batch.shape }), // (B, T)
  targets: tensor(batch.targets), // (B·T)
});

/** Groups sequences, longest neighbours together, so that rows × longest stays within `tokens`. */
export function groupByLength(sequences: readonly Sequence[], tokens: number): Sequence[][] {
  const groups: Sequence[][] = [];
  let group: Sequence[] = [];
  for (const s of [...sequences].sort((a, b) => a.ids.length - b.ids.length)) {
    if (group.length > 0 && (group.length + 1) * (s.ids.length - 1) > tokens) {
      groups.push(group);
      group = [];
    }
    group.push(s);
  }
  if (group.length > 0) groups.push(group);
  return groups;
}

/**
 * The groups of sequences of one pass over the data: shuffled, and sorted by length only within pools of about 16
 * batches, so that little is padded and much is random.
 */
export function epoch(sequences: readonly Sequence[], tokens: number, random: Random): Sequence[][] {
  const order = random.shuffle([...sequences]);
  const total = order.reduce((sum, s) => sum + s.ids.length - 1, 0);
  const perPool = Math.max(1, Math.ceil((16 * tokens * order.length) / Math.max(1, total)));
  const groups: Sequence[][] = [];
  for (let i = 0; i < order.length; i += perPool) groups.push(...groupByLength(order.slice(i, i + perPool), tokens));
  return random.shuffle(groups);
}

/** A budget of training data, in scored tokens or in raw bytes. */
export interface Budget {
  readonly unit: 'tokens' | 'bytes';
  readonly amount: number;
}

/** The batches of a run, pass after pass over the data, until a budget is spent. */
export function planBatches(
  sequences: readonly Sequence[],
  tokensPerBatch: number,
  budget: Budget,
  random: Random,
): Sequence[][] {
  if (sequences.length === 0) throw new Error('planBatches: there is no sequence to train on');
  const plan: Sequence[][] = [];
  let spent = 0;
  for (let pass = 0; spent < budget.amount; pass++) {
    for (const group of epoch(sequences, tokensPerBatch, random.split(`epoch ${pass}`))) {
      if (spent >= budget.amount) break;
      plan.push(group);
      for (const s of group) spent += budget.unit === 'tokens' ? scoredTokens(s) : s.bytes;
    }
  }
  return plan;
}

/**
 * Cuts one long stream into windows of `length` tokens after the first, so that every token is scored once. The last
 * `overlap` tokens of a window are read again at the beginning of the next, as context: beyond the first window no
 * token is scored with fewer before it.
 */
export function windows(stream: Int32Array, length: number, bytesOf: (id: number) => number, overlap = 0): Sequence[] {
  if (!(overlap >= 0 && overlap < length))
    throw new Error(`windows: an overlap of ${overlap} does not fit into windows of ${length}`);
  const out: Sequence[] = [];
  for (let start = 0; start + length < stream.length; start += length - overlap) {
    const ids = stream.slice(start, start + length + 1);
    const context = start === 0 ? 0 : overlap;
    let bytes = 0;
    for (let i = 1 + context; i < ids.length; i++) bytes += bytesOf(ids[i]);
    out.push({ ids, bytes, context });
  }
  return out;
}
