/** A model from a GGUF file, or a model directory, written as a model directory in one dtype. */
import { join } from 'node:path';
import { readHeaders } from '../checkpoint.ts';
import { configText, dtypeNames, type Fields, type FloatDType } from '../config.ts';
import { converted } from '../safetensors/convert.ts';
import { DTYPE_BYTES } from '../safetensors/header.ts';
import type { TensorData } from '../safetensors/write.ts';
import { carriedAlong } from './carried.ts';
import { openModel } from './checkpoint.ts';
import { writeDirectoryAtomic, writeFileAtomic } from './files.ts';
import { writeSafetensors } from './safetensors.ts';

/** Where a model is written, in which dtype, and how its progress is followed. */
export interface ImportOptions {
  /** Directory to write. */
  readonly out: string;
  /** Of all tensors; where it is missing the dtype of the source, float16 for a quantised one. */
  readonly dtype?: FloatDType;
  readonly signal?: AbortSignal;
  /** Bytes of weights written, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** The files beside the weights that a GGUF file holds too. */
const texts = ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json'] as const;

/**
 * Writes the model whole or not at all, tensor by tensor: memory holds one of them. Files of a directory that are not
 * the model's come along. Returns what was written, and the files and tensors that were not.
 */
export async function importModel(path: string, { out, dtype: asked, signal, onProgress }: ImportOptions) {
  const files = await openModel(path);
  const headers = await readHeaders(files);
  const { source, stored } = headers;
  const dtype = asked ?? headers.dtype;
  const tensors = new Map<string, TensorData>();
  let [done, total] = [0, 0];
  for (const [name, from] of stored) {
    const { shape } = source.tensors.get(from)!;
    total += shape.reduce((product, dimension) => product * dimension, DTYPE_BYTES[dtype]);
    const data = async function* () {
      for await (const block of converted(source, from, name, dtype)) {
        signal?.throwIfAborted();
        yield block;
        onProgress?.((done += block.length), total);
      }
    };
    tensors.set(name, { dtype, shape, data });
  }
  const { files: others, skipped } = await carriedAlong(path);
  const used = new Set(Array.from(stored, ([, from]) => from));
  const unused = [...source.tensors.keys()].filter(name => !used.has(name));
  await writeDirectoryAtomic(out, async temporary => {
    await writeSafetensors(join(temporary, 'model.safetensors'), tensors, { format: 'pt' });
    for (const [name, content] of Object.entries(others)) await writeFileAtomic(join(temporary, name), content);
    for (const name of texts) {
      const text = await files.text(name);
      if (text !== undefined)
        await writeFileAtomic(join(temporary, name), name === 'config.json' ? withDType(text, dtype) : text);
    }
  });
  return { dtype, bytes: total, skipped, unused };
}

const withDType = (config: string, dtype: FloatDType): string => {
  return configText({ ...(JSON.parse(config) as Fields), torch_dtype: dtypeNames[dtype] });
};
