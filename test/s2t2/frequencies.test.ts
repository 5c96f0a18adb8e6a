/** Laws of a head that knows frequencies: mean logits are log frequencies, and nothing else moves more than it must. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { noGrad, scope } from '../../engine/index.ts';
import { batchTensors, makeBatch } from '../../models/batches.ts';
import { batchLoss } from '../../models/score.ts';
import { scoredTokens, sumOver, type Sequence } from '../../models/sequences.ts';
import { train } from '../../models/train.ts';
import { forward } from '../../models/transformer.ts';
import type { Transformer } from '../../models/weights.ts';
import {
  changedHead,
  constantDirection,
  frequencySample,
  frequencyShift,
  headBias,
  headChange,
  hiddenMoments,
  logFrequencies,
} from '../../s2t2/frequencies.ts';
import { nothing, plus, type Context } from '../../s2t2/method.ts';
import { methods } from '../../s2t2/methods.ts';
import { tinyContext } from './fixture.ts';

let context: Context;
beforeAll(async () => {
  context = await tinyContext();
});

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((sum, x, i) => sum + x * b[i], 0);

/** Logits (tokens, V) of a model where a next token is scored. */
function logitsOf(model: Transformer, sequences: readonly Sequence[]): number[][] {
  const batch = makeBatch(sequences);
  const logits = noGrad(() => scope(() => forward(model, batchTensors(batch).ids).logits));
  const values = logits.dataSync();
  const V = model.config.vocabSize;
  return [...batch.targets.keys()]
    .filter(t => batch.targets[t] >= 0)
    .map(t => Array.from(values.subarray(t * V, (t + 1) * V)));
}
const meanLogits = (rows: readonly number[][]) =>
  rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);

describe('frequencies', () => {
  test('are those of scored tokens, half an occurrence more each, and sum to one', () => {
    const sequences = fc.array(
      fc
        .array(fc.nat(8), { minLength: 2, maxLength: 9 })
        .chain(ids => fc.nat(ids.length - 1).map(context => ({ ids: Int32Array.from(ids), bytes: 1, context }))),
      { maxLength: 9 },
    );
    fc.assert(
      fc.property(sequences, list => {
        const scored = list.flatMap(({ ids, context }) => Array.from(ids.slice(1 + context)));
        const logs = logFrequencies(list, 9);
        logs.forEach((log, id) => {
          const count = scored.filter(other => other === id).length;
          expect(log).toBeCloseTo(Math.log((count + 0.5) / (scored.length + 4.5)), 12);
        });
        expect(logs.reduce((sum, log) => sum + Math.exp(log), 0)).toBeCloseTo(1, 12);
      }),
    );
  });

  test('the sample is a small part of the budget but for its last sequence, and decided by the seed', () => {
    const { settings, train: own } = context;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40_000 }),
        fc.constantFrom('tokens' as const, 'bytes' as const),
        fc.nat(),
        (amount, unit, seed) => {
          const asked = { ...settings, budget: { unit, amount }, seed };
          const { sequences, spent } = frequencySample(own.target, asked);
          const spentOn = unit === 'tokens' ? scoredTokens : (s: Sequence) => s.bytes;
          expect(spent).toEqual({ tokens: sumOver(sequences, scoredTokens), bytes: sumOver(sequences, s => s.bytes) });
          const before = sequences.slice(0, -1);
          expect(sequences.length).toBeGreaterThan(0);
          expect(sumOver(before, spentOn)).toBeLessThan(0.05 * amount);
          expect(sumOver(before, scoredTokens)).toBeLessThan(256);
          expect(frequencySample(own.target, asked)).toEqual({ sequences, spent });
        },
      ),
    );
  });
});

