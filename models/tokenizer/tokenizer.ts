/**
 * Byte-pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019).
 *
 * A text is normalised, cut into words by patterns or, as for proteins, not at all, and every word into the symbols of
 * an alphabet. In each word the pair with the lowest rank is merged, leftmost first, until no pair has a rank. A
 * tokenizer is a value: nothing about it changes.
 */
import { isUtf8 } from '../utf8.ts';
import { sha256 } from '../sha256.ts';
import { addedSplitter, type AddedToken, type Part, type SplitAdded } from './added.ts';
import {
  byteAlphabet,
  characterAlphabet,
  decodeUtf8,
  UnknownByte,
  encodeUtf8,
  type Alphabet,
  type CharacterUnits,
} from './alphabet.ts';
import { Heap } from './heap.ts';
import { compilePattern, splitWords } from './pattern.ts';

export interface SpecialTokens {
  /** Begins a sequence; a vocabulary without one uses its end token. */
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  /** Stands for bytes outside the alphabet. */
  readonly unk?: number;
}

/** Two neighbours, by id, and what they become. */
export interface Merge {
  readonly left: number;
  readonly right: number;
  readonly merged: number;
}

export interface TokenizerParts {
  /** The bytes of each token by id; undefined for special tokens and for ids that mean nothing. */
  readonly tokens: readonly (Uint8Array | undefined)[];
  /** In order of rank. */
  readonly merges: readonly Merge[];
  readonly added: readonly AddedToken[];
  /** Patterns that cut text into words, one after another, in the dialect of pattern.ts; none takes a text as one word. */
  readonly patterns: readonly string[];
  /** Which special tokens play a part; by default told from their content. */
  readonly roles?: SpecialTokens;
  /** Text is brought into Unicode's normal form C. */
  readonly nfc?: boolean;
  /** A word that is a token is that token, whatever its merges would make of it. */
  readonly ignoreMerges?: boolean;
  /** Symbols are characters and not bytes. */
  readonly characters?: CharacterUnits;
  /** Kept as read, for writing: what other libraries put around a text. */
  readonly postProcessor?: unknown;
}

export interface EncodeOptions {
  /** Whether special tokens in the text are what they name, and not text like any other. */
  readonly allowSpecial?: boolean;
}

const roleNames: Record<keyof SpecialTokens, readonly string[]> = {
  bos: ['<s>', '<|begin_of_text|>', '<|startoftext|>', '[BOS]'],
  eos: ['</s>', '<|endoftext|>', '<|end_of_text|>', '[EOS]'],
  pad: ['<pad>', '<|padding|>', '<|pad|>', '[PAD]'],
  unk: ['<unk>', '[UNK]'],
};

/** Two ids as one number, exact for vocabularies up to 2²⁶. */
export const pairKey = (left: number, right: number): number => left * 2 ** 26 + right;

/** Words up to this length, in UTF-16 units, are remembered with their tokens. */
const longestCached = 64;
const mostCached = 100_000;

export class Tokenizer {
  /** What it was made of, and of the added tokens the special ones as a map from content to id. */
  readonly parts: TokenizerParts & { readonly special: ReadonlyMap<string, number> };
  readonly specialTokens: SpecialTokens;
  /** Largest id + 1. */
  readonly vocabSize: number;
  /**
   * SHA-256 of the vocabulary and of all that decides an encoding, as the JSON that `canonical` makes of it. Binds a
   * translation plan to its vocabularies.
   */
  readonly hash: string;
  private readonly alphabet: Alphabet;
  private readonly patterns: readonly RegExp[];
  private readonly ranks = new Map<number, { readonly rank: number; readonly merged: number }>();
  private readonly special: ReadonlyMap<number, AddedToken>;
  private readonly splitAdded: Record<'ordinary' | 'all', SplitAdded>;
  /** Tokens by their bytes, as Latin-1; filled only where words are looked up whole. */
  private readonly whole = new Map<string, number>();
  private readonly cache = new Map<string, readonly number[]>();

  constructor(parts: TokenizerParts) {
    const { tokens, merges, added, characters } = parts;
    const special = added.filter(t => t.special);
    this.parts = { ...parts, special: new Map(special.map(t => [t.content, t.id])) };
    this.vocabSize = added.reduce((size, { id }) => Math.max(size, id + 1), tokens.length);
    this.special = new Map(special.map(t => [t.id, t]));
    this.specialTokens = { ...rolesByName(added), ...parts.roles };
    this.splitAdded = { ordinary: addedSplitter(added.filter(t => !t.special)), all: addedSplitter(added) };
    this.alphabet = characters ? characterAlphabet(characters) : byteAlphabet(tokens, this.specialTokens.unk);
    this.patterns = parts.patterns.map(compilePattern);
    merges.forEach(({ left, right, merged }, rank) => this.ranks.set(pairKey(left, right), { rank, merged }));
    if (parts.ignoreMerges)
      tokens.forEach((bytes, id) => {
        if (bytes) this.whole.set(latin1(bytes), id);
      });
    this.hash = sha256(canonical(parts));
  }

  /** Ids of a text; bytes that are UTF-8 are that text, others are one word. */
  encode(text: string | Uint8Array, { allowSpecial = false }: EncodeOptions = {}): Int32Array<ArrayBuffer> {
    if (typeof text !== 'string') {
      if (!isUtf8(text))
        return this.encodeBytes(this.needsPrefix(decodeUtf8(text), true) ? Buffer.concat([space, text]) : text);
      return this.encode(decodeUtf8(text), { allowSpecial });
    }
    const ids: number[] = [];
    for (const part of this.splitAdded[allowSpecial ? 'all' : 'ordinary'](text)) {
      if (part.token) ids.push(part.token.id);
      else this.encodePart(text, part, ids);
    }
    return Int32Array.from(ids);
  }

