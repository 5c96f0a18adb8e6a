/** Translation of a model's ends by a plan: on tensors, from a file, and the laws both keep. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { noGrad, Random, scope, tensor } from '../../engine/index.ts';
import { trainBPE } from '../../models/tokenizer/index.ts';
import { initTransformer } from '../../models/init.ts';
import { forward } from '../../models/transformer.ts';
import type { TransformerConfig } from '../../models/transformer-config.ts';
import type { Transformer } from '../../models/weights.ts';
import { modelFromPlan } from '../../s2t2/methods.ts';
import { compress, madeIds, unseenIds, unseenShares, type Plan } from '../../s2t2/plan.ts';
import { loadPlan, savePlan } from '../../s2t2/app/plan-file.ts';
import { applyPlan, tokenMap, translateEnds } from '../../s2t2/translate.ts';
import { plans, type PlanExample } from '../arbitraries/plans.ts';
import { valuesOf } from '../arbitraries/tensors.ts';
import { temporaryDirectory } from '../models/temporary.ts';

const directory = temporaryDirectory();
const width = 3;
const sides = ['embedding', 'head'] as const;

/** A plan and an end of the source model: (source size, 3), values of size 4 at most. */
const translations = plans().chain(example =>
  valuesOf([example.sourceSize, width]).map(values => ({
    ...example,
    end: Float32Array.from(values, x => Math.fround(x) + 0),
  })),
); // without −0, which a sum makes 0;
const row = (end: ArrayLike<number>, id: number) => Array.from({ length: width }, (_, c) => end[id * width + c]);
/** Float32 sums of at most 8 products: of size 4 in an embedding, of size 4 · P/ν in a head. */
const tolerance = (plan: Plan) =>
  64 * 2 ** -24 * 4 * Math.max(1, ...Array.from(plan.values, (p, e) => p / plan.nu[plan.columns[e]]));

test('a target token that is neither a row of the plan nor special is an error', () => {
  const ends = {
    embedding: tensor(new Float32Array(4), { shape: [2, 2] }),
    head: tensor(new Float32Array(4), { shape: [2, 2] }),
  };
  const half = tensor([[0.5, 0.5]]);
  for (const [targetIds, missing] of [
    [[1], 0],
    [[0], 1],
  ] as const) {
    const map = {
      targetIds: Int32Array.from(targetIds),
      sourceIds: Int32Array.of(0, 1),
      specials: new Int32Array(0),
      unseen: new Int32Array(),
      targetSize: 2,
    };
    expect(() =>
      translateEnds(half, tensor([1]), tensor([0.5, 0.5]), ends, map, {
        rowNormalisation: 'actual',
        headNormalisation: 'rows',
      }),
    ).toThrow(`translate: target token ${missing} is neither a row of the plan nor a special token`);
  }
});

test('a plan applied to arrays equals the layer on tensors, also when loaded from its file', async () => {
  await fc.assert(
    fc.asyncProperty(translations, async ({ plan, dense, end, targetSize }) => {
      const path = `${directory}/plan.safetensors`;
      await savePlan(path, plan);
      const loaded = await loadPlan(path);
      scope(() => {
        const [u, v] = [plan.mu.length, plan.nu.length];
        const source = tensor(end, { shape: [end.length / width, width] });
        const translated = translateEnds(
          tensor(Float32Array.from(dense), { shape: [u, v] }),
          tensor(Float32Array.from(plan.mu)),
          tensor(Float32Array.from(plan.nu)),
          { embedding: source, head: source },
          { ...plan, targetSize },
          plan.settings,
        );
        for (const side of sides) {
          const applied = applyPlan(plan, side, end, width);
          expect(applyPlan(loaded, side, end, width)).toEqual(applied);
          const onTensors = translated[side].dataSync();
          expect(onTensors.length).toBe(applied.length);
          applied.forEach((value, i) => expect(Math.abs(value - onTensors[i])).toBeLessThan(tolerance(plan)));
        }
      });
    }),
    { numRuns: 50 },
  );
});

