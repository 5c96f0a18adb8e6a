/**
 * The header of a safetensors file: the JSON that says which tensors lie where.
 *
 *     8 bytes   length of the header, little-endian
 *     header    {"__metadata__": {string: string}, name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
 *     data      the tensors, row-major, little-endian; offsets count from here
 *
 * Source: the format section of Hugging Face's safetensors README, and its rules for what a file may not do: no
 * duplicate names, no holes or overlaps, no bytes left over, at most 100 MB of header.
 *
 * A header comes from strangers. Its grammar is this small, so it is read by this grammar and not as JSON first: the
 * first wrong character ends it, whatever its depth or length, and `JSON.parse` cannot drop a duplicate in silence.
 */

import { oneLine, UserError } from '../errors.ts';
import { printable } from '../printable.ts';
import { utf8 } from '../utf8.ts';

/** Bytes an element takes. */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  F8_E4M3FNUZ: 1,
  F8_E5M2FNUZ: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
  C64: 8,
} as const; // prettier-ignore

/** Dtypes of the format whose elements are not whole bytes: known, so that the file is not called damaged. */
const PACKED_DTYPES: readonly string[] = ['F4', 'F6_E2M3', 'F6_E3M2'];

/** The dtypes of safetensors that this package reads. */
export type SafetensorsDType = keyof typeof DTYPE_BYTES;

/** A tensor of a file. */
export interface TensorEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Where the tensor's bytes begin and end, counted from the start of the data. */
  readonly begin: number;
  readonly end: number;
}

/** A file's header. */
export interface Header {
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

/** The limit of Hugging Face's own reader. */
export const MAX_HEADER_BYTES = 100_000_000;
const MAX_RANK = 64;
/** Ours: the largest mixtures of experts have some 100,000; a header full of them would take a gigabyte. */
const MAX_TENSORS = 2 ** 18;
/** The entry of a header that is not a tensor. */
export const METADATA = '__metadata__';

/** Header and data length to tensors; `path` is named in errors. */
export function parseHeader(text: string, dataBytes: number, path: string): Header {
  const cursor = new Cursor(text, path);
  const metadata = new Map<string, string>();
  const tensors = new Map<string, TensorEntry>();
  let hasMetadata = false;
  cursor.object(name => {
    if (name === METADATA && !hasMetadata) {
      hasMetadata = true;
      cursor.object(key => {
        if (metadata.has(key)) cursor.fail(`the metadata name ${quote(key)} appears twice`);
        metadata.set(key, cursor.string());
      });
    } else {
      if (name === METADATA || tensors.has(name)) cursor.fail(`the name ${quote(name)} appears twice`);
      if (tensors.size === MAX_TENSORS) cursor.fail(`its header has more than ${MAX_TENSORS} tensors`);
      tensors.set(name, parseEntry(cursor, name));
    }
  });
  cursor.end();
  checkLayout(tensors, dataBytes, path);
  return { metadata, tensors };
}

function parseEntry(cursor: Cursor, name: string): TensorEntry {
  let dtype: SafetensorsDType | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  cursor.object(field => {
    if (field === 'dtype' && dtype === undefined) {
      const value = cursor.string();
      if (PACKED_DTYPES.includes(value)) cursor.unsupported(`tensor ${quote(name)} has the dtype ${value}`);
      if (!isDType(value)) cursor.fail(`tensor ${quote(name)} has the unknown dtype ${quote(value)}`);
      else dtype = value;
    } else if (field === 'shape' && shape === undefined)
      shape = cursor.integers(() => `the shape of tensor ${quote(name)}`, MAX_RANK);
    else if (field === 'data_offsets' && offsets === undefined)
      offsets = cursor.integers(() => `data_offsets of tensor ${quote(name)}`, 2);
    else cursor.fail(`tensor ${quote(name)} has the field ${quote(field)}, unknown or given twice`);
  });
  if (dtype === undefined || shape === undefined || offsets?.length !== 2)
    return cursor.fail(`tensor ${quote(name)} lacks its dtype, shape or two data_offsets`);
  const [begin, end] = offsets;
  // A product too large to be exact is larger than any difference of two offsets, so it is rejected as well.
  const bytes = shape.includes(0) ? 0 : shape.reduce((product, dimension) => product * dimension, DTYPE_BYTES[dtype]);
  if (end - begin !== bytes)
    cursor.fail(
      `tensor ${quote(name)} (${dtype}, shape [${shape.join(', ')}]) claims the bytes ${begin} to ${end}, not the ` +
        `${bytes} it takes`,
    );
  return { dtype, shape, begin, end };
}

function isDType(value: string): value is SafetensorsDType {
  return Object.hasOwn(DTYPE_BYTES, value);
}

/** The tensors must cover the data exactly: laid out by offset, each begins where the one before ends. */
function checkLayout(tensors: ReadonlyMap<string, TensorEntry>, dataBytes: number, path: string): void {
  let covered = 0;
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (const [name, { begin, end }] of inOrder) {
    if (end > dataBytes) throw damaged(path, `tensor ${quote(name)} ends at byte ${end} of ${dataBytes} bytes of data`);
    if (begin !== covered)
      throw damaged(
        path,
        `tensor ${quote(name)} begins at byte ${begin}, ${begin < covered ? 'inside another tensor' : 'after a gap'}`,
      );
    covered = end;
  }
  if (covered !== dataBytes) throw damaged(path, `${dataBytes - covered} bytes after the last tensor belong to none`);
}

/**
 * The header of a file that holds the tensors one after another in this order, padded so that the data begins on a
 * multiple of 8.
 */
export function formatHeader(header: Header): Uint8Array {
  // Objects would put names that look like numbers first, and take `__proto__` for something else.
  const object = (fields: (readonly [string, string])[]) =>
    `{${fields.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}`;
  const metadata = object([...header.metadata].map(([name, value]) => [name, JSON.stringify(value)]));
  const tensors = [...header.tensors].map(
    ([name, { dtype, shape, begin, end }]) =>
      [name, JSON.stringify({ dtype, shape, data_offsets: [begin, end] })] as const,
  );
  const json = utf8(object(header.metadata.size > 0 ? [[METADATA, metadata], ...tensors] : tensors));
  const bytes = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}

/** The error of a file that breaks the format. */
export function damaged(path: string, what: string): UserError {
  return new UserError(`${path}: not a valid safetensors file: ${what}; copy or download it again`);
}

/** A name from a file as an error shows it: in quotes, on one line, not too long. */
export function quote(name: string): string {
  return printable(JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name));
}

