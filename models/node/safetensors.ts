/**
 * Tensors on disk: Hugging Face's safetensors, read lazily and written whole.
 *
 * A checkpoint may be larger than memory, so opening one reads its header only; a tensor is read when asked for, as
 * numbers or as its raw bytes, block by block. Numbers arrive in the two forms the engine has: floating dtypes as
 * float32, integers as int32 (one that does not fit is an error). A file need not be closed: each read opens it
 * again and makes sure that it is still the file whose header was read.
 *
 * Bytes are little-endian in the file and taken to be so in memory, as on every machine Node 20 is built for but s390x.
 */

import { isUtf8 } from 'node:buffer';
import { type FileHandle, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { explain, openFile, readJson, writeFileAtomic } from './files.ts';
import { UserError } from '../errors.ts';
import { FLOAT_CODECS, type Floats, INT_CODECS, type Ints } from '../safetensors/codec.ts';
import {
  damaged,
  DTYPE_BYTES,
  formatHeader,
  MAX_HEADER_BYTES,
  METADATA,
  parseHeader,
  quote,
  type SafetensorsDType,
  type TensorEntry,
} from '../safetensors/header.ts';

export type { SafetensorsDType, TensorEntry } from '../safetensors/header.ts';

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
  /** A tensor's bytes as they lie in the file. Each block but the last has `BLOCK_BYTES`; the next block reuses its memory. */
  blocks(name: string): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** A model directory's tensors, and the files they lie in, by name. */
export interface Checkpoint extends TensorSource {
  readonly shards: ReadonlyMap<string, TensorSource>;
}

/** Values to write. Floats go to any floating dtype, ints to any integer one; bytes, whole or in chunks, are written as they are. */
export interface TensorData {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array | (() => Iterable<Uint8Array> | AsyncIterable<Uint8Array>);
}

const BLOCK_BYTES = 8 * 2 ** 20;

/** Opens one file: reads and checks its header. */
export async function readSafetensors(path: string): Promise<TensorSource> {
  const { handle } = await openFile(path);
  try {
    const { size, mtimeMs, ino } = await handle.stat();
    if (size < 8) throw damaged(path, `${size} bytes are too few for a header`);
    const headerBytes = (await readExactly(handle, 0, Buffer.alloc(8), path)).readBigUInt64LE();
    if (headerBytes > MAX_HEADER_BYTES)
      throw damaged(path, `its header claims ${headerBytes} bytes, more than the ${MAX_HEADER_BYTES} allowed`);
    const dataStart = 8 + Number(headerBytes);
    if (dataStart > size) throw damaged(path, `its header claims ${headerBytes} bytes, and ${size - 8} follow`);
    const header = await readExactly(handle, 8, Buffer.alloc(Number(headerBytes)), path);
    if (!isUtf8(header)) throw damaged(path, 'its header is not UTF-8');
    const { metadata, tensors } = parseHeader(header.toString(), size - dataStart, path);

    const isSame = async (reopened: FileHandle) => {
      const now = await reopened.stat();
      return now.size === size && now.mtimeMs === mtimeMs && now.ino === ino;
    };
    return tensorSource(path, metadata, tensors, async function* (_, entry) {
      const file = await openFile(path);
      try {
        if (!(await isSame(file.handle))) throw new UserError(`${path}: was changed while it was read; run again`);
        yield* readBlocks(file.handle, dataStart + entry.begin, dataStart + entry.end, path);
      } finally {
        await file.handle.close();
      }
    });
  } catch (error) {
    throw explain(error, path);
  } finally {
    await handle.close();
  }
}

/** The bytes from `begin` to `end`, `BLOCK_BYTES` at a time; the next block is read while the caller is at work on this one. */
async function* readBlocks(
  handle: FileHandle,
  begin: number,
  end: number,
  path: string,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const blocks = Math.ceil((end - begin) / BLOCK_BYTES);
  const buffers = Array.from({ length: Math.min(2, blocks) }, () =>
    Buffer.from(new ArrayBuffer(Math.min(BLOCK_BYTES, end - begin))),
  );
  const read = (i: number) => {
    const at = begin + i * BLOCK_BYTES;
    return readExactly(handle, at, buffers[i % 2].subarray(0, Math.min(BLOCK_BYTES, end - at)), path);
  };
  let next = blocks > 0 ? read(0) : undefined;
  try {
    for (let i = 0; next !== undefined; i++) {
      const block: Buffer<ArrayBuffer> = await next;
      next = i + 1 < blocks ? read(i + 1) : undefined;
      yield block;
    }
  } finally {
    await next?.catch(() => {}); // a read that nobody asks for any more
  }
}

async function readExactly<B extends Buffer>(handle: FileHandle, position: number, into: B, path: string): Promise<B> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) throw damaged(path, 'it ends too early');
    done += bytesRead;
  }
  return into;
}

