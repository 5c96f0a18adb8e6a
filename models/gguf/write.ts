/**
 * Writes a GGUF file (version 3, little-endian): its header, whose form header.ts tells, then the data of the tensors,
 * each from the next multiple of 32 on.
 */
import { DTYPE_BYTES } from '../safetensors/header.ts';
import { concatBytes } from '../tokenizer/bytes.ts';
import type { FloatDType } from '../config.ts';
import type { WrittenMetadata, WrittenValue } from './values.ts';

/** The number of a dtype in the file. */
const TYPES: Readonly<Record<FloatDType, number>> = { F32: 0, F16: 1, BF16: 30 };
const ALIGNMENT = 32;

/** A tensor to write; its bytes are made when it is its turn. */
export interface WrittenTensor {
  readonly dtype: FloatDType;
  /** Row-major. */
  readonly shape: readonly number[];
  readonly data: () => AsyncIterable<Uint8Array>;
}

/** The bytes that a tensor's data take. */
export const writtenBytes = ({ dtype, shape }: Pick<WrittenTensor, 'dtype' | 'shape'>): number =>
  shape.reduce((product, dimension) => product * dimension, DTYPE_BYTES[dtype]);

/** The bytes of a file, chunk after chunk, tensors in the order given. */
export async function* encodeGguf(
  metadata: WrittenMetadata,
  tensors: ReadonlyMap<string, WrittenTensor>,
): AsyncGenerator<Uint8Array> {
  const header = encodeHeader(metadata, tensors);
  yield header;
  yield padding(header.length);
  for (const [name, tensor] of tensors) {
    let bytes = 0;
    for await (const chunk of tensor.data()) {
      bytes += chunk.length;
      yield chunk;
    }
    if (bytes !== writtenBytes(tensor)) throw new RangeError(`${name}: ${bytes} bytes for ${writtenBytes(tensor)}`);
    yield padding(bytes);
  }
}

/** Zeros up to the next multiple of the alignment. */
const padding = (length: number): Uint8Array => new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT);

/** All that stands before the data. */
export function encodeHeader(
  metadata: WrittenMetadata,
  tensors: ReadonlyMap<string, Pick<WrittenTensor, 'dtype' | 'shape'>> = new Map(),
): Uint8Array<ArrayBuffer> {
  const entries = Object.entries(metadata);
  const parts = [utf8.encode('GGUF'), word(3), long(tensors.size), long(entries.length)];
  for (const [key, value] of entries) parts.push(text(key), ...encodeValue(value));
  let offset = 0;
  for (const [name, tensor] of tensors) {
    const { dtype, shape } = tensor;
    parts.push(text(name), word(shape.length), ...shape.toReversed().map(long), word(TYPES[dtype]), long(offset));
    offset += Math.ceil(writtenBytes(tensor) / ALIGNMENT) * ALIGNMENT;
  }
  return concatBytes(parts);
}

const utf8 = new TextEncoder();

const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const long = (value: number): Uint8Array => new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);

function text(value: string): Uint8Array {
  const bytes = utf8.encode(value);
  return concatBytes([long(bytes.length), bytes]);
}

/** The number of the value's type, and the value. */
function encodeValue(value: WrittenValue): Uint8Array[] {
  if (typeof value === 'string') return [word(8), text(value)];
  if (typeof value === 'boolean') return [word(7), Uint8Array.of(value ? 1 : 0)];
  if (value instanceof Int32Array || value instanceof Float32Array)
    return [
      word(9),
      word(value instanceof Int32Array ? 5 : 6),
      long(value.length),
      new Uint8Array(value.buffer, value.byteOffset, value.byteLength),
    ];
  if ('type' in value)
    return value.type === 'u32'
      ? [word(4), word(value.value)]
      : [word(6), new Uint8Array(Float32Array.of(value.value).buffer)];
  return [word(9), word(8), long(value.length), ...value.map(text)];
}
