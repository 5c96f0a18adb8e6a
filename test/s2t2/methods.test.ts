/** The starts of a model in a new vocabulary, on a tiny model: what each is made of, and what learning a plan does. */
import { beforeAll, describe, expect, test } from 'vitest';
import { memory, tensor } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { train } from '../../models/train.ts';

import { score } from '../../models/score.ts';
import { nothing, type Context } from '../../s2t2/method.ts';
import { methods } from '../../s2t2/methods.ts';
import { defaults } from '../../s2t2/settings.ts';
import { tokenMap } from '../../s2t2/translate.ts';
import { reportPlan } from '../../s2t2/plan.ts';
import { tinyContext } from './fixture.ts';
import { disposeModel } from '../../models/weights.ts';

let source: LanguageModel;
let context: Context;
beforeAll(async () => {
  context = await tinyContext();
  ({ source } = context);
});

const rowsOf = async (end: 'embedding' | 'head', model: LanguageModel['model']) => {
  const values = await model[end].data();
  return (id: number) => Array.from(values.subarray(id * 32, (id + 1) * 32));
};

test('the settings that decide the bits of a run, where nothing else is asked for', () => {
  expect(defaults).toEqual({
    seed: 0,
    vocabSize: 512,
    maxBytes: 512,
    budget: { unit: 'tokens', amount: 150_000 },
    planShare: 0.05,
    batchTokens: 512,
    rate: 4e-3,
    planRate: 3e-2,
    bodyRate: 0.5,
    warmupShare: 0.1,
    noise: 0.01,
    headScale: 0.25,
    variant: 'dual',
    iterations: 3,
    smoothing: 0.25,
    rowNormalisation: 'actual',
    headNormalisation: 'rows',
    spread: 'isotropic',
    headBias: 'frequencies',
  });
});

