/**
 * What tests of `translate` share: a plan between two small vocabularies, models of every family on disk, and their
 * translations in memory.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect } from 'vitest';
import { Random } from '../../../../engine/index.ts';
import { loadModel, saveModel } from '../../../../models/node/checkpoint.ts';
import { type FloatDType } from '../../../../models/config.ts';
import { type LanguageModel } from '../../../../models/checkpoint.ts';
import { openCheckpoint, readSafetensors, writeSafetensors } from '../../../../models/node/safetensors.ts';
import { type TensorData } from '../../../../models/safetensors/write.ts';
import { tokenizerToJson, trainBPE } from '../../../../models/tokenizer/index.ts';
import { type FamilyName } from '../../../../models/families.ts';
import { initTransformer } from '../../../../models/init.ts';
import type { TransformerConfig } from '../../../../models/transformer-config.ts';
import { modelFromPlan } from '../../../../s2t2/methods.ts';
import { tokenMap } from '../../../../s2t2/translate.ts';
import { compress, roundToMarginals, type Plan } from '../../../../s2t2/plan.ts';
import { savePlan } from '../../../../s2t2/app/plan-file.ts';
import { translateCheckpoint } from '../../../../s2t2/app/translate/checkpoint.ts';
import { refusal, temporaryDirectory } from '../../../models/temporary.ts';

export const sourceTokenizer = trainBPE(['to be or not to be that is the question'], {
  vocabSize: 44,
  alphabet: 'seen',
});
export const targetTokenizer = trainBPE(['MKVLAAGIVGLCAKVLAAGMKKLA'], { vocabSize: 24, alphabet: 'seen' });

/** A sparse plan with mass in every row, half of it uniform, and two tokens that are never shown. */
export function examplePlan(source = sourceTokenizer): Plan {
  const hidden = targetTokenizer.ordinaryIds().subarray(3, 5);
  const map = tokenMap(source, targetTokenizer, id => !hidden.includes(id));
  const [u, v] = [map.targetIds.length, map.sourceIds.length];
  const random = new Random(7);
  const mu = new Float32Array(u).fill(1 / u);
  const heavy = Float32Array.from({ length: v }, (_, j) => (j % 2 === 0 ? 3 : 1));
  const total = heavy.reduce((sum, x) => sum + x);
  const nu = heavy.map(x => x / total);
  const dense = roundToMarginals(
    Array.from({ length: u * v }, () => Math.max(0, random.normal())),
    mu,
    nu,
  );
  return {
    ...compress(dense, u, v),
    mu,
    nu,
    ...map,
    target: targetTokenizer.hash,
    source: source.hash,
    settings: { variant: 'dual', iterations: 3, alpha: 1, rowNormalisation: 'actual', headNormalisation: 'columns' },
    gap: null,
  };
}

/** The vocabulary is padded to 48 rows. */
export const llama: TransformerConfig = {
  family: 'llama',
  vocabSize: 48,
  width: 16,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  feedForward: 24,
  context: 64,
  rotaryBase: 10000,
  normEps: 1e-6,
  tied: false,
};
export const configs: Record<FamilyName, TransformerConfig> = {
  llama,
  olmo: { ...llama, family: 'olmo', normEps: 1e-5, tied: true },
  gpt2: { ...llama, family: 'gpt2', keyValueHeads: 4, normEps: 1e-5, tied: true },
  olmo2: { ...llama, family: 'olmo2' },
  mistral: { ...llama, family: 'mistral' },
  qwen2: { ...llama, family: 'qwen2', tied: true },
  qwen3: { ...llama, family: 'qwen3' },
  gpt_neox: { ...llama, family: 'gpt_neox', keyValueHeads: 4, rotaryShare: 0.5, parallel: true },
};

