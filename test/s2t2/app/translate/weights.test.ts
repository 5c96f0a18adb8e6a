/** The weights of a translated checkpoint: ends that are finite, spread ends, blocks, damaged shards. */
import { existsSync } from 'node:fs';
import { cp, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Random, tensor } from '../../../../engine/index.ts';
import { loadModel, saveModel } from '../../../../models/node/checkpoint.ts';
import { readSafetensors, writeSafetensors } from '../../../../models/node/safetensors.ts';
import { initTransformer } from '../../../../models/init.ts';
import { translatedStart } from '../../../../s2t2/methods.ts';
import { defaults } from '../../../../s2t2/settings.ts';
import { refusal } from '../../../models/temporary.ts';
import { translateCheckpoint } from '../../../../s2t2/app/translate/checkpoint.ts';
import { contents, examplePlan, llama, sourceTokenizer, targetTokenizer, translations } from './example.ts';

const { at, paths, source, broken } = translations();

test('ends that are not finite are rejected by name, and rows that a plan does not read do not matter', async () => {
  const saved = async (name: string, ends: Partial<Record<'embedding' | 'head', readonly [number, number]>>) => {
    const { model, tokenizer } = { model: initTransformer(llama, new Random(3)), tokenizer: sourceTokenizer };
    const changed = Object.fromEntries(
      Object.entries(ends).map(([end, [row, value]]) => {
        const values = (model[end as 'embedding' | 'head'].dataSync() as Float32Array).slice();
        values[row * llama.width + 3] = value;
        return [end, tensor(values, { shape: [llama.vocabSize, llama.width] })];
      }),
    );
    await saveModel(at(name), { model: { ...model, ...changed }, tokenizer }, 'BF16');
    return at(name);
  };
  const ordinary = sourceTokenizer.ordinaryIds()[5];
  for (const [name, ends, tensorName, spread] of [
    ['nan', { embedding: [ordinary, NaN] }, 'model.embed_tokens.weight', undefined],
    ['infinite', { head: [ordinary, Infinity] }, 'lm_head.weight', undefined],
    ['special', { embedding: [0, -Infinity] }, 'model.embed_tokens.weight', undefined],
    ['spread', { head: [ordinary, NaN] }, 'lm_head.weight', { seed: 1, headScale: 1 }],
  ] as const) {
    const model = await saved(name, ends);
    expect(await refusal(translateCheckpoint({ model, ...paths, out: `${model}-out`, spread }))).toBe(
      `${model}/model.safetensors: tensor "${tensorName}" gives rows with NaN or infinite values; ` +
        'download or convert the model again',
    );
    expect(existsSync(join(`${model}-out`, 'config.json'))).toBe(false);
  }
  // Of 48 rows, 44 have tokens.
  const model = await saved('padding', { embedding: [47, NaN], head: [46, NaN] });
  await translateCheckpoint({ model, ...paths, out: `${model}-out` });
  expect(existsSync(join(`${model}-out`, 'config.json'))).toBe(true);
});

test('rows spread for finetuning are those that a run of the same seed starts from', async () => {
  for (const [tied, seed] of [
    [true, 0],
    [false, 5],
  ] as const) {
    const model = await source(`spread-${seed}`, { ...llama, tied }, 'F32', 2);
    const out = `${model}-out`;
    await translateCheckpoint({ model, ...paths, out, spread: { seed, headScale: 0.25 } });
    const loaded = await loadModel(model);
    const { finetuned } = await translatedStart(
      {
        source: loaded,
        target: targetTokenizer,
        settings: { ...defaults, alpha: 1, seed, headScale: 0.25, headBias: 'none' },
        train: { source: [], target: [] },
      },
      examplePlan(),
    );
    await saveModel(`${model}-in-memory`, { model: finetuned!, tokenizer: targetTokenizer }, 'F32');
    expect(await contents(out)).toEqual(await contents(`${model}-in-memory`));
    expect(await refusal(translateCheckpoint({ model, ...paths, out }))).toContain(
      'belongs to a translation of another',
    );
  }
});

test('memory holds one block of a tensor, however large', async () => {
  const model = await source('body', llama, 'F32');
  const whole = await readSafetensors(join(model, 'model.safetensors'));
  const size = 160 * 2 ** 20;
  const block = new Uint8Array(2 ** 20);
  const kept = [...whole.tensors].map(
    ([name, { dtype, shape }]) => [name, { dtype, shape, data: () => whole.blocks(name) }] as const,
  );
  await writeSafetensors(at('body.safetensors'), {
    ...Object.fromEntries(kept),
    body: { dtype: 'U8', shape: [size], data: () => Array.from({ length: size / block.length }, () => block) },
  });
  await cp(at('body.safetensors'), join(model, 'model.safetensors'));
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  await translateCheckpoint({
    model,
    ...paths,
    out: at('body-out'),
    onProgress: () => {
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    },
  });
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(40 * 2 ** 20);
  expect((await stat(at('body-out', 'model.safetensors'))).size).toBeGreaterThan(size);
});

describe('rejected', () => {
  let model = '';
  beforeAll(async () => {
    model = await source('good', llama, 'F32', 3);
  });
  const second = 'model-00002-of-00003.safetensors';

  test('a missing shard', async () => {
    expect(await broken(model, 'missing', path => rm(join(path, second)))).toContain(`${second}: no such file`);
  });
  test('a truncated shard', async () => {
    expect(await broken(model, 'cut', path => truncate(join(path, second), 2000))).toMatch(
      new RegExp(`${second}: not a valid safetensors file: .* of data; copy or download it again`),
    );
  });
});
