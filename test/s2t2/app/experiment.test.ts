/** A cell of a table: what it says it spent, and its learning curve, against the sequences themselves. */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Random } from '../../../engine/index.ts';
import { initTransformer } from '../../../models/init.ts';
import { score } from '../../../models/score.ts';
import { train } from '../../../models/train.ts';

import { runExperiment } from '../../../s2t2/app/experiment.ts';
import { metrics } from '../../../s2t2/evaluate.ts';
import { methods } from '../../../s2t2/methods.ts';
import { rateOf } from '../../../s2t2/trained.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { tinyContext } from '../fixture.ts';
import { scoredTokens, sumOver } from '../../../models/sequences.ts';
import { parameters } from '../../../models/weights.ts';

const directory = temporaryDirectory();

test('over one pass with a fixed model, the curve is its bits per byte and the cost is the pass', async () => {
  const { source, target, settings, train } = await tinyContext();
  const tokens = sumOver(train.source, scoredTokens);
  const bytes = sumOver(train.source, s => s.bytes);
  const { row } = await runExperiment(
    {
      source,
      target,
      fingerprint: '',
      log: () => {},
      work: await mkdtemp(join(directory, 'run-')),
      sequences: { train, test: train },
      settings: { ...settings, rate: 1e-30, budget: { unit: 'tokens', amount: tokens }, batchTokens: 64 },
    },
    methods.source,
  );
  expect(row).toMatchObject({ tokens, bytes, steps: row.curve.length });
  // The end token stands for no bytes and is not counted.
  expect(row.tokensPerByte).toBe((tokens - train.source.length) / bytes);
  expect(row.steps).toBeGreaterThan(1);
  expect(row.curve.at(-1)).toMatchObject({ tokens, bytes });
  const nats = (await score(source.model, train.source)).reduce((n, s) => n + s.nats + s.endNats, 0);
  const onCurve = row.curve.reduce(
    (sum, point, i) => sum + point.bitsPerByte * (point.bytes - (row.curve[i - 1]?.bytes ?? 0)),
    0,
  );
  // Losses are float32: as many roundings as tokens, and those of a decay of 1e-31, which are none.
  expect(Math.abs((onCurve * Math.LN2) / nats - 1)).toBeLessThan(tokens * 2 ** -24);
  row.curve.forEach((point, i) => expect(point.seconds).toBeGreaterThan(row.curve[i - 1]?.seconds ?? 0));
});

test('of many steps the curve has about forty stretches of equal length, the last step among them', async () => {
  const { source, target, settings, train } = await tinyContext();
  const { row } = await runExperiment(
    {
      source,
      target,
      fingerprint: '',
      log: () => {},
      work: await mkdtemp(join(directory, 'run-')),
      sequences: { train, test: train },
      settings: { ...settings, rate: 1e-30, budget: { unit: 'tokens', amount: 2400 }, batchTokens: 20 },
    },
    methods.source,
  );
  const stretch = Math.round(row.steps / 40);
  expect(stretch).toBeGreaterThan(1);
  expect(row.curve).toHaveLength(Math.floor(row.steps / stretch));
  // Batches have about as many tokens: the first stretch is as long as the others.
  const [first, last] = [row.curve[0], row.curve.at(-1)!];
  expect(first.tokens).toBeGreaterThan((0.75 * last.tokens) / row.curve.length);
  if (row.steps % stretch === 0) expect(last).toMatchObject({ tokens: row.tokens, bytes: row.bytes });
});

test('a step changes what head and layers compute by as much in a wide model as in the bundled one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 160, max: 8192 }), fc.double({ min: 0, max: 2, noNaN: true }), (width, bodyRate) => {
      const [bundled, wide] = [160, width].map(w => rateOf(bodyRate, { width: w, tied: false }));
      expect(bundled('head')).toBe(1);
      expect(bundled('layers.0.up')).toBe(bodyRate);
      // Adam changes each of C weights of a sum by the rate.
      for (const name of ['head', 'layers.0.up']) expect(wide(name) * width).toBeCloseTo(bundled(name) * 160, 9);
      expect(wide('embedding')).toBe(1);
      expect(wide('layers.0.up.lora.a')).toBe(1);
      // Tied ends are a head.
      expect(rateOf(bodyRate, { width, tied: true })('embedding')).toBe(wide('head'));
      // Narrow models learn at the rates that they are given.
      expect(rateOf(bodyRate, { width: Math.ceil(width / 64), tied: false })('head')).toBe(1);
    }),
  );
});

