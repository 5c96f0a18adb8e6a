/** A model directory, or a GGUF file, written as a GGUF file in one dtype. */
import { basename, resolve } from 'node:path';
import type { FloatDType } from '../config.ts';
import { UserError } from '../errors.ts';
import { encodeGguf, exportedModel, writtenBytes, type WrittenTensor } from '../gguf/index.ts';
import { openModel } from './checkpoint.ts';
import { writeFileAtomic } from './files.ts';
import { isGguf } from './gguf.ts';
import type { ImportOptions } from './import.ts';

/** Where a model is written, in which dtype, and how its progress is followed: `out` is a file. */
export type ExportOptions = ImportOptions;

/** What was written, and what was not. */
export interface Exported {
  readonly dtype: FloatDType;
  /** Of weights. */
  readonly bytes: number;
  /** Bytes that have no token. llama.cpp leaves them out of a text. */
  readonly unknownBytes: number;
  readonly unused: readonly string[];
}

/** Writes the file whole or not at all, tensor by tensor: memory holds one of them. */
export async function exportModel(path: string, options: ExportOptions): Promise<Exported> {
  const { out, signal, onProgress } = options;
  if (!isGguf(out)) throw new UserError(`${out}: give the file a name that ends with .gguf`);
  const name = basename(resolve(path)).replace(/\.gguf$/i, '');
  const { metadata, tensors, ...others } = await exportedModel(await openModel(path), name, options.dtype);
  const total = [...tensors.values()].reduce((n, tensor) => n + writtenBytes(tensor), 0);
  let done = 0;
  const followed = ([tensorName, tensor]: [string, WrittenTensor]): [string, WrittenTensor] => [
    tensorName,
    {
      ...tensor,
      async *data() {
        for await (const block of tensor.data()) {
          signal?.throwIfAborted();
          yield block;
          onProgress?.((done += block.length), total);
        }
      },
    },
  ];
  await writeFileAtomic(out, encodeGguf(metadata, new Map(Array.from(tensors, followed))));
  return { ...others, bytes: total };
}