test("each token's row is its definition: Σ P/μ E for embeddings, Σ P/ν L or Σ P/μ L for heads", () => {
  fc.assert(
    fc.property(translations, ({ plan, dense, end }) => {
      const v = plan.nu.length;
      for (const side of sides) {
        const out = applyPlan(plan, side, end, width);
        plan.targetIds.forEach((id, i) => {
          const line = dense.slice(i * v, (i + 1) * v);
          const total = plan.settings.rowNormalisation === 'actual' ? line.reduce((a, b) => a + b, 0) : plan.mu[i];
          const byColumns = side === 'head' && plan.settings.headNormalisation === 'columns';
          for (let c = 0; c < width; c++) {
            const expected = line.reduce(
              (sum, p, j) => sum + (p / (byColumns ? plan.nu[j] : total)) * end[plan.sourceIds[j] * width + c],
              0,
            );
            expect(Math.abs(out[id * width + c] - expected)).toBeLessThan(tolerance(plan));
          }
        });
      }
    }),
  );
});

test('ends divided by actual row sums lie in the hull of the source; special tokens are copied', () => {
  fc.assert(
    fc.property(translations, ({ plan, end }) => {
      const settings = { ...plan.settings, rowNormalisation: 'actual' as const, headNormalisation: 'rows' as const };
      const hull = sides.map(side => applyPlan({ ...plan, settings }, side, end, width));
      expect(hull[1]).toEqual(hull[0]);
      for (let c = 0; c < width; c++) {
        const column = Array.from(plan.sourceIds, id => end[id * width + c]);
        for (const id of plan.targetIds) {
          expect(hull[0][id * width + c]).toBeLessThanOrEqual(Math.max(...column) + 4 * 2 ** -22);
          expect(hull[0][id * width + c]).toBeGreaterThanOrEqual(Math.min(...column) - 4 * 2 ** -22);
        }
      }
      for (const side of sides) {
        const out = applyPlan(plan, side, end, width);
        for (let s = 0; s < plan.specials.length; s += 2)
          expect(row(out, plan.specials[s])).toEqual(row(end, plan.specials[s + 1]));
        for (const id of unseenIds(plan)) {
          const pieces = unseenShares(plan).filter(p => p.target === id);
          for (let c = 0; c < width; c++) {
            const mean = pieces.reduce((sum, p) => sum + end[p.source * width + c], 0) / pieces.length;
            // A mean of at most three float32, summed in double precision and rounded.
            expect(Math.abs(out[id * width + c] - mean)).toBeLessThanOrEqual(2 ** -24 * Math.abs(mean) + 2 ** -50);
          }
        }
      }
    }),
  );
});

/** Plan and source end in another order of source tokens: nothing but names. */
test('the order of columns does not matter', () => {
  fc.assert(
    fc.property(translations, ({ plan, dense, end }: PlanExample & { end: Float32Array<ArrayBuffer> }) => {
      const [u, v] = [plan.mu.length, plan.nu.length];
      const reversed: Plan = {
        ...plan,
        ...reverseColumns(dense, u, v),
        nu: plan.nu.toReversed(),
        sourceIds: plan.sourceIds.toReversed(),
      };
      for (const side of sides) {
        const [a, b] = [applyPlan(plan, side, end, width), applyPlan(reversed, side, end, width)];
        a.forEach((value, i) => expect(Math.abs(value - b[i])).toBeLessThan(tolerance(plan)));
      }
    }),
  );
});

function reverseColumns(dense: readonly number[], u: number, v: number): Pick<Plan, 'pointers' | 'columns' | 'values'> {
  return compress(
    Array.from({ length: u * v }, (_, e) => dense[Math.floor(e / v) * v + v - 1 - (e % v)]),
    u,
    v,
  );
}

test('the identity plan between one vocabulary and itself changes no end', () => {
  fc.assert(
    fc.property(translations, ({ plan, end, sourceSize }) => {
      // Every source token a row and a column, each its own translation; P/ν and P/Σ are exactly 1.
      const ids = Int32Array.from({ length: sourceSize }, (_, id) => id);
      const uniform = new Float32Array(sourceSize).fill(1 / sourceSize);
      const diagonal = Array.from({ length: sourceSize ** 2 }, (_, e) => (e % (sourceSize + 1) === 0 ? uniform[0] : 0));
      const identity: Plan = {
        ...plan,
        ...compress(diagonal, sourceSize, sourceSize),
        mu: uniform,
        nu: uniform,
        targetIds: ids,
        sourceIds: ids,
        specials: new Int32Array(),
        unseen: new Int32Array(),
      };
      for (const side of sides) expect(applyPlan(identity, side, end, width)).toEqual(end);
    }),
  );
});

