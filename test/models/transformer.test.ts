/** Laws of the transformer: causality, the cache, batching, padding; and a training run that resumes bit for bit. */
import { fileState } from '../../models/node/state.ts';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { grad, memory, noGrad, Random, scope, tensor } from '../../engine/index.ts';
import { makeBatch, planBatches } from '../../models/batches.ts';
import type { Sequence } from '../../models/sequences.ts';
import { sha256 } from '../../models/sha256.ts';
import { generate } from '../../models/generate.ts';
import { batchLoss, score } from '../../models/score.ts';
import { Interrupted, train } from '../../models/train.ts';
import { familyNames, type FamilyName } from '../../models/families.ts';
import { initTransformer } from '../../models/init.ts';
import { forward } from '../../models/transformer.ts';
import { forwardFlops, headWidth, type TransformerConfig } from '../../models/transformer-config.ts';
import { parameterShapes, type Transformer, disposeModel, parameters } from '../../models/weights.ts';
import { configs as anyConfig, idsFor } from '../arbitraries/models.ts';
import { randomOfTests } from '../random.ts';

const llama: TransformerConfig = {
  family: 'llama',
  vocabSize: 23,
  width: 16,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  feedForward: 24,
  context: 32,
  rotaryBase: 10000,
  normEps: 1e-5,
  tied: false,
};
const configs: Record<FamilyName, TransformerConfig> = {
  llama,
  olmo: { ...llama, family: 'olmo', tied: true, clip: 0.1 },
  gpt2: { ...llama, family: 'gpt2', keyValueHeads: 4, tied: true },
  olmo2: { ...llama, family: 'olmo2' },
  mistral: { ...llama, family: 'mistral', window: 64 },
  qwen2: { ...llama, family: 'qwen2', tied: true },
  qwen3: { ...llama, family: 'qwen3', headWidth: 6 },
  gpt_neox: { ...llama, family: 'gpt_neox', keyValueHeads: 4, rotaryShare: 0.5, parallel: true },
};
const random = randomOfTests('transformer');
const idsOf = (n: number) => Int32Array.from({ length: n }, () => random.integer(23));
/** A model whose biases are not zero, as they are at first. */
function modelOf(config: TransformerConfig, seed = 1): Transformer {
  const model = initTransformer(config, new Random(seed));
  for (const [name, w] of Object.entries(parameters(model)))
    if (name.endsWith('.bias'))
      w.assign(
        tensor(
          new Float32Array(w.size).map(() => 0.1 * random.normal()),
          { shape: w.shape },
        ),
      );
  return model;
}
const logitsOf = (model: Transformer, ids: Int32Array<ArrayBuffer>, rows = 1) =>
  noGrad(() =>
    scope(() => forward(model, tensor(ids, { shape: [rows, ids.length / rows] })).logits.dataSync()),
  ) as Float32Array;
const close = (a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-5) => {
  expect(a.length).toBe(b.length);
  expect(Math.max(0, ...Array.from(a, (value, i) => Math.abs(value - b[i])))).toBeLessThan(tolerance);
};

test('any configuration: causal; a cache changes nothing, nor do the other rows of a batch, padding included', () => {
  const input = anyConfig.chain(c =>
    fc.record({ config: fc.constant(c), ids: idsFor(c), other: idsFor(c), at: fc.nat(), seed: fc.nat(99) }),
  );
  fc.assert(
    fc.property(input, ({ config, ids, other, at, seed }) => {
      const model = modelOf(config, seed);
      const V = config.vocabSize;
      const whole = logitsOf(model, ids);
      // Sums of at most 18 products of order one, in each of three layers: float32 in another order.
      const tolerance = 1e-5 * (1 + Math.max(...whole.map(Math.abs)));
      const cut = 1 + (at % (ids.length - 1));
      const changed = ids.slice();
      changed[cut] = (changed[cut] + 1) % V;
      expect(logitsOf(model, changed).slice(0, cut * V)).toEqual(whole.slice(0, cut * V));
      scope(() =>
        noGrad(() => {
          const first = forward(model, tensor(ids.slice(0, cut), { shape: [1, cut] }));
          const rest = forward(model, tensor(ids.slice(cut), { shape: [1, ids.length - cut] }), undefined, first.cache);
          close([...first.logits.dataSync(), ...rest.logits.dataSync()], whole, tolerance);
        }),
      );
      const T = Math.max(ids.length, other.length);
      const padded = new Int32Array(2 * T);
      padded.set(ids);
      padded.set(other, T);
      const both = logitsOf(model, padded, 2);
      close(both.slice(0, ids.length * V), whole, tolerance);
      close(both.slice(T * V, (T + other.length) * V), logitsOf(model, other), tolerance);
      disposeModel(model);
    }),
    { numRuns: 60 },
  );
});

