/**
 * From token sequences to batches. A sequence runs from its begin token to its end token, so that every token after
 * the first is scored exactly once. Which batch comes at which step is a function of the seed alone: a run resumes at
 * any step without having stored where it was in the data.
 */
import { type Random, tensor, type Tensor } from '../engine/index.ts';

/** A text as a model reads it: its tokens, and the bytes that they stand for. */
export interface Sequence {
  /** Begin token, tokens, end token. */
  readonly ids: Int32Array | Uint16Array;
  /** Raw bytes that the scored tokens stand for; the end token stands for none. */
  readonly bytes: number;
  /** Tokens after the first that are context only: read, but not scored. */
  readonly context?: number;
}

/** Tokens of a sequence that are scored: all after the first, but for those that are context only. */
export const scoredTokens = ({ ids, context = 0 }: Sequence): number => ids.length - 1 - context;

/** Sequences side by side, padded to the longest, as the model takes them. */
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

/** The inputs (B, T) and targets (B·T) of a batch as int32 tensors. */
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

/** What a run trains on, in order. An array of batches is one; so is a plan, which makes them when asked. */
export interface Batches extends Iterable<readonly Sequence[]> {
  readonly length: number;
  /** Scored tokens of all of them, where that is known. */
  readonly tokens?: number;
  at(step: number): readonly Sequence[] | undefined;
}

/** Scored tokens of all batches. */
export function tokensIn(batches: Batches): number {
  if (batches.tokens !== undefined) return batches.tokens;
  let tokens = 0;
  for (const group of batches) for (const s of group) tokens += scoredTokens(s);
  return tokens;
}

/**
 * The batches of a run, pass after pass over the data, until a budget is spent. A plan stores one pass at a time: a
 * batch is a function of the seed and the step, so a budget of any size costs no memory.
 *
 * `distinct` bounds the orders of the data that differ, counted in sequences: a longer run goes through the same orders
 * again.
 *
 * @throws Error if there is no sequence, or none that counts towards the budget.
 */
export function planBatches(
  sequences: readonly Sequence[],
  tokensPerBatch: number,
  budget: Budget,
  random: Random,
  distinct = 2 ** 18,
): BatchPlan {
  return new BatchPlan(sequences, tokensPerBatch, budget, random, distinct);
}

/** The batches of a run, each made when it is requested; `planBatches` makes one. */
export class BatchPlan implements Batches {
  /** Batches in all. */
  readonly length: number;
  /** Scored tokens in all. */
  readonly tokens: number;
  /** Orders that differ; pass p has the order p mod cycle. */
  private readonly cycle: number;
  /** The first step of each of the first passes, and where the last of them ends. */
  private readonly starts: number[] = [0];
  private readonly groupsOf: (order: number) => Sequence[][];
  private last: { readonly order: number; readonly groups: Sequence[][] } | undefined;

  constructor(
    sequences: readonly Sequence[],
    tokensPerBatch: number,
    { unit, amount }: Budget,
    random: Random,
    distinct: number,
  ) {
    if (sequences.length === 0) throw new Error('planBatches: no sequences to train on');
    const spend = (list: readonly Sequence[], in_ = unit): number =>
      list.reduce((sum, s) => sum + (in_ === 'tokens' ? scoredTokens(s) : s.bytes), 0);
    const perPass = spend(sequences);
    if (perPass === 0) throw new Error(`planBatches: the sequences have no ${unit} to spend the budget on`);
    this.groupsOf = order => epoch(sequences, tokensPerBatch, random.split(`epoch ${order}`));
    this.cycle = Math.max(2, Math.floor(distinct / sequences.length));
    // All passes but the last are whole.
    const whole = Math.max(0, Math.ceil(amount / perPass) - 1);
    let spent = whole * perPass;
    let tokens = whole * spend(sequences, 'tokens');
    let steps = this.stepsBefore(whole);
    for (const group of amount > 0 ? this.groups(whole % this.cycle) : []) {
      if (spent >= amount) break;
      spent += spend(group);
      tokens += spend(group, 'tokens');
      steps++;
    }
    [this.length, this.tokens] = [steps, tokens];
  }

  at(step: number): readonly Sequence[] | undefined {
    if (!(step >= 0 && step < this.length)) return undefined;
    const ofCycle = this.starts.length > this.cycle ? this.starts[this.cycle] : Infinity;
    const rest = step % ofCycle;
    let order = this.starts.length - 1;
    while (this.starts[order] > rest) order--;
    return this.groups(order)[rest - this.starts[order]];
  }

  *[Symbol.iterator](): Iterator<readonly Sequence[]> {
    for (let step = 0; step < this.length; step++) yield this.at(step)!;
  }

  /** The batches that follow those of a plan for a smaller budget, which is the beginning of this one. */
  after(earlier: BatchPlan): Batches {
    const at = (step: number) => this.at(earlier.length + step);
    const length = this.length - earlier.length;
    return {
      length,
      tokens: this.tokens - earlier.tokens,
      at: step => (step < 0 ? undefined : at(step)),
      *[Symbol.iterator]() {
        for (let step = 0; step < length; step++) yield at(step)!;
      },
    };
  }

  /** Steps of so many whole passes; remembers where each of them begins. */
  private stepsBefore(passes: number): number {
    while (this.starts.length <= Math.min(passes, this.cycle))
      this.starts.push(this.starts[this.starts.length - 1] + this.groups(this.starts.length - 1).length);
    const cycles = Math.floor(passes / this.cycle);
    return (cycles > 0 ? cycles * this.starts[this.cycle] : 0) + this.starts[passes % this.cycle];
  }

  private groups(order: number): Sequence[][] {
    if (this.last?.order !== order) this.last = { order, groups: this.groupsOf(order) };
    return this.last.groups;
  }
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