describe('starts', () => {
  test('all but a model from scratch are judged before they are finetuned', () => {
    const unjudged = Object.values(methods).filter(({ before }) => !before);
    expect(unjudged.map(({ name }) => name)).toEqual(['scratch']);
  });

  test('source: the model itself, and training it leaves the original alone', async () => {
    const before = Array.from(source.model.embedding.dataSync());
    const { model } = await methods.source.start(context);
    const [s] = await score(model, context.train.source);
    expect(s).toEqual((await score(source.model, context.train.source))[0]);
    model.embedding.assign(tensor(new Float32Array(before.length), { shape: [before.length / 32, 32] }));
    expect(Array.from(source.model.embedding.dataSync())).toEqual(before);
  });

  test('fvt: the mean of the source pieces of each token; special tokens by their part', async () => {
    const { model } = await methods.fvt.start(context);
    const [from, to] = [await rowsOf('embedding', source.model), await rowsOf('embedding', model)];
    for (const id of context.target.ordinaryIds()) {
      const pieces = [...source.tokenizer.encode(context.target.token(id))];
      const mean = from(0).map((_, c) => pieces.reduce((sum, p) => sum + from(p)[c], 0) / pieces.length);
      to(id).forEach((value, c) => expect(value).toBeCloseTo(mean[c], 6));
    }
    expect(to(context.target.specialTokens.bos!)).toEqual(from(source.tokenizer.specialTokens.bos!));
  });

  test.each(Object.values(methods))(
    '$name trains and spends before finetuning if it says that it learns a plan',
    async method => {
      const stages: string[] = [];
      const { model, spent } = await method.start({
        ...context,
        settings: { ...context.settings, budget: { unit: 'tokens', amount: 64 } },
        runStage: (stage, training) => {
          stages.push(stage);
          return train(training);
        },
      });
      // fvt-spread reads hidden states of a sample.
      const reads = method.learnsPlan || method.name === 'fvt-spread';
      expect([stages.length, spent.tokens > 0]).toEqual([method.learnsPlan ? 1 : 0, reads]);
      disposeModel(model);
    },
  );

  test('truncated: row i is row i', async () => {
    const { model } = await methods.truncated.start(context);
    const [from, to] = [await rowsOf('head', source.model), await rowsOf('head', model)];
    const map = tokenMap(source.tokenizer, context.target);
    map.targetIds.forEach((id, i) => expect(to(id)).toEqual(from(map.sourceIds[i])));
  });

  test('truncated: rejects more target tokens than source tokens, and accepts as many', async () => {
    const map = tokenMap(context.target, context.target);
    const same = { ...context, source: { ...source, tokenizer: context.target }, target: source.tokenizer };
    await expect(methods.truncated.start(same)).rejects.toThrow(
      `${source.tokenizer.ordinaryIds().length} target tokens do not fit into ${map.sourceIds.length} source tokens`,
    );
    const { model } = await methods.truncated.start({ ...context, target: source.tokenizer });
    expect(Array.from(model.head.dataSync())).toEqual(Array.from(source.model.head.dataSync()));
  });

  test('s2t2: finetuning rows do not depend on the prior mixture; their head has the scale asked for', async () => {
    const start = async (more: Partial<Context['settings']>) => {
      const settings = { ...context.settings, planShare: 0, noise: 0, headBias: 'none' as const, ...more };
      const { finetuned } = await methods.s2t2.start({ ...context, settings, runStage: (_, t) => train(t) });
      return finetuned!;
    };
    const [little, much, small] = [
      await start({ smoothing: 0.1 }),
      await start({ smoothing: 0.8 }),
      await start({ smoothing: 0.1, headScale: 0.5 * context.settings.headScale }),
    ];
    for (const end of ['embedding', 'head'] as const) {
      const [a, b] = [little[end].dataSync(), much[end].dataSync()];
      // Plans are float32, and √(σ² − λ) near λ = σ² makes a root of a rounding: 2^-12 of rows of order 0.1.
      a.forEach((x, e) => expect(Math.abs(x - b[e])).toBeLessThan(2 ** -10));
    }
    const special = new Set(context.target.parts.special.values());
    small.head.dataSync().forEach((x, e) => {
      const scale = special.has(Math.floor(e / 32)) ? 1 : 0.5;
      expect(x).toBeCloseTo(scale * little.head.dataSync()[e], 6);
    });
  });

  test('fvt-spread: the rows that finetuning gets from the prior coupling, where no plan is learned', async () => {
    const settings = { ...context.settings, planShare: 0, noise: 0, headBias: 'none' as const };
    const { finetuned } = await methods.s2t2.start({ ...context, settings });
    const { model, spent } = await methods['fvt-spread'].start({ ...context, settings });
    expect(spent).toEqual(nothing);
    // The variance of the source's rows about their mean, the head's at its scale.
    const map = tokenMap(source.tokenizer, context.target);
    const variance = async (end: 'embedding' | 'head', of: LanguageModel['model'], ids: ArrayLike<number>) => {
      const rows = Array.from(ids, await rowsOf(end, of));
      const mean = rows[0].map((_, c) => rows.reduce((sum, row) => sum + row[c], 0) / rows.length);
      return rows.flatMap(row => row.map((x, c) => (x - mean[c]) ** 2)).reduce((a, b) => a + b, 0) / rows.length;
    };
    for (const end of ['embedding', 'head'] as const) {
      const scale = end === 'head' ? settings.headScale ** 2 : 1;
      const [spread, wanted] = [
        await variance(end, model, map.targetIds),
        scale * (await variance(end, source.model, map.sourceIds)),
      ];
      // Normal rows: five standard errors of a mean of squares.
      expect(Math.abs(spread / wanted - 1)).toBeLessThan(5 * Math.sqrt(2 / (map.targetIds.length * 32)));
      const [a, b] = [model[end].dataSync(), finetuned![end].dataSync()];
      // As above: roots of roundings of float32 plans.
      a.forEach((x, e) => expect(Math.abs(x - b[e])).toBeLessThan(2 ** -10));
      expect(model[end].requiresGrad).toBe(true);
    }
  });

  test('s2t2: learning the plan lowers the loss, and leaks nothing', async () => {
    const before = memory();
    let losses = new Float32Array();
    const runStage: Context['runStage'] = async (_, training) => {
      const result = await train(training);
      ({ losses } = result as { losses: typeof losses });
      return result;
    };
    const { plan, model, finetuned } = await methods.s2t2.start({ ...context, runStage });
    const mean = (losses: Float32Array) => losses.reduce((a, b) => a + b, 0) / losses.length;
    expect(mean(losses.slice(-5))).toBeLessThan(mean(losses.slice(0, 5)) - 0.05);
    [model, finetuned!].forEach(disposeModel);
    expect(memory()).toEqual(before);
    const report = reportPlan(plan!);
    expect(report.support).toBeGreaterThanOrEqual(Math.max(report.rows, report.columns));
    expect(report.residual).toBeLessThan(0.5);
  });
});

test('a dual plan says how far from the optimum it is, others do not', async () => {
  const settings = {
    ...context.settings,
    variant: 'dual' as const,
    iterations: 5,
    budget: { unit: 'tokens' as const, amount: 200 },
  };
  const { plan } = await methods.s2t2.start({ ...context, settings });
  const { gap } = reportPlan(plan!);
  expect(gap).toBeGreaterThan(-1e-9);
  expect(gap).toBeLessThan(1);
  expect(
    (await methods.s2t2.start({ ...context, settings: { ...settings, variant: 'dykstra' } })).plan!.gap,
  ).toBeNull();
});
