/** Pretraining on a few made-up documents: what is written is what the record says, and a stopped run goes on to the same files. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel } from '../../models/checkpoint.ts';
import { KneserNey } from '../../models/ngram.ts';
import { score } from '../../models/score.ts';
import { Interrupted } from '../../models/train.ts';
import type { English } from '../../s2t2/data/english.ts';
import { metrics } from '../../s2t2/evaluate.ts';
import { pretrain, pretrainDefaults, type PretrainOptions } from '../../s2t2/pretrain.ts';
import { temporaryDirectory } from '../models/temporary.ts';

const directory = temporaryDirectory();
const words = ['the', 'whale', 'of', 'a', 'president', 'says', 'that', 'people', 'sea', 'who'];
const document = (seed: number) => Array.from({ length: 400 }, (_, i) => words[(seed * i * i + 3 * i + (i >> 3)) % words.length]).join(' ');
const english: English = {
  train: [1, 2, 3, 4].map(document), validation: [document(5)], test: [document(6), document(7)],
  sources: [{ name: 'made up', documents: 7, bytes: 1, licence: 'none' }],
};
const options = (name: string): PretrainOptions => ({
  ...pretrainDefaults, english, out: join(directory, name, 'model'), work: join(directory, name), tokens: 3000, text: 0.5, vocabSize: 280, width: 16, layers: 1, heads: 2, window: 32, batchTokens: 128, log: () => {},
});

interface PretrainRecord {
  readonly command: string;
  readonly parameters: number;
  readonly tokens: number;
  readonly split: { readonly train: number; readonly test: number };
  readonly heldOut: { readonly bitsPerByte: number; readonly perplexity: number; readonly bytes: number };
  readonly kneserNey5: { readonly bitsPerByte: number; readonly trainingTokens: number };
  readonly samples: readonly string[];
}

test('the record says what the model does, and what a 5-gram model of the same documents does', async () => {
  const said: string[] = [];
  await pretrain({ ...options('whole'), log: line => said.push(line) });
  const record = JSON.parse(await readFile(join(directory, 'whole/model/record.json'), 'utf8')) as PretrainRecord;
  const { model, tokenizer } = await loadModel(join(directory, 'whole/model'));
  expect(record.split).toMatchObject({ train: 2, test: 2 });
  expect(record.tokens).toBeGreaterThanOrEqual(3000);
  expect(record.tokens).toBeLessThan(3000 + 128 + 32);
  expect(record.parameters).toBe(Object.values(model.weights).reduce((n, w) => n + w.size, 0));
  for (const [flag, value] of [['tokens', 3000], ['text', 0.5], ['width', 16], ['window', 32], ['ends-rate', pretrainDefaults.endsRate], ['teacher', pretrainDefaults.teacher]]) expect(record.command).toContain(` --${flag} ${value}`);

  // Documents between begin and end tokens, in windows of 32 scored tokens that overlap by one; the text is what the record's two shares of it say.
  const { bos, eos } = tokenizer.specialTokens;
  const stream = (texts: readonly string[]) => Int32Array.from(texts.flatMap(text => [bos!, ...tokenizer.encode(text), eos!]));
  const ids = stream(english.test);
  const windows = Array.from({ length: Math.floor((ids.length - 1) / 32) }, (_, i) => ids.slice(32 * i, 32 * i + 33)).map(w => ({ ids: w, bytes: w.slice(1).reduce((n, id) => n + tokenizer.tokenBytes(id).length, 0) }));
  const bytes = windows.reduce((n, w) => n + w.bytes, 0);
  expect(record.heldOut.bytes).toBe(bytes);
  const heldOut = metrics(await score(model, windows, { endToken: false }));
  // Weights were rounded to float16: 2⁻¹¹ of each.
  expect(Math.abs(record.heldOut.bitsPerByte - heldOut.bitsPerByte)).toBeLessThan(0.01 * heldOut.bitsPerByte);
  expect(heldOut.bitsPerByte).toBeLessThan(Math.log2(tokenizer.vocabSize) * ids.length / bytes);

  const trained = [english.train[1], english.train[3]];
  const ngram = new KneserNey([stream(trained)], { order: 5, vocabSize: tokenizer.vocabSize });
  const nats = windows.flatMap(w => [...ngram.nats(w.ids)]).reduce((a, b) => a + b, 0);
  expect(record.kneserNey5.trainingTokens).toBe(stream(trained).length);
  expect(record.kneserNey5.bitsPerByte).toBeCloseTo(nats / Math.LN2 / bytes, 9);
  const ratio = Math.abs(100 * (1 - record.heldOut.bitsPerByte / record.kneserNey5.bitsPerByte)).toFixed(1);
  expect(said.at(-1)).toContain(`so ${ratio}% ${record.heldOut.bitsPerByte < record.kneserNey5.bitsPerByte ? 'below' : 'above'} it`);
  expect(record.samples.map(s => s.slice(0, 9))).toEqual(['The peopl', 'The whale', 'a person ']);
}, 60_000);

test('stopped and started again it ends with the same weights; other settings are refused', async () => {
  const weights = (name: string) => readFile(join(directory, name, 'model/model.safetensors'));
  await pretrain(options('once'));
  const stop = new AbortController();
  const lines: string[] = [];
  setTimeout(() => stop.abort(new Interrupted('stopped')), 400);
  const first = pretrain({ ...options('twice'), signal: stop.signal, log: line => lines.push(line) }).catch((error: unknown) => error);
  const outcome = await first;
  if (outcome !== undefined) expect(outcome).toBeInstanceOf(Interrupted);
  await pretrain(options('twice'));
  expect((await weights('twice')).equals(await weights('once'))).toBe(true);
  await expect(pretrain({ ...options('twice'), teacher: 0 })).rejects.toThrow(/belongs to a run with other settings/);
}, 60_000);
