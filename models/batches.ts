/**
 * From token sequences to batches. Which batch comes at which step is a function of the seed alone: a run resumes at
 * any step without having stored where it was in the data.
 */
import { type Random, tensor, type Tensor } from '../engine/index.ts';
import { scoredTokens, sumOver, type Sequence, type Sequences } from './sequences.ts';

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

/** The length of each of given sequences. */
export function lengthsOf(sequences: Sequences): Int32Array {
  const lengths = new Int32Array(sequences.length);
  let i = 0;
  for (const { ids } of sequences) lengths[i++] = ids.length;
  return lengths;
}

/** Groups sequences, longest neighbours together, so that rows × longest stays within `tokens`. */
export function groupByLength(sequences: Sequences, tokens: number): Sequence[][] {
  const lengths = lengthsOf(sequences);
  return [
    ...groups(
      lengths.map((_, i) => i),
      lengths,
      tokens,
    ),
  ].map(group => sequencesOf(group, sequences));
}

/** The same of their numbers: sorts `numbers` by length and gives the groups as parts of it. */
function* groups(numbers: Int32Array, lengths: Int32Array, tokens: number): Generator<Int32Array> {
  numbers.sort((a, b) => lengths[a] - lengths[b]);
  let from = 0;
  for (let to = 1; to <= numbers.length; to++) {
    if (to < numbers.length && (to + 1 - from) * (lengths[numbers[to]] - 1) <= tokens) continue;
    yield numbers.subarray(from, to);
    from = to;
  }
}

const sequencesOf = (group: Int32Array, sequences: Sequences): Sequence[] => Array.from(group, i => sequences.at(i)!);

/**
 * One pass over sequences of given lengths: the numbers of those of each group. They are shuffled, and sorted by length
 * only within pools of about 16 batches, so that little is padded and much is random.
 */
export function epoch(lengths: Int32Array, tokens: number, random: Random): Int32Array[] {
  const order = random.shuffle(lengths.map((_, i) => i));
  const total = lengths.reduce((sum, length) => sum + length - 1, 0);
  const perPool = Math.max(1, Math.ceil((16 * tokens * order.length) / Math.max(1, total)));
  const all: Int32Array[] = [];
  for (let i = 0; i < order.length; i += perPool)
    for (const group of groups(order.subarray(i, i + perPool), lengths, tokens)) all.push(group);
  return random.shuffle(all);
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
  for (const group of batches) tokens += sumOver(group, scoredTokens);
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
  sequences: Sequences,
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
  private readonly sequences: Sequences;
  private readonly groupsOf: (order: number) => Int32Array[];
  private last: { readonly order: number; readonly groups: readonly Int32Array[] } | undefined;

  constructor(
    sequences: Sequences,
    tokensPerBatch: number,
    { unit, amount }: Budget,
    random: Random,
    distinct: number,
  ) {
    if (sequences.length === 0) throw new Error('planBatches: no sequences to train on');
    const spend = (list: Iterable<Sequence>, in_ = unit): number =>
      sumOver(list, in_ === 'tokens' ? scoredTokens : s => s.bytes);
    const perPass = spend(sequences);
    if (perPass === 0) throw new Error(`planBatches: the sequences have no ${unit} to spend the budget on`);
    this.sequences = sequences;
    const lengths = lengthsOf(sequences);
    this.groupsOf = order => epoch(lengths, tokensPerBatch, random.split(`epoch ${order}`));
    this.cycle = Math.max(2, Math.floor(distinct / sequences.length));
    // All passes but the last are whole.
    const whole = Math.max(0, Math.ceil(amount / perPass) - 1);
    let spent = whole * perPass;
    let tokens = whole * spend(sequences, 'tokens');
    let steps = this.stepsBefore(whole);
    for (const numbers of amount > 0 ? this.groups(whole % this.cycle) : []) {
      if (spent >= amount) break;
      const group = sequencesOf(numbers, sequences);
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
    const group: Int32Array | undefined = this.groups(order)[rest - this.starts[order]];
    return group && sequencesOf(group, this.sequences);
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

  private groups(order: number): readonly Int32Array[] {
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
