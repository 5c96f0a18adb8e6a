/** Writing safetensors: the bytes of a file, chunk after chunk, so that a checkpoint need not be in memory twice. */
import { UserError } from '../errors.ts';
import { FLOAT_CODECS, INT_CODECS } from './codec.ts';
import { DTYPE_BYTES, formatHeader, METADATA, quote, type SafetensorsDType, type TensorEntry } from './header.ts';
import { BLOCK_BYTES } from './source.ts';

/** Floats go to any floating dtype, ints to any integer one; bytes are written as they are. */
type Values = Float32Array | Int32Array | Uint8Array;

/** Values to write, whole or in chunks that are made when it is their turn. */
export interface TensorData {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly data: Values | (() => Iterable<Values> | AsyncIterable<Values>);
}

/** A value does not fit into the dtype that a tensor is written in. */
export class BeyondDType extends UserError {
  readonly tensor: string;

  constructor(path: string, tensor: string, dtype: SafetensorsDType) {
    super(`${path}: tensor ${quote(tensor)} holds a value that ${dtype} cannot; write a wider dtype`);
    this.tensor = tensor;
  }
}

/** Tensors by name, in the order in which they are written. */
export type NamedTensors = Readonly<Record<string, TensorData>> | ReadonlyMap<string, TensorData>;

/**
 * The bytes of a safetensors file, tensors in the order given. Wrong arguments are a `RangeError`; `path` is named in
 * errors.
 */
export async function* encodeSafetensors(
  path: string,
  tensors: NamedTensors,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  const named: [string, TensorData][] = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  const entries = new Map<string, TensorEntry>();
  let begin = 0;
  for (const [name, { dtype, shape, data }] of named) {
    const elements = shape.reduce((product, dimension) => product * dimension, 1);
    const end = begin + elements * DTYPE_BYTES[dtype];
    if (name === METADATA) throw new RangeError(`${METADATA} is not a name for a tensor`);
    if (!shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= 0) || !Number.isSafeInteger(end))
      throw new RangeError(`${name}: [${shape.join(', ')}] is not a shape`);
    if (typeof data !== 'function' && data.length !== (data instanceof Uint8Array ? end - begin : elements))
      throw new RangeError(`${name}: ${data.length} values for the shape [${shape.join(', ')}] of ${dtype}`);
    if (typeof data !== 'function') checkHolds(name, dtype, data);
    entries.set(name, { dtype, shape, begin, end });
    begin = end;
  }
  yield formatHeader({ metadata: new Map(Object.entries(metadata)), tensors: entries });
  for (const [name, tensor] of named) {
    let bytes = 0;
    for await (const chunk of encode(path, name, tensor)) {
      bytes += chunk.length;
      yield chunk;
    }
    const { begin, end } = entries.get(name)!;
    if (bytes !== end - begin) throw new RangeError(`${name}: ${bytes} bytes were given for ${end - begin}`);
  }
}

/** A safetensors file in memory. */
export async function safetensorsBytes(
  tensors: NamedTensors,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeSafetensors('safetensors', tensors, metadata)) chunks.push(chunk);
  const bytes = new Uint8Array(chunks.reduce((n, c) => n + c.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

async function* encode(path: string, name: string, { dtype, data }: TensorData): AsyncGenerator<Uint8Array> {
  if (typeof data !== 'function') return yield* encodeValues(path, name, dtype, data);
  for await (const chunk of data()) yield* encodeValues(path, name, dtype, chunk);
}

function* encodeValues(path: string, name: string, dtype: SafetensorsDType, data: Values): Generator<Uint8Array> {
  if (data instanceof Uint8Array) return yield data;
  checkHolds(name, dtype, data);
  for (let at = 0; at < data.length; at += BLOCK_BYTES / 8) {
    const block = data.slice(at, at + BLOCK_BYTES / 8);
    const encoded =
      block instanceof Float32Array ? FLOAT_CODECS[dtype]?.encode(block) : INT_CODECS[dtype]?.encode(block);
    if (encoded === undefined) throw new BeyondDType(path, name, dtype);
    yield new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  }
}

function checkHolds(name: string, dtype: SafetensorsDType, data: Values): void {
  if (data instanceof Uint8Array) return;
  const codecs = data instanceof Float32Array ? FLOAT_CODECS : INT_CODECS;
  if (codecs[dtype] === undefined) throw new RangeError(`${name}: ${dtype} does not hold ${data.constructor.name}`);
}
