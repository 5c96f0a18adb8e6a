/**
 * Named tensors that can be read, whatever holds them: a file, several files, bytes in memory.
 *
 * A checkpoint may be larger than memory, so a tensor is read on demand, as numbers or as its raw bytes, block by
 * block. Numbers arrive in the two forms the engine has: floating dtypes as float32, integers as int32 (one that does
 * not fit is an error). Bytes are little-endian, in files and, it is assumed, in memory.
 */
import { UserError } from '../errors.ts';
import { FLOAT_CODECS, type Floats, INT_CODECS, type Ints } from './codec.ts';
import { damaged, DTYPE_BYTES, type Header, MAX_HEADER_BYTES, parseHeader, quote, type TensorEntry } from './header.ts';
import { isUtf8 } from '../utf8.ts';

/** Named tensors that can be read: one file, or a checkpoint of several. */
export interface TensorSource {
  /** The file, or the directory. */
  readonly path: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** A tensor's values. An unknown name is an error that names the file. */
  read(name: string): Promise<Floats | Ints>;
  /** As `read`; a tensor of integers is an error. */
  readFloats(name: string): Promise<Floats>;
  /**
   * A tensor's bytes as they lie in the file. Each block but the last has `BLOCK_BYTES`; the next block reuses its
   * memory.
   */
  blocks(name: string): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** A model directory's tensors, and the files they lie in, by name. */
export interface Checkpoint extends TensorSource {
  readonly shards: ReadonlyMap<string, TensorSource>;
}

/** The size of a block, the last one of a tensor excepted. */
export const BLOCK_BYTES = 8 * 2 ** 20;

/** Yields the bytes of a tensor, each block in its own `ArrayBuffer` or in one that the next block reuses. */
export type BlocksOf = (name: string, entry: TensorEntry) => AsyncGenerator<Uint8Array<ArrayBuffer>>;

/** A source over anything that yields a tensor's bytes block by block. */
export function tensorSource(
  path: string,
  metadata: ReadonlyMap<string, string>,
  tensors: ReadonlyMap<string, TensorEntry>,
  blocksOf: BlocksOf,
): TensorSource {
  const find = (name: string): TensorEntry => {
    const entry = tensors.get(name);
    if (entry === undefined)
      throw new UserError(
        `${path}: has no tensor ${quote(name)} among its ${tensors.size}; does it belong to this model?`,
      );
    return entry;
  };
  const refuse = (name: string, why: string): never => {
    throw new UserError(`${path}: tensor ${quote(name)} is ${find(name).dtype} ${why}`);
  };
  /** Block after block into `out`. */
  const fill = async <T extends Floats | Ints>(
    name: string,
    out: T,
    decode: (bytes: ArrayBuffer, out: T) => boolean,
  ): Promise<T> => {
    const entry = find(name);
    let at = 0;
    for await (const block of blocksOf(name, entry)) {
      const end = at + block.length / DTYPE_BYTES[entry.dtype];
      if (!decode(block.buffer, out.subarray(at, end) as T))
        refuse(name, 'and holds an integer outside int32; this engine cannot use it');
      at = end;
    }
    return out;
  };
  const read = async (name: string): Promise<Floats | Ints> => {
    const { dtype, begin, end } = find(name);
    const size = (end - begin) / DTYPE_BYTES[dtype];
    const floats = FLOAT_CODECS[dtype];
    if (floats !== undefined) return fill(name, allocate(Float32Array, size, path, name), floats.decode);
    const ints = INT_CODECS[dtype];
    if (ints !== undefined) return fill(name, allocate(Int32Array, size, path, name), ints.decode);
    return refuse(name, 'and can be copied but not read as numbers; convert it to F32');
  };
  return {
    path,
    metadata,
    tensors,
    read,
    async readFloats(name) {
      if (FLOAT_CODECS[find(name).dtype] === undefined) refuse(name, 'where floats are needed');
      return (await read(name)) as Floats;
    },
    blocks: name => blocksOf(name, find(name)),
  };
}

function allocate<T>(type: new (length: number) => T, length: number, path: string, name: string): T {
  try {
    return new type(length);
  } catch {
    throw new UserError(
      `${path}: tensor ${quote(name)} with its ${length} elements does not fit into memory; use a machine with more`,
    );
  }
}

/** Where the data of a safetensors file begin, from its first eight bytes. Throws where the file cannot hold them. */
export function headerEnd(first: Uint8Array, size: number, path: string): number {
  if (size < 8) throw damaged(path, `${size} bytes are too few for a header`);
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES)
    throw damaged(path, `its header claims ${length} bytes, more than the ${MAX_HEADER_BYTES} allowed`);
  if (8 + Number(length) > size) throw damaged(path, `its header claims ${length} bytes, and ${size - 8} follow`);
  return 8 + Number(length);
}

/** The header of a safetensors file from its bytes; `dataBytes` follow it in the file. */
export function decodeHeader(bytes: Uint8Array, dataBytes: number, path: string): Header {
  if (!isUtf8(bytes)) throw damaged(path, 'its header is not UTF-8');
  return parseHeader(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes), dataBytes, path);
}

/** A safetensors file that is in memory; `name` stands for its path in errors. */
export function safetensorsFromBytes(given: Uint8Array, name: string): TensorSource {
  // Node's Buffer has a `slice` of its own, which copies nothing; blocks are copies, aligned for their numbers.
  const bytes = new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  const start = headerEnd(bytes, bytes.length, name);
  const { metadata, tensors } = decodeHeader(bytes.subarray(8, start), bytes.length - start, name);
  return tensorSource(name, metadata, tensors, async function* (_, { begin, end }) {
    for (let at = begin; at < end; at += BLOCK_BYTES)
      yield bytes.slice(start + at, start + Math.min(end, at + BLOCK_BYTES));
  });
}
