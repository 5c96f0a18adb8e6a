/**
 * A plan applied to a checkpoint on disk: what it writes is the model with its ends rewritten in memory, whatever the
 * files look like and wherever it was killed.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { noGrad, Random, scope, tensor } from '../../../engine/index.ts';
import { loadModel, loadTokenizer, saveModel } from '../../../models/node/checkpoint.ts';
import { type FloatDType } from '../../../models/config.ts';
import { type LanguageModel } from '../../../models/checkpoint.ts';
import { sha256File } from '../../../models/node/files.ts';
import { openCheckpoint, readSafetensors, writeSafetensors } from '../../../models/node/safetensors.ts';
import { type TensorData } from '../../../models/safetensors/write.ts';
import { tokenizerToJson, trainBPE } from '../../../models/tokenizer/index.ts';
import { familyNames, type FamilyName } from '../../../models/families.ts';
import { initTransformer } from '../../../models/init.ts';
import { withTemplate } from '../../../models/roles.ts';
import { forward } from '../../../models/transformer.ts';
import type { TransformerConfig } from '../../../models/transformer-config.ts';
import { parameters } from '../../../models/weights.ts';
import { modelFromPlan, translatedStart } from '../../../s2t2/methods.ts';
import { defaults } from '../../../s2t2/settings.ts';
import { tokenMap } from '../../../s2t2/translate.ts';
import { compress, roundToMarginals, type Plan } from '../../../s2t2/plan.ts';
import { savePlan } from '../../../s2t2/app/plan-file.ts';
import { toSequences } from '../../../s2t2/app/prepare.ts';
import { headWithFrequencies, translateCheckpoint } from '../../../s2t2/app/stream.ts';
import { spawned } from './command.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { signalAt } from '../../signals.ts';
import { oraclePython, readThere } from '../../oracles/huggingface.ts';

const directory = temporaryDirectory();
const at = (...names: string[]) => join(directory, ...names);
const sourceTokenizer = trainBPE(['to be or not to be that is the question'], { vocabSize: 44, alphabet: 'seen' });
const targetTokenizer = trainBPE(['MKVLAAGIVGLCAKVLAAGMKKLA'], { vocabSize: 24, alphabet: 'seen' });

/** A sparse plan with mass in every row, half of it uniform, and two tokens that are never shown. */
function examplePlan(source = sourceTokenizer): Plan {
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
const llama: TransformerConfig = {
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
const configs: Record<FamilyName, TransformerConfig> = {
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
async function shard(path: string, files: number, rename = (name: string) => name): Promise<void> {
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

/** The translation in memory, written in the same dtype. */
async function inMemory(model: string, dtype: FloatDType): Promise<string> {
  const { model: loaded } = await loadModel(model);
  const path = `${model}-in-memory`;
  await saveModel(path, { model: await modelFromPlan(loaded, examplePlan()), tokenizer: targetTokenizer }, dtype);
  return path;
}

/** Every tensor as dtype, shape and bytes. */
async function contents(path: string): Promise<Map<string, string>> {
  const checkpoint = await openCheckpoint(path);
  const out = new Map<string, string>();
  for (const [name, { dtype, shape }] of checkpoint.tensors) {
    const blocks: Buffer[] = [];
    for await (const block of checkpoint.blocks(name)) blocks.push(Buffer.from(block));
    out.set(name, `${dtype} ${shape.join('×')} ${Buffer.concat(blocks).toString('hex')}`);
  }
  return new Map([...out].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const readJsonFile = async (...names: string[]) =>
  JSON.parse(await readFile(join(...names), 'utf8')) as Record<string, unknown>;

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

test.each([false, true])(
  'with --data the head is that of a start that knows frequencies; spread: %s',
  async isSpread => {
    const model = await source(`frequencies-${isSpread}`, { ...llama, tied: true }, 'F32', 2);
    const out = `${model}-out`;
    const spread = isSpread ? { seed: 3, headScale: 0.25 } : undefined;
    const texts = ['MKVLAAGIVGLCAKVLAAGMKKLA', 'GIVGLCA'];
    const head = await headWithFrequencies({ model, ...paths, spread }, texts);
    await translateCheckpoint({ model, ...paths, out, spread, head });
    const loaded = await loadModel(model);
    const settings = { ...defaults, alpha: 1, seed: spread?.seed ?? defaults.seed };
    const start = await translatedStart(
      {
        source: loaded,
        target: targetTokenizer,
        settings: { ...settings, spread: isSpread ? 'isotropic' : 'none' },
        train: { source: [], target: toSequences(texts, targetTokenizer, 64) },
      },
      examplePlan(),
    );
    const expected = start.finetuned ?? start.model;
    await saveModel(`${model}-in-memory`, { model: expected, tokenizer: targetTokenizer }, 'F32');
    const [written, wanted] = [await contents(out), await contents(`${model}-in-memory`)];
    expect(written).toEqual(wanted);
    const plain = await translatedStart(
      {
        source: loaded,
        target: targetTokenizer,
        settings: { ...settings, headBias: 'none', spread: 'none' },
        train: { source: [], target: [] },
      },
      examplePlan(),
    );
    expect(head).not.toEqual(plain.model.head.dataSync());
    expect(await refusal(translateCheckpoint({ model, ...paths, out, spread }))).toContain(
      'belongs to a translation of another',
    );
  },
);

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

test.each(['olmo', 'llama', 'gpt2'])('%s: a GGUF file is translated to what its directory is', async name => {
  const oracle = (path: string) => new URL(`../../oracles/${path}`, import.meta.url).pathname;
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

describe('stopped', () => {
  /** Runs the command, with arguments for Node before its own. */
  const run = (model: string, out: string, node: readonly string[] = []) =>
    spawned(['translate', '--model', model, '--plan', paths.plan, '--target', at('target'), '--out', out], node);

  test('killed or interrupted it leaves no model; run again it resumes and ends with the same files', async () => {
    const model = await large('kill', 10, 2 ** 20);
    const first = await run(model, at('kill-out'), signalAt('SIGKILL', { file: /model-3\.safetensors$/ }));
    expect(first.signal).toBe('SIGKILL');
    expect(existsSync(at('kill-out', 'config.json'))).toBe(false);
    const done = (await readdir(at('kill-out'))).filter(name => /^model-\d+\.safetensors$/.test(name));
    expect(done.length).toBeGreaterThan(0);
    expect(done.length).toBeLessThan(10);
    // The last one was killed as it took its name, before it was recorded: it is written again.
    const recorded = Object.keys((await readJsonFile(at('kill-out'), 'translation.json')).finished as object);
    expect(recorded).toHaveLength(done.length - 1);
    const times = () => Promise.all(recorded.map(async name => (await stat(at('kill-out', name))).mtimeMs));
    const before = await times();
    const interrupted = await run(model, at('kill-out'), signalAt('SIGINT', { file: /model-6\.safetensors$/ }));
    expect([interrupted.code, interrupted.stderr.trim().split('\n').at(-1)]).toEqual([
      130,
      'stopped; run the same command again to resume',
    ]);
    expect(existsSync(at('kill-out', 'config.json'))).toBe(false);
    const second = await run(model, at('kill-out'));
    const all = await Promise.all(
      (await readdir(model))
        .filter(name => name.endsWith('.safetensors'))
        .map(async name => (await stat(join(model, name))).size),
    );
    const megabytes = Number(
      /^(\d+) MB of weights in [\d.]+ s, \d+ MB\/s; written to .*kill-out\n$/.exec(second.stdout)?.[1],
    );
    // All but the headers.
    expect([second.code, megabytes]).toEqual([0, Math.round(all.reduce((a, b) => a + b, 0) / 1e6)]);
    expect(await times()).toEqual(before);
    await translateCheckpoint({ model, ...paths, out: at('straight') });
    const names = async (out: string) => (await readdir(out)).sort();
    expect(await names(at('kill-out'))).toEqual(await names(at('straight')));
    for (const name of await names(at('straight'))) {
      if (name !== 'translation.json' && name !== 'README.md')
        expect((await readFile(at('kill-out', name))).equals(await readFile(at('straight', name))), name).toBe(true);
    }
  });

  test('on a signal it throws, and the next run resumes', async () => {
    const model = await source('abort', llama, 'F32', 3);
    const stop = new AbortController();
    const options = { model, ...paths, out: at('abort-out') };
    await expect(
      translateCheckpoint({
        ...options,
        signal: stop.signal,
        onProgress: (_, __, file) => {
          if (file.includes('00002')) stop.abort(new Error('stopped'));
        },
      }),
    ).rejects.toThrow('stopped');
    expect(existsSync(at('abort-out', 'config.json'))).toBe(false);
    await translateCheckpoint(options);
    expect(await contents(at('abort-out'))).toEqual(await contents(await inMemory(model, 'F32')));
  });
});

test.skipIf(!existsSync('/proc/self/io'))('what is written is not read again, and is recorded as it is', async () => {
  const readBytes = async () => Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))![1]);
  const copied = await large('once-copied', 3, 8 * 2 ** 20);
  // The same with everything in the file whose ends are translated.
  const rewritten = await source('once-rewritten', llama, 'F32');
  const whole = await readSafetensors(join(rewritten, 'model.safetensors'));
  const kept = [...whole.tensors].map(
    ([name, { dtype, shape }]) => [name, { dtype, shape, data: () => whole.blocks(name) }] as const,
  );
  const body: TensorData = { dtype: 'U8', shape: [2 ** 24], data: new Uint8Array(2 ** 24).map((_, i) => i >> 9) };
  await writeSafetensors(at('once.safetensors'), { ...Object.fromEntries(kept), body });
  await rename(at('once.safetensors'), join(rewritten, 'model.safetensors'));
  for (const model of [copied, rewritten]) {
    const out = `${model}-out`;
    const before = await readBytes();
    await translateCheckpoint({ model, ...paths, out });
    expect((await readBytes()) - before).toBeLessThan(1.5 * 2 ** 24);
    const { finished } = (await readJsonFile(out, 'translation.json')) as { finished: Record<string, unknown> };
    const files = (await readdir(out)).filter(name => name.endsWith('.safetensors'));
    expect(Object.keys(finished).sort()).toEqual(files.sort());
    for (const file of files)
      expect(finished[file]).toEqual({
        size: (await stat(join(out, file))).size,
        sha256: await sha256File(join(out, file)),
      });
  }
});

test('run again, it keeps files that are as it left them, and writes damaged ones again', async () => {
  const model = await source('whole', llama, 'F32', 3);
  const out = at('whole-out');
  const translated = async () => {
    const lines: string[] = [];
    await translateCheckpoint({ model, ...paths, out, log: line => lines.push(line) });
    return lines;
  };
  const file = (i: number) => join(out, `model-0000${i}-of-00003.safetensors`);
  const times = () => Promise.all([1, 2, 3].map(async i => (await stat(file(i))).mtimeMs));
  const again = (...files: number[]) =>
    files.map(i => `${file(i)}: does not match the record of an earlier run, and is written again`);
  expect(await translated()).toEqual([]);
  const [expected, before] = [await contents(out), await times()];
  expect(await translated()).toEqual([]);
  expect(await times()).toEqual(before);

  await truncate(file(1), 600);
  const bytes = await readFile(file(2));
  bytes[bytes.length - 1] ^= 1;
  await writeFile(file(2), bytes);
  expect(await translated()).toEqual(again(1, 2));
  expect(await contents(out)).toEqual(expected);
  expect((await times())[2]).toBe(before[2]);

  // A run that was killed before it recorded a file, and one of an earlier version, which recorded none.
  const { finished, ...record } = await readJsonFile(out, 'translation.json');
  expect(Object.keys(finished as object)).toHaveLength(3);
  await writeFile(join(out, 'translation.json'), JSON.stringify(record));
  await rm(file(3));
  expect(await translated()).toEqual(again(1, 2));
  expect(await contents(out)).toEqual(expected);
});

describe('rejected', () => {
  let model = '';
  beforeAll(async () => {
    model = await source('good', llama, 'F32', 3);
  });
  /** A copy of the good model with something wrong, and the message it gets; nothing may be written. */
  async function broken(name: string, change: (path: string) => Promise<void>): Promise<string> {
    await cp(model, at(name), { recursive: true });
    await change(at(name));
    const message = await refusal(translateCheckpoint({ model: at(name), ...paths, out: at(`${name}-out`) }));
    expect(existsSync(at(`${name}-out`, 'config.json'))).toBe(false);
    return message;
  }
  const second = 'model-00002-of-00003.safetensors';
  const fields = (change: object) => async (path: string) =>
    writeFile(join(path, 'config.json'), JSON.stringify({ ...(await readJsonFile(path, 'config.json')), ...change }));

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
  test('a missing shard', async () => {
    expect(await broken('missing', path => rm(join(path, second)))).toContain(`${second}: no such file`);
  });
  test('a truncated shard', async () => {
    expect(await broken('cut', path => truncate(join(path, second), 2000))).toMatch(
      new RegExp(`${second}: not a valid safetensors file: .* of data; copy or download it again`),
    );
  });
  test('a vocabulary that is not that of the weights', async () => {
    expect(await broken('rows', fields({ vocab_size: 50 }))).toContain(
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
    const message = await broken(`table ${name}`, async path => {
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
      await broken('headless', async path => {
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
  test('a directory with something else in it, including the model itself', async () => {
    expect(await refusal(translateCheckpoint({ model, ...paths, out: model }))).toContain(
      'is not an unfinished translation; choose an empty directory',
    );
  });
  test('a directory with another translation', async () => {
    await translateCheckpoint({ model, ...paths, out: at('taken') });
    const other = await source('other-model', llama, 'BF16', 3);
    expect(await refusal(translateCheckpoint({ model: other, ...paths, out: at('taken') }))).toContain(
      'translation.json: belongs to a translation of another model, plan or tokenizer',
    );
  });
});
