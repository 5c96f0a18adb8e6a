/** Models and their GGUF files in memory. */
import { Random, tensor } from '../../../engine/index.ts';
import { modelTensors, modelTexts, type LanguageModel, type ModelFiles } from '../../../models/checkpoint.ts';
import type { FloatDType } from '../../../models/config.ts';
import { encodeGguf, exportedModel, ggufFiles } from '../../../models/gguf/index.ts';
import { initTransformer } from '../../../models/init.ts';
import { safetensorsFromBytes } from '../../../models/safetensors/source.ts';
import { safetensorsBytes } from '../../../models/safetensors/write.ts';
import { concatBytes } from '../../../models/tokenizer/bytes.ts';
import type { TransformerConfig } from '../../../models/transformer-config.ts';
import { parameters, type Transformer } from '../../../models/weights.ts';

/** A model in which no two weights are the same, scales and shifts included. */
export function randomModel(config: TransformerConfig, random: Random): Transformer {
  const model = initTransformer(config, random);
  for (const weight of Object.values(parameters(model))) {
    const values = Float32Array.from({ length: weight.size }, () => random.normal());
    weight.assign(tensor(values, { shape: weight.shape }));
  }
  return model;
}

/** The files of its directory; `changes` take the place of fields or, as texts, of files. */
export async function directoryOf(
  model: LanguageModel,
  changes: Readonly<Record<string, object | string>> = {},
): Promise<ModelFiles> {
  const texts = modelTexts(model, 'F32');
  for (const [name, change] of Object.entries(changes))
    texts[name] =
      typeof change === 'string' ? change : JSON.stringify({ ...(JSON.parse(texts[name]) as object), ...change });
  const bytes = await safetensorsBytes(await modelTensors(model.model, 'F32'));
  return {
    path: name => `m/${name}`,
    has: async name => Object.hasOwn(texts, name),
    text: async name => texts[name],
    tensors: async () => safetensorsFromBytes(bytes, 'm/model.safetensors'),
  };
}

/** The bytes of the GGUF file of a model. */
export async function exportedBytes(files: ModelFiles, dtype?: FloatDType): Promise<Uint8Array<ArrayBuffer>> {
  const { metadata, tensors } = await exportedModel(files, 'm', dtype);
  const chunks: Uint8Array[] = [];
  for await (const chunk of encodeGguf(metadata, tensors)) chunks.push(chunk.slice());
  return concatBytes(chunks);
}

/** The files that a GGUF file stands for. */
export const openBytes = (bytes: Uint8Array<ArrayBuffer>): Promise<ModelFiles> =>
  ggufFiles('m.gguf', bytes.length, async (begin, end) => bytes.slice(begin, end));
