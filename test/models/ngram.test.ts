/** Kneser–Ney n-grams: a distribution in every context, and the definition by brute force. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KneserNey } from '../../models/ngram.ts';

const vocabSize = 5;
const sequence = fc.array(fc.integer({ min: 0, max: vocabSize - 1 }), { minLength: 1, maxLength: 30 }).map(ids => Int32Array.from(ids));
const corpus = fc.array(sequence, { minLength: 1, maxLength: 6 });

/** p(w | h) straight from the definition in the docstring, n-grams as strings. */
function definition(sequences: readonly Int32Array[], order: number): (context: readonly number[], token: number) => number {
  const counts = Array.from({ length: order + 1 }, () => new Map<string, number>());
  for (let n = 1; n <= order; n++) {
    const predecessors = new Map<string, Set<string>>();
    sequences.forEach((ids, which) => {
      for (let i = 0; i + n <= ids.length; i++) {
        const key = Array.from(ids.slice(i, i + n)).join(' ');
        // In the highest order, and where nothing stands before, every occurrence is one of its own.
        const before = n === order || i === 0 ? `occurrence ${which} ${i}` : String(ids[i - 1]);
        predecessors.set(key, (predecessors.get(key) ?? new Set()).add(before));
      }
    });
    for (const [key, set] of predecessors) counts[n].set(key, set.size);
  }
  const probability = (context: readonly number[], token: number): number => {
    const n = context.length + 1;
    const values = [...counts[n].values()];
    const [ones, twos] = [1, 2].map(c => values.filter(x => x === c).length);
    const D = ones > 0 ? ones / (ones + 2 * twos) : 0.5;
    const shorter = n === 1 ? 1 / vocabSize : probability(context.slice(1), token);
    const followers = Array.from({ length: vocabSize }, (_, w) => counts[n].get([...context, w].join(' ')) ?? 0);
    const total = followers.reduce((a, b) => a + b, 0);
    if (total === 0) return shorter;
    return (Math.max(followers[token] - D, 0) + D * followers.filter(c => c > 0).length * shorter) / total;
  };
  return probability;
}

describe('KneserNey', () => {
  test('is the definition', () => {
    fc.assert(fc.property(corpus, sequence, fc.integer({ min: 1, max: 4 }), (sequences, text, order) => {
      const p = definition(sequences, order);
      const nats = new KneserNey(sequences, { order, vocabSize }).nats(text);
      expect(nats.length).toBe(text.length - 1);
      nats.forEach((value, i) => expect(value).toBeCloseTo(-Math.log(p(Array.from(text.slice(Math.max(0, i + 2 - order), i + 1)), text[i + 1])), 9));
    }));
  });

  test('gives every context a distribution over the vocabulary', () => {
    fc.assert(fc.property(corpus, sequence, fc.integer({ min: 1, max: 5 }), (sequences, context, order) => {
      const model = new KneserNey(sequences, { order, vocabSize });
      const total = Array.from({ length: vocabSize }, (_, w) => Math.exp(-model.nats(Int32Array.of(...context, w)).at(-1)!)).reduce((a, b) => a + b, 0);
      expect(total).toBeCloseTo(1, 9);
    }));
  });

  test('refuses an order below 1', () => {
    expect(() => new KneserNey([], { order: 0, vocabSize })).toThrow(/order is 0/);
  });
});
