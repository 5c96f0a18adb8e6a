/**
 * Training of byte-pair encoding by incremental pair counts: a merge changes only the counts around its occurrences,
 * so a vocabulary costs about one pass over the text and not one pass a merge. Ties go to the smaller ids, with bytes
 * in the order of their characters in `tokenizer.json`, as in Hugging Face's trainer; so the result does not depend on
 * the order of documents.
 *
 * Every merge makes a new token. A pair whose bytes are those of an earlier token (a|bc after ab|c) is left alone,
 * where Hugging Face's trainer merges it into that token: `tokenizer.json` names tokens by their text, and with ranks
 * in the order of ids the state of training is the encoding of the training text, so one merge more can only shorten
 * it.
 */
import { UserError } from '../errors.ts';
import { nextTurn } from '../turn.ts';
import { isUtf8 } from '../utf8.ts';
import { specialToken } from './added.ts';
import { decodeUtf8, encodeUtf8 } from './alphabet.ts';
import { concatBytes, writeBytes } from './bytes.ts';
import { Pairs, type Words } from './pairs.ts';
import { compileSplits, type Splitter } from './pattern.ts';
import { Tokenizer, type Merge } from './tokenizer.ts';
import type { Units } from './units.ts';
import { larger, WordTable } from './words.ts';

/** What a tokenizer is trained for. */
export interface TrainOptions {
  /** Tokens in all: special tokens, bytes, merges. The result has fewer when the text runs out of pairs. */
  readonly vocabSize: number;
  /**
   * Cuts documents into words that no merge crosses; null merges across whole documents, as for proteins. It is read
   * in the dialect of `tokenizer.json`, see pattern-syntax.ts; so is the source of an expression.
   */
  readonly pattern?: string | RegExp | null;
  /** The first ids; by default begin, end and padding, and the unknown token unless all 256 bytes are tokens. */
  readonly specialTokens?: readonly string[];
  /**
   * Bytes that are tokens: all 256, those of the text, or those of the text and these. By default all where the text
   * goes beyond ASCII (it will hold characters that it has not held yet) and half the vocabulary is left for merges,
   * else those of the text. Any other byte is the unknown token, or an error in `encode` where there is none.
   */
  readonly alphabet?: 'bytes' | 'seen' | Uint8Array;
  /** A pair is merged only if it occurs at least so often. */
  readonly minFrequency?: number;
  /** Called after every merge with the tokens made so far. */
  readonly onProgress?: (tokens: number, vocabSize: number) => void;
}

/** Begin, end and padding, ids 0 to 2. */
export const defaultSpecialTokens = ['<s>', '</s>', '<pad>'];
/** What stands for bytes outside the alphabet. */
export const unknownToken = '<unk>';

type Documents = Iterable<string | Uint8Array>;

/** Trains a tokenizer on documents, in one go. @throws UserError for a vocabulary too small for its alphabet. */
export function trainBPE(documents: Documents, options: TrainOptions): Tokenizer {
  const counter = new WordCounter(options.pattern);
  for (const document of documents) counter.add(document);
  const training = trainOn(counter.take(), options);
  for (;;) {
    const { done, value } = training.next();
    if (done) return value;
  }
}

/**
 * As `trainBPE`, for documents that may come in batches over time. The host gets a turn at least every so often, so
 * that signals are heard; an aborted one ends the training with its reason.
 */
export async function trainBPEAsync(
  batches: Iterable<Documents> | AsyncIterable<Documents>,
  options: TrainOptions & { readonly signal?: AbortSignal },
): Promise<Tokenizer> {
  const pause = pauser(options.signal);
  const counter = new WordCounter(options.pattern);
  for await (const documents of batches) {
    for (const document of documents) {
      counter.add(document);
      if (pause.isDue()) await pause.now();
    }
  }
  const training = trainOn(counter.take(), options);
  for (;;) {
    const { done, value } = training.next();
    if (done) return value;
    if (pause.isDue()) await pause.now();
  }
}

/** Gives the host a turn every 50 ms, and throws the signal's reason where it is aborted. */
export function pauser(signal?: AbortSignal): { isDue: () => boolean; now: () => Promise<void> } {
  let last = performance.now();
  return {
    isDue: () => performance.now() - last > 50,
    now: async () => {
      await nextTurn();
      signal?.throwIfAborted();
      last = performance.now();
    },
  };
}

function* trainOn(words: Words, options: TrainOptions): Generator<void, Tokenizer> {
  const { vocabSize, pattern = null, minFrequency = 2, onProgress } = options;
  const bytes = alphabetOf(words, options);
  const specialTokens =
    options.specialTokens ?? (bytes.length < 256 ? [...defaultSpecialTokens, unknownToken] : defaultSpecialTokens);
  checkSize(vocabSize, specialTokens.length, bytes.length);

  const tokens: (Uint8Array | undefined)[] = [
    ...specialTokens.map(() => undefined),
    ...bytes.map(b => Uint8Array.of(b)),
  ];
  const names = firstNames(specialTokens, bytes);
  const merges: Merge[] = [];
  // A merge takes at least one byte away: more tokens than bytes there will not be.
  const most = Math.min(vocabSize, tokens.length + words.lengths.reduce((sum, length) => sum + length, 0));
  const lengths = new Int32Array(most).fill(1);
  const idOfByte = new Int32Array(256).fill(-1);
  bytes.forEach((byte, i) => (idOfByte[byte] = specialTokens.length + i));
  const pairs = new Pairs(words, lengths);
  yield* pairs.read(words, idOfByte);
  while (tokens.length < most) {
    const best = pairs.pop();
    if (!best || best.count < minFrequency) break;
    const { left, right } = best;
    const joined = concatBytes([tokens[left]!, tokens[right]!]);
    const name = writeBytes(joined);
    if (names.has(name)) continue;
    names.add(name);
    const merged = tokens.length;
    tokens.push(joined);
    merges.push({ left, right, merged });
    lengths[merged] = joined.length;
    yield* pairs.merge(left, right, merged);
    onProgress?.(tokens.length, vocabSize);
    yield;
  }
  const splits = pattern ? [{ pattern: sourceOf(pattern) }] : [];
  return new Tokenizer({ tokens, merges, splits, added: specialTokens.map(specialToken) });
}