describe.each(familyNames)('%s', family => {
  const config = configs[family];
  const model = modelOf(config);

  test('every weight has a gradient, of its own shape', () =>
    scope(() => {
      const batch = makeBatch([
        { ids: idsOf(33), bytes: 8 },
        { ids: idsOf(5), bytes: 4 },
      ]);
      const names = Object.keys(parameters(model));
      expect(names).toEqual(Object.keys(parameterShapes(config)));
      const gradients = grad(batchLoss(model, batch), Object.values(parameters(model)));
      gradients.forEach((g, i) => {
        expect(g.shape).toEqual(parameterShapes(config)[names[i]]);
        expect(Math.max(...g.dataSync().map(Math.abs)), names[i]).toBeGreaterThan(0);
      });
    }));

  test('is causal: a later token changes nothing before it', () => {
    const ids = idsOf(12);
    const changed = ids.slice();
    changed[8] = (changed[8] + 1) % 23;
    const [a, b] = [logitsOf(model, ids), logitsOf(model, changed)];
    expect(a.slice(0, 8 * 23)).toEqual(b.slice(0, 8 * 23));
    expect(a.slice(8 * 23)).not.toEqual(b.slice(8 * 23));
  });

  test('with a cache equals the pass without', () => {
    const ids = idsOf(10);
    const whole = logitsOf(model, ids);
    scope(() =>
      noGrad(() => {
        let cache;
        const parts: number[] = [];
        for (const [from, to] of [
          [0, 4],
          [4, 5],
          [5, 10],
        ]) {
          const result = forward(model, tensor(ids.slice(from, to), { shape: [1, to - from] }), undefined, cache);
          cache = result.cache;
          parts.push(...result.logits.dataSync());
        }
        close(parts, whole);
      }),
    );
  });

  test('treats the rows of a batch one by one', () => {
    const [a, b] = [idsOf(6), idsOf(6)];
    close(logitsOf(model, Int32Array.from([...a, ...b]), 2), [...logitsOf(model, a), ...logitsOf(model, b)]);
  });

  test('rejects a sequence longer than the context', () => {
    expect(() => logitsOf(model, idsOf(33))).toThrow('33 positions exceed the context of 32');
  });

  test('embedding and head can be given: those of a model of another vocabulary', () => {
    const wide = modelOf({ ...config, vocabSize: 29, tied: false }, 2);
    const ids = idsOf(7);
    const hybrid: Transformer = { ...model, config: wide.config, embedding: wide.embedding, head: wide.head };
    const given = noGrad(() => scope(() => forward(model, tensor(ids, { shape: [1, 7] }), wide).logits.dataSync()));
    expect(given).toEqual(logitsOf(hybrid, ids));
  });

  test('its floating-point operations are those of its products', () => {
    // Two per weight of a matrix a token is multiplied with, the embedding being looked up and not multiplied.
    const matrices = Object.entries(parameterShapes({ ...config, tied: false })).filter(
      ([name, shape]) => shape.length === 2 && name !== 'embedding' && name !== 'positions',
    );
    expect(forwardFlops(config, 0)).toBe(2 * matrices.reduce((n, [, [a, b]]) => n + a * b, 0));
    // And in each layer and head two, for scores and for what is mixed by them, per position attended to and element of
    // a head.
    expect(forwardFlops(config, 10) - forwardFlops(config, 0)).toBe(2 * 2 * 10 * 2 * 4 * headWidth(config));
  });
});

test('a head may be wider than its share of the residual stream', () => {
  const wide = modelOf({ ...llama, headWidth: 6 });
  expect(wide.layers[0].attention.k.weight.shape).toEqual([12, 16]);
  expect(logitsOf(wide, idsOf(5))).toHaveLength(5 * 23);
});

