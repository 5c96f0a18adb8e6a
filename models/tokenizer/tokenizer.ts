/**
 * Byte-pair encoding (Sennrich et al. 2016; on bytes: Radford et al. 2019).
 *
 * A text is normalised, cut into words by patterns or, as for proteins, not at all, and every word into the symbols of
 * an alphabet. In each word the pair with the lowest rank is merged, leftmost first, until no pair has a rank. A
 * tokenizer is a value: nothing about it changes.
 */
import { UserError } from '../errors.ts';
import { sha256 } from '../sha256.ts';
import { isUtf8, utf8Length } from '../utf8.ts';
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
import { concatBytes, hexOf, latin1Of } from './bytes.ts';
import { Ids } from './ids.ts';
import { Merger } from './merge.ts';
import type { Merge } from './rule.ts';
import { compileSplits, type Split, type Splitter } from './pattern.ts';
import type { Units } from './units.ts';
import { WordCache } from './words.ts';

export type { Merge } from './rule.ts';

/** The ids of the special tokens that play a part. */
export interface SpecialTokens {
  /** Begins a sequence; a vocabulary without one uses its end token. */
  readonly bos?: number;
  readonly eos?: number;
  readonly pad?: number;
  /** Stands for bytes outside the alphabet. */
  readonly unk?: number;
}

/** What a tokenizer is made of. */
export interface TokenizerParts {
  /** The bytes of each token by id; undefined for special tokens and for ids that mean nothing. */
  readonly tokens: readonly (Uint8Array | undefined)[];
  /** In order of rank. */
  readonly merges: readonly Merge[];
  readonly added: readonly AddedToken[];
  /** Steps that cut text into words, one after another; none takes a text as one word. */
  readonly splits: readonly Split[];
  /** Which special tokens play a part; by default told from their content. */
  readonly roles?: SpecialTokens;
  /** Text is brought into Unicode's normal form C. */
  readonly nfc?: boolean;
  /** A word that is a token is that token, whatever its merges would make of it. */
  readonly ignoreMerges?: boolean;
  /** Symbols are characters and not bytes. */
  readonly characters?: CharacterUnits;
  /** Rows of the model it is used with: a token beyond them is an error where a text has it, and plays no part. */
  readonly rows?: number;
  /** Kept as read, for writing: what other libraries put around a text. */
  readonly postProcessor?: unknown;
}

/** How a text is read. */
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

