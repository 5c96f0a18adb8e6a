/**
 * safetensors files on disk. A file need not be closed: each read opens it again and makes sure that it is still the
 * file whose header was read.
 */
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { damaged } from '../safetensors/header.ts';
import { openShards } from '../safetensors/shards.ts';
import {
  BLOCK_BYTES,
  type Checkpoint,
  decodeHeader,
  headerEnd,
  type TensorSource,
  tensorSource,
} from '../safetensors/source.ts';
import { encodeSafetensors, type NamedTensors } from '../safetensors/write.ts';
import { exists, explain, openFile, readJson, writeFileAtomic, type Chunk } from './files.ts';

/** Opens one file: reads and checks its header. */
export async function readSafetensors(path: string): Promise<TensorSource> {
  const { handle } = await openFile(path);
  try {
    const { size, mtimeMs, ino } = await handle.stat();
    const first = size < 8 ? Buffer.alloc(0) : await readExactly(handle, 0, Buffer.alloc(8), path);
    const dataStart = headerEnd(first, size, path);
    const header = await readExactly(handle, 8, Buffer.alloc(dataStart - 8), path);
    const { metadata, tensors } = decodeHeader(header, size - dataStart, path);

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

/**
 * The bytes from `begin` to `end`, `BLOCK_BYTES` at a time; the next block is read while the caller is at work on this
 * one.
 */
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
  const pickled = ['pytorch_model.bin', 'pytorch_model.bin.index.json'];
  const [bin] = (await Promise.all(pickled.map(name => exists(join(directory, name))))).flatMap((is, i) =>
    is ? [pickled[i]] : [],
  );
  if (bin !== undefined && !(await exists(index)))
    throw new UserError(
      `${directory}: holds ${bin} and no safetensors file; a .bin file is a program that Python runs, so convert ` +
        'it there: python -c "from transformers import AutoModelForCausalLM as M; ' +
        `M.from_pretrained('${directory}').save_pretrained('${directory}')"`,
    );
  if (!(await exists(index)))
    throw new UserError(
      `${directory}: holds neither model.safetensors nor model.safetensors.index.json; give a Hugging Face model ` +
        'directory',
    );

  return openShards(directory, index, await readJson(index), file => readSafetensors(join(directory, file)));
}

/** Writes tensors in the order given; see `writeFileAtomic` for what a failure leaves behind, and for `onChunk`. */
export const writeSafetensors = (
  path: string,
  tensors: NamedTensors,
  metadata: Readonly<Record<string, string>> = {},
  onChunk?: (chunk: Chunk) => void,
): Promise<void> => writeFileAtomic(path, encodeSafetensors(path, tensors, metadata), onChunk);
