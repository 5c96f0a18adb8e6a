/** Sampling: the distribution it draws from, and generation against forward passes without a cache. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memory, noGrad, Random, scope, tensor } from '../../engine/index.ts';
import { generate, sample } from '../../models/generate.ts';
import { initTransformer } from '../../models/init.ts';
import { forward } from '../../models/transformer.ts';
import type { TransformerConfig } from '../../models/transformer-config.ts';

const logits = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 12 });
const temperatures = fc.double({ min: 0.25, max: 4, noNaN: true });

/** How often each index is drawn when the random numbers are evenly spread over [0, 1). */
function shares(values: readonly number[], temperature: number, topP: number, draws = 2000): number[] {
  const counts = values.map(() => 0);
  for (let i = 0; i < draws; i++)
    counts[sample(values, temperature, topP, { uniform: () => (i + 0.5) / draws } as Random)]++;
  return counts.map(n => n / draws);
}

function softmax(values: readonly number[], temperature: number): number[] {
  const top = Math.max(...values);
  const weights = values.map(x => Math.exp((x - top) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map(w => w / total);
}

describe('sample', () => {
  test('at temperature 0 it is the likeliest, whatever is drawn; at 1 it is not', () => {
    expect([0, 0.3, 0.6, 0.99].map(u => sample([1, 2, 1.5], 0, 1, { uniform: () => u } as Random))).toEqual([
      1, 1, 1, 1,
    ]);
    expect(sample([1, 2, 1.5], 1, 1, { uniform: () => 0.99 } as Random)).toBe(0);
  });

  test('draws by softmax(logits / temperature)', () => {
    fc.assert(
      fc.property(logits, temperatures, (values, temperature) => {
        const p = softmax(values, temperature);
        // Each share counts the draws in an interval of length p: off by less than one draw.
        shares(values, temperature, 1).forEach((share, i) => expect(Math.abs(share - p[i])).toBeLessThan(1.01 / 2000));
      }),
      { numRuns: 50 },
    );
  });

  test('draws among the fewest likeliest that hold top-p, in their proportion', () => {
    fc.assert(
      fc.property(
        logits,
        temperatures,
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        (values, temperature, topP) => {
          const p = softmax(values, temperature);
          const drawn = shares(values, temperature, topP);
          const nucleus = [...p.keys()].filter(i => drawn[i] > 0);
          const least = Math.min(...nucleus.map(i => p[i]));
          const mass = nucleus.reduce((sum, i) => sum + p[i], 0);
          // What lies between two draws cannot be seen: a token of less than 1/2000 may be missing.
          expect(mass).toBeGreaterThan(topP - 12 / 2000);
          expect(mass - least).toBeLessThan(topP + 1e-9);
          p.forEach((x, i) => {
            if (x > least + 1e-9 && x > mass / 2000) expect(drawn[i]).toBeGreaterThan(0);
          });
          for (const i of nucleus) expect(Math.abs(drawn[i] - p[i] / mass)).toBeLessThan(13 / 2000);
        },
      ),
      { numRuns: 50 },
    );
  });

  test('at temperature 0 it takes the likeliest, the first of several', () => {
    fc.assert(
      fc.property(logits, values => {
        expect(sample(values, 0, 1, new Random(0))).toBe(values.indexOf(Math.max(...values)));
      }),
    );
  });
});

describe('generate', () => {
  const config: TransformerConfig = {
    family: 'gpt2',
    vocabSize: 19,
    width: 16,
    layers: 2,
    heads: 2,
    keyValueHeads: 2,
    feedForward: 32,
    context: 12,
    rotaryBase: 10000,
    normEps: 1e-5,
    tied: true,
  };
  const model = initTransformer(config, new Random(11));
  const prompt = Int32Array.of(3, 1, 4, 1, 5);
  const all = async (options: Partial<Parameters<typeof generate>[2]>, from = prompt) => {
    const ids: number[] = [];
    for await (const id of generate(model, from, { maxTokens: 6, random: new Random(1), ...options })) ids.push(id);
    return ids;
  };

  test('with a cache takes what whole forward passes take', async () => {
    const ids = [...prompt];
    for (let i = 0; i < 6; i++) {
      const last = noGrad(() =>
        scope(() =>
          forward(model, tensor(Int32Array.from(ids), { shape: [1, ids.length] }))
            .logits.dataSync()
            .slice(-19),
        ),
      );
      ids.push(sample(last, 0, 1, new Random(0)));
    }
    expect(await all({ temperature: 0 })).toEqual(ids.slice(5));
  });

  test('draws as sample does at its temperature and top-p', async () => {
    const [ids, random] = [[...prompt], new Random(7)];
    for (let i = 0; i < 6; i++) {
      const last = noGrad(() =>
        scope(() =>
          forward(model, tensor(Int32Array.from(ids), { shape: [1, ids.length] }))
            .logits.dataSync()
            .slice(-19),
        ),
      );
      ids.push(sample(last, 3, 0.4, random));
    }
    expect(await all({ temperature: 3, topP: 0.4, random: new Random(7) })).toEqual(ids.slice(5));
  });

  test('fills the context and no more: the last token is drawn from the last position', async () => {
    expect(await all({ maxTokens: 100 })).toHaveLength(12 - 5 + 1);
  });

  test('left in the middle it frees its cache', async () => {
    const before = memory();
    for await (const id of generate(model, prompt, { maxTokens: 6, random: new Random(1) })) if (id >= 0) break;
    expect(memory()).toEqual(before);
  });

  test('an empty prompt is refused', async () => {
    await expect(all({}, new Int32Array())).rejects.toThrow('the prompt is empty');
  });
});
