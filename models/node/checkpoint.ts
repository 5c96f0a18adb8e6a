/** Hugging Face model directories on disk. */
import { basename, dirname, join } from 'node:path';
import { fieldsOf, modelTensors, modelTexts, readModel, readTokenizer, tokenizerTexts } from '../checkpoint.ts';
import type { LanguageModel, ModelFiles } from '../checkpoint.ts';
import type { Fields, FloatDType } from '../config.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { exists, readText, writeDirectoryAtomic, writeFileAtomic } from './files.ts';
import { openCheckpoint, writeSafetensors } from './safetensors.ts';

const modelFiles = (directory: string): ModelFiles => ({
  path: name => join(directory, name),
  text: async name => ((await exists(join(directory, name))) ? readText(join(directory, name)) : undefined),
  tensors: () => openCheckpoint(directory),
});

/** Reads a model directory. Every weight the configuration asks for must be there, in its shape. */
export const loadModel = (directory: string): Promise<LanguageModel> => readModel(modelFiles(directory));

/** Of a directory, or a `tokenizer.json` itself, beside which `tokenizer_config.json` may lie. */
export const loadTokenizer = (path: string): Promise<Tokenizer> =>
  path.endsWith('.json') ? readTokenizer(modelFiles(dirname(path)), basename(path)) : readTokenizer(modelFiles(path));

/** A JSON file that must hold an object. */
export const readFields = async (path: string): Promise<Fields> => fieldsOf(await readText(path), path);

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