test('rotary positions turn any even number of a head’s elements, two or more', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 14 }), (headWidth, turning) => {
      const rotaryShare = (turning + 0.5) / headWidth; // of which the whole part turns
      const make = () => initTransformer({ ...configs.gpt_neox, width: 4 * headWidth, rotaryShare }, random);
      if (turning >= 2 && turning % 2 === 0 && turning <= headWidth) expect(make).not.toThrow();
      else expect(make).toThrow(/turn|even|rotaryShare/);
    }),
  );
});

test.each([
  [{ ...configs.gpt2, keyValueHeads: 2 }, 'gpt2 supports neither grouped key/value heads nor a separate head width'],
  [{ ...llama, width: 18 }, 'width 18 is not a multiple of 4 heads'],
  [{ ...llama, width: 12 }, 'a head is 3 wide; rotary positions need an even width'],
  [{ ...llama, keyValueHeads: 3 }, '4 heads are not a multiple of 3 key/value heads'],
  [{ ...llama, headWidth: 1.5 }, 'headWidth is 1.5'],
  [{ ...llama, normEps: 0 }, 'normEps 0 must be positive'],
  [{ ...llama, rotaryBase: 1 }, 'rotaryBase 1 above 1'],
  [{ ...llama, layers: 10_001 }, '10001 layers are more than any model has'],
])('%o makes no model', (config, message) => {
  expect(() => initTransformer(config, random)).toThrow(message);
});

test.each(familyNames)(
  '%s: fresh weights have deviation 0.02, less where they write into the residual stream',
  family => {
    const fresh = initTransformer(
      { ...configs[family], width: 64, layers: 3, keyValueHeads: 4, feedForward: 96 },
      new Random(5),
    );
    for (const [name, w] of Object.entries(parameters(fresh)).filter(([, { shape }]) => shape.length === 2)) {
      const deviation = /(attention\.o|feedForward\.down)/.test(name) ? 0.02 / Math.sqrt(6) : 0.02;
      const values = Array.from(w.dataSync());
      // The variance of n normal values has a deviation of √(2/n); six of them are never seen.
      expect(Math.abs(values.reduce((sum, x) => sum + x * x, 0) / values.length / deviation ** 2 - 1)).toBeLessThan(
        6 * Math.sqrt(2 / values.length),
      );
    }
  },
);

const config = llama;
const model = modelOf(llama);

describe('score', () => {
  test('gives every sequence the nats that it has alone, padded or not, in any batch size', async () => {
    const sequences: Sequence[] = [3, 9, 5, 17, 2].map(n => ({ ids: idsOf(n), bytes: n }));
    const before = memory();
    let seen = 0;
    const together = await score(model, sequences, {
      onProgress: tokens => {
        seen += tokens;
      },
    });
    expect(memory()).toEqual(before);
    expect(seen).toBe(sequences.reduce((n, s) => n + s.ids.length - 1, 0));
    const alone = await score(model, sequences, { batchTokens: 1 });
    together.forEach((s, i) => {
      close([s.nats, s.endNats], [alone[i].nats, alone[i].endNats]);
      expect(s.tokens).toBe(sequences[i].ids.length - 2);
    });
  });

  test('hears what came before its first batch, and between two', async () => {
    const sequences: Sequence[] = [3, 9, 5].map(n => ({ ids: idsOf(n), bytes: n }));
    for (const batches of [0, 1, 2]) {
      const stop = new AbortController();
      const abort = () => setImmediate(() => stop.abort(new Error('stopped')));
      let seen = 0;
      if (batches === 0) abort();
      const onProgress = () => void (++seen === batches && abort());
      const scoring = score(model, sequences, { batchTokens: 1, signal: stop.signal, onProgress });
      await expect(scoring).rejects.toThrow('stopped');
      expect(seen).toBe(batches);
    }
  });

  test('leaves out what is context only', async () => {
    const ids = idsOf(12);
    const [whole, start, rest] = await score(
      model,
      [
        { ids, bytes: 3 },
        { ids: ids.slice(0, 6), bytes: 1 },
        { ids, bytes: 2, context: 5 },
      ],
      { endToken: false },
    );
    close([rest.nats], [whole.nats - start.nats]);
    expect([whole.tokens, start.tokens, rest.tokens]).toEqual([11, 5, 6]);
  });

  test('a uniform model loses log V a token', async () => {
    const zero = { ...model, head: tensor(new Float32Array(23 * 16), { shape: [23, 16] }) };
    const [s] = await score(zero, [{ ids: idsOf(8), bytes: 6 }]);
    close([s.nats / s.tokens], [Math.log(23)]);
  });
});

