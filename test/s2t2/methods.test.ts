/** The starts of a model in a new vocabulary, on a tiny model: what each is made of, and what learning a plan does. */
import { beforeAll, describe, expect, test } from 'vitest';
import { memory, Random, scope, tensor } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { trainBPE } from '../../models/tokenizer/index.ts';
import { train } from '../../models/train.ts';
import { endsOf } from '../../models/transformer.ts';
import { score } from '../../models/score.ts';
import { cutAll, toSequences } from '../../s2t2/adapt.ts';
import { methods, tokenMap, type Context } from '../../s2t2/methods.ts';
import { compress, expand, loadPlan, reportPlan, roundToMarginals, savePlan, type Plan } from '../../s2t2/plan.ts';
import { defaults } from '../../s2t2/settings.ts';
import { applyPlan, translateEnds } from '../../s2t2/translate.ts';
import { refusal, temporaryDirectory } from '../models/temporary.ts';
import { tinyModel } from './fixture.ts';

const proteins = ['MKVLAAGIVGLCAKVLAAGMKKLA', 'MKKLAAGIVKVLAAGMKVLAAGIV', 'GIVGLCAMKVKVLAAGLCAMKKLA', 'AAGIVGLCAMKVLAAGKKLAMKVL'];
let source: LanguageModel;
let context: Context;
beforeAll(async () => {
  source = await tinyModel();
  const target = trainBPE(proteins, { vocabSize: 20, alphabet: 'seen' });
  const sequences = (t: typeof target) => toSequences(proteins, t, 128);
  context = {
    source,
    target,
    settings: { ...defaults, alpha: 1 / 317, budget: { unit: 'tokens', amount: 3000 }, planShare: 1, planRate: 0.05, batchTokens: 64 },
    train: { source: sequences(source.tokenizer), target: sequences(target) },
    runStage: (_, training) => train(training),
  };
});

const rowsOf = async (end: 'embedding' | 'head', model: LanguageModel['model']) => {
  const values = await endsOf(model)[end].data();
  return (id: number) => Array.from(values.subarray(id * 32, (id + 1) * 32));
};

