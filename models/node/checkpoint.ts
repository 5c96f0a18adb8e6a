/** Hugging Face model directories and GGUF files on disk. */
import { basename, dirname, join } from 'node:path';
import { modelTensorsInTurn, modelTexts, readModel, readTokenizer, tokenizerTexts } from '../checkpoint.ts';
import type { KeptFields, LanguageModel, ModelFiles, ReadOptions } from '../checkpoint.ts';
import { dtypeNames, type Fields, type FloatDType } from '../config.ts';
import { UserError } from '../errors.ts';
import { BeyondDType } from '../safetensors/write.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { exists, readText, writeDirectoryAtomic, writeFileAtomic } from './files.ts';
import { isGguf, openGguf } from './gguf.ts';
import { openCheckpoint, writeSafetensors } from './safetensors.ts';

const modelFiles = (directory: string): ModelFiles => ({
  path: name => join(directory, name),
  has: name => exists(join(directory, name)),
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

/** Writes the files of a tokenizer into a directory: its own, and those that say which tokens play a part. */
export async function saveTokenizer(directory: string, tokenizer: Tokenizer, more: Fields = {}): Promise<void> {
  for (const [name, text] of Object.entries(tokenizerTexts(tokenizer, more)))
    await writeFileAtomic(join(directory, name), text);
}

/** Writes a model directory whole or not at all. */
export async function saveModel(
  directory: string,
  model: LanguageModel,
  dtype: FloatDType = model.dtype ?? 'F32',
  { files = {}, remedy = 'lower --rate, or give --dtype float32', ...kept }: Companions = {},
): Promise<void> {
  const tensors = modelTensorsInTurn(model.model, dtype);
  await writeDirectoryAtomic(directory, async temporary => {
    await writeSafetensors(join(temporary, 'model.safetensors'), tensors, { format: 'pt' }).catch((error: unknown) => {
      // The directory of its path is a temporary one.
      if (!(error instanceof BeyondDType)) throw error;
      throw new UserError(
        `${directory}: weights have grown beyond what ${dtypeNames[dtype]} holds (tensor "${error.tensor}"); ${remedy}`,
      );
    });
    for (const [name, content] of Object.entries({ ...modelTexts(model, dtype, kept), ...files }))
      await writeFileAtomic(join(temporary, name), content);
  });
}

/** What a written model has beside itself, and what to do where its weights do not fit into their dtype. */
export interface Companions extends KeptFields {
  /** Files by name: a record, a licence, a model card. */
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  readonly remedy?: string;
}
