/**
 * A plan applied to a checkpoint on disk: what it writes is the model with its ends rewritten in memory, whatever the
 * files look like.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { noGrad, scope, tensor } from '../../../../engine/index.ts';
import { loadModel, loadTokenizer } from '../../../../models/node/checkpoint.ts';
import { type LanguageModel } from '../../../../models/checkpoint.ts';
import { openCheckpoint } from '../../../../models/node/safetensors.ts';
import { tokenizerToJson, trainBPE } from '../../../../models/tokenizer/index.ts';
import { familyNames } from '../../../../models/families.ts';
import { withTemplate } from '../../../../models/roles.ts';
import { forward } from '../../../../models/transformer.ts';
import { parameters } from '../../../../models/weights.ts';
import { savePlan } from '../../../../s2t2/app/plan-file.ts';
import { refusal } from '../../../models/temporary.ts';
import { oraclePython, readThere } from '../../../oracles/huggingface.ts';
import { translateCheckpoint } from '../../../../s2t2/app/translate/checkpoint.ts';
import {
  configs,
  contents,
  examplePlan,
  inMemory,
  llama,
  readJsonFile,
  sourceTokenizer,
  targetTokenizer,
  translations,
} from './example.ts';

const { at, paths, source } = translations();

describe.each(familyNames)('%s', family => {
  const config = configs[family];
  test.each([
    ['F32', 1],
    ['F16', 3],
    ['BF16', 2],
  ] as const)('%s in %i files: the bytes are those of the translation in memory', async (dtype, files) => {
    const model = await source(`${family}-${dtype}`, config, dtype, files);
    const out = `${model}-out`;
    await translateCheckpoint({ model, ...paths, out });
    expect(await contents(out)).toEqual(await contents(await inMemory(model, dtype)));
    const [before, after] = [await readJsonFile(model, 'config.json'), await readJsonFile(out, 'config.json')];
    expect(after).toEqual({
      ...before,
      vocab_size: targetTokenizer.vocabSize,
      tie_word_embeddings: false,
      bos_token_id: 0,
      eos_token_id: 1,
      pad_token_id: 2,
    });
    expect(await readFile(join(out, 'tokenizer.json'), 'utf8')).toBe(
      tokenizerToJson(withTemplate(targetTokenizer, sourceTokenizer)),
    );
    const weights = (await readdir(out)).filter(name => name.endsWith('.safetensors'));
    expect(weights).toHaveLength(files);
    if (files === 1) return;
    const index = await readJsonFile(out, 'model.safetensors.index.json');
    expect(index.metadata).toEqual({
      total_size: [...(await openCheckpoint(out)).tensors.values()].reduce((n, t) => n + t.end - t.begin, 0),
    });
  });

  test.skipIf(oraclePython === undefined)('transformers loads what is written and computes the same', async () => {
    const model = await source(`${family}-there`, { ...config, vocabSize: 48 }, 'F32', 2);
    await translateCheckpoint({ model, ...paths, out: at(`${family}-there-out`) });
    const { model: own } = await loadModel(at(`${family}-there-out`));
    const ids = Int32Array.from([0, ...targetTokenizer.encode('MKVLAAG')]);
    const there = readThere(at(`${family}-there-out`), ids);
    const logits = noGrad(() => scope(() => forward(own, tensor(ids, { shape: [1, ids.length] })).logits.dataSync()));
    const largest = Math.max(...there.logits.map(Math.abs));
    // Float32 against double precision in two layers of width 16: some hundred roundings.
    logits.forEach((x, i) => expect(Math.abs(x - there.logits[i])).toBeLessThan(256 * 2 ** -24 * largest));
    expect(there).toMatchObject({
      tied: false,
      text: '<s>MKVLAAG',
      again: [...ids],
      special: { bos: 0, eos: 1, pad: 2, unk: 3 },
      generation: { bos_token_id: 0, eos_token_id: 1, pad_token_id: 2 },
    });
  });
});

test('fields that name tokens of the old vocabulary change or go, others stay', async () => {
  const model = await source('fields', llama, 'F32');
  await writeFile(
    join(model, 'generation_config.json'),
    JSON.stringify({ temperature: 0.6, eos_token_id: [7, 8], suppress_tokens: [5], max_length: 64 }),
  );
  await writeFile(
    join(model, 'config.json'),
    JSON.stringify({ ...(await readJsonFile(model, 'config.json')), sliding_window: 4096, model_type: 'mistral' }),
  );
  await translateCheckpoint({ model, ...paths, out: at('fields-out') });
  expect(await readJsonFile(at('fields-out'), 'generation_config.json')).toEqual({
    temperature: 0.6,
    max_length: 64,
    bos_token_id: 0,
    eos_token_id: 1,
    pad_token_id: 2,
  });
  expect(await readJsonFile(at('fields-out'), 'config.json')).toMatchObject({
    sliding_window: 4096,
    model_type: 'mistral',
    vocab_size: targetTokenizer.vocabSize,
  });
});

test.each(['olmo', 'llama', 'gpt2'])('%s: a GGUF file is translated to what its directory is', async name => {
  const oracle = (path: string) => new URL(`../../../oracles/${path}`, import.meta.url).pathname;
  const plan = at(`${name}-plan.safetensors`);
  await savePlan(plan, examplePlan(await loadTokenizer(oracle(`huggingface/${name}`))));
  const [fromFile, fromDirectory] = [at(`${name}-gguf-out`), at(`${name}-directory-out`)];
  await translateCheckpoint({ ...paths, plan, model: oracle(`gguf/${name}.gguf`), out: fromFile });
  await translateCheckpoint({ ...paths, plan, model: oracle(`huggingface/${name}`), out: fromDirectory });
  const [one, other] = [await loadModel(fromFile), await loadModel(fromDirectory)];
  expect(one.model.config).toEqual(other.model.config);
  const values = ({ model }: LanguageModel) =>
    Object.entries(parameters(model)).map(([weight, w]) => [weight, Array.from(w.dataSync())]);
  expect(values(one)).toEqual(values(other));
});

describe('rejected', () => {
  let model = '';
  beforeAll(async () => {
    model = await source('good', llama, 'F32', 3);
  });

  test('a plan with another source vocabulary', async () => {
    await savePlan(
      at('other.safetensors'),
      examplePlan(trainBPE(['another text altogether'], { vocabSize: 30, alphabet: 'seen' })),
    );
    expect(
      await refusal(translateCheckpoint({ model, ...paths, plan: at('other.safetensors'), out: at('none') })),
    ).toContain('other.safetensors: was made for another source vocabulary');
    expect(existsSync(at('none'))).toBe(false);
  });
  test('another target tokenizer', async () => {
    expect(await refusal(translateCheckpoint({ model, ...paths, target: model, out: at('none') }))).toContain(
      'was made for another target vocabulary',
    );
  });
});
