/** Phase 1: what it starts from, what it says before it starts, and plans that are of no use. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { full, memory, Random, tensor, type Tensor } from '../../engine/index.ts';
import { UserError } from '../../models/errors.ts';
import { train, type Training } from '../../models/train.ts';
import { nothing, type Context } from '../../s2t2/method.ts';
import { methods } from '../../s2t2/methods.ts';
import { compress, emptyLine, unseenIds } from '../../s2t2/plan.ts';
import { priorCoupling } from '../../s2t2/prior.ts';
import { presets } from '../../s2t2/settings.ts';
import { tokenMap, tokensShown } from '../../s2t2/translate.ts';
import { plans } from '../arbitraries/plans.ts';
import { trainBPE } from '../../models/tokenizer/index.ts';
import { toSequences } from '../../s2t2/app/prepare.ts';
import { utf8 } from '../../models/utf8.ts';
import { tinyContext } from './fixture.ts';

let context: Context;
beforeAll(async () => {
  context = await tinyContext();
});

/** The learned cost as it starts, and what was said. */
async function starting(method: string, settings: Partial<Context['settings']>) {
  let cost: readonly number[] = [];
  const said: string[] = [];
  const start = await methods[method].start({
    ...context,
    settings: { ...context.settings, budget: { unit: 'tokens', amount: 64 }, ...settings },
    log: line => said.push(line),
    runStage: (_, training) => {
      cost = Array.from(training.parameters.cost.dataSync());
      return train(training);
    },
  });
  return { ...start, cost, said };
}

test('X starts at the prior coupling, and noise of the deviation asked for is added to Ĉ', async () => {
  const { source, target, settings } = context;
  const map = tokenMap(source.tokenizer, target, tokensShown(context.train.target, target.vocabSize));
  const { values } = priorCoupling(source.tokenizer, target, map, 0.2);
  const exact = await starting('s2t2', { smoothing: 0.2, noise: 0 });
  exact.cost.forEach((c, e) => {
    const x = -c / (settings.alpha * values.length);
    expect(Math.abs(x / values[e] - 1)).toBeLessThan(2 ** -22);
  });
  const noisy = await starting('s2t2', { smoothing: 0.2, noise: 0.3 });
  const noise = noisy.cost.map((c, e) => c - exact.cost[e]);
  const deviation = Math.sqrt(noise.reduce((sum, x) => sum + x * x, 0) / noise.length);
  expect(Math.abs(deviation / 0.3 - 1)).toBeLessThan(5 / Math.sqrt(2 * noise.length));
  // The draws of the seed, in order: costs of order 1 in float32.
  const draws = new Random(settings.seed).split('cost');
  for (const x of noise) expect(Math.abs(x - 0.3 * draws.normal())).toBeLessThan(2 ** -20);
});

/** The same text in a vocabulary with and without letters that it never shows. */
test('letters that the training text never shows take no mass: they change no entry of the plan', async () => {
  const texts = ['MKVLAAGIVGLCAKVLAAGMKKLA', 'AAGIVGLCAMKVLAAGKKLAMKVL'];
  const letters = (more: string) => new TextEncoder().encode(`ACGIKLMV${more}`);
  const planWith = async (more: string) => {
    const target = trainBPE(texts, { vocabSize: 24 + more.length, alphabet: letters(more) });
    const train = { ...context.train, target: toSequences(texts, target, 64) };
    const settings = { ...context.settings, planShare: 0 };
    const said: string[] = [];
    const { plan, model } = await methods.s2t2.start({ ...context, target, train, settings, log: l => said.push(l) });
    return { plan: plan!, rows: model.embedding.dataSync(), target, said };
  };
  const [few, many] = [await planWith(''), await planWith('XBZ')];
  for (const part of ['pointers', 'columns', 'values', 'mu', 'nu'] as const)
    expect(many.plan[part]).toEqual(few.plan[part]);
  const textOf = ({ target }: typeof few, ids: Int32Array) => Array.from(ids, id => target.token(id));
  expect(textOf(many, many.plan.targetIds)).toEqual(textOf(few, few.plan.targetIds));
  const hidden = unseenIds(many.plan);
  expect(hidden.map(id => many.target.token(id))).toEqual(expect.arrayContaining(['X', 'B', 'Z']));
  expect(hidden).toHaveLength(unseenIds(few.plan).length + 3);
  expect(many.said.join()).toContain(`never shows ${hidden.length} of ${many.target.ordinaryIds().length} target`);
  // A letter is one token of the source, whose row it takes as it is.
  const [width, source] = [context.source.model.config.width, context.source.model.embedding.dataSync()];
  const rowOf = (rows: typeof source, id: number) => Array.from(rows.slice(id * width, (id + 1) * width));
  for (const letter of ['X', 'B', 'Z']) {
    const id = hidden.find(i => many.target.token(i) === letter)!;
    expect(rowOf(many.rows, id)).toEqual(rowOf(source, context.source.tokenizer.encodeBytes(utf8(letter))[0]));
  }
});