test('what lies between the ends learns at its own rate: at 0 it stays as it was', async () => {
  const { source, target, settings, train } = await tinyContext();
  const finetuned = async (bodyRate: number) =>
    (
      await runExperiment(
        {
          source,
          target,
          fingerprint: '',
          log: () => {},
          work: await mkdtemp(join(directory, 'run-')),
          sequences: { train, test: train },
          settings: { ...settings, bodyRate, budget: { unit: 'tokens', amount: 200 } },
        },
        methods.truncated,
      )
    ).model;
  const [still, moved] = [await finetuned(0), await finetuned(1)];
  const ends = ['embedding', 'head'] as const;
  for (const [name, w] of Object.entries(parameters(source.model))) {
    if ((ends as readonly string[]).includes(name)) continue;
    expect(parameters(still)[name].dataSync(), name).toEqual(w.dataSync());
    expect(parameters(moved)[name].dataSync(), name).not.toEqual(w.dataSync());
  }
  const start = (
    await methods.truncated.start({
      source,
      target,
      settings,
      train,
      log: () => {},
      runStage: async () => {
        throw new Error('nothing to learn');
      },
    })
  ).model;
  for (const name of ends) expect(still[name].dataSync(), name).not.toEqual(start[name].dataSync());
});

test('a first step moves the layers and the head of a model of width 320 by half of what it moves others', async () => {
  const { source, ...rest } = await tinyContext();
  const wide = { ...source, model: initTransformer({ ...source.model.config, width: 320 }, new Random(1)) };
  const settings = { ...rest.settings, bodyRate: 0.5, budget: { unit: 'tokens' as const, amount: 20 } };
  const context = { ...rest, source: wide, settings };
  const start = (await methods.truncated.start(context)).model;
  const before = Object.fromEntries(Object.entries(parameters(start)).map(([name, w]) => [name, w.dataSync().slice()]));
  const { row, model } = await runExperiment(
    {
      ...context,
      fingerprint: '',
      work: await mkdtemp(join(directory, 'run-')),
      sequences: { train: rest.train, test: rest.train },
    },
    methods.truncated,
  );
  expect(row.steps).toBe(1);
  const moved = (name: string) => {
    const now = parameters(model)[name].dataSync() as Float32Array;
    return now.reduce((most, x, i) => Math.max(most, Math.abs(x - before[name][i])), 0);
  };
  // Adam's first step is the rate, and a tenth of it times the weight, which is below 1, decays.
  for (const [name, share] of [
    ['embedding', 1],
    ['head', 0.5],
    ['layers.0.feedForward.up.weight', 0.25],
  ] as const) {
    expect(moved(name)).toBeGreaterThan(0.9 * share * settings.rate);
    expect(moved(name)).toBeLessThan(1.1 * share * settings.rate);
  }
});

test('the plan is what is evaluated before, and its spread rows are what finetuning starts from', async () => {
  const { source, target, settings, train: sequences } = await tinyContext();
  const own = { ...settings, rate: 1e-30, planShare: 0.5, budget: { unit: 'tokens' as const, amount: 400 } };
  const { row, model } = await runExperiment(
    {
      source,
      target,
      fingerprint: '',
      log: () => {},
      work: await mkdtemp(join(directory, 'run-')),
      sequences: { train: sequences, test: sequences },
      settings: own,
    },
    methods.s2t2,
  );
  const context = { source, target, settings: own, train: sequences, log: () => {} };
  const start = await methods.s2t2.start({ ...context, runStage: (_, training) => train(training) });
  expect(model.embedding.dataSync()).toEqual(start.finetuned!.embedding.dataSync());
  expect(model.head.dataSync()).toEqual(start.finetuned!.head.dataSync());
  for (const [when, started] of [
    ['before', start.model],
    ['after', start.finetuned!],
  ] as const) {
    const expected = metrics(await score(started, sequences.target)).bitsPerByte;
    expect(Math.abs(row[when]!.bitsPerByte / expected - 1)).toBeLessThan(1e-6);
  }
});