function checkSize(vocabSize: number, special: number, bytes: number): void {
  if (Number.isInteger(vocabSize) && vocabSize >= special + bytes) return;
  throw new UserError(
    `tokenizer: a vocabulary of ${vocabSize} is too small: ${special} special tokens and ${bytes} bytes make ` +
      `${special + bytes}`,
  );
}

/** The first tokens as `tokenizer.json` names them. */
function firstNames(specialTokens: readonly string[], bytes: readonly number[]): Set<string> {
  const names = new Set([...specialTokens, ...bytes.map(b => writeBytes(Uint8Array.of(b)))]);
  if (names.has('') || names.size < specialTokens.length + bytes.length) {
    throw new UserError(
      'tokenizer: specialTokens must differ from each other, from the empty text and from single bytes',
    );
  }
  return names;
}

/** The bytes that are tokens, in the order of their characters in `tokenizer.json`. */
function alphabetOf({ blocks }: Words, { alphabet, vocabSize }: TrainOptions): number[] {
  const seen = new Uint8Array(256);
  for (const block of blocks) for (let i = 0; i < block.length; i++) seen[block[i]] = 1;
  const all = alphabet === 'bytes' || (alphabet === undefined && vocabSize >= 512 && seen.includes(1, 128));
  if (all) seen.fill(1);
  if (alphabet instanceof Uint8Array) for (const byte of alphabet) seen[byte] = 1;
  const place = (byte: number) => writeBytes(Uint8Array.of(byte)).charCodeAt(0);
  return [...seen.keys()].filter(byte => seen[byte] === 1).sort((a, b) => place(a) - place(b));
}

function sourceOf(pattern: string | RegExp): string {
  if (typeof pattern === 'string') return pattern;
  if (/[ims]/.test(pattern.flags))
    throw new UserError(
      `tokenizer: pattern has the flags "${pattern.flags}"; of them tokenizer.json keeps none but "g", "u" and "v"`,
    );
  return pattern.source;
}

/** Bytes of a block of words, at most. */
const blockSize = 2 ** 22;

/**
 * Words and how often each occurs. With a pattern each word that differs is kept once, without one every document is a
 * word. A document that is not UTF-8 is one word.
 */
class WordCounter {
  private readonly split: Splitter | undefined;
  private readonly table = new WordTable();
  /** How often each word of the table occurs. */
  private counts = new Int32Array(1024);
  private readonly blocks: Uint8Array[] = [];
  private block = new Uint8Array(0);
  private used = 0;
  private lengths = new Int32Array(1024);
  private words = 0;

  constructor(pattern: string | RegExp | null = null) {
    this.split = pattern ? compileSplits([{ pattern: sourceOf(pattern) }]) : undefined;
  }

  add(document: string | Uint8Array): void {
    if (typeof document !== 'string' && (!this.split || !isUtf8(document))) return this.append(document);
    const text = typeof document === 'string' ? document : decodeUtf8(document);
    if (!this.split) return this.append(encodeUtf8(text));
    this.split(text, this.count);
  }

  private readonly count = (piece: Units, from: number, to: number): void => {
    const number = this.table.number(piece, from, to);
    if (number === this.counts.length) this.counts = larger(this.counts, 0, Int32Array);
    this.counts[number]++;
  };

  take(): Words {
    const whole = this.words;
    for (let number = 0; number < this.table.size; number++) this.append(encodeUtf8(this.table.word(number)));
    this.blocks.push(this.block.subarray(0, this.used));
    const lengths = this.lengths.slice(0, this.words);
    if (!this.split) return { blocks: this.blocks, lengths };
    const counts = new Int32Array(this.words).fill(1, 0, whole);
    counts.set(this.counts.subarray(0, this.table.size), whole);
    return { blocks: this.blocks, lengths, counts };
  }

  private append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    for (let from = 0; from < bytes.length; ) {
      if (this.used === this.block.length) {
        if (this.used > 0) this.blocks.push(this.block);
        this.block = new Uint8Array(Math.min(blockSize, Math.max(1024, 4 * this.used)));
        this.used = 0;
      }
      const part = bytes.subarray(from, from + this.block.length - this.used);
      this.block.set(part, this.used);
      this.used += part.length;
      from += part.length;
    }
    if (this.words === this.lengths.length) this.lengths = larger(this.lengths, 0, Int32Array);
    this.lengths[this.words++] = bytes.length;
  }
}