/** The rest of a string without escapes: most are, and `JSON.parse` for each is slow. */
const plainString = /([^"\\\p{Cc}]*)"/uy;

/** Reads the few forms a header is made of, one after another; anything else is an error at its position. */
class Cursor {
  readonly #text: string;
  readonly #path: string;
  #at = 0;

  constructor(text: string, path: string) {
    this.#text = text;
    this.#path = path;
  }

  fail(what: string): never {
    throw damaged(this.#path, what);
  }

  /** The error of a valid file that holds what this package does not read. */
  unsupported(what: string): never {
    throw new UserError(`${this.#path}: ${what}, which this version does not read; convert it to F32, F16 or BF16`);
  }

  /** Skips white space and the character, if it comes next. */
  #skip(character: string): boolean {
    while (' \n\r\t'.includes(this.#text.charAt(this.#at)) && this.#at < this.#text.length) this.#at++;
    if (this.#text.charAt(this.#at) !== character) return false;
    this.#at += character.length;
    return true;
  }

  #expect(character: string): void {
    if (this.#skip(character)) return;
    const found = this.#at < this.#text.length ? quote(this.#text[this.#at]) : 'its end';
    this.fail(`its header has ${found} where ${character} belongs, at character ${this.#at}`);
  }

  /** `{"name": value, …}`: calls `value` with every name; it must read the value. */
  object(value: (name: string) => void): void {
    this.#expect('{');
    if (this.#skip('}')) return;
    do {
      const name = this.string();
      this.#expect(':');
      value(name);
    } while (this.#skip(','));
    this.#expect('}');
  }

  string(): string {
    this.#expect('"');
    const start = this.#at - 1;
    plainString.lastIndex = this.#at;
    const plain = plainString.exec(this.#text);
    if (plain !== null) {
      this.#at += plain[0].length;
      return plain[1];
    }
    for (; this.#at < this.#text.length && this.#text[this.#at] !== '"'; this.#at++)
      if (this.#text[this.#at] === '\\') this.#at++;
    this.#expect('"');
    try {
      return JSON.parse(this.#text.slice(start, this.#at)) as string;
    } catch (error) {
      return this.fail(`its header has a malformed string at character ${start} (${oneLine(error)})`);
    }
  }

  /** `[1, 2, …]`: whole numbers from 0, no more than `most`. */
  integers(what: () => string, most: number): number[] {
    const values: number[] = [];
    this.#expect('[');
    if (this.#skip(']')) return values;
    do {
      this.#skip('');
      const digits = /(?:0|[1-9]\d{0,15})(?![\d.eE])/y;
      digits.lastIndex = this.#at;
      const value = Number(digits.exec(this.#text)?.[0] ?? NaN);
      if (!Number.isSafeInteger(value))
        this.fail(`${what()} holds something other than whole numbers from 0 to 2^53 - 1`);
      this.#at = digits.lastIndex;
      if (values.push(value) > most) this.fail(`${what()} holds more than ${most} numbers`);
    } while (this.#skip(','));
    this.#expect(']');
    return values;
  }

  end(): void {
    this.#skip('');
    if (this.#at !== this.#text.length) this.fail(`its header has trailing data, at character ${this.#at}`);
  }
}