describe('on a model', () => {
  const tokenizer = trainBPE(['to be or not to be'], { vocabSize: 16, alphabet: 'seen' });
  /** Two rows more than the tokenizer has tokens: padding, as checkpoints have it. */
  const rows = tokenizer.vocabSize + 2;
  const config: TransformerConfig = {
    family: 'llama',
    vocabSize: rows,
    width: 8,
    layers: 1,
    heads: 2,
    keyValueHeads: 2,
    feedForward: 8,
    context: 16,
    rotaryBase: 10000,
    normEps: 1e-6,
    tied: false,
  };
  const model = initTransformer(config, new Random(1));
  const map = tokenMap(tokenizer, tokenizer);
  const v = map.sourceIds.length;
  const uniform = new Float32Array(v).fill(1 / v);
  const identity: Plan = {
    ...compress(
      Array.from({ length: v * v }, (_, e) => (e % (v + 1) === 0 ? uniform[0] : 0)),
      v,
      v,
    ),
    mu: uniform,
    nu: uniform,
    targetIds: map.targetIds,
    sourceIds: map.sourceIds,
    specials: map.specials,
    unseen: new Int32Array(),
    target: tokenizer.hash,
    source: tokenizer.hash,
    settings: { variant: 'dual', iterations: 3, alpha: 1, rowNormalisation: 'actual', headNormalisation: 'columns' },
    gap: 0,
  };

  test('the identity plan and the same tokenizer leave the logits unchanged; padded rows are gone', async () => {
    const translated = await modelFromPlan(model, identity);
    expect(translated.config).toEqual({ ...config, vocabSize: tokenizer.vocabSize });
    const ids = tokenizer.encode('to be or not');
    const logits = (m: Transformer) =>
      noGrad(() => scope(() => forward(m, tensor(ids, { shape: [1, ids.length] })).logits.dataSync()));
    const [before, after] = [logits(model), logits(translated)];
    for (let t = 0; t < ids.length; t++) {
      expect(after.slice(t * tokenizer.vocabSize, (t + 1) * tokenizer.vocabSize)).toEqual(
        before.slice(t * rows, t * rows + tokenizer.vocabSize),
      );
    }
  });

  test('the map of tokens: each target id once, special tokens by the part they play, no padded row', () => {
    const other = trainBPE(['2b or not 2b'], {
      vocabSize: 14,
      alphabet: 'seen',
      specialTokens: ['<pad>', '<s>', '<mask>', '</s>'],
    });
    const { sourceIds, targetIds, specials, targetSize } = tokenMap(tokenizer, other);
    const pairs = Object.fromEntries(
      Array.from({ length: specials.length / 2 }, (_, s) => [
        other.token(specials[2 * s]),
        tokenizer.token(specials[2 * s + 1]),
      ]),
    );
    // what has no part of its own ends a text
    expect(pairs).toEqual({ '<pad>': '<pad>', '<s>': '<s>', '</s>': '</s>', '<mask>': '</s>' });
    const targets = [...targetIds, ...specials.filter((_, s) => s % 2 === 0)].sort((a, b) => a - b);
    expect(targets).toEqual(Array.from({ length: targetSize }, (_, id) => id));
    expect([...sourceIds]).toEqual([...tokenizer.ordinaryIds()]);
    expect(Math.max(...sourceIds)).toBeLessThan(tokenizer.vocabSize);
  });

  test('tokens that are not shown are no rows but pairs with their pieces; if none is shown all are rows', () => {
    fc.assert(
      fc.property(fc.func(fc.boolean()), chosen => {
        const other = trainBPE(['2b or not 2b'], { vocabSize: 14, alphabet: 'seen' });
        const all = tokenMap(tokenizer, other);
        const shown = all.targetIds.filter(id => chosen(id));
        const { unseen, ...map } = tokenMap(tokenizer, other, chosen);
        expect(map).toEqual({ ...all, unseen: undefined, targetIds: shown.length > 0 ? shown : all.targetIds });
        expect(madeIds({ ...map, unseen })).toEqual([...all.targetIds]);
        for (const id of unseenIds({ unseen })) {
          const pieces = Int32Array.from(
            unseenShares({ unseen }).filter(s => s.target === id),
            s => s.source,
          );
          expect(pieces).toEqual(Int32Array.from(tokenizer.encodeBytes(other.tokenBytes(id))));
        }
      }),
    );
  });
});
