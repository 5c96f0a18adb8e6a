/** Hugging Face model directories and GGUF files on disk. */
import { basename, dirname, join } from 'node:path';
import { modelTensors, modelTexts, readModel, readTokenizer, tokenizerTexts } from '../checkpoint.ts';
import type { LanguageModel, ModelFiles, ReadOptions } from '../checkpoint.ts';
import type { FloatDType } from '../config.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { exists, readText, writeDirectoryAtomic, writeFileAtomic } from './files.ts';
import { isGguf, openGguf } from './gguf.ts';
import { openCheckpoint, writeSafetensors } from './safetensors.ts';

const modelFiles = (directory: string): ModelFiles => ({
  path: name => join(directory, name),
  text: async name => ((await exists(join(directory, name))) ? readText(join(directory, name)) : undefined),
  tensors: () => openCheckpoint(directory),
});

/** The files of a model: those of a directory, or what a GGUF file (`.gguf`) holds in their place. */
export const openModel = async (path: string): Promise<ModelFiles> =>
  isGguf(path) ? openGguf(path) : modelFiles(path);

/** Reads a model directory or GGUF file. Every weight the configuration asks for must be there, in its shape. */
export const loadModel = async (path: string, options?: ReadOptions): Promise<LanguageModel> =>
  readModel(await openModel(path), options);

/** Of a directory, a GGUF file, or a `tokenizer.json` itself, beside which `tokenizer_config.json` may lie. */
export const loadTokenizer = async (path: string): Promise<Tokenizer> =>
  path.endsWith('.json')
    ? readTokenizer(modelFiles(dirname(path)), basename(path))
    : readTokenizer(await openModel(path));

/** Writes `tokenizer.json` and `tokenizer_config.json` into a directory. */
export async function saveTokenizer(directory: string, tokenizer: Tokenizer): Promise<void> {
  for (const [name, text] of Object.entries(tokenizerTexts(tokenizer)))
    await writeFileAtomic(join(directory, name), text);
}

/** Writes a model directory whole or not at all. `extra` files (a record, a licence) go in beside. */
export async function saveModel(
  directory: string,
  model: LanguageModel,
  dtype: FloatDType = 'F32',
  extra: Readonly<Record<string, string>> = {},
): Promise<void> {
  const tensors = await modelTensors(model.model, dtype);
  await writeDirectoryAtomic(directory, async temporary => {
    await writeSafetensors(join(temporary, 'model.safetensors'), tensors, { format: 'pt' });
    for (const [name, text] of Object.entries({ ...modelTexts(model, dtype), ...extra }))
      await writeFileAtomic(join(temporary, name), text);
  });
}
