/** Kneser–Ney n-grams: a distribution in every context, and the definition by brute force. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { KneserNey } from '../../models/ngram.ts';

const vocabSize = 5;
const sequence = fc
  .array(fc.integer({ min: 0, max: vocabSize - 1 }), { minLength: 1, maxLength: 30 })
  .map(ids => Int32Array.from(ids));
const corpus = fc.array(sequence, { minLength: 1, maxLength: 6 });

/** p(w | h) straight from the definition in the docstring, n-grams as strings. */
function definition(
  sequences: readonly Int32Array[],
  order: number,
): (context: readonly number[], token: number) => number {
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

/**
 * p(w | context of token `at` of sequence `which`) without that occurrence, by recursion from the highest order down.
 */
function leftOut(
  sequences: readonly Int32Array[],
  order: number,
  which: number,
  at: number,
): (token: number) => number {
  type Counts = Map<string, number>;
  const add = (to: Counts, key: string) => to.set(key, (to.get(key) ?? 0) + 1);
  const count = (without: boolean): Counts[] => {
    const counts: Counts[] = Array.from({ length: order + 1 }, () => new Map());
    for (let n = order; n >= 1; n--) {
      // One for each n-gram one longer that is left, and one for each occurrence with nothing before it.
      if (n < order) for (const longer of counts[n + 1].keys()) add(counts[n], longer.slice(longer.indexOf(' ') + 1));
      sequences.forEach((ids, s) => {
        for (let end = n - 1; end < ids.length; end++) {
          const alone = n === order || end === n - 1;
          if (alone && !(without && s === which && end === at))
            add(counts[n], Array.from(ids.slice(end - n + 1, end + 1)).join(' '));
        }
      });
    }
    return counts;
  };
  const discounts = count(false).map(c => {
    const [ones, twos] = [1, 2].map(k => [...c.values()].filter(x => x === k).length);
    return ones > 0 ? ones / (ones + 2 * twos) : 0.5;
  });
  const counts = count(true);
  const probability = (context: readonly number[], token: number): number => {
    const n = context.length + 1;
    const shorter = n === 1 ? 1 / vocabSize : probability(context.slice(1), token);
    const followers = Array.from({ length: vocabSize }, (_, w) => counts[n].get([...context, w].join(' ')) ?? 0);
    const total = followers.reduce((a, b) => a + b, 0);
    if (total === 0) return shorter;
    return (
      (Math.max(followers[token] - discounts[n], 0) + discounts[n] * followers.filter(c => c > 0).length * shorter) /
      total
    );
  };
  const context = Array.from(sequences[which].slice(Math.max(0, at + 1 - order), at));
  return token => probability(context, token);
}

describe('KneserNey', () => {
  test('is the definition', () => {
    fc.assert(
      fc.property(corpus, sequence, fc.integer({ min: 1, max: 4 }), (sequences, text, order) => {
        const p = definition(sequences, order);
        const nats = new KneserNey(sequences, { order, vocabSize }).nats(text);
        expect(nats.length).toBe(text.length - 1);
        nats.forEach((value, i) =>
          expect(value).toBeCloseTo(
            -Math.log(p(Array.from(text.slice(Math.max(0, i + 2 - order), i + 1)), text[i + 1])),
            9,
          ),
        );
      }),
    );
  });

  test('gives every context a distribution over the vocabulary', () => {
    fc.assert(
      fc.property(corpus, sequence, fc.integer({ min: 1, max: 5 }), (sequences, context, order) => {
        const model = new KneserNey(sequences, { order, vocabSize });
        const total = Array.from({ length: vocabSize }, (_, w) =>
          Math.exp(-model.nats(Int32Array.of(...context, w)).at(-1)!),
        ).reduce((a, b) => a + b, 0);
        expect(total).toBeCloseTo(1, 9);
      }),
    );
  });

  test('leaves one occurrence out of the n-gram counts and all shorter ones; discounts are unchanged', () => {
    fc.assert(
      fc.property(
        corpus,
        fc.integer({ min: 1, max: 4 }),
        fc.double({ min: 0.1, max: 2, noNaN: true }),
        (sequences, order, scale) => {
          const model = new KneserNey(sequences, { order, vocabSize });
          sequences.forEach((ids, which) => {
            for (let at = 0; at < ids.length; at++) {
              const out = new Float32Array(vocabSize + 1);
              model.leaveOneOut(ids, at, out, 1, scale);
              const p = leftOut(sequences, order, which, at);
              expect(out[0]).toBe(0);
              // Each entry is a sum of at most order + 1 terms in float32.
              for (let w = 0; w < vocabSize; w++)
                expect(Math.abs(out[1 + w] - scale * p(w))).toBeLessThanOrEqual((order + 1) * 2 ** -24 * scale);
            }
          });
        },
      ),
    );
  });

  test('rejects an occurrence that was never counted', () => {
    const model = new KneserNey([Int32Array.of(1, 2)], { order: 2, vocabSize });
    for (const never of [
      [1, 1],
      [2, 1],
      [3, 1],
    ]) {
      expect(() => model.leaveOneOut(Int32Array.from(never), 1, new Float32Array(5), 0, 1)).toThrow(
        /token 1 at 1 was never counted/,
      );
    }
  });

  test('more n-grams than the initial table of nodes holds: contexts keep their counts', () => {
    const random = new Random(1);
    const long = Int32Array.from({ length: 20_000 }, () => random.integer(vocabSize));
    const [p, model] = [definition([long], 9), new KneserNey([long], { order: 9, vocabSize })];
    for (const at of [0, 5_000, 10_000, 19_000]) {
      const window = long.slice(at, at + 9);
      expect(model.nats(window).at(-1)!).toBeCloseTo(-Math.log(p(Array.from(window.slice(0, 8)), window[8])), 9);
    }
  });

  test('rejects an order below 1', () => {
    expect(() => new KneserNey([], { order: 0, vocabSize })).toThrow(/order is 0/);
  });
});