/** A Hugging Face model directory: `model.safetensors`, or the shards that `model.safetensors.index.json` names. */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const single = join(directory, 'model.safetensors');
  if (await exists(single)) {
    const file = await readSafetensors(single);
    return { ...file, shards: new Map([['model.safetensors', file]]) };
  }
  const index = join(directory, 'model.safetensors.index.json');
  if (!(await exists(directory)))
    throw new UserError(`${directory}: no such directory; give a Hugging Face model directory`);
  if (!(await exists(index)))
    throw new UserError(
      `${directory}: holds neither model.safetensors nor model.safetensors.index.json; give a Hugging Face model directory`,
    );

  const content = await readJson(index);
  const weightMap = isRecord(content) ? content.weight_map : undefined;
  if (!isRecord(weightMap))
    throw new UserError(`${index}: lacks "weight_map", an object from tensor names to files; download it again`);
  const shards = new Map<string, TensorSource>();
  const owners = new Map<string, TensorSource>();
  const tensors = new Map<string, TensorEntry>();
  for (const [name, file] of Object.entries(weightMap)) {
    // A link to elsewhere is fine (Hugging Face's cache is made of them), a name that leads elsewhere is not.
    if (typeof file !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(file))
      throw new UserError(
        `${index}: weight_map.${quote(name)} is not the name of a .safetensors file beside it; download it again`,
      );
    const shard = shards.get(file) ?? (await readSafetensors(join(directory, file)));
    shards.set(file, shard);
    const entry = shard.tensors.get(name);
    if (entry === undefined)
      throw new UserError(
        `${index}: weight_map.${quote(name)} names ${file}, which lacks this tensor; download both again`,
      );
    owners.set(name, shard);
    tensors.set(name, entry);
  }
  return { ...tensorSource(directory, new Map(), tensors, name => owners.get(name)!.blocks(name)), shards };
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  ); // prettier-ignore
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

type BlocksOf = (name: string, entry: TensorEntry) => AsyncGenerator<Uint8Array<ArrayBuffer>>;

function tensorSource(
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

/** Writes tensors in the order given; see `writeFileAtomic` for what a failure leaves behind. Wrong arguments are a `RangeError`. */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, TensorData>> | ReadonlyMap<string, TensorData>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
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
    const codecs = data instanceof Float32Array ? FLOAT_CODECS : INT_CODECS;
    if ((data instanceof Float32Array || data instanceof Int32Array) && codecs[dtype] === undefined)
      throw new RangeError(`${name}: ${dtype} does not hold ${data.constructor.name}`);
    entries.set(name, { dtype, shape, begin, end });
    begin = end;
  }
  await writeFileAtomic(
    path,
    (async function* () {
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
    })(),
  ); // prettier-ignore
}

async function* encode(path: string, name: string, { dtype, data }: TensorData): AsyncGenerator<Uint8Array> {
  if (typeof data === 'function') return yield* data();
  if (data instanceof Uint8Array) return yield data;
  for (let at = 0; at < data.length; at += BLOCK_BYTES / 8) {
    const block = data.slice(at, at + BLOCK_BYTES / 8);
    const encoded =
      block instanceof Float32Array ? FLOAT_CODECS[dtype]?.encode(block) : INT_CODECS[dtype]?.encode(block);
    if (encoded === undefined)
      throw new UserError(`${path}: tensor ${quote(name)} holds a value that ${dtype} cannot; write a wider dtype`);
    yield new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  }
}
