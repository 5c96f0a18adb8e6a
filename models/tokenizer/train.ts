/**
 * Training of byte-pair encoding by incremental pair counts: a merge changes only the counts around its occurrences,
 * so a vocabulary costs about one pass over the text and not one pass a merge. Ties go to the smaller ids, so the
 * result does not depend on the order of documents.
 *
 * Every merge makes a new token. A pair whose bytes are those of an earlier token (a|bc after ab|c) is left alone:
 * `tokenizer.json` names tokens by their text, and with ranks in the order of ids the state of training is the
 * encoding of the training text, so one merge more can only shorten it.
 */
import { isUtf8 } from '../utf8.ts';
import { UserError } from '../errors.ts';
import { specialToken } from './added.ts';
import { decodeUtf8, encodeUtf8 } from './alphabet.ts';
import { writeBytes } from './bytes.ts';
import { Heap } from './heap.ts';
import { compilePattern, splitWords } from './pattern.ts';
import { pairKey, Tokenizer, type Merge } from './tokenizer.ts';

export interface TrainOptions {
  /** Tokens in all: special tokens, bytes, merges. The result has fewer when the text runs out of pairs. */
  readonly vocabSize: number;
  /**
   * Cuts documents into words that no merge crosses; null merges across whole documents, as proteins want it. Its
   * source is read in the dialect of `tokenizer.json`, see pattern.ts.
   */
  readonly pattern?: RegExp | null;
  /** The first ids. */
  readonly specialTokens?: readonly string[];
  /** All 256 bytes, or only those of the text; an unseen byte is then an error in `encode`, or the unknown token. */
  readonly alphabet?: 'bytes' | 'seen';
  /** A pair is merged only if it occurs at least so often. */
  readonly minFrequency?: number;
  /** Called after every merge with the tokens made so far. */
  readonly onProgress?: (tokens: number, vocabSize: number) => void;
}

export const defaultSpecialTokens = ['<s>', '</s>', '<pad>'];

export function trainBPE(documents: Iterable<string | Uint8Array>, options: TrainOptions): Tokenizer {
  const {
    vocabSize,
    pattern = null,
    specialTokens = defaultSpecialTokens,
    alphabet = 'bytes',
    minFrequency = 2,
    onProgress,
  } = options;
  if (pattern && /[ims]/.test(pattern.flags))
    throw new UserError(
      `tokenizer: pattern has the flags "${pattern.flags}"; of them tokenizer.json keeps none but "g", "u" and "v"`,
    );
  const patterns = pattern ? [pattern.source] : [];
  const words = countWords(documents, patterns.map(compilePattern));
  const bytes = alphabet === 'bytes' ? Array.from({ length: 256 }, (_, b) => b) : bytesOf(words);
  checkSize(vocabSize, specialTokens.length, bytes.length);

  const tokens: (Uint8Array | undefined)[] = [
    ...specialTokens.map(() => undefined),
    ...bytes.map(b => Uint8Array.of(b)),
  ];
  const names = firstNames(specialTokens, bytes);
  const merges: Merge[] = [];
  const pairs = new Pairs(words, byte => specialTokens.length + bytes.indexOf(byte));
  while (tokens.length < vocabSize) {
    const best = pairs.pop();
    if (!best || best.count < minFrequency) break;
    const { left, right } = best;
    const joined = new Uint8Array(Buffer.concat([tokens[left]!, tokens[right]!]));
    const name = writeBytes(joined);
    if (names.has(name)) continue;
    names.add(name);
    const merged = tokens.length;
    tokens.push(joined);
    merges.push({ left, right, merged });
    pairs.merge(left, right, merged);
    onProgress?.(tokens.length, vocabSize);
  }
  return new Tokenizer({ tokens, merges, patterns, added: specialTokens.map(specialToken) });
}

