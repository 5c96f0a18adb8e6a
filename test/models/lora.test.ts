/** Low-rank adapters: nothing at first, the merged matrix afterwards, and frozen weights that stay frozen. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createReferenceBackend, memory, Random, scope, setBackend, type Tensor } from '../../engine/index.ts';
import { AdamW } from '../../models/adamw.ts';
import { makeBatch } from '../../models/batches.ts';
import { familyNames, linearNames } from '../../models/families.ts';
import { initTransformer } from '../../models/init.ts';
import { loraDefaults, mergeLora, withLora } from '../../models/lora.ts';
import { batchLoss } from '../../models/score.ts';
import { trainStep } from '../../models/train.ts';
import { parameters, type Transformer } from '../../models/weights.ts';
import { trained } from '../../s2t2/trained.ts';
import { randomOfTests } from '../random.ts';

setBackend(createReferenceBackend());

const random = randomOfTests('lora');
const batch = makeBatch(
  [8, 13].map(length => ({ ids: Int32Array.from({ length }, () => random.integer(30)), bytes: 0 })),
);
const fresh = (family: (typeof familyNames)[number] = 'llama'): Transformer =>
  initTransformer(
    {
      family,
      vocabSize: 30,
      width: 16,
      layers: 2,
      heads: 4,
      keyValueHeads: 4,
      feedForward: 20,
      context: 32,
      rotaryBase: 10000,
      normEps: 1e-5,
      tied: false,
    },
    new Random(1),
  );
const bits = (ts: Record<string, Tensor>) =>
  Object.fromEntries(Object.entries(ts).map(([n, t]) => [n, Array.from(t.dataSync())]));
const lossOf = (model: Transformer) => scope(() => batchLoss(model, batch).dataSync()[0]);

/** Some steps of training what `trained` says. */
function learn(model: Transformer, parametersOf: Readonly<Record<string, Tensor>>, steps = 4): void {
  const optimizer = new AdamW(parametersOf);
  for (let i = 0; i < steps; i++)
    trainStep(() => batchLoss(model, batch), Object.values(parametersOf), optimizer, 1e-2).dispose();
  optimizer.dispose();
}

describe.each(familyNames)('%s', family => {
  test('fresh adapters change no bit; the merged model computes what the adapted one does', async () => {
    const model = fresh(family);
    const plain = lossOf(model);
    const { model: adapted, adapters } = withLora(model, { ...loraDefaults, rank: 3 }, new Random(2));
    expect(lossOf(adapted)).toBe(plain);
    learn(adapted, adapters);
    const learned = lossOf(adapted);
    expect(learned).toBeLessThan(plain);
    const merged = await mergeLora(adapted);
    expect(Object.keys(parameters(merged))).toEqual(Object.keys(parameters(model)));
    expect(merged.layers.every(layer => layer.attention.q.lora === undefined)).toBe(true);
    // Float32 weights and sums of 20 terms or fewer through two layers: a few hundred roundings of 2⁻²⁴.
    expect(Math.abs(lossOf(merged) - learned)).toBeLessThan(500 * 2 ** -24 * Math.abs(learned));
  });
});

describe('what learns', () => {
  const settings = { seed: 0, lora: { ...loraDefaults, rank: 2 } };

  test.each(['ends', 'lora'] as const)('%s: everything else stays as it is, bit for bit', async train => {
    const model = fresh();
    const before = bits(parameters(model));
    const learner = trained(model, { ...settings, train });
    learn(learner.model, learner.parameters);
    const after = bits(parameters(model));
    for (const [name, values] of Object.entries(before)) {
      if (name === 'embedding' || name === 'head') expect(after[name]).not.toEqual(values);
      else expect(after[name]).toEqual(values);
    }
    const plain = bits(parameters(await learner.plain()));
    const changed = Object.keys(plain).filter(name => plain[name].some((x, i) => x !== before[name][i]));
    const matrices = Object.keys(before).filter(name => /\.(attention|feedForward)\..*weight$/.test(name));
    expect(changed.sort()).toEqual(['embedding', 'head', ...(train === 'lora' ? matrices : [])].sort());
  });

  test('adapters are freed with what learned', () => {
    const model = fresh();
    const before = memory();
    const learner = trained(model, { ...settings, train: 'lora' });
    learn(learner.model, learner.parameters, 1);
    learner.dispose();
    // The ends have new values, of the same size.
    expect(memory()).toEqual(before);
  });

  test('a tied model has one end', () => {
    const model = initTransformer({ ...fresh().config, tied: true }, new Random(3));
    expect(Object.keys(trained(model, { seed: 0, train: 'ends' }).parameters)).toEqual(['embedding']);
    expect(Object.keys(trained(model, { seed: 0 }).parameters)).toEqual(Object.keys(parameters(model)));
  });
});