  /** Ids of raw bytes, taken as one word, neither normalised nor prefixed with a space. */
  encodeBytes(bytes: Uint8Array): Int32Array<ArrayBuffer> {
    return Int32Array.from(this.merge(this.alphabet.symbolsOfBytes(bytes)));
  }

  /** The bytes that ids stand for; special tokens stand for none. A space that encoding put first is taken off. */
  decodeBytes(ids: ArrayLike<number>): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(Buffer.concat(Array.from(ids, id => this.tokenBytes(id))));
    return this.parts.characters?.strip && bytes[0] === space[0] ? bytes.subarray(1) : bytes;
  }

  /** Text of ids; bytes that are no UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string {
    return decodeUtf8(this.decodeBytes(ids));
  }

  tokenBytes(id: number): Uint8Array {
    const bytes = this.parts.tokens[id];
    if (bytes === undefined && !this.special.has(id))
      throw new RangeError(`tokenizer: ${id} is no token of this vocabulary of ${this.vocabSize}`);
    return bytes ?? new Uint8Array();
  }

  isSpecial(id: number): boolean {
    return this.special.has(id);
  }

  /** Ids that stand for bytes, in order: all but special tokens and holes. */
  ordinaryIds(): Int32Array<ArrayBuffer> {
    return Int32Array.from(this.parts.tokens.keys()).filter(
      id => this.parts.tokens[id] !== undefined && !this.isSpecial(id),
    );
  }

  /** A token for people: its text, bytes that are no text as \xNN. */
  token(id: number): string {
    const special = this.special.get(id);
    if (special) return special.content;
    const bytes = this.tokenBytes(id);
    if (isUtf8(bytes)) return decodeUtf8(bytes);
    return Array.from(bytes, b =>
      b >= 32 && b < 127 ? String.fromCharCode(b) : `\\x${b.toString(16).padStart(2, '0')}`,
    ).join('');
  }

  /** A part of a text between added tokens. */
  private encodePart(text: string, part: Part, ids: number[]): void {
    const normal = this.parts.nfc ? part.text.normalize('NFC') : part.text;
    const prefixed = this.needsPrefix(normal, part.start === 0) ? ` ${normal}` : normal;
    let at = part.start;
    for (const word of splitWords(prefixed, this.patterns)) {
      try {
        for (const id of this.encodeWord(word)) ids.push(id);
      } catch (error) {
        throw error instanceof UnknownByte
          ? new UnknownByte(error.byte, encodeUtf8(text.slice(0, at)).length + error.offset)
          : error;
      }
      at += word.length;
    }
  }

  private needsPrefix(text: string, first: boolean): boolean {
    switch (this.parts.characters?.prefix) {
      case 'always':
        return true;
      case 'missing':
        return !/^[ ▁]/.test(text);
      case 'first':
        return first && !/^[ ▁]/.test(text);
      default:
        return false;
    }
  }

  private encodeWord(word: string): readonly number[] {
    if (word.length > longestCached) return this.encodeNewWord(word);
    const known = this.cache.get(word);
    if (known) return known;
    const ids = this.encodeNewWord(word);
    if (this.cache.size < mostCached) this.cache.set(word, ids);
    return ids;
  }

  private encodeNewWord(word: string): readonly number[] {
    const whole = this.parts.ignoreMerges ? this.whole.get(latin1(encodeUtf8(word))) : undefined;
    return whole === undefined ? this.merge(this.alphabet.symbolsOfText(word)) : [whole];
  }

  /** The merges of one word: pairs wait in a heap by rank, then position; a linked list tells the neighbours. Overwrites `symbols`. */
  private merge(symbols: Int32Array): number[] {
    const n = symbols.length;
    const next = Int32Array.from(symbols, (_, i) => i + 1);
    const previous = Int32Array.from(symbols, (_, i) => i - 1);
    const heap = new Heap<number>((a, b) => a < b);
    const rankAt = (i: number) =>
      i >= 0 && next[i] < n ? this.ranks.get(pairKey(symbols[i], symbols[next[i]])) : undefined;
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
}

const space = Uint8Array.of(0x20);

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');

function rolesByName(added: readonly AddedToken[]): SpecialTokens {
  const ids = new Map(added.map(t => [t.content, t.id]));
  const find = (role: keyof SpecialTokens) => roleNames[role].map(name => ids.get(name)).find(id => id !== undefined);
  const [bos, eos, pad, unk] = [find('bos'), find('eos'), find('pad'), find('unk')];
  return { bos: bos ?? eos, eos: eos ?? bos, pad, unk };
}

/** One text for one encoding: bytes in hexadecimal, lists in the order of ids, and what is absent left out. */
function canonical({ tokens, merges, added, patterns, nfc, ignoreMerges, characters }: TokenizerParts): string {
  const byId = added.toSorted((a, b) => a.id - b.id);
  const matched = byId
    .filter(t => !t.special || t.lstrip || t.rstrip)
    .map(t => [t.content, t.id, t.special, t.lstrip, t.rstrip]);
  return JSON.stringify({
    tokens: Array.from(tokens.slice(0, tokens.findLastIndex(Boolean) + 1), bytes =>
      bytes ? Buffer.from(bytes).toString('hex') : null,
    ),
    merges: merges.map(m => [m.left, m.right, m.merged]),
    special: byId.filter(t => t.special).map(t => [t.content, t.id]),
    pattern: patterns.length > 1 ? patterns : (patterns[0] ?? null),
    added: matched.length > 0 ? matched : undefined,
    nfc: nfc || undefined,
    ignoreMerges: ignoreMerges || undefined,
    characters: characters && { ...characters, ids: [...characters.ids] },
  });
}
