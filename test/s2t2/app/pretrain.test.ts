/**
 * Pretraining on a few made-up documents: what is written is what the record says, and a stopped run goes on to the
 * same files.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Random } from '../../../engine/index.ts';
import { planBatches, windows } from '../../../models/batches.ts';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { readSafetensors, writeSafetensors } from '../../../models/node/safetensors.ts';
import { Muon } from '../../../models/muon.ts';
import { KneserNey } from '../../../models/ngram.ts';
import { score } from '../../../models/score.ts';
import { taughtLoss } from '../../../models/teacher.ts';
import { Interrupted, train } from '../../../models/train.ts';
import { initTransformer } from '../../../models/init.ts';
import type { English } from '../../../s2t2/app/data/english.ts';
import { metrics } from '../../../s2t2/evaluate.ts';
import { judgePretrained, pretrain, pretrainDefaults, type PretrainOptions } from '../../../s2t2/app/pretrain.ts';
import { packageVersion } from '../../../s2t2/app/version.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { parameters } from '../../../models/weights.ts';

const directory = temporaryDirectory();
const words = ['the', 'whale', 'of', 'a', 'president', 'says', 'that', 'people', 'sea', 'who'];
const document = (seed: number) =>
  Array.from({ length: 400 }, (_, i) => words[(seed * i * i + 3 * i + (i >> 3)) % words.length]).join(' ');
const english: English = {
  train: [1, 2, 3, 4].map(document),
  validation: [document(5)],
  test: [document(6), document(7)],
  sources: [{ name: 'made up', documents: 7, bytes: 1, licence: 'none' }],
};
const options = (name: string): PretrainOptions => ({
  ...pretrainDefaults,
  english,
  out: join(directory, name, 'model'),
  work: join(directory, name),
  tokens: 3000,
  text: 0.5,
  vocabSize: 280,
  width: 16,
  layers: 1,
  heads: 2,
  window: 32,
  batchTokens: 128,
  log: () => {},
});

interface PretrainRecord {
  readonly command: string;
  readonly parameters: number;
  readonly tokens: number;
  readonly split: { readonly train: number; readonly test: number };
  readonly heldOut: {
    readonly bitsPerByte: number;
    readonly standardError: number;
    readonly perplexity: number;
    readonly bytes: number;
  };
  readonly kneserNey5: { readonly bitsPerByte: number; readonly trainingTokens: number };
  readonly samples: readonly string[];
}

test('the record says what the model does, and what a 5-gram model of the same documents does', async () => {
  const said: string[] = [];
  await pretrain({ ...options('whole'), log: line => said.push(line) });
  const text = await readFile(join(directory, 'whole/model/record.json'), 'utf8');
  const record = JSON.parse(text) as PretrainRecord;
  expect(text).toBe(`${JSON.stringify(record, null, 2)}\n`);
  const { model, tokenizer } = await loadModel(join(directory, 'whole/model'));
  expect(record.split).toMatchObject({ train: 2, test: 2 });
  expect(record.tokens).toBeGreaterThanOrEqual(3000);
  expect(record.tokens).toBeLessThan(3000 + 128 + 32);
  expect(record.parameters).toBe(Object.values(parameters(model)).reduce((n, w) => n + w.size, 0));
  for (const [flag, value] of [
    ['tokens', 3000],
    ['text', 0.5],
    ['width', 16],
    ['window', 32],
    ['ends-rate', pretrainDefaults.endsRate],
    ['teacher', pretrainDefaults.teacher],
  ])
    expect(record.command).toContain(` --${flag} ${value}`);

  // Documents between begin and end tokens, in windows of 32 tokens that begin every 16, the first half of each context
  // only; the text is what the record's two shares of it say.
  const { bos, eos } = tokenizer.specialTokens;
  const stream = (texts: readonly string[]) =>
    Int32Array.from(texts.flatMap(text => [bos!, ...tokenizer.encode(text), eos!]));
  const ids = stream(english.test);
  const lengths = Array.from(ids, id => tokenizer.tokenBytes(id).length);
  const starts = Array.from({ length: Math.floor((ids.length - 1) / 16) - 1 }, (_, i) => 16 * i);
  const cut = starts.map(at => ({
    ids: ids.slice(at, at + 33),
    context: at > 0 ? 16 : 0,
    bytes: lengths.slice(at + (at > 0 ? 17 : 1), at + 33).reduce((a, b) => a + b, 0),
  }));
  const scored = starts.at(-1)! + 32;
  const bytes = lengths.slice(1, 1 + scored).reduce((a, b) => a + b, 0);
  expect(record.heldOut).toMatchObject({ tokens: scored, bytes, window: 32, overlap: 16 });
  const heldOut = metrics(await score(model, cut, { endToken: false }));
  // Weights were rounded to float16: 2⁻¹¹ of each.
  expect(Math.abs(record.heldOut.bitsPerByte - heldOut.bitsPerByte)).toBeLessThan(0.01 * heldOut.bitsPerByte);
  expect(heldOut.bitsPerByte).toBeLessThan((Math.log2(tokenizer.vocabSize) * ids.length) / bytes);

  const trained = [english.train[1], english.train[3]];
  const ngram = new KneserNey([stream(trained)], { order: 5, vocabSize: tokenizer.vocabSize });
  const nats = ngram
    .nats(ids)
    .slice(0, scored)
    .reduce((a, b) => a + b, 0); // as of one stream, for no window is too short for a 5-gram
  expect(record.kneserNey5.trainingTokens).toBe(stream(trained).length);
  expect(record.kneserNey5.bitsPerByte).toBeCloseTo(nats / Math.LN2 / bytes, 9);
  const below = 100 * (1 - record.heldOut.bitsPerByte / record.kneserNey5.bitsPerByte);
  const { bitsPerByte, standardError, perplexity } = record.heldOut;
  expect(said[0]).toBe('training a tokenizer of 280 on 0.0 MB of English');
  expect(said.at(-1)).toBe(
    `held-out bits per byte ${bitsPerByte.toFixed(3)} ± ${standardError.toFixed(3)}, perplexity ` +
      `${perplexity.toFixed(1)}; an interpolated Kneser–Ney 5-gram: ${record.kneserNey5.bitsPerByte.toFixed(3)}, so ` +
      `${Math.abs(below).toFixed(1)}% ${below > 0 ? 'below' : 'above'} it; written to ` +
      `${join(directory, 'whole/model')}`,
  );
  expect(record.samples.map(s => s.slice(0, 9))).toEqual(['The peopl', 'The whale', 'a person ']);

  // Judged anew, in other windows and beside a 5-gram of other text, and back again.
  const path = join(directory, 'whole/model');
  const judged = async (window: number, text: number) => {
    await judgePretrained({ model: path, text, window, english, log: line => said.push(line) });
    return JSON.parse(await readFile(join(path, 'record.json'), 'utf8')) as PretrainRecord;
  };
  const other = await judged(8, 1);
  expect(other).toMatchObject({
    command: record.command,
    samples: record.samples,
    heldOut: { window: 8, overlap: 4 },
    kneserNey5: { trainingTokens: stream(english.train).length },
  });
  expect(other.heldOut.bitsPerByte).not.toBe(record.heldOut.bitsPerByte);
  for (const [window, text, message] of [
    [5000, 1, /do not fill a window of 5000/],
    [1025, 1, /a window of 1025 is longer than the model's context of 1024; lower --window$/],
    [32, 0, /^0 tokens of training .* raise --text$/],
  ] as const)
    await expect(judged(window, text)).rejects.toThrow(message);
  const again = await judged(32, 0.5);
  expect(again.kneserNey5).toEqual(record.kneserNey5);
  expect(again.heldOut.bitsPerByte).toBe(heldOut.bitsPerByte); // of the weights as they are in the file
});

test('the weight of the teacher falls from 1 to 0 over the steps; embeddings have their own rate', async () => {
  await pretrain({ ...options('falling'), endsRate: 2, batchTokens: 40 });
  const { model: written, tokenizer } = await loadModel(join(directory, 'falling/model'));
  const { config } = written;
  const { bos, eos } = tokenizer.specialTokens;
  const stream = Int32Array.from([1, 3].flatMap(i => [bos!, ...tokenizer.encode(english.train[i]), eos!]));
  const model = initTransformer(config, new Random(0).split('weights'));
  const batches = planBatches(
    windows(stream, 32, id => tokenizer.tokenBytes(id).length),
    40,
    { unit: 'tokens', amount: 3000 },
    new Random(0).split('batches'),
  );
  const teacher = new KneserNey([stream], { order: 5, vocabSize: tokenizer.vocabSize });
  let step = 0;
  const { losses } = await train({
    parameters: parameters(model),
    batches,
    loss: batch => taughtLoss(model, batch, teacher, 1 - step++ / batches.length),
    rate: pretrainDefaults.rate,
    warmup: Math.ceil(0.02 * batches.length),
    optimizer: weights => new Muon(weights, name => name.startsWith('layers.'), { othersRate: 2 }),
  });
  const { loss } = JSON.parse(await readFile(join(directory, 'falling/model/record.json'), 'utf8')) as { loss: number };
  expect(losses.length).toBeGreaterThan(51);
  expect(loss).toBeCloseTo(losses.slice(-50).reduce((a, b) => a + b, 0) / 50, 6);
  // The file holds float16: half a unit in the last of 11 places, or of the smallest number.
  for (const [name, w] of Object.entries(parameters(written))) {
    const expected = parameters(model)[name].dataSync();
    w.dataSync().forEach((value: number, i: number) =>
      expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(Math.max(2 ** -11 * Math.abs(expected[i]), 2 ** -25)),
    );
  }
});

test.each([
  ['olmo', 64, 1024],
  ['gpt2', 64, 32],
] as const)(
  '%s: two thirds of four widths in three matrices, or four in two; positions as many as it is trained on, or more',
  async (family, feedForward, context) => {
    await pretrain({ ...options(`family ${family}`), family, tokens: 100 });
    const {
      model: { config },
    } = await loadModel(join(directory, `family ${family}`, 'model'));
    expect(config).toMatchObject({
      family,
      width: 16,
      layers: 1,
      heads: 2,
      keyValueHeads: 2,
      vocabSize: 280,
      tied: true,
      feedForward,
      context,
    });
  },
);

test.each([
  [{ text: 0 }, /a share of 0 of 4 documents leaves none; raise --text/],
  [{ window: 5000 }, /do not fill a window of 5000; lower --window/],
])('too little text is rejected before anything is counted: %j', async (few, message) => {
  await expect(pretrain({ ...options('few'), ...few })).rejects.toThrow(message);
});

test('stopped and restarted it ends with the same weights; other settings are rejected', async () => {
  const weights = (name: string) => readFile(join(directory, name, 'model/model.safetensors'));
  await pretrain(options('once'));
  const stop = new AbortController();
  const log = (line: string) => {
    if (line.includes(' steps, ')) stop.abort(new Interrupted('stopped')); // training is about to begin
  };
  await expect(pretrain({ ...options('twice'), signal: stop.signal, log })).rejects.toBeInstanceOf(Interrupted);
  await pretrain(options('twice'));
  expect((await weights('twice')).equals(await weights('once'))).toBe(true);
  await expect(pretrain({ ...options('twice'), teacher: 0 })).rejects.toThrow(
    'run.json: belongs to a run with other settings: teacher was 1, is 0; ' +
      'start again with --fresh, or give another --work',
  );
  await pretrain({ ...options('twice'), teacher: 0, fresh: true });
  expect((await weights('twice')).equals(await weights('once'))).toBe(false);
});

test('a state of another version of the program is resumed, which one line says', async () => {
  const stop = new AbortController();
  const lines: string[] = [];
  const run = (more: Partial<PretrainOptions> = {}) =>
    pretrain({ ...options('version'), log: line => lines.push(line), ...more });
  const log = (line: string) => line.includes(' steps, ') && stop.abort(new Interrupted('stopped'));
  await expect(run({ signal: stop.signal, log })).rejects.toBeInstanceOf(Interrupted);
  const path = join(directory, 'version/pretrain.safetensors');
  const state = await readSafetensors(path);
  const tensors = [...state.tensors].map(
    ([name, { dtype, shape }]) => [name, { dtype, shape, data: () => state.blocks(name) }] as const,
  );
  const metadata = Object.fromEntries(state.metadata);
  expect(metadata.version).toBe(packageVersion);
  await writeSafetensors(path, new Map(tensors), { ...metadata, version: '0.0.1' });
  await run();
  await run();
  expect(lines.filter(line => line.includes('states of version'))).toEqual([
    `${join(directory, 'version')}: holds states of version 0.0.1, and this is version ${packageVersion}; figures ` +
      'may differ from those of a run of one version',
  ]);
});

test.each([
  [{ width: 33, heads: 4 }, /^width 33 is not a multiple of 4 heads; change --width/],
  [{ layers: 20_000 }, /^20000 layers are more than any model/],
])('%j makes no model: one line, before anything is trained', async (shape, message) => {
  expect(await refusal(pretrain({ ...options('none'), ...shape }))).toMatch(message);
  expect(existsSync(join(directory, 'none'))).toBe(false);
});
