/**
 * The symbols that merging begins with: one for every byte (GPT-2), or one for every character of the vocabulary and
 * bytes only for characters outside it (LLaMA).
 */
import { isUtf8 } from '../utf8.ts';
import { UserError } from '../errors.ts';

/** Which symbols a text, or bytes, begin as. Both throw `UnknownByte` where there is none. */
export interface Alphabet {
  symbolsOfText(text: string): Int32Array<ArrayBuffer>;
  symbolsOfBytes(bytes: Uint8Array): Int32Array<ArrayBuffer>;
}

/** Character tokens as SentencePiece has them: a space is written ▁ (U+2581), a byte as a token of its own. */
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

/** Bytes without a token are `unk`, or an error where there is none. */
export function byteAlphabet(tokens: readonly (Uint8Array | undefined)[], unk: number | undefined): Alphabet {
  const ids = new Int32Array(256).fill(unk ?? -1);
  tokens.forEach((bytes, id) => {
    if (bytes?.length === 1) ids[bytes[0]] = id;
  });
  const symbolsOfBytes = (bytes: Uint8Array) => {
    const symbols = new Int32Array(bytes.length);
    for (let at = 0; at < bytes.length; at++) {
      const id = ids[bytes[at]];
      if (id < 0) throw new UnknownByte(bytes[at], at);
      symbols[at] = id;
    }
    return symbols;
  };
  const symbolsOfText = (text: string) => {
    const symbols = new Int32Array(text.length);
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit > 127) return symbolsOfBytes(encodeUtf8(text));
      if (ids[unit] < 0) throw new UnknownByte(unit, at);
      symbols[at] = ids[unit];
    }
    return symbols;
  };
  return { symbolsOfBytes, symbolsOfText };
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
  const addText = (symbols: number[], text: string) => {
    for (const character of text) {
      const id = ids.get(character === ' ' ? '▁' : character);
      if (id !== undefined) symbols.push(id);
      else for (const byte of encodeUtf8(character)) symbols.push(fallback[byte]);
    }
  };
  const symbolsOfText = (text: string) => {
    const symbols: number[] = [];
    addText(symbols, text);
    return Int32Array.from(symbols);
  };
  const symbolsOfBytes = (bytes: Uint8Array) => {
    if (isUtf8(bytes)) return symbolsOfText(decodeUtf8(bytes));
    const symbols: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      const character = bytes.subarray(at, at + utf8Length(bytes[at]));
      if (isUtf8(character)) addText(symbols, decodeUtf8(character));
      else symbols.push(fallback[bytes[at]]);
      at += isUtf8(character) ? character.length : 1;
    }
    return Int32Array.from(symbols);
  };
  return { symbolsOfText, symbolsOfBytes };
}

/** Bytes of the UTF-8 sequence that begins so. */
const utf8Length = (first: number): number => (first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4);
