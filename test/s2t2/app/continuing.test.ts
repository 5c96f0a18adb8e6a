/** A larger budget in the directory of a finished run: what it comes to is a function of the budgets alone. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Random } from '../../../engine/index.ts';
import { AdamW } from '../../../models/adamw.ts';
import { planBatches } from '../../../models/batches.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import { initTransformer } from '../../../models/init.ts';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { batchLoss, score } from '../../../models/score.ts';
import { trainBPE } from '../../../models/tokenizer/index.ts';
import { train } from '../../../models/train.ts';
import { parameters } from '../../../models/weights.ts';
import { adapt, type Adaptation } from '../../../s2t2/app/adapt.ts';
import { toSequences } from '../../../s2t2/app/prepare.ts';
import type { Row } from '../../../s2t2/cell.ts';
import { metrics } from '../../../s2t2/evaluate.ts';
import { cyclesOf, defaults } from '../../../s2t2/settings.ts';
import { rateOf } from '../../../s2t2/trained.ts';
import { temporaryDirectory } from '../../models/temporary.ts';

const directory = temporaryDirectory();
const texts = ['MKVLAAGIVGLCAK', 'VLAAGMKKLA', 'MKKLAAGIVKVLA', 'AGMKVLAAGIVGIV', 'GLCAMKVKVLAAG', 'LCAMKKLAAAG'];
const tokenizer = trainBPE(['the model reads a text'], { vocabSize: 262, alphabet: 'bytes' });
const source: LanguageModel = {
  tokenizer,
  model: initTransformer(
    {
      family: 'olmo',
      vocabSize: 262,
      width: 8,
      layers: 1,
      heads: 2,
      keyValueHeads: 2,
      feedForward: 16,
      context: 32,
      rotaryBase: 10000,
      normEps: 1e-5,
      tied: true,
    },
    new Random(1),
  ),
};
const settings = { ...defaults, alpha: 1 / 259, vocabSize: 24, batchTokens: 32 };

function run(out: string, amount: number, methods: string[], more: Partial<Adaptation> = {}) {
  const said: string[] = [];
  return adapt({
    source,
    domain: { train: texts.slice(0, 4), test: texts.slice(4) },
    settings: { ...settings, budget: { unit: 'tokens', amount } },
    methods,
    out: join(directory, out),
    save: methods.at(-1),
    log: line => said.push(line),
    ...more,
  }).then(({ results }) => ({ results, said: said.join('\n'), rows: results.methods.map(r => r.name).slice(3) }));
}

const untimed = ({ curve, selection, spentBefore, ...row }: Row) => ({
  ...row,
  seconds: 0,
  spentBefore: spentBefore && { ...spentBefore, seconds: 0 },
  ...Object.fromEntries(
    Object.entries({ curve, selection }).map(([key, points]) => [key, points?.map(p => ({ ...p, seconds: 0 }))]),
  ),
});
const weights = (out: string) => readFile(join(directory, out, 'model', 'model.safetensors'));
const rowOf = ({ results }: Awaited<ReturnType<typeof run>>, name: string) =>
  untimed(results.methods.find(r => r.name === name)!);

test('a continued run is the run that meets both budgets, in one command or several, with any rows', async () => {
  await run('a', 200, ['fvt', 's2t2']);
  const first = await weights('a');
  const a = await run('a', 400, ['s2t2']);
  expect(a.said).toContain('continues the run of 200 tokens to 400: ');
  expect(a.said).toContain('left out, of a smaller budget: fvt; ');
  expect(a.rows).toEqual(['s2t2']);
  expect(a.results.provenance).toBeUndefined();
  expect(rowOf(a, 's2t2').tokens).toBeGreaterThanOrEqual(400);

  await run('b', 200, ['truncated']);
  const b = await run('b', 400, ['truncated', 's2t2']);
  expect(b.rows).toEqual(['truncated', 's2t2']);
  expect(rowOf(b, 's2t2')).toEqual(rowOf(a, 's2t2'));
  expect(await weights('b')).toEqual(await weights('a'));
  expect(await weights('a')).not.toEqual(first);

  // Run again, it is read back; rows of that budget stay.
  const again = await run('b', 400, ['s2t2']);
  expect([again.rows, again.said.includes('continues')]).toEqual([['truncated', 's2t2'], false]);
  await expect(run('b', 200, ['s2t2'])).rejects.toThrow('settings.budget.amount was 400, is 200');
  await expect(run('b', 600, ['s2t2'], { settings: { ...settings, seed: 1 } })).rejects.toThrow('settings.seed was 0');
});

test('the second cycle trains the finished model on the batches that follow, with its own schedule', async () => {
  await run('c', 200, ['source']);
  const model = (await loadModel(join(directory, 'c', 'model'))).model;
  await run('c', 400, ['source']);
  const continued = (await loadModel(join(directory, 'c', 'model'))).model;
  const sequences = toSequences(texts.slice(0, 4), tokenizer, 32);
  const plan = (amount: number) =>
    [...planBatches(sequences, 32, { unit: 'tokens', amount }, new Random(0).split('finetuning batches'))].map(
      batch => [...batch],
    );
  const [before, all] = [plan(200), plan(400)];
  expect(all.slice(0, before.length)).toEqual(before);
  const batches = all.slice(before.length);
  await train({
    parameters: parameters(model),
    batches,
    loss: batch => batchLoss(model, batch),
    rate: settings.rate,
    warmup: Math.ceil(settings.warmupShare * batches.length),
    optimizer: w => new AdamW(w, { rateOf: rateOf(settings.bodyRate, model.config) }),
  });
  for (const [name, w] of Object.entries(parameters(continued)))
    expect(parameters(model)[name].dataSync(), name).toEqual(w.dataSync());
});

test('validation texts are no training texts, and the model written is the best by them, over all cycles', async () => {
  const evaluated = { ...settings, evalEvery: 2, rate: 0.1 };
  const validation = texts.slice(3, 4);
  const domain = { train: texts.slice(0, 3), test: texts.slice(4), validation };
  const options = (amount: number) => ({
    domain,
    settings: { ...evaluated, budget: { unit: 'tokens' as const, amount } },
  });
  await expect(run('v', 200, ['fvt'], { settings: options(200).settings })).rejects.toThrow(
    'evalEvery needs validation texts, and the domain has none',
  );
  const one = await run('v', 200, ['fvt'], options(200));
  const two = await run('v', 300, ['fvt'], options(300));
  const curve = (r: typeof one) => r.results.methods.at(-1)!.selection!.map(p => p.bitsPerByte);
  expect(curve(two).slice(0, curve(one).length)).toEqual(curve(one));
  expect(curve(two)[curve(one).length]).toBe(Math.min(...curve(one))); // the second cycle begins with the best
  expect(two.said).toMatch(/fvt\.finetune\.2: kept is the model of step \d+ of \d+, /);
  const { model, tokenizer: target } = await loadModel(join(directory, 'v', 'model'));
  const kept = metrics(await score(model, toSequences(validation, target, 32))).bitsPerByte;
  // Scored as it was, from weights written as float32.
  expect(kept).toBe(Math.min(...curve(two)));

  await rm(join(directory, 'v', 'work', 'fvt.finetune.2.best.safetensors'));
  const isLast = curve(two).at(-1) === Math.min(...curve(two).slice(curve(one).length));
  const read = run('v', 300, ['fvt'], options(300));
  if (isLast) await read;
  else await expect(read).rejects.toThrow('best.safetensors: is missing');
});

test('the settings of each budget are those of a run that was never continued, or only so far', () => {
  const now = { ...settings, budget: { unit: 'bytes' as const, amount: 9 } };
  const cycles = cyclesOf({ ...now, continuedFrom: [3, 5] });
  expect(cycles.map(c => [c.budget.amount, c.continuedFrom])).toEqual([
    [3, undefined],
    [5, [3]],
    [9, [3, 5]],
  ]);
  expect(JSON.stringify(cycles[0])).toBe(JSON.stringify({ ...now, budget: { unit: 'bytes', amount: 3 } }));
  expect(cyclesOf(now)).toEqual([now]);
});