test('targets: the layers named are adapted and no other; a seed fixes the adapters', () => {
  fc.assert(
    fc.property(fc.subarray([...linearNames], { minLength: 1 }), fc.nat(99), (targets, seed) => {
      const draw = () => withLora(fresh(), { rank: 2, alpha: 4, targets }, new Random(seed)).adapters;
      const adapters = draw();
      expect(new Set(Object.keys(adapters).map(name => name.split('.')[3]))).toEqual(new Set(targets));
      expect(bits(draw())).toEqual(bits(adapters));
    }),
    { numRuns: 20 },
  );
});

test('A starts uniform within 1/√in of 0, B at 0, and the merged matrix is W + (α/r) B A', async () => {
  const [rank, alpha] = [3, 7];
  const plain = fresh();
  const { model, adapters } = withLora(plain, { rank, alpha, targets: ['q', 'down'] }, new Random(5));
  for (const [name, values] of Object.entries(bits(adapters))) {
    const columns = name.includes('down') ? 20 : 16;
    if (name.endsWith('.b')) expect(values.every(x => x === 0)).toBe(true);
    else {
      const sizes = values.map(x => Math.abs(x) * Math.sqrt(columns));
      // 48 uniform draws: none above 0.8 of the bound, or one sign only, has a chance below 0.8⁴⁸ = 2 · 10⁻⁵.
      expect([Math.max(...sizes) <= 1, Math.max(...sizes) > 0.8]).toEqual([true, true]);
      expect([Math.min(...values) < 0, Math.max(...values) > 0]).toEqual([true, true]);
    }
  }
  learn(model, adapters);
  const before = parameters(plain);
  const after = parameters(await mergeLora(model));
  for (const path of ['layers.0.attention.q', 'layers.1.feedForward.down']) {
    const [a, b] = ['a', 'b'].map(part => adapters[`${path}.lora.${part}`]);
    const [rows, columns] = before[`${path}.weight`].shape;
    const w = (from: Tensor, row: number, column: number) => from.dataSync()[row * from.shape[1] + column];
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        let product = 0;
        for (let k = 0; k < rank; k++) product += w(b, i, k) * w(a, k, j);
        const expected = w(before[`${path}.weight`], i, j) + (alpha / rank) * product;
        // Four roundings to float32 of a sum whose terms are below 1.
        expect(Math.abs(w(after[`${path}.weight`], i, j) - expected)).toBeLessThan(4 * 2 ** -24);
      }
  }
});

test('a scale below 1 is one; rank and scale are 16 and 32 unless others are asked for', () => {
  expect(() => withLora(fresh('gpt2'), { ...loraDefaults, targets: ['q'], alpha: 0.5 }, new Random(1))).not.toThrow();
  expect(loraDefaults).toMatchObject({ rank: 16, alpha: 32 });
});

test('an invalid rank or scale, and layers that no block has, are errors', () => {
  const model = fresh('gpt2');
  for (const options of [{ rank: 0 }, { rank: 1.5 }, { alpha: 0 }, { alpha: Number.NaN }])
    expect(() => withLora(model, { ...loraDefaults, ...options }, new Random(1))).toThrow(/^lora: rank/);
  expect(() => withLora(model, { ...loraDefaults, targets: ['gate'] }, new Random(1))).toThrow(
    'lora: the model has none of the layers gate; choose others',
  );
});