describe('the direction', () => {
  /** Moments of a few drawn states (n, C), some with a common part. */
  const states = fc.tuple(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 12 })).chain(([C, n]) =>
    fc.array(fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: C, maxLength: C }), {
      minLength: n,
      maxLength: n,
    }),
  );
  const momentsOf = (rows: readonly number[][]) => {
    const C = rows[0].length;
    const mean = new Float64Array(C);
    const second = new Float64Array(C * C);
    for (const h of rows)
      for (let a = 0; a < C; a++) {
        mean[a] += h[a] / rows.length;
        for (let b = 0; b < C; b++) second[a * C + b] += (h[a] * h[b]) / rows.length;
      }
    return { mean, second };
  };

  test('w·h̄ = 1, and no other such w has a smaller E (w·h)² + λ|w|²', () => {
    fc.assert(
      fc.property(
        states,
        fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 }),
        (rows, z) => {
          const moments = momentsOf(rows);
          const { mean, second } = moments;
          const C = mean.length;
          const length = dot(mean, mean);
          fc.pre(length > 1e-3);
          const w = constantDirection(moments);
          expect(dot(w, mean)).toBeCloseTo(1, 9);
          const lambda = (0.01 * rows.reduce((sum, h) => sum + dot(h, h), 0)) / rows.length / C;
          const cost = (v: ArrayLike<number>) => {
            let sum = lambda * dot(v, v);
            for (let a = 0; a < C; a++) for (let b = 0; b < C; b++) sum += v[a] * second[a * C + b] * v[b];
            return sum;
          };
          const along = dot(z.slice(0, C), mean) / length;
          const other = w.map((x, c) => x + z[c] - along * mean[c]); // also other·h̄ = 1
          expect(cost(w)).toBeLessThanOrEqual(cost(other) * (1 + 1e-9));
        },
      ),
    );
  });

  test('is none where hidden states are all zero', () => {
    expect([...constantDirection({ mean: new Float64Array(3), second: new Float64Array(9) })]).toEqual([0, 0, 0]);
  });
});

