/** Sampling: the distribution it draws from, and generation against forward passes without a cache. */
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { memory, noGrad, Random, scope, tensor } from '../../engine/index.ts';
import { continuationText, encodePrompt, generate, rowsOfTokens, sample } from '../../models/generate.ts';
import { loadTokenizer } from '../../models/node/checkpoint.ts';
import { score } from '../../models/score.ts';
import { huggingFace } from '../oracles/families.ts';
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
  test('at temperature 0 it is the most likely token, whatever is drawn; at 1 it is not', () => {
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

  test('draws from the fewest most likely tokens that hold top-p, in proportion', () => {
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

  test('at temperature 0 it takes the most likely token, the first of ties', () => {
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

  test('draws no other ids than it may, and as if the others had no probability', async () => {
    const ids = Int32Array.from({ length: 19 }, (_, i) => i).filter(id => id % 3 > 0);
    const drawn = [];
    for (let seed = 0; seed < 20; seed++) drawn.push(...(await all({ temperature: 9, random: new Random(seed), ids })));
    expect(new Set(drawn)).toEqual(new Set(ids));
    expect(await all({ temperature: 9, ids: Int32Array.from({ length: 19 }, (_, i) => i) })).toEqual(
      await all({ temperature: 9 }),
    );
  });

  test('fills the context and no more: the last token is drawn from the last position', async () => {
    expect(await all({ maxTokens: 100 })).toHaveLength(12 - 5 + 1);
  });

  test('abandoned midway it frees its cache', async () => {
    const before = memory();
    for await (const id of generate(model, prompt, { maxTokens: 6, random: new Random(1) })) if (id >= 0) break;
    expect(memory()).toEqual(before);
  });

  test('a prompt as long as the context has one token after it, a longer one is rejected', async () => {
    expect(await all({}, new Int32Array(12).fill(1))).toHaveLength(1);
    await expect(all({}, new Int32Array(13))).rejects.toThrow(
      "the prompt has 13 tokens, more than the model's context of 12; shorten it",
    );
  });

  test.each([Number.NaN, Infinity])('logits of %d are rejected, and leave nothing behind', async value => {
    const before = memory();
    const embedding = tensor(new Float32Array(19 * 16).fill(value), { shape: [19, 16] });
    const ids = generate({ ...model, embedding, head: embedding }, prompt, { maxTokens: 1, random: new Random(1) });
    await expect(ids.next()).rejects.toThrow('the logits after 5 tokens are not finite');
    embedding.dispose();
    expect(memory()).toEqual(before);
  });

  test('an empty prompt is rejected', async () => {
    await expect(all({}, new Int32Array())).rejects.toThrow('the prompt is empty');
  });
});

describe('text', () => {
  const tokenizers = Promise.all(
    ['llama', 'gpt2', 'qwen3'].map(async name => [name, await loadTokenizer(join(huggingFace, name))] as const),
  );

  test('the rows of tokens are those that can be decoded', async () => {
    for (const [name, tokenizer] of await tokenizers) {
      expect([name, rowsOfTokens(tokenizer, tokenizer.vocabSize)]).toEqual([name, undefined]);
      const ids = rowsOfTokens(tokenizer, tokenizer.vocabSize + 7)!;
      for (const id of ids) expect(tokenizer.decode([id])).toBeTypeOf('string');
      for (let id = 0; id < tokenizer.vocabSize + 7; id++)
        if (!ids.includes(id)) expect(() => tokenizer.decode([id])).toThrow('is not a token');
    }
  });

  test('a prompt and its continuation are the text that all ids stand for', async () => {
    for (const [name, tokenizer] of await tokenizers) {
      fc.assert(
        fc.property(
          fc.array(fc.constantFrom('the', 'cat', 'sat', ' ', '  ', 'é', '京', 'x'), { maxLength: 8 }),
          words => {
            const text = words.join('');
            const ids = tokenizer.encode(text);
            for (let cut = 0; cut <= ids.length; cut++) {
              const [prompt, rest] = [ids.subarray(0, cut), ids.subarray(cut)];
              const bytes = tokenizer.decodeBytes(prompt);
              const whole = new TextDecoder().decode(bytes) + continuationText(tokenizer, prompt, rest);
              // A cut through a character leaves a part of it on either side.
              if (!whole.includes('\ufffd')) expect([name, whole]).toEqual([name, text]);
            }
          },
        ),
        { numRuns: 50 },
      );
    }
  });

  test('LLaMA: the space between prompt and continuation stays', async () => {
    const [[, llama]] = await tokenizers;
    const prompt = encodePrompt(llama, 'the');
    const next = llama.encode('the cat').subarray(prompt.length - 1);
    expect(llama.decode(next)).toBe('cat');
    expect(continuationText(llama, prompt, next)).toBe(' cat');
  });

  test('special tokens of a prompt are themselves, and a begin token is not repeated', async () => {
    const [[, llama], [, gpt2]] = await tokenizers;
    expect([...encodePrompt(llama, '</s>the').subarray(0, 2)]).toEqual([1, 2]);
    expect(encodePrompt(llama, '<s>the')[1]).not.toBe(1);
    expect([...encodePrompt(gpt2, '')]).toEqual([0]);
    expect([...encodePrompt(gpt2, 'a<|endoftext|>').subarray(-1)]).toEqual([0]);
  });
});

test('scores of weights that are not finite are rejected', async () => {
  const config: TransformerConfig = {
    family: 'olmo',
    vocabSize: 5,
    width: 4,
    layers: 1,
    heads: 1,
    keyValueHeads: 1,
    feedForward: 4,
    context: 8,
    rotaryBase: 10000,
    normEps: 1e-5,
    tied: false,
  };
  const fresh = initTransformer(config, new Random(1));
  const head = tensor(new Float32Array(20).fill(Number.NaN), { shape: [5, 4] });
  await expect(score({ ...fresh, head }, [{ ids: Int32Array.of(1, 2, 3), bytes: 2 }])).rejects.toThrow(
    "score: the loss of a sequence of 3 tokens is NaN; are the model's weights damaged?",
  );
});