/** Spreads the one file of a model directory over several, tensor by tensor in turn, under other names if asked for. */
export async function shard(path: string, files: number, rename = (name: string) => name): Promise<void> {
  const whole = await readSafetensors(join(path, 'model.safetensors'));
  const fileOf = (i: number) => `model-0000${(i % files) + 1}-of-0000${files}.safetensors`;
  const weightMap: Record<string, string> = {};
  for (let f = 0; f < files; f++) {
    const own: Record<string, TensorData> = {};
    for (const [i, [name, { dtype, shape }]] of [...whole.tensors].entries()) {
      if (i % files !== f) continue;
      own[rename(name)] = { dtype, shape, data: () => whole.blocks(name) };
      weightMap[rename(name)] = fileOf(i);
    }
    await writeSafetensors(join(path, fileOf(f)), own, { format: 'pt' });
  }
  await writeFile(join(path, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: weightMap }));
  await rm(join(path, 'model.safetensors'));
}

/** The translation in memory, written in the same dtype. */
export async function inMemory(model: string, dtype: FloatDType): Promise<string> {
  const { model: loaded } = await loadModel(model);
  const path = `${model}-in-memory`;
  await saveModel(path, { model: await modelFromPlan(loaded, examplePlan()), tokenizer: targetTokenizer }, dtype);
  return path;
}

/** Every tensor as dtype, shape and bytes. */
export async function contents(path: string): Promise<Map<string, string>> {
  const checkpoint = await openCheckpoint(path);
  const out = new Map<string, string>();
  for (const [name, { dtype, shape }] of checkpoint.tensors) {
    const blocks: Buffer[] = [];
    for await (const block of checkpoint.blocks(name)) blocks.push(Buffer.from(block));
    out.set(name, `${dtype} ${shape.join('×')} ${Buffer.concat(blocks).toString('hex')}`);
  }
  return new Map([...out].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export const readJsonFile = async (...names: string[]) =>
  JSON.parse(await readFile(join(...names), 'utf8')) as Record<string, unknown>;

/** A directory for a test file, with the plan and its target tokenizer in it, and functions that put models there. */
export function translations() {
  const directory = temporaryDirectory();
  const at = (...names: string[]) => join(directory, ...names);
  const paths = { plan: at('plan.safetensors'), target: at('target', 'tokenizer.json') };
  beforeAll(async () => {
    await savePlan(paths.plan, examplePlan());
    await mkdir(at('target'));
    await writeFile(paths.target, tokenizerToJson(targetTokenizer));
  });

  /** A model directory; shards only where more than one is asked for. */
  async function source(name: string, config: TransformerConfig, dtype: FloatDType, files = 1): Promise<string> {
    const model: LanguageModel = { model: initTransformer(config, new Random(3)), tokenizer: sourceTokenizer };
    await saveModel(at(name), model, dtype);
    if (files > 1) await shard(at(name), files);
    return at(name);
  }

  /** A model beside which lie files of some size, so that copying takes a while. */
  async function large(name: string, files: number, bytesEach: number): Promise<string> {
    const model = await source(name, llama, 'F32');
    const weights = await readSafetensors(join(model, 'model.safetensors'));
    const [rest, ...bodies] = Array.from({ length: files }, (_, i) => `model-${i}.safetensors`);
    await cp(join(model, 'model.safetensors'), join(model, rest));
    await rm(join(model, 'model.safetensors'));
    const weightMap: Record<string, string> = Object.fromEntries(
      [...weights.tensors.keys()].map(tensorName => [tensorName, rest]),
    );
    for (const file of bodies) {
      const block = new Uint8Array(2 ** 20);
      await writeSafetensors(join(model, file), {
        [file]: {
          dtype: 'U8',
          shape: [bytesEach],
          data: () => Array.from({ length: bytesEach / block.length }, () => block),
        },
      });
      weightMap[file] = file;
    }
    await writeFile(join(model, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
    return model;
  }

  /** A copy of a model with something wrong, and the message it gets; nothing may be written. */
  async function broken(model: string, name: string, change: (path: string) => Promise<void>): Promise<string> {
    await cp(model, at(name), { recursive: true });
    await change(at(name));
    const message = await refusal(translateCheckpoint({ model: at(name), ...paths, out: at(`${name}-out`) }));
    expect(existsSync(at(`${name}-out`, 'config.json'))).toBe(false);
    return message;
  }

  return { at, paths, source, large, broken };
}
