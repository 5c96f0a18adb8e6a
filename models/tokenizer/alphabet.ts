/**
 * The symbols that merging begins with: one for every byte (GPT-2), or one for every character of the vocabulary and
 * bytes only for characters outside it (LLaMA).
 */
import { isUtf8 } from '../utf8.ts';
import { UserError } from '../errors.ts';
import type { Ids } from './ids.ts';

/**
 * Adds to a list the symbols that a text, its units from `from` up to `to`, or that bytes begin as. Both throw
 * `UnknownByte` where there is none.
 */
export interface Alphabet {
  addText(symbols: Ids, text: string, from: number, to: number): void;
  addBytes(symbols: Ids, bytes: Uint8Array): void;
}

/** Character tokens as SentencePiece has them: a space is written ▁ (U+2581), a byte as a separate token. */
export interface CharacterUnits {
  readonly ids: ReadonlyMap<string, number>;
  /** The 256 tokens `<0x00>` to `<0xFF>`. */
  readonly fallback: readonly number[];
  /**
   * Where a space is put before the text: before every text, before one that has none, the same at the beginning only,
   * nowhere.
   */
  readonly prefix: 'always' | 'missing' | 'first' | 'never';
  /** Whether decoding takes off a space at the beginning. */
  readonly strip: boolean;
}

const utf8 = new TextEncoder();
/** A byte order mark is text like any other. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The UTF-8 bytes of a text; lone surrogates become U+FFFD. */
export const encodeUtf8 = (text: string): Uint8Array<ArrayBuffer> => utf8.encode(text);
/** Invalid UTF-8 becomes U+FFFD. */
export const decodeUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes);

/** Units up to which reading them one by one is faster than a call that writes all of their bytes. */
const shortText = 16;
/** Where the bytes of a text are written; a unit takes three at most. */
const scratch = new Uint8Array(3 * 2 ** 12);

/** The UTF-8 bytes of a text, in memory that the next call uses again; undefined for a long text. */
export const encodeUtf8Into = (text: string): Uint8Array | undefined =>
  3 * text.length <= scratch.length ? scratch.subarray(0, utf8.encodeInto(text, scratch).written) : undefined;

/** Bytes without a token are `unk`, or an error where there is none. */
export function byteAlphabet(tokens: readonly (Uint8Array | undefined)[], unk: number | undefined): Alphabet {
  const ids = new Int32Array(256).fill(unk ?? -1);
  tokens.forEach((bytes, id) => {
    if (bytes?.length === 1) ids[bytes[0]] = id;
  });
  const addBytes = (symbols: Ids, bytes: Uint8Array) => {
    symbols.reserve(bytes.length);
    const { values, length } = symbols;
    for (let at = 0; at < bytes.length; at++) {
      const id = ids[bytes[at]];
      if (id < 0) throw new UnknownByte(bytes[at], at);
      values[length + at] = id;
    }
    symbols.length += bytes.length;
  };
  const addLong = (symbols: Ids, text: string) => addBytes(symbols, encodeUtf8Into(text) ?? encodeUtf8(text));
  const addText = (symbols: Ids, text: string, from: number, to: number) => {
    if (to - from > shortText) return addLong(symbols, text.slice(from, to));
    symbols.reserve(to - from);
    const { values, length } = symbols;
    for (let at = from; at < to; at++) {
      const unit = text.charCodeAt(at);
      if (unit > 127) return addLong(symbols, text.slice(from, to));
      if (ids[unit] < 0) throw new UnknownByte(unit, at - from);
      values[length + at - from] = ids[unit];
    }
    symbols.length += to - from;
  };
  return { addText, addBytes };
}

/** A byte that the vocabulary has no token for, and where it stands in its word. */
export class UnknownByte extends UserError {
  readonly byte: number;
  readonly offset: number;
  /** The byte and its place, for people. */
  readonly shown: string;

  constructor(byte: number, offset: number) {
    const name = byte > 32 && byte < 127 ? `'${String.fromCharCode(byte)}'` : `0x${byte.toString(16).padStart(2, '0')}`;
    const shown = `byte ${name} at offset ${offset}`;
    super(`tokenizer: ${shown} is not in the vocabulary, which was made from text without it`);
    this.byte = byte;
    this.offset = offset;
    this.shown = shown;
  }
}

/** LLaMA's symbols: characters of the vocabulary, bytes for all others. */
export function characterAlphabet({ ids, fallback }: CharacterUnits): Alphabet {
  const addText = (symbols: Ids, text: string, from: number, to: number) => {
    for (const character of text.slice(from, to)) {
      const id = ids.get(character === ' ' ? '▁' : character);
      if (id !== undefined) symbols.add(id);
      else for (const byte of encodeUtf8(character)) symbols.add(fallback[byte]);
    }
  };
  const addBytes = (symbols: Ids, bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; ) {
      const character = bytes.subarray(at, at + utf8Length(bytes[at]));
      const text = isUtf8(character) ? decodeUtf8(character) : undefined;
      if (text !== undefined) addText(symbols, text, 0, text.length);
      else symbols.add(fallback[bytes[at]]);
      at += text !== undefined ? character.length : 1;
    }
  };
  return { addText, addBytes };
}

/** Bytes of the UTF-8 sequence that begins so. */
const utf8Length = (first: number): number => (first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4);