/** Byte-pair encoding (Sennrich et al. 2016) with what Hugging Face's tokenizer.json puts around it. */
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
  private readonly split: Splitter;
  private readonly merger: Merger;
  /** What `encode` fills. */
  private readonly ids = new Ids();
  private readonly special: ReadonlyMap<number, AddedToken>;
  private readonly splitAdded: Record<'ordinary' | 'all', SplitAdded>;
  /** Tokens by their bytes, as Latin-1; filled only where words are looked up whole. */
  private readonly whole = new Map<string, number>();
  /** Made for the first word: it takes memory. */
  private cache: WordCache | undefined;

  constructor(parts: TokenizerParts) {
    const { tokens, merges, added, characters } = parts;
    const special = added.filter(t => t.special);
    this.parts = { ...parts, special: new Map(special.map(t => [t.content, t.id])) };
    this.vocabSize = added.reduce((size, { id }) => Math.max(size, id + 1), tokens.length);
    this.special = new Map(special.map(t => [t.id, t]));
    this.specialTokens = withinRows({ ...rolesByName(added), ...parts.roles }, parts.rows);
    this.splitAdded = { ordinary: addedSplitter(added.filter(t => !t.special)), all: addedSplitter(added) };
    this.alphabet = characters ? characterAlphabet(characters) : byteAlphabet(tokens, this.specialTokens.unk);
    this.split = compileSplits(parts.splits);
    // A special token is never made of text: where a text may hold one, it was found before any merge.
    const isPlain = ({ left, right, merged }: Merge) => ![left, right, merged].some(id => this.special.has(id));
    this.merger = new Merger(this.special.size > 0 ? merges.filter(isPlain) : merges);
    if (parts.ignoreMerges)
      tokens.forEach((bytes, id) => {
        if (bytes) this.whole.set(latin1Of(bytes), id);
      });
    this.hash = sha256(canonical(parts));
  }

  /** Ids of a text; bytes that are UTF-8 are that text, others are one word. */
  encode(text: string | Uint8Array, { allowSpecial = false }: EncodeOptions = {}): Int32Array<ArrayBuffer> {
    if (typeof text !== 'string') {
      if (!isUtf8(text))
        return this.encodeBytes(this.needsPrefix(decodeUtf8(text), true) ? concatBytes([space, text]) : text);
      return this.encode(decodeUtf8(text), { allowSpecial });
    }
    const { ids } = this;
    ids.length = 0;
    this.append(text, ids, allowSpecial);
    return ids.values.slice(0, ids.length);
  }

  /** Adds the ids of a text to a list: what `encode` does, for many texts. After an error the list may hold some. */
  append(text: string, ids: Ids, allowSpecial = false): void {
    const from = ids.length;
    for (const part of this.splitAdded[allowSpecial ? 'all' : 'ordinary'](text)) {
      if (part.token) ids.add(part.token.id);
      else this.encodePart(text, part, ids);
    }
    this.check(ids.values, from, ids.length);
  }

  /** The words of a text that merges do not cross, as they are merged: normalised, and between added tokens. */
  words(text: string): string[] {
    const words: string[] = [];
    for (const part of this.splitAdded.ordinary(text))
      if (!part.token) this.split(this.normalised(part), (piece, from, to) => void words.push(piece.slice(from, to)));
    return words;
  }

  /** Ids of raw bytes, taken as one word, neither normalised nor prefixed with a space. */
  encodeBytes(bytes: Uint8Array): Int32Array<ArrayBuffer> {
    const { ids } = this;
    ids.length = 0;
    this.alphabet.addBytes(ids, bytes);
    ids.length = this.merger.merge(ids.values, 0, ids.length);
    this.check(ids.values, 0, ids.length);
    return ids.values.slice(0, ids.length);
  }

  /** @throws UserError for an id, of those from `from` up to `to`, that the model has no row for. */
  private check(ids: Int32Array, from: number, to: number): void {
    const { rows = Infinity } = this.parts;
    if (this.vocabSize <= rows) return;
    const beyond = ids.subarray(from, to).find(id => id >= rows);
    if (beyond !== undefined)
      throw new UserError(
        `tokenizer: the text has the token ${JSON.stringify(this.token(beyond))} (id ${beyond}), for which the ` +
          `model has no row: it has ${rows}`,
      );
  }

  /** The bytes that ids stand for; special tokens stand for none. A space that encoding put first is taken off. */
  decodeBytes(ids: ArrayLike<number>): Uint8Array<ArrayBuffer> {
    const bytes = concatBytes(Array.from(ids, id => this.tokenBytes(id)));
    return this.parts.characters?.strip && bytes[0] === space[0] ? bytes.subarray(1) : bytes;
  }

  /** Text of ids; bytes that are no UTF-8 become U+FFFD. */
  decode(ids: ArrayLike<number>): string {
    return decodeUtf8(this.decodeBytes(ids));
  }

  tokenBytes(id: number): Uint8Array {
    const bytes = this.parts.tokens[id];
    if (bytes === undefined && !this.special.has(id))
      throw new RangeError(`tokenizer: ${id} is not a token of this vocabulary of ${this.vocabSize}`);
    return bytes ?? new Uint8Array();
  }

  isSpecial(id: number): boolean {
    return this.special.has(id);
  }

  /** Ids that stand for bytes, in order: all but special tokens, holes and what the model has no row for. */
  ordinaryIds(): Int32Array<ArrayBuffer> {
    const { tokens, rows = Infinity } = this.parts;
    return Int32Array.from(tokens.keys()).filter(id => id < rows && tokens[id] !== undefined && !this.isSpecial(id));
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
  private encodePart(text: string, part: Part, ids: Ids): void {
    this.split(this.normalised(part), (piece, from, to, at) => {
      try {
        this.encodeWord(piece, from, to, ids);
      } catch (error) {
        throw error instanceof UnknownByte
          ? new UnknownByte(error.byte, utf8Length(text.slice(0, part.start + at)) + error.offset)
          : error;
      }
    });
  }

  private normalised({ text, start }: Part): string {
    const normal = this.parts.nfc ? text.normalize('NFC') : text;
    return this.needsPrefix(normal, start === 0) ? ` ${normal}` : normal;
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

  private encodeWord(piece: Units, from: number, to: number, ids: Ids): void {
    const cache = (this.cache ??= new WordCache());
    if (cache.addTo(ids, piece, from, to)) return;
    const start = ids.length;
    this.encodeNewWord(piece.text, from, to, ids);
    cache.remember(ids, start);
  }

  private encodeNewWord(piece: string, from: number, to: number, ids: Ids): void {
    const whole = this.parts.ignoreMerges ? this.whole.get(latin1Of(encodeUtf8(piece.slice(from, to)))) : undefined;
    if (whole !== undefined) return ids.add(whole);
    const start = ids.length;
    this.alphabet.addText(ids, piece, from, to);
    ids.length = this.merger.merge(ids.values, start, ids.length);
  }
}

const space = Uint8Array.of(0x20);

function rolesByName(added: readonly AddedToken[]): SpecialTokens {
  const ids = new Map(added.map(t => [t.content, t.id]));
  const find = (role: keyof SpecialTokens) => roleNames[role].map(name => ids.get(name)).find(id => id !== undefined);
  const [bos, eos, pad, unk] = [find('bos'), find('eos'), find('pad'), find('unk')];
  return { bos: bos ?? eos, eos: eos ?? bos, pad, unk };
}

function withinRows(roles: SpecialTokens, rows = Infinity): SpecialTokens {
  const keep = (id: number | undefined) => (id !== undefined && id < rows ? id : undefined);
  return { bos: keep(roles.bos), eos: keep(roles.eos), pad: keep(roles.pad), unk: keep(roles.unk) };
}

/** One text for one encoding: bytes in hexadecimal, lists in the order of ids, and what is absent left out. */
function canonical({ tokens, merges, added, splits, nfc, ignoreMerges, characters }: TokenizerParts): string {
  const byId = added.toSorted((a, b) => a.id - b.id);
  const matched = byId
    .filter(t => !t.special || t.lstrip || t.rstrip)
    .map(t => [t.content, t.id, t.special, t.lstrip, t.rstrip]);
  // A step that only cuts is its pattern.
  const steps = splits.map(s => (s.pattern !== undefined && !s.drops && !s.prefixSpace ? s.pattern : s));
  return JSON.stringify({
    tokens: Array.from(tokens.slice(0, tokens.findLastIndex(Boolean) + 1), bytes => (bytes ? hexOf(bytes) : null)),
    merges: merges.map(m => [m.left, m.right, m.merged]),
    special: byId.filter(t => t.special).map(t => [t.content, t.id]),
    pattern: steps.length > 1 ? steps : (steps[0] ?? null),
    added: matched.length > 0 ? matched : undefined,
    nfc: nfc || undefined,
    ignoreMerges: ignoreMerges || undefined,
    characters: characters && { ...characters, ids: [...characters.ids].sort((a, b) => a[1] - b[1]) },
  });
}
