/** A model from a GGUF file, or a model directory, written as a model directory in one dtype. */
import { join } from 'node:path';
import { readHeaders } from '../checkpoint.ts';
import { configText, dtypeNames, type Fields, type FloatDType } from '../config.ts';
import { UserError } from '../errors.ts';
import { areFinite, FLOAT_CODECS } from '../safetensors/codec.ts';
import { DTYPE_BYTES, quote } from '../safetensors/header.ts';
import type { TensorSource } from '../safetensors/source.ts';
import type { TensorData } from '../safetensors/write.ts';
import { storedEnds } from '../stored.ts';
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
      for await (const block of converted(source, from, dtype, endNames.has(name))) {
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

const endNames: ReadonlySet<string> = new Set(storedEnds.flatMap(({ embedding, head }) => [embedding, head]));

/**
 * A tensor's bytes in another dtype. Values that are not finite are an error, for with them a model computes nothing;
 * what keeps its dtype is looked at only where it is an `end`, since all of it would take a seventh of the time.
 */
async function* converted(
  source: TensorSource,
  name: string,
  dtype: FloatDType,
  end: boolean,
): AsyncGenerator<Uint8Array> {
  const { dtype: own } = source.tensors.get(name)!;
  const refuse = (what: string): never => {
    throw new UserError(`${source.path}: tensor ${quote(name)} holds a value ${what}`);
  };
  for await (const block of source.blocks(name)) {
    if ((end || own !== dtype) && !areFinite(own, block))
      refuse('that is NaN or infinite; download or convert the model again');
    if (own === dtype) {
      yield block;
      continue;
    }
    const floats = new Float32Array(block.length / DTYPE_BYTES[own]);
    FLOAT_CODECS[own]!.decode(block.buffer, floats);
    const encoded = FLOAT_CODECS[dtype]!.encode(floats);
    if (encoded === undefined) return refuse(`beyond ${dtype}; give --dtype float32`);
    yield new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  }
}
