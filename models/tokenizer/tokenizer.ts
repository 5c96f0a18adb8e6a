/**
 * Byte-level byte-pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019).
 *
 * Text is UTF-8 bytes, cut into words by a pattern or, as for proteins, not at all. In each word the pair with the
 * lowest rank is merged, leftmost first, until no pair has a rank. A tokenizer is a value: nothing about it changes.
 */
import { sha256, UserError } from '../files.ts';
import { Heap } from './heap.ts';

export interface SpecialTokens {
  /** Begins a sequence; a vocabulary without one uses its end token. */
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  /** Stands for bytes outside the alphabet. */
  readonly unk?: number;
}

export interface TokenizerParts {
  /** The bytes of each token by id; undefined for special tokens and for ids that mean nothing. */
  readonly tokens: readonly (Uint8Array | undefined)[];
  /** Pairs of ids in order of rank, and the id that each pair becomes. */
  readonly merges: readonly { readonly left: number; readonly right: number; readonly merged: number }[];
  /** Cuts text into words; null takes a text as one word. */
  readonly pattern: RegExp | null;
  /** Special tokens by content. */
  readonly special: ReadonlyMap<string, number>;
  /** Which of them play a part; by default told from their content. */
  readonly roles?: SpecialTokens;
}

const roleNames: Record<keyof SpecialTokens, readonly string[]> = {
  bos: ['<s>', '<|begin_of_text|>', '<|startoftext|>', '[BOS]'],
  eos: ['</s>', '<|endoftext|>', '<|end_of_text|>', '[EOS]'],
  pad: ['<pad>', '<|padding|>', '<|pad|>', '[PAD]'],
  unk: ['<unk>', '[UNK]'],
};

/** Two ids as one number, exact for vocabularies up to 2²⁶. */
export const pairKey = (left: number, right: number): number => left * 2 ** 26 + right;

export class Tokenizer {
  readonly parts: TokenizerParts;
  readonly specialTokens: SpecialTokens;
  /** Largest id + 1. */
  readonly vocabSize: number;
  /** SHA-256 of the vocabulary: tokens, merges, special tokens and pattern. Binds a translation plan to it. */
  readonly hash: string;
  private readonly byteIds = new Int32Array(256).fill(-1);
  private readonly ranks = new Map<number, { rank: number; merged: number }>();
  private readonly specialNames: ReadonlyMap<number, string>;
  private readonly words = new Map<string, readonly number[]>();

  constructor(parts: TokenizerParts) {
    this.parts = parts;
    this.vocabSize = Math.max(parts.tokens.length, ...[...parts.special.values()].map(id => id + 1));
    parts.tokens.forEach((bytes, id) => { if (bytes?.length === 1) this.byteIds[bytes[0]] = id; });
    parts.merges.forEach(({ left, right, merged }, rank) => {
      const key = pairKey(left, right);
      if (!this.ranks.has(key)) this.ranks.set(key, { rank, merged });
    });
    this.specialNames = new Map([...parts.special].map(([name, id]) => [id, name]));
    this.specialTokens = { ...rolesByName(parts.special), ...parts.roles };
    this.hash = sha256(JSON.stringify({
      tokens: parts.tokens.map(bytes => (bytes ? Buffer.from(bytes).toString('hex') : null)),
      merges: parts.merges.map(m => [m.left, m.right, m.merged]),
      special: [...parts.special].sort((a, b) => a[1] - b[1]),
      pattern: parts.pattern?.source ?? null,
    }));
  }

  /** Ids of a text. Special tokens in it are text like any other unless `allowSpecial`. */
  encode(text: string, { allowSpecial = false }: { allowSpecial?: boolean } = {}): Int32Array<ArrayBuffer> {
    const ids: number[] = [];
    for (const part of allowSpecial ? this.splitSpecial(text) : [text]) {
      const special = allowSpecial ? this.parts.special.get(part) : undefined;
      if (special !== undefined) ids.push(special);
      else for (const word of this.split(part)) for (const id of this.encodeWord(word)) ids.push(id);
    }
    return Int32Array.from(ids);
  }

  /** Ids of raw bytes, taken as one word. */
  encodeBytes(bytes: Uint8Array): Int32Array<ArrayBuffer> {
    return Int32Array.from(this.merge(bytes));
  }