test('generation follows the seed, stops at the stop token and frees its cache', async () => {
  const draw = async (seed: number) => {
    const ids: number[] = [];
    for await (const id of generate(model, Int32Array.of(1), {
      maxTokens: 12,
      topP: 0.9,
      stop: 2,
      random: new Random(seed),
    }))
      ids.push(id);
    return ids;
  };
  const before = memory();
  expect(await draw(3)).toEqual(await draw(3));
  expect(await draw(3)).not.toContain(2);
  expect(memory()).toEqual(before);
});

describe('training', () => {
  let directory = '';
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 's2t2-train-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  const sequences: Sequence[] = Array.from({ length: 12 }, (_, i) => ({
    ids: Int32Array.from({ length: 6 + (i % 5) }, (__, j) => (i + 3 * j) % 23),
    bytes: 5,
  }));
  const fresh = () => {
    const m = initTransformer(config, new Random(9));
    return {
      m,
      training: {
        parameters: parameters(m),
        batches: planBatches(sequences, 32, { unit: 'tokens' as const, amount: 4000 }, new Random(2)),
        loss: (b: Parameters<typeof batchLoss>[1]) => batchLoss(m, b),
        rate: 3e-3,
        warmup: 4,
      },
    };
  };
  const hash = (m: ReturnType<typeof fresh>['m']) =>
    sha256(Buffer.concat(Object.values(parameters(m)).map(w => Buffer.from(w.dataSync().buffer))));

  test('learns', async () => {
    const { training } = fresh();
    const begun = performance.now();
    const { losses, times, seconds, tokens, bytes, step, steps } = await train(training);
    expect(seconds).toBeLessThanOrEqual((performance.now() - begun) / 1000);
    expect(times.every((t, i) => t > (times[i - 1] ?? 0))).toBe(true);
    expect(times.at(-1)).toBe(Math.fround(seconds));
    const all = [...training.batches].flat();
    expect([step, steps, losses.length]).toEqual(Array.from({ length: 3 }, () => training.batches.length));
    expect([tokens, bytes]).toEqual([
      all.reduce((n, s) => n + s.ids.length - 1, 0),
      all.reduce((n, s) => n + s.bytes, 0),
    ]);
    expect(losses[0]).toBeGreaterThan(3);
    expect(losses.at(-1)).toBeLessThan(1.5);
  });

  test('stopped in the middle and resumed gives the same model, bit for bit, and leaks nothing', async () => {
    const straight = fresh();
    await train(straight.training);
    const state = join(directory, 'state.safetensors');
    const stop = new AbortController();
    const first = fresh();
    await expect(
      train(first.training, {
        state: fileState(state),
        signal: stop.signal,
        onStep: p => p.step === 7 && stop.abort(),
      }),
    ).rejects.toThrow(Interrupted);
    const second = fresh();
    const before = memory();
    const result = await train(second.training, { state: fileState(state) });
    expect(result.step).toBe(result.steps);
    expect(hash(second.m)).toBe(hash(straight.m));
    expect(memory()).toEqual(before);
  });

  test('rejects the state of another run', async () => {
    const state = join(directory, 'another.safetensors');
    const stop = new AbortController();
    await expect(
      train(fresh().training, {
        state: fileState(state),
        signal: stop.signal,
        onStep: p => p.step === 1 && stop.abort(),
      }),
    ).rejects.toThrow(Interrupted);
    await expect(train(fresh().training, { state: fileState(state), fingerprint: 'another' })).rejects.toThrow(
      'belongs to a run with other settings',
    );
  });

  test('stops with advice when the loss is not finite', async () => {
    const { training } = fresh();
    await expect(train({ ...training, rate: 1e30 })).rejects.toThrow(
      /the loss is (NaN|Infinity) at step \d+; lower the learning rate/,
    );
  });
});
