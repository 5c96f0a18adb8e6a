/** The ends of a checkpoint: found under the names of every family, or rejected with what stands in the way. */
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../../../models/node/safetensors.ts';
import { translateCheckpoint } from '../../../../s2t2/app/translate/checkpoint.ts';
import { configs, contents, inMemory, llama, readJsonFile, shard, translations } from './example.ts';

const { at, paths, source, broken } = translations();

test("GPT-2's own checkpoint has no prefix: the translated one, which has a head, has", async () => {
  const model = await source('bare', configs.gpt2, 'F32');
  const expected = await contents(await inMemory(model, 'F32'));
  await shard(model, 2, name => name.replace(/^transformer\./, ''));
  await translateCheckpoint({ model, ...paths, out: at('bare-out') });
  expect(await contents(at('bare-out'))).toEqual(expected);
});

test('a stored copy of a tied head is not translated', async () => {
  const model = await source('twice', configs.olmo, 'F32');
  const expected = await contents(await inMemory(model, 'F32'));
  await shard(model, 2);
  const index = await readJsonFile(model, 'model.safetensors.index.json');
  await writeSafetensors(join(model, 'head.safetensors'), {
    'lm_head.weight': { dtype: 'F32', shape: [48, 16], data: new Float32Array(48 * 16) },
  });
  await writeFile(
    join(model, 'model.safetensors.index.json'),
    JSON.stringify({ weight_map: { ...(index.weight_map as object), 'lm_head.weight': 'head.safetensors' } }),
  );
  await translateCheckpoint({ model, ...paths, out: at('twice-out') });
  expect(await contents(at('twice-out'))).toEqual(expected);
  expect((await readSafetensors(at('twice-out', 'head.safetensors'))).tensors.size).toBe(0);
});

describe('rejected', () => {
  let model = '';
  beforeAll(async () => {
    model = await source('good', llama, 'F32', 3);
  });

  const fields = (change: object) => async (path: string) =>
    writeFile(join(path, 'config.json'), JSON.stringify({ ...(await readJsonFile(path, 'config.json')), ...change }));

  test('a vocabulary that is not that of the weights', async () => {
    expect(await broken(model, 'rows', fields({ vocab_size: 50 }))).toContain(
      'has shape [48, 16], and config.json a vocabulary of 50',
    );
  });
  test.each([
    // Multi-token prediction of DeepSeek and Qwen, embeddings of each layer of Gemma 3n, a table of a size of its own.
    ['model.layers.2.embed_tokens.weight', [48, 16]],
    ['model.layers.2.shared_head.head.weight', [48, 16]],
    ['model.language_model.per_layer.weight', [16, 48]],
    ['model.embed_tokens_per_layer.weight', [40, 8]],
    ['model.rank.bias', [48]],
  ] as const)('another tensor with a row for every token: %s %j', async (name, shape) => {
    const message = await broken(model, `table ${name}`, async path => {
      const index = await readJsonFile(path, 'model.safetensors.index.json');
      const data = new Float32Array(shape.reduce<number>((a, b) => a * b, 1));
      await writeSafetensors(join(path, 'more.safetensors'), { [name]: { dtype: 'F32', shape, data } });
      const weightMap = { ...(index.weight_map as object), [name]: 'more.safetensors' };
      await writeFile(join(path, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
    });
    expect(message).toContain(
      `1 other tensor has a row for every token, which a plan does not translate: ${name} [${shape.join(', ')}]; ` +
        'remove',
    );
  });
  test('a model whose other lengths equal its vocabulary size is accepted', async () => {
    const square = await source('square', { ...llama, feedForward: 48 }, 'F32');
    await translateCheckpoint({ model: square, ...paths, out: at('square-out') });
    expect(existsSync(at('square-out', 'config.json'))).toBe(true);
  });
  test('weights without an embedding', async () => {
    expect(
      await broken(model, 'headless', async path => {
        await rm(join(path, 'model.safetensors.index.json'));
        await writeSafetensors(join(path, 'model.safetensors'), {
          x: { dtype: 'F32', shape: [1], data: new Float32Array(1) },
        });
      }),
    ).toContain(
      'has no embedding: none of its tensors is model.embed_tokens.weight, embed_tokens.weight, ' +
        'transformer.wte.weight, wte.weight',
    );
  });
});