  /** The bytes that ids stand for; special tokens stand for none. */
  decodeBytes(ids: ArrayLike<number>): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Buffer.concat(Array.from(ids, id => this.tokenBytes(id))));
  }

  /** Text of ids; bytes that are no UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string {
    return new TextDecoder().decode(this.decodeBytes(ids));
  }

  tokenBytes(id: number): Uint8Array {
    const bytes = this.parts.tokens[id];
    if (bytes === undefined && !this.specialNames.has(id)) throw new RangeError(`tokenizer: ${id} is no token of this vocabulary of ${this.vocabSize}`);
    return bytes ?? new Uint8Array();
  }

  isSpecial(id: number): boolean {
    return this.specialNames.has(id);
  }

  /** Ids that stand for bytes, in order: all but special tokens and holes. */
  ordinaryIds(): Int32Array<ArrayBuffer> {
    return Int32Array.from(this.parts.tokens.keys()).filter(id => this.parts.tokens[id] !== undefined && !this.isSpecial(id));
  }

  /** A token for people: its text, bytes that are no text as \xNN. */
  token(id: number): string {
    const special = this.specialNames.get(id);
    if (special !== undefined) return special;
    const bytes = this.tokenBytes(id);
    const text = new TextDecoder().decode(bytes);
    return text.includes('�') ? Array.from(bytes, b => (b >= 32 && b < 127 ? String.fromCharCode(b) : `\\x${b.toString(16).padStart(2, '0')}`)).join('') : text;
  }

  private splitSpecial(text: string): string[] {
    const names = [...this.parts.special.keys()].filter(n => n.length > 0).sort((a, b) => b.length - a.length);
    if (names.length === 0) return [text];
    const any = new RegExp(`(${names.map(n => n.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')})`);
    return text.split(any).filter(part => part.length > 0);
  }

  /** Words of a text: what the pattern matches, and what lies between. */
  private split(text: string): string[] {
    const { pattern } = this.parts;
    if (pattern === null) return text.length > 0 ? [text] : [];
    return splitByPattern(text, pattern);
  }

  private encodeWord(word: string): readonly number[] {
    if (this.parts.pattern === null) return this.merge(utf8.encode(word));
    const known = this.words.get(word);
    if (known) return known;
    const ids = this.merge(utf8.encode(word));
    if (this.words.size < 100_000) this.words.set(word, ids);
    return ids;
  }

  /** The merges of one word: pairs wait in a heap by rank, then position; a linked list tells the neighbours. */
  private merge(bytes: Uint8Array): number[] {
    const symbols = Int32Array.from(bytes, (byte, at) => this.byteId(byte, at));
    const n = symbols.length;
    const next = Int32Array.from(symbols, (_, i) => i + 1);
    const previous = Int32Array.from(symbols, (_, i) => i - 1);
    const heap = new Heap<number>((a, b) => a < b);
    const rankAt = (i: number) => (i >= 0 && next[i] < n ? this.ranks.get(pairKey(symbols[i], symbols[next[i]])) : undefined);
    const offer = (i: number) => {
      const pair = rankAt(i);
      if (pair) heap.push(pair.rank * 2 ** 30 + i);
    };
    for (let i = 0; i < n; i++) offer(i);
    for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
      const i = key % 2 ** 30;
      const pair = symbols[i] >= 0 ? rankAt(i) : undefined;
      if (pair === undefined || pair.rank !== Math.floor(key / 2 ** 30)) continue; // no longer there
      symbols[next[i]] = -1;
      symbols[i] = pair.merged;
      next[i] = next[next[i]];
      if (next[i] < n) previous[next[i]] = i;
      offer(previous[i]);
      offer(i);
    }
    return Array.from(symbols).filter(s => s >= 0);
  }

  private byteId(byte: number, at: number): number {
    const id = this.byteIds[byte] >= 0 ? this.byteIds[byte] : this.specialTokens.unk;
    if (id === undefined) {
      const shown = byte > 32 && byte < 127 ? `'${String.fromCharCode(byte)}'` : `0x${byte.toString(16).padStart(2, '0')}`;
      throw new UserError(`tokenizer: byte ${shown} at offset ${at} is not in the vocabulary, which was trained on text without it`);
    }
    return id;
  }
}

const utf8 = new TextEncoder();

function rolesByName(special: ReadonlyMap<string, number>): SpecialTokens {
  const find = (role: keyof SpecialTokens) => roleNames[role].map(name => special.get(name)).find(id => id !== undefined);
  const [bos, eos, pad, unk] = [find('bos'), find('eos'), find('pad'), find('unk')];
  return { bos: bos ?? eos, eos: eos ?? bos, pad, unk };
}

/** What a global pattern matches, and what lies between matches. */
export function splitByPattern(text: string, pattern: RegExp): string[] {
  const words: string[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) words.push(text.slice(end, match.index));
    if (match[0].length > 0) words.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) words.push(text.slice(end));
  return words;
}

/** GPT-2's words: contractions, letters, digits, other signs, each with the space before it; runs of white space. */
export const gpt2Pattern = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