function checkSize(vocabSize: number, special: number, bytes: number): void {
  if (Number.isInteger(vocabSize) && vocabSize >= special + bytes) return;
  throw new UserError(
    `tokenizer: a vocabulary of ${vocabSize} is too small: ${special} special tokens and ${bytes} bytes make ${special + bytes}`,
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

/** Words and how often each occurs, in order of first occurrence. A document that is no UTF-8 is one word. */
function countWords(documents: Iterable<string | Uint8Array>, patterns: readonly RegExp[]): [Uint8Array, number][] {
  const counts = new Map<string, number>();
  const raw: [Uint8Array, number][] = [];
  for (const document of documents) {
    if (typeof document !== 'string' && !isUtf8(document)) raw.push([document, 1]);
    else {
      const text = typeof document === 'string' ? document : decodeUtf8(document);
      for (const word of splitWords(text, patterns)) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return [...Array.from(counts, ([word, count]): [Uint8Array, number] => [encodeUtf8(word), count]), ...raw];
}

function bytesOf(words: readonly [Uint8Array, number][]): number[] {
  const seen = new Set<number>();
  for (const [word] of words) for (const byte of word) seen.add(byte);
  return [...seen].sort((a, b) => a - b);
}

interface Candidate {
  readonly left: number;
  readonly right: number;
  readonly count: number;
}

/**
 * All words as one list of symbols with links to the neighbours within the word, the count of every pair, and where it
 * has occurred. Places and heap entries go stale and are checked when used.
 */
class Pairs {
  private readonly symbols: Int32Array;
  /** Position of the neighbour in the word, −1 at its ends. */
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** How often the word of a position occurs. */
  private readonly weight: Int32Array;
  private readonly counts = new Map<number, number>();
  private readonly places = new Map<number, number[]>();
  private readonly heap = new Heap<Candidate>((a, b) =>
    a.count !== b.count ? a.count > b.count : a.left !== b.left ? a.left < b.left : a.right < b.right,
  );

  constructor(words: readonly [Uint8Array, number][], idOfByte: (byte: number) => number) {
    const byteIds = Int32Array.from({ length: 256 }, (_, byte) => idOfByte(byte));
    const size = words.reduce((sum, [word]) => sum + word.length, 0);
    [this.symbols, this.next, this.previous, this.weight] = Array.from({ length: 4 }, () => new Int32Array(size));
    let at = 0;
    for (const [word, count] of words) {
      word.forEach((byte, i) => {
        this.symbols[at] = byteIds[byte];
        this.previous[at] = i > 0 ? at - 1 : -1;
        this.next[at] = i + 1 < word.length ? at + 1 : -1;
        this.weight[at] = count;
        at++;
      });
    }
    const changed = new Set<number>();
    for (let p = 0; p < size; p++) this.count(p, 1, changed);
    this.offer(changed);
  }

  /** The most frequent pair. */
  pop(): Candidate | undefined {
    for (let best = this.heap.pop(); best; best = this.heap.pop()) {
      if (best.count > 0 && this.counts.get(pairKey(best.left, best.right)) === best.count) return best;
    }
    return undefined;
  }

  /**
   * Replaces every occurrence of a pair, left to right in each word. Only the pair of a token with itself overlaps, and
   * its places stand in order: all come from the one pass, left to right, that made the token.
   */
  merge(left: number, right: number, merged: number): void {
    const { symbols, next, previous } = this;
    const key = pairKey(left, right);
    const changed = new Set<number>();
    const places = this.places.get(key) ?? [];
    this.places.delete(key);
    for (const p of places) {
      const q = next[p];
      if (symbols[p] !== left || q < 0 || symbols[q] !== right) continue;
      this.count(previous[p], -1, changed);
      this.count(q, -1, changed);
      symbols[p] = merged;
      symbols[q] = -1;
      next[p] = next[q];
      if (next[q] >= 0) previous[next[q]] = p;
      this.count(previous[p], 1, changed);
      this.count(p, 1, changed);
    }
    this.counts.delete(key);
    changed.delete(key);
    this.offer(changed);
  }

  /** Adds (sign 1) or takes away (−1) the pair that begins at p. */
  private count(p: number, sign: 1 | -1, changed: Set<number>): void {
    if (p < 0 || this.next[p] < 0) return;
    const key = pairKey(this.symbols[p], this.symbols[this.next[p]]);
    this.counts.set(key, (this.counts.get(key) ?? 0) + sign * this.weight[p]);
    changed.add(key);
    if (sign < 0) return;
    const places = this.places.get(key);
    if (places) places.push(p);
    else this.places.set(key, [p]);
  }

  private offer(keys: Iterable<number>): void {
    for (const key of keys) {
      const count = this.counts.get(key) ?? 0;
      if (count > 0) this.heap.push({ left: Math.floor(key / 2 ** 26), right: key % 2 ** 26, count });
    }
  }
}
