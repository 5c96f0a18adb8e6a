/**
 * The header of a GGUF file (versions 2 and 3, little-endian): metadata, and which tensors lie where.
 *
 *     "GGUF", version (u32), number of tensors (u64), number of metadata entries (u64)
 *     an entry       key (string), type (u32), value; a string is its length (u64) and bytes, an array its type (u32),
 *                    length (u64) and values
 *     a tensor       name (string), dimensions (u32, then u64 each, innermost first), type (u32), offset (u64)
 *     data           from the next multiple of `general.alignment` (32) on; offsets count from here
 *
 * Source: ggml's docs/gguf.md. A header comes from strangers: every length is held against the bytes that are left
 * before anything is allocated, and tensors must lie inside the file without touching one another.
 */
import { oneLine, UserError } from '../errors.ts';
import { ggmlType, ggmlTypeName, ggmlTypeNames, type GgmlType } from './types.ts';

/** A value of the metadata. Integers of 64 bits are numbers where a number holds them. */
export type MetadataValue = number | bigint | boolean | string | MetadataArray;
/** An array of the metadata; integers of 64 bits in one of two arrays of their own. */
export type MetadataArray = readonly string[] | ArrayLike<number> | BigInt64Array | BigUint64Array;

/** A tensor's entry in the header. */
export interface GgufTensor {
  readonly type: GgmlType;
  /** Row-major, as the engine's: the file's dimensions in reverse. */
  readonly shape: readonly number[];
  /** Where the bytes begin and end in the file. */
  readonly begin: number;
  readonly end: number;
}

/** What stands before the data. */
export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  /** In the order of the header. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** Ours: vocabularies of 256,000 tokens with their merges take some 15 MB. */
export const MAX_GGUF_HEADER_BYTES = 2 ** 26;
/** Ours, as for safetensors. */
const MAX_TENSORS = 2 ** 18;
const MAX_ENTRIES = 2 ** 16;
/** ggml's own limit. */
const MAX_DIMENSIONS = 4;

/**
 * Reads a header from the first bytes of a file of `fileBytes` bytes; undefined where the header extends beyond them.
 * `path` is named in errors.
 */
export function parseGguf(bytes: Uint8Array, fileBytes: number, path: string): GgufHeader | undefined {
  try {
    return parse(new Reader(bytes, fileBytes, path));
  } catch (error) {
    if (!(error instanceof Short)) throw error;
    if (bytes.length < Math.min(fileBytes, MAX_GGUF_HEADER_BYTES)) return undefined;
    throw damagedGguf(
      path,
      bytes.length < fileBytes ? `its header is longer than ${MAX_GGUF_HEADER_BYTES} bytes` : 'it ends in its header',
    );
  }
}

function parse(reader: Reader): GgufHeader {
  if (reader.u32() !== 0x46554747) throw damagedGguf(reader.path, 'it does not begin with "GGUF"');
  const version = reader.u32();
  if (version === 0x02000000 || version === 0x03000000)
    throw new UserError(`${reader.path}: is a big-endian GGUF file; convert it with gguf_convert_endian.py`);
  if (version !== 2 && version !== 3)
    throw new UserError(
      `${reader.path}: is GGUF version ${version}; supported are versions 2 and 3: convert the model with a current ` +
        'llama.cpp',
    );
  // The least a tensor's record takes: a name's length, one dimension, type and offset; an entry's: lengths and type.
  const tensorCount = reader.count('tensors', 32, MAX_TENSORS);
  const entryCount = reader.count('metadata entries', 13, MAX_ENTRIES);

  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = reader.string(`the key of metadata entry ${i}`);
    if (metadata.has(key)) reader.fail(`the metadata key ${quote(key)} appears twice`);
    metadata.set(key, reader.value(reader.u32(), `metadata ${quote(key)}`));
  }
  if (Number(metadata.get('split.count') ?? 0) > 1)
    throw new UserError(
      `${reader.path}: is one of ${String(metadata.get('split.count'))} parts; join them with llama-gguf-split --merge`,
    );
  const alignment = metadata.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || alignment < 8 || alignment > 2 ** 20 || alignment % 8 !== 0)
    throw damagedGguf(reader.path, `general.alignment is ${String(alignment)}, which is not a multiple of 8`);

  const records = Array.from({ length: tensorCount }, () => readTensor(reader, alignment));
  const dataStart = Math.ceil(reader.at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const { name, offset, bytes, ...tensor } of records) {
    if (tensors.has(name)) reader.fail(`the tensor ${quote(name)} appears twice`);
    tensors.set(name, { ...tensor, begin: dataStart + offset, end: dataStart + offset + bytes });
  }
  checkLayout(tensors, reader);
  return { metadata, tensors };
}

function readTensor(reader: Reader, alignment: number) {
  const name = reader.string('the name of a tensor');
  const rank = reader.u32();
  if (rank < 1 || rank > MAX_DIMENSIONS)
    reader.fail(`tensor ${quote(name)} has ${rank} dimensions, not 1 to ${MAX_DIMENSIONS}`);
  const shape = Array.from({ length: rank }, () => reader.u64(`a dimension of tensor ${quote(name)}`)).reverse();
  const elements = shape.reduce((product, dimension) => product * dimension, 1);
  const id = reader.u32();
  const type = ggmlType(id);
  if (type === undefined)
    throw new UserError(
      `${reader.path}: tensor ${quote(name)} is ${ggmlTypeName(id)}, which is not supported; use a file quantised to ` +
        `${ggmlTypeNames.join(', ')}`,
    );
  const offset = reader.u64(`the offset of tensor ${quote(name)}`);
  const bytes = (elements / type.elements) * type.bytes;
  if (shape.includes(0) || shape[rank - 1] % type.elements !== 0 || !Number.isSafeInteger(bytes))
    reader.fail(`tensor ${quote(name)} (${type.name}) has the impossible shape [${shape.join(', ')}]`);
  if (offset % alignment !== 0)
    reader.fail(
      `tensor ${quote(name)} begins at offset ${offset}, which is not a multiple of the alignment ${alignment}`,
    );
  return { name, type, shape, offset, bytes };
}