describe('on a model', () => {
  test('moments are those of what the head reads: they give the mean and the square of every logit', async () => {
    const { model } = await methods.fvt.start(context);
    const sample = context.train.target as Sequence[];
    const { mean, second } = await hiddenMoments(model, sample);
    const rows = logitsOf(model, sample);
    expect(rows.length).toBe(sumOver(sample, scoredTokens));
    const [head, means] = [model.head.dataSync(), meanLogits(rows)];
    const C = mean.length;
    for (let i = 0; i < context.target.vocabSize; i++) {
      const l = head.subarray(i * C, (i + 1) * C);
      const square = rows.reduce((sum, row) => sum + row[i] ** 2, 0) / rows.length;
      const Hl = Array.from(l, (_, a) => dot(second.subarray(a * C, (a + 1) * C), l));
      // Logits are float32 sums of 32 products of order 1.
      expect(Math.abs(dot(l, mean) - means[i])).toBeLessThan(32 * 2 ** -22);
      expect(Math.abs(dot(l, Hl) - square)).toBeLessThan(32 * 2 ** -20);
    }
  });

  test('a changed head has frequencies as mean logits; a row is scaled and moves along w alone', async () => {
    const { model } = await methods.fvt.start(context);
    const { sequences } = frequencySample(context.train.target, context.settings);
    const bias = await headBias(model, context.train.target, sequences);
    const change = await headChange(context, model, 0.5);
    const ordinary = new Set(context.target.ordinaryIds());
    change.scale.forEach((scale, i) => expect(scale).toBe(ordinary.has(i) ? 0.5 : context.settings.headScale));
    const head = model.head.dataSync() as Float32Array;
    const moved = changedHead(head, change);
    const C = bias.mean.length;
    const largest = Math.max(...Array.from(moved, Math.abs)) * Math.sqrt(dot(bias.mean, bias.mean));
    frequencyShift(moved, bias).forEach(left => expect(Math.abs(left)).toBeLessThan(C * largest * 2 ** -23));
    const { scale, move, direction } = change;
    const row = (e: number) => Math.floor(e / C);
    moved.forEach((x, e) => expect(x).toBe(Math.fround(head[e] * scale[row(e)] + move[row(e)] * direction[e % C])));
  });

  const start = async (name: string, settings: Partial<Context['settings']>) => {
    const all = { ...context, settings: { ...context.settings, ...settings }, runStage: context.runStage };
    return { ...(await methods[name].start(all)), all };
  };

  test.each(['fvt-spread', 's2t2'])('%s: mean logits over the sample are log frequencies', async name => {
    const { model, finetuned = model, spent, all } = await start(name, { planShare: 0 });
    const { sequences, spent: once } = frequencySample(context.train.target, all.settings);
    const logs = logFrequencies(context.train.target, context.target.vocabSize);
    for (const m of new Set([model, finetuned]))
      meanLogits(logitsOf(m, sequences)).forEach((logit, i) => expect(Math.abs(logit - logs[i])).toBeLessThan(1e-4));
    // A learned plan reads the sample before phase 1 and again before finetuning.
    expect(spent).toEqual(name === 's2t2' ? plus(once, once) : once);
  });

  test('a head that says nothing else starts at the entropy of the frequencies', async () => {
    const { model } = await start('fvt-spread', { headScale: 0 });
    const loss = noGrad(() => scope(() => batchLoss(model, makeBatch(context.train.target as Sequence[]))));
    const logs = logFrequencies(context.train.target, context.target.vocabSize);
    const scored = (context.train.target as Sequence[]).flatMap(({ ids }) => Array.from(ids.slice(1)));
    const entropy = scored.reduce((sum, id) => sum - logs[id], 0) / scored.length;
    // w·h is 1 only on average.
    expect(Math.abs((await loss.item()) - entropy)).toBeLessThan(0.1);
  });

  test('the frozen head is the translated one, scaled and moved along w', async () => {
    const { settings } = context;
    const { model, all } = await start('s2t2', { planShare: 0, spread: 'none' });
    const { model: translated } = await start('s2t2', { planShare: 0, spread: 'none', headBias: 'none' });
    const { sequences } = frequencySample(context.train.target, all.settings);
    const { logs, mean, direction } = await headBias(model, context.train.target, sequences);
    const [head, plain] = [model.head.dataSync(), translated.head.dataSync()];
    const C = mean.length;
    for (let i = 0; i < context.target.vocabSize; i++) {
      const l = Array.from(plain.subarray(i * C, (i + 1) * C), x => settings.headScale * x);
      const shift = logs[i] - dot(l, mean);
      for (let c = 0; c < C; c++) expect(Math.abs(head[i * C + c] - l[c] - shift * direction[c])).toBeLessThan(1e-5);
    }
  });

  test('a spread head has its special tokens at the size of the others', async () => {
    const { model, all } = await start('fvt-spread', {});
    const { model: plain } = await start('fvt-spread', { headBias: 'none' });
    const { sequences } = frequencySample(context.train.target, all.settings);
    const { logs, mean, direction } = await headBias(model, context.train.target, sequences);
    const [head, copied] = [model.head.dataSync(), plain.head.dataSync()];
    const ordinary = new Set(context.target.ordinaryIds());
    const C = mean.length;
    for (let i = 0; i < context.target.vocabSize; i++) {
      const scale = ordinary.has(i) ? 1 : all.settings.headScale;
      const l = Array.from(copied.subarray(i * C, (i + 1) * C), x => scale * x);
      const shift = logs[i] - dot(l, mean);
      for (let c = 0; c < C; c++) expect(Math.abs(head[i * C + c] - l[c] - shift * direction[c])).toBeLessThan(1e-5);
    }
  });

  test('phase 1 begins with the frozen start, and lowers its loss', async () => {
    const batch = makeBatch(context.train.target as Sequence[]);
    const { model } = await start('s2t2', { planShare: 0 });
    const frozen = noGrad(() => scope(() => batchLoss(model, batch)));
    let first = Number.NaN;
    let losses: ArrayLike<number> = [];
    await methods.s2t2.start({
      ...context,
      runStage: async (_, training) => {
        first = await noGrad(() => scope(() => training.loss(batch, 0))).item();
        const result = await train(training);
        ({ losses } = result);
        return result;
      },
    });
    // Float32 plans are stored with their entries: sums of 317 products.
    expect(Math.abs(first - (await frozen.item()))).toBeLessThan(317 * 2 ** -20);
    expect(Math.min(...Array.from(losses).slice(-3))).toBeLessThan(first);
  });

  test('without them nothing of the sample is read', async () => {
    const { spent, model } = await start('fvt-spread', { headBias: 'none' });
    expect(spent).toEqual(nothing);
    expect(model.head.requiresGrad).toBe(true);
  });
});