describe('starts', () => {
  test('source: the model itself, and training it leaves the original alone', async () => {
    const before = Array.from(endsOf(source.model).embedding.dataSync());
    const { model } = await methods.source.start(context);
    const [s] = await score(model, context.train.source);
    expect(s).toEqual((await score(source.model, context.train.source))[0]);
    model.weights['model.embed_tokens.weight'].assign(tensor(new Float32Array(before.length), { shape: [before.length / 32, 32] }));
    expect(Array.from(endsOf(source.model).embedding.dataSync())).toEqual(before);
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

  test('truncated: row i is row i', async () => {
    const { model } = await methods.truncated.start(context);
    const [from, to] = [await rowsOf('head', source.model), await rowsOf('head', model)];
    const map = tokenMap(source.tokenizer, context.target);
    map.targetIds.forEach((id, i) => expect(to(id)).toEqual(from(map.sourceIds[i])));
  });

  test('s2t2: learning the plan lowers the loss, and leaks nothing', async () => {
    const before = memory();
    const { plan, stage, model } = await methods.s2t2.start(context);
    const mean = (losses: Float32Array) => losses.reduce((a, b) => a + b, 0) / losses.length;
    expect(mean(stage!.losses.slice(-5))).toBeLessThan(mean(stage!.losses.slice(0, 5)) - 0.05);
    Object.values(model.weights).forEach(w => w.dispose());
    expect(memory()).toEqual(before);
    const report = reportPlan(plan!);
    expect(report.support).toBeGreaterThanOrEqual(Math.max(report.rows, report.columns));
    expect(report.residual).toBeLessThan(0.5);
  });
});

test('a dual plan says how far from the optimum it is, others do not', async () => {
  const settings = { ...context.settings, variant: 'dual' as const, iterations: 5, budget: { unit: 'tokens' as const, amount: 200 } };
  const { plan } = await methods.s2t2.start({ ...context, settings });
  const { gap } = reportPlan(plan!);
  expect(gap).toBeGreaterThan(-1e-9);
  expect(gap).toBeLessThan(1);
  expect((await methods.s2t2.start({ ...context, settings: { ...settings, variant: 'dykstra' } })).plan!.gap).toBeNull();
});

/** A plan between 5 target and 7 source tokens, and ends of width 3 for 9 source rows (2 special, ids 0 and 1). */
function example(seed: number, rowNormalisation: 'actual' | 'nominal'): { plan: Plan; dense: Float64Array; ends: Float32Array<ArrayBuffer> } {
  const random = new Random(seed);
  const [mu, nu] = [new Float32Array(5).fill(0.2), new Float32Array(7).fill(1 / 7)];
  const dense = roundToMarginals(Array.from({ length: 35 }, () => Math.max(0, random.normal())), mu, nu);
  const plan: Plan = {
    ...compress(dense, 5, 7), mu, nu,
    targetIds: Int32Array.of(2, 3, 4, 5, 6), sourceIds: Int32Array.of(2, 3, 4, 5, 6, 7, 8), specials: Int32Array.of(0, 1, 1, 0),
    target: 't', source: 's', settings: { variant: 'dual', iterations: 3, alpha: 1, rowNormalisation }, gap: 0.25,
  };
  return { plan, dense, ends: new Float32Array(27).map(() => random.normal()) };
}

describe('translation', () => {
  test.each(['actual', 'nominal'] as const)('a stored plan applied to arrays equals the layer on tensors (%s row sums)', mode => scope(() => {
    const { plan, dense, ends } = example(4, mode);
    const end = tensor(ends, { shape: [9, 3] });
    const map = { sourceIds: plan.sourceIds, targetIds: plan.targetIds, specials: plan.specials, targetSize: 7 };
    const translated = translateEnds(tensor(Float32Array.from(dense), { shape: [5, 7] }), tensor(plan.mu as Float32Array<ArrayBuffer>, { shape: [5, 1] }), tensor(plan.nu as Float32Array<ArrayBuffer>, { shape: [1, 7] }), { embedding: end, head: end }, map, mode);
    for (const side of ['embedding', 'head'] as const) {
      // Sums of 7 products of order one: a few roundings of 2⁻²⁴.
      applyPlan(plan, side, ends, 3).forEach((value, i) => expect(Math.abs(value - translated[side].dataSync()[i])).toBeLessThan(32 * 2 ** -24));
    }
  }));

  test('with actual row sums embeddings stay within the hull of the source embeddings; special tokens are copied', () => {
    for (let seed = 0; seed < 20; seed++) {
      const { plan, ends } = example(seed, 'actual');
      const embedding = applyPlan(plan, 'embedding', ends, 3);
      for (let c = 0; c < 3; c++) {
        const column = Array.from({ length: 7 }, (_, j) => ends[(j + 2) * 3 + c]);
        for (let i = 2; i < 7; i++) {
          expect(embedding[i * 3 + c]).toBeLessThanOrEqual(Math.max(...column) + 1e-6);
          expect(embedding[i * 3 + c]).toBeGreaterThanOrEqual(Math.min(...column) - 1e-6);
        }
      }
      expect(embedding.slice(0, 3)).toEqual(ends.slice(3, 6));
      expect(embedding.slice(3, 6)).toEqual(ends.slice(0, 3));
    }
  });

  test('the identity plan between one vocabulary and itself changes no end', () => {
    const { plan, ends } = example(1, 'actual');
    const uniform = new Float32Array(7).fill(1 / 7);
    const identity: Plan = { ...plan, ...compress(Array.from({ length: 49 }, (_, e) => (e % 8 === 0 ? uniform[0] : 0)), 7, 7), mu: uniform, nu: uniform, targetIds: plan.sourceIds, specials: Int32Array.of(0, 0, 1, 1) };
    for (const side of ['embedding', 'head'] as const) expect(applyPlan(identity, side, ends, 3)).toEqual(ends);
  });
});

describe('plan files', () => {
  const directory = temporaryDirectory();
  test('a plan is the same after saving and loading, and refused for other vocabularies', async () => {
    const { plan } = example(2, 'nominal');
    const path = `${directory}/plan.safetensors`;
    await savePlan(path, plan);
    expect(await loadPlan(path, { source: 's', target: 't' })).toEqual(plan);
    expect(expand(plan).filter(x => x > 0).length).toBe(plan.values.length);
    expect(await refusal(loadPlan(path, { source: 'x' }))).toContain('was made for another source vocabulary (s…, not x…)');
    expect(await refusal(loadPlan(path, { target: 'x' }))).toContain('was made for another target vocabulary');
  });

  test.each([
    ['pointers that run backwards', (p: Plan) => ({ ...p, pointers: p.pointers.map((x, i) => (i === 2 ? 0 : i === 1 ? p.values.length : x)) }), 'ends before it begins'],
    ['a column too far', (p: Plan) => ({ ...p, columns: p.columns.map((c, e) => (e === 0 ? 7 : c)) }), 'is in column 7 of 7'],
    ['a mass that is none', (p: Plan) => ({ ...p, values: p.values.map((v, e) => (e === 0 ? -1 : v)) }), 'is -1, no positive mass'],
    ['entries that were lost', (p: Plan) => ({ ...p, values: p.values.slice(1) }), 'do not match the entries'],
  ])('%s are refused', async (_, change, message) => {
    const path = `${directory}/damaged.safetensors`;
    await savePlan(path, change(example(2, 'nominal').plan));
    expect(await refusal(loadPlan(path))).toContain(message);
  });
});

test('documents are cut into the same spans for everyone, between characters', () => {
  expect(cutAll(['abcdef', 'gh', ''], 4)).toEqual(['abcd', 'ef', 'gh']);
  expect(cutAll(['aé☕b'], 3)).toEqual(['aé', '☕', 'b']);
});