/** Tensors lie inside the file, each after the one before. */
function checkLayout(tensors: ReadonlyMap<string, GgufTensor>, reader: Reader): void {
  let last: readonly [string, number] = ['its header', reader.at];
  for (const [name, { begin, end }] of [...tensors].sort(([, a], [, b]) => a.begin - b.begin)) {
    if (end > reader.fileBytes)
      reader.fail(`tensor ${quote(name)} ends at byte ${end} and the file has ${reader.fileBytes}`);
    if (begin < last[1]) reader.fail(`tensor ${quote(name)} begins at byte ${begin}, inside ${last[0]}`);
    last = [`tensor ${quote(name)}`, end];
  }
}

/** The error of a file that breaks the format. */
export function damagedGguf(path: string, what: string): UserError {
  return new UserError(`${path}: not a valid GGUF file: ${what}; copy or download it again`);
}

/** A name from a file as an error shows it: in quotes, on one line, not too long. */
const quote = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);

/** The header extends beyond the bytes that are here. */
class Short extends Error {}

type NumberArray = new (buffer: ArrayBuffer) => ArrayLike<number> | BigInt64Array | BigUint64Array;

/** Value types of fixed size, by their numbers in the file: bytes, and the array that holds many. */
const fixed: Readonly<Record<number, { readonly bytes: number; readonly array: NumberArray }>> = {
  0: { bytes: 1, array: Uint8Array },
  1: { bytes: 1, array: Int8Array },
  2: { bytes: 2, array: Uint16Array },
  3: { bytes: 2, array: Int16Array },
  4: { bytes: 4, array: Uint32Array },
  5: { bytes: 4, array: Int32Array },
  6: { bytes: 4, array: Float32Array },
  7: { bytes: 1, array: Uint8Array },
  10: { bytes: 8, array: BigUint64Array },
  11: { bytes: 8, array: BigInt64Array },
  12: { bytes: 8, array: Float64Array },
};
const [BOOL, STRING, ARRAY] = [7, 8, 9];

class Reader {
  readonly path: string;
  readonly fileBytes: number;
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(bytes: Uint8Array, fileBytes: number, path: string) {
    this.path = path;
    this.fileBytes = fileBytes;
    // Node's Buffer has a `slice` of its own, which copies nothing.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  fail(what: string): never {
    throw damagedGguf(this.path, what);
  }

  /** Where the next `length` bytes begin, and steps over them. */
  #take(length: number, what: string): number {
    if (length > this.fileBytes - this.at)
      this.fail(`${what} takes ${length} bytes and the file has ${this.fileBytes - this.at} left`);
    if (length > this.#bytes.length - this.at) throw new Short();
    const from = this.at;
    this.at += length;
    return from;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4, 'a number'), true);
  }

  /** A whole number that is exact in float64. */
  u64(what: string): number {
    const value = this.#view.getBigUint64(this.#take(8, what), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`${what} is ${value}`);
    return Number(value);
  }

  /** How many things of at least `bytes` bytes follow; no more than the file has place for. */
  count(what: string, bytes: number, most: number): number {
    const value = this.u64(`the number of ${what}`);
    if (value > most || value * bytes > this.fileBytes) this.fail(`it claims ${value} ${what}`);
    return value;
  }

  string(what: string): string {
    const length = this.u64(`the length of ${what}`);
    const from = this.#take(length, what);
    try {
      return this.#text.decode(this.#bytes.subarray(from, from + length));
    } catch (error) {
      return this.fail(`${what} is not UTF-8 (${oneLine(error)})`);
    }
  }

  value(type: number, what: string): MetadataValue {
    if (type === STRING) return this.string(what);
    if (type === ARRAY) return this.#array(what);
    const value = this.#numbers(type, 1, what)[0];
    if (type === BOOL && value !== 0 && value !== 1) this.fail(`${what} is a boolean of the value ${value}`);
    if (type === BOOL) return value === 1;
    return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }

  #array(what: string): MetadataArray {
    const type = this.u32();
    const length = this.u64(`the length of ${what}`);
    if (type === ARRAY) this.fail(`${what} is an array of arrays`);
    if (type !== STRING) return this.#numbers(type, length, what);
    if (length * 8 > this.fileBytes - this.at) this.fail(`${what} claims ${length} strings`);
    const strings: string[] = [];
    for (let i = 0; i < length; i++) strings.push(this.string(what));
    return strings;
  }

  #numbers(type: number, length: number, what: string) {
    const kind = Object.hasOwn(fixed, type) ? fixed[type] : this.fail(`${what} has the unknown type ${type}`);
    const from = this.#take(length * kind.bytes, what);
    // A copy: numbers need not lie on multiples of their size.
    return new kind.array(this.#bytes.slice(from, from + length * kind.bytes).buffer);
  }
}