test('with nothing learned and little smoothing the ends are those of fvt; on the head as well, by rows', async () => {
  const { model, plan, spent } = await starting('s2t2', {
    planShare: 0,
    noise: 0,
    smoothing: 1e-6,
    spread: 'none',
    headBias: 'none',
  });
  expect(spent).toEqual(nothing);
  expect(plan!.settings.headNormalisation).toBe('rows');
  const fvt = (await methods.fvt.start(context)).model;
  for (const end of ['embedding', 'head'] as const) {
    const [a, b] = [model[end].dataSync(), fvt[end].dataSync()];
    const largest = Math.max(...Array.from(b, Math.abs));
    // A millionth of a row is the mean of all, and 317 products of float32 are summed.
    a.forEach((x, e) => expect(Math.abs(x - b[e])).toBeLessThan(largest * (2e-6 + 317 * 2 ** -24)));
  }
});

test('the paper’s form is s2t2 with its preset, whatever else is asked for', async () => {
  const paper = await starting('paper', {});
  const preset = await starting('s2t2', presets.paper);
  expect(paper.cost).toEqual(preset.cost);
  expect(paper.finetuned).toBeUndefined();
  expect(paper.plan!.settings).toMatchObject({ rowNormalisation: 'nominal', headNormalisation: 'columns' });
  expect(paper.model.head.dataSync()).toEqual(preset.model.head.dataSync());
  expect(new Set(paper.plan!.nu).size).toBe(1);
});

test('a start worse than a uniform guess is reported before phase 1, a better one is not', async () => {
  // Logits of scale v/u: the paper's head on a vocabulary of 17 tokens.
  const paper = await starting('paper', { noise: 0.5 });
  const reported = paper.said.filter(line => line.includes('before phase 1'));
  expect(reported).toHaveLength(1);
  expect(reported[0]).toMatch(/^paper: before phase 1 the frozen model's loss is \d+\.\d\d nats per token, /);
  expect(reported[0]).toMatch(/, worse than a uniform guess \(3\.00\)$/);
  const { model } = context.source;
  const small = tensor(model.embedding.dataSync().map(x => 1e-4 * x) as Float32Array<ArrayBuffer>, {
    shape: model.embedding.shape,
  });
  const source = { ...context.source, model: { ...model, embedding: small, head: small } }; // logits near 0
  const said: string[] = [];
  await methods.s2t2.start({
    ...context,
    source,
    settings: { ...context.settings, budget: { unit: 'tokens', amount: 64 } },
    log: line => said.push(line),
  });
  expect(said.filter(line => line.includes('before phase 1'))).toEqual([]);
});

test('a plan ruined by training is the error, not the resulting loss; nothing leaks', async () => {
  const before = memory();
  const ruin = (cost: (training: Training) => Tensor | null) =>
    methods.s2t2
      .start({
        ...context,
        runStage: async (_, training) => {
          const ruined = cost(training);
          if (ruined) training.parameters.cost.assign(ruined);
          ruined?.dispose();
          throw new Error('the loss is NaN');
        },
      })
      .catch((error: unknown) => error);
  const error = await ruin(({ parameters: { cost } }) => full(cost.shape, Number.NaN));
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).toMatch(
    /^the plan cannot be computed, since the cost over alpha is not finite; raise --alpha \(now 0.003\d+\) or lower/,
  );
  expect(await ruin(() => null)).toEqual(new Error('the loss is NaN'));
  const tiny = { ...context, settings: { ...context.settings, alpha: 1e-45 } };
  await expect(methods.s2t2.start(tiny)).rejects.toThrow('raise --alpha (now 1e-45)');
  expect(memory()).toEqual(before);
});

test('an empty row or column is found, rows first', () => {
  fc.assert(
    fc.property(plans(), fc.nat(), ({ plan, dense }, pick) => {
      const [u, v] = [plan.mu.length, plan.nu.length];
      const row = pick % u;
      const without = compress(
        dense.map((p, e) => (Math.floor(e / v) === row ? 0 : p)),
        u,
        v,
      );
      expect(emptyLine({ ...plan, ...without })).toEqual({ side: 'target', id: plan.targetIds[row] });
      const column = Array.from({ length: v }, (_, j) => j).find(j => !plan.columns.includes(j));
      const expected = column === undefined ? undefined : { side: 'source', id: plan.sourceIds[column] };
      expect(emptyLine(plan)).toEqual(expected);
    }),
  );
});
