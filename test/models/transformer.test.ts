/** Laws of the transformer: causality, the cache, batching, padding; and a training run that resumes bit for bit. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { grad, memory, noGrad, Random, scope, tensor } from '../../engine/index.ts';
import { makeBatch, planBatches, type Sequence } from '../../models/batches.ts';
import { sha256 } from '../../models/files.ts';
import { generate } from '../../models/generate.ts';
import { batchLoss, score } from '../../models/score.ts';
import { Interrupted, train } from '../../models/train.ts';
import { forward, initTransformer, weightShapes, type TransformerConfig } from '../../models/transformer.ts';

const config: TransformerConfig = { family: 'llama', vocabSize: 23, width: 16, layers: 2, heads: 4, keyValueHeads: 2, feedForward: 24, context: 32, rotaryBase: 10000, normEps: 1e-5, tied: false };
const random = new Random(5);
const model = initTransformer(config, random);
const idsOf = (n: number) => Int32Array.from({ length: n }, () => random.integer(config.vocabSize));
const logitsOf = (ids: Int32Array<ArrayBuffer>, rows = 1) => noGrad(() => scope(() => forward(model, tensor(ids, { shape: [rows, ids.length / rows] })).logits.dataSync())) as Float32Array;
const close = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-5) => {
  expect(a.length).toBe(b.length);
  expect(Math.max(0, ...Array.from(a, (value, i) => Math.abs(value - b[i])))).toBeLessThan(tolerance);
};

describe.each(['olmo', 'llama'] as const)('%s', family => {
  const own = initTransformer({ ...config, family, tied: family === 'olmo' }, new Random(1));
  test('every weight has a gradient, of its own shape', () => scope(() => {
    const batch = makeBatch([{ ids: idsOf(9), bytes: 8 }, { ids: idsOf(5), bytes: 4 }]);
    const names = Object.keys(own.weights);
    expect(names).toEqual(Object.keys(weightShapes(own.config)));
    const gradients = grad(batchLoss(own, batch), Object.values(own.weights));
    gradients.forEach((g, i) => expect(Math.max(...g.dataSync().map(Math.abs)), names[i]).toBeGreaterThan(0));
  }));
});

describe('the forward pass', () => {
  test('is causal: a later token changes nothing before it', () => {
    const ids = idsOf(12);
    const changed = ids.slice();
    changed[8] = (changed[8] + 1) % config.vocabSize;
    const [a, b] = [logitsOf(ids), logitsOf(changed)];
    expect(a.slice(0, 8 * 23)).toEqual(b.slice(0, 8 * 23));
    expect(a.slice(8 * 23)).not.toEqual(b.slice(8 * 23));
  });

  test('with a cache equals the pass without', () => {
    const ids = idsOf(10);
    const whole = logitsOf(ids);
    scope(() => noGrad(() => {
      let cache;
      const parts: number[] = [];
      for (const [from, to] of [[0, 4], [4, 5], [5, 10]]) {
        const result = forward(model, tensor(ids.slice(from, to), { shape: [1, to - from] }), undefined, cache);
        cache = result.cache;
        parts.push(...result.logits.dataSync());
      }
      close(parts, whole);
    }));
  });

  test('treats the rows of a batch one by one', () => {
    const [a, b] = [idsOf(6), idsOf(6)];
    close(logitsOf(Int32Array.from([...a, ...b]), 2), [...logitsOf(a), ...logitsOf(b)]);
  });

  test('refuses a sequence longer than the context', () => {
    expect(() => logitsOf(idsOf(33))).toThrow('33 positions exceed the context of 32');
  });
});

describe('score', () => {
  test('gives every sequence the nats it has alone, padded or not, in any batch size', async () => {
    const sequences: Sequence[] = [3, 9, 5, 17, 2].map(n => ({ ids: idsOf(n), bytes: n }));
    const together = await score(model, sequences);
    const alone = await score(model, sequences, { batchTokens: 1 });
    together.forEach((s, i) => {
      close([s.nats, s.endNats], [alone[i].nats, alone[i].endNats]);
      expect(s.tokens).toBe(sequences[i].ids.length - 2);
    });
  });

  test('a uniform model loses log V a token', async () => {
    const zero = { ...model, weights: { ...model.weights, 'lm_head.weight': tensor(new Float32Array(23 * 16), { shape: [23, 16] }) } };
    const [s] = await score(zero, [{ ids: idsOf(8), bytes: 6 }]);
    close([s.nats / s.tokens], [Math.log(23)]);
  });
});

test('generation follows the seed, stops at the stop token and frees its cache', async () => {
  const draw = async (seed: number) => {
    const ids: number[] = [];
    for await (const id of generate(model, Int32Array.of(1), { maxTokens: 12, topP: 0.9, stop: 2, random: new Random(seed) })) ids.push(id);
    return ids;
  };
  const before = memory();
  expect(await draw(3)).toEqual(await draw(3));
  expect(await draw(3)).not.toContain(2);
  expect(memory()).toEqual(before);
});

describe('training', () => {
  let directory = '';
  beforeAll(async () => { directory = await mkdtemp(join(tmpdir(), 's2t2-train-')); });
  afterAll(() => rm(directory, { recursive: true }));

  const sequences: Sequence[] = Array.from({ length: 12 }, (_, i) => ({ ids: Int32Array.from({ length: 6 + (i % 5) }, (__, j) => (i + 3 * j) % 23), bytes: 5 }));
  const fresh = () => {
    const m = initTransformer(config, new Random(9));
    return { m, training: { parameters: m.weights, batches: planBatches(sequences, 32, { unit: 'tokens' as const, amount: 4000 }, new Random(2)), loss: (b: Parameters<typeof batchLoss>[1]) => batchLoss(m, b), rate: 3e-3, warmup: 4 } };
  };
  const hash = (m: ReturnType<typeof fresh>['m']) => sha256(Buffer.concat(Object.values(m.weights).map(w => Buffer.from(w.dataSync().buffer))));

  test('learns', async () => {
    const { training } = fresh();
    const { losses } = await train(training);
    expect(losses[0]).toBeGreaterThan(3);
    expect(losses.at(-1)).toBeLessThan(1.5);
  });

  test('stopped in the middle and resumed gives the same model, bit for bit, and leaks nothing', async () => {
    const straight = fresh();
    await train(straight.training);
    const state = join(directory, 'state.safetensors');
    const stop = new AbortController();
    const first = fresh();
    await expect(train(first.training, { state, signal: stop.signal, onStep: p => p.step === 7 && stop.abort() })).rejects.toThrow(Interrupted);
    const second = fresh();
    const before = memory();
    const result = await train(second.training, { state });
    expect(result.step).toBe(result.steps);
    expect(hash(second.m)).toBe(hash(straight.m));
    expect(memory()).toEqual(before);
  });

  test('refuses the state of another run', async () => {
    const state = join(directory, 'state.safetensors');
    await expect(train(fresh().training, { state, fingerprint: 'another' })).rejects.toThrow('belongs to a run with other settings');
  });

  test('stops with advice when the loss is no number', async () => {
    const { training } = fresh();
    await expect(train({ ...training, rate: 1e30 })).rejects.toThrow(/the loss is (NaN|Infinity) at step \d+; lower the learning rate/);
  });
});

