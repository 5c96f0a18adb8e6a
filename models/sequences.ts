/**
 * Texts as models read them. A sequence runs from its begin token to its end token, so that every token after the first
 * is scored exactly once. A corpus has millions of them, and a JavaScript object with a typed array for each would take
 * more memory than the ids: they are kept packed, and each is made when it is requested.
 */

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

/** Sequences by their number from 0: an array of them is one such collection, `PackedSequences` another. */
export interface Sequences extends Iterable<Sequence> {
  readonly length: number;
  at(index: number): Sequence | undefined;
}

/** The sum of a figure over sequences. */
export function sumOver(sequences: Iterable<Sequence>, of: (sequence: Sequence) => number): number {
  let sum = 0;
  for (const sequence of sequences) sum += of(sequence);
  return sum;
}

/** Sequences that follow one another in three arrays. */
export interface Pack {
  /** Of all sequences. An id takes two bytes unless the vocabulary is huge. */
  readonly ids: Int32Array | Uint16Array;
  /** Where the ids of each sequence end and those of the next begin. */
  readonly ends: Uint32Array;
  /** Raw bytes of each sequence. */
  readonly bytes: Uint32Array;
}

/** Sequences in packs, eight bytes each beside their ids. */
export class PackedSequences implements Sequences {
  readonly length: number;
  readonly packs: readonly Pack[];
  /** The number of the first sequence of each pack. */
  private readonly firsts: Float64Array;

  constructor(packs: readonly Pack[]) {
    this.packs = packs;
    this.firsts = new Float64Array(packs.length);
    let length = 0;
    packs.forEach(({ ends }, i) => {
      this.firsts[i] = length;
      length += ends.length;
    });
    this.length = length;
  }

  /** The ids are a view of the pack's. */
  at(index: number): Sequence | undefined {
    if (!(Number.isInteger(index) && index >= 0 && index < this.length)) return undefined;
    const { firsts } = this;
    let [low, high] = [0, firsts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (firsts[middle] <= index) low = middle;
      else high = middle;
    }
    return sequenceOf(this.packs[low], index - firsts[low]);
  }

  *[Symbol.iterator](): Iterator<Sequence> {
    for (const pack of this.packs) for (let i = 0; i < pack.ends.length; i++) yield sequenceOf(pack, i);
  }
}

/** Bytes that sequences take packed; those of an array are not counted. */
export const packedBytes = (sequences: Sequences): number =>
  sequences instanceof PackedSequences
    ? sumOfBytes(sequences.packs.flatMap(({ ids, ends, bytes }) => [ids, ends, bytes]))
    : 0;

const sumOfBytes = (arrays: readonly ArrayBufferView[]): number =>
  arrays.reduce((n, { byteLength }) => n + byteLength, 0);

const sequenceOf = ({ ids, ends, bytes }: Pack, i: number): Sequence => ({
  ids: ids.subarray(i > 0 ? ends[i - 1] : 0, ends[i]),
  bytes: bytes[i],
});

/** Ids of a pack, about. */
const packSize = 2 ** 20;

/** Packs sequences as they come. */
export class Packer {
  private packs: Pack[] = [];
  private readonly isSmall: boolean;
  /** Where ids are gathered, pack after pack. */
  private ids: Pack['ids'];
  private used = 0;
  private ends: number[] = [];
  private bytes: number[] = [];

  /** `vocabSize`: all ids are below it. */
  constructor(vocabSize: number) {
    this.isSmall = vocabSize <= 2 ** 16;
    this.ids = this.block(2 ** 10);
  }

  /** Adds the sequence of a begin token, the first `count` tokens of a list and an end token. */
  add(bos: number, tokens: Int32Array, count: number, eos: number, bytes: number): void {
    if (this.used + count + 2 > this.ids.length) {
      this.close();
      const size = Math.max(count + 2, Math.min(packSize, 4 * this.ids.length));
      if (size > this.ids.length) this.ids = this.block(size);
    }
    const { ids } = this;
    let { used } = this;
    ids[used++] = bos;
    for (let i = 0; i < count; i++) ids[used++] = tokens[i];
    ids[used++] = eos;
    this.used = used;
    this.ends.push(used);
    this.bytes.push(bytes);
  }

  /** All that was added since the last call. */
  finish(): PackedSequences {
    this.close();
    const { packs } = this;
    this.packs = [];
    return new PackedSequences(packs);
  }

  private close(): void {
    if (this.ends.length > 0)
      this.packs.push({
        ids: packed<Pack['ids']>(this.ids.subarray(0, this.used), this.isSmall ? Uint16Array : Int32Array),
        ends: packed<Uint32Array>(this.ends, Uint32Array),
        bytes: packed<Uint32Array>(this.bytes, Uint32Array),
      });
    [this.ends, this.bytes, this.used] = [[], [], 0];
  }

  private block(size: number): Pack['ids'] {
    return this.isSmall ? new Uint16Array(size) : new Int32Array(size);
  }
}

/**
 * A copy in shared memory, where a host has it. V8 does not count that towards what makes it collect garbage: each 64
 * MB of ids would have it walk through all texts, in vain and the longer the more there are. Between threads it needs
 * no transfer.
 */
function packed<A extends Pack['ids'] | Uint32Array>(
  values: A | readonly number[],
  type: { readonly BYTES_PER_ELEMENT: number; new (memory: ArrayBufferLike): A },
): A {
  const bytes = values.length * type.BYTES_PER_ELEMENT;
  const copy = new type(
    typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(bytes) : new SharedArrayBuffer(bytes),
  );
  copy.set(values);
  return copy;
}
