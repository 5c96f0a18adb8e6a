/** Bits per byte by its definition, its error against a bootstrap, and the floors. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { trainBPE } from '../../models/tokenizer/index.ts';
import { markov, metrics, orderZero, tokensPerByte, uniformFloor, unigram } from '../../s2t2/evaluate.ts';

const score = (nats: number, tokens: number, bytes: number) => ({ nats, endNats: 0, tokens, bytes });
const scores = fc.array(
  fc.record({
    nats: fc.double({ min: 0.1, max: 500, noNaN: true }),
    endNats: fc.constant(7),
    tokens: fc.integer({ min: 1, max: 90 }),
    bytes: fc.integer({ min: 1, max: 90 }),
  }),
  { minLength: 2, maxLength: 30 },
);

describe('metrics', () => {
  test('are totals, not means of means; the end token does not count', () => {
    fc.assert(
      fc.property(scores, list => {
        const m = metrics(list);
        const [nats, tokens, bytes] = (['nats', 'tokens', 'bytes'] as const).map(k =>
          list.reduce((n, s) => n + s[k], 0),
        );
        expect(m.bitsPerByte).toBeCloseTo(nats / Math.LN2 / bytes, 10);
        expect(Math.log(m.perplexity)).toBeCloseTo(nats / tokens, 10);
        expect(tokensPerByte(list)).toBe(tokens / bytes);
      }),
    );
  });

  test('bits per byte do not depend on how the bytes are cut into tokens', () => {
    fc.assert(
      fc.property(scores, list => {
        expect(metrics(list.map(s => ({ ...s, tokens: s.bytes }))).bitsPerByte).toBe(metrics(list).bitsPerByte);
      }),
    );
  });

  test('the standard error is that of a bootstrap over sequences', () => {
    const random = new Random(1);
    const list = Array.from({ length: 200 }, () => {
      const bytes = 50 + random.integer(400);
      return score(bytes * (2.9 + 0.2 * random.normal()), bytes, bytes);
    });
    const resampled = Array.from(
      { length: 800 },
      () => metrics(list.map(() => list[random.integer(list.length)])).bitsPerByte,
    );
    const mean = resampled.reduce((a, b) => a + b, 0) / resampled.length;
    const deviation = Math.sqrt(resampled.reduce((a, b) => a + (b - mean) ** 2, 0) / (resampled.length - 1));
    // The deviation of 800 draws is itself known to about 2.5 %; 200 sequences add as much: four of both.
    expect(Math.abs(metrics(list).standardError / deviation - 1)).toBeLessThan(0.2);
  });

  test('the standard error grows with the nats, and falls when every sequence counts k times, by n − 1', () => {
    fc.assert(
      fc.property(
        scores,
        fc.integer({ min: 2, max: 5 }),
        fc.double({ min: 0.1, max: 9, noNaN: true }),
        (list, k, by) => {
          const { standardError } = metrics(list);
          const n = list.length;
          const repeated = metrics(Array.from({ length: k }, () => list).flat()).standardError;
          const scaled = metrics(list.map(s => ({ ...s, nats: by * s.nats }))).standardError;
          // Residuals are differences of numbers up to 500 · 90: what is left of them after cancellation.
          const rounding = (1 + by) * 500 * 90 * 30 * 2 ** -50;
          expect(Math.abs(repeated - standardError * Math.sqrt((n - 1) / (k * n - 1)))).toBeLessThan(rounding);
          expect(Math.abs(scaled - by * standardError)).toBeLessThan(rounding);
        },
      ),
    );
  });

  test('the standard error of two sequences, by hand; of one it is not a number', () => {
    // R = 2: residuals 1 and −1; √(2/1 · 2) / 4 bytes.
    expect(metrics([score(5, 1, 2), score(3, 1, 2)]).standardError).toBeCloseTo(2 / 4 / Math.LN2, 14);
    expect(metrics([score(5, 1, 2)]).standardError).toBeNaN();
  });

  test.each([[[]], [[{ nats: 0, endNats: 1, tokens: 0, bytes: 5 }]], [[{ nats: 1, endNats: 1, tokens: 2, bytes: 0 }]]])(
    'nothing scored is an error: %j',
    scores => {
      expect(() => metrics(scores)).toThrow('nothing was scored');
    },
  );
});

describe('floors', () => {
  test('score every byte of a text, or every token, and no end token', () => {
    const texts = fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 4 });
    const bytes = (text: string) => new TextEncoder().encode(text).length;
    fc.assert(
      fc.property(texts, texts, fc.nat(2), (train, test, k) => {
        for (const scored of [orderZero(train, test), uniformFloor(['a', ...train], test), markov(train, test, k)])
          expect(scored.map(({ endNats, tokens, bytes: length }) => ({ endNats, tokens, bytes: length }))).toEqual(
            test.map(text => ({ endNats: 0, tokens: bytes(text), bytes: bytes(text) })),
          );
      }),
    );
  });

  test('uniform over the letters of training', () => {
    expect(metrics(uniformFloor(['AC', 'CE', 'é'], ['xxé'])).bitsPerByte).toBeCloseTo(Math.log2(5), 12);
    expect(metrics(uniformFloor(['ACDEFGHIKLMNPQRSTVWY'], ['MKV', 'AAAA'])).bitsPerByte).toBeCloseTo(Math.log2(20), 12);
  });

  test('order 0 approaches the entropy of the letters, and an unseen letter is finite', () => {
    const random = new Random(2);
    const text = Array.from({ length: 20000 }, () => 'AAAB'[random.integer(4)]).join('');
    expect(metrics(orderZero([text], [text])).bitsPerByte).toBeCloseTo(
      -(0.75 * Math.log2(0.75) + 0.25 * Math.log2(0.25)),
      1,
    );
    expect(metrics(orderZero(['AB'], ['C', 'A'])).bitsPerByte).toBeLessThan(10);
    // Counts 3 and 1, a half more each, and a half for all that was not seen: 3.5, 1.5 and 0.5 of 5.5.
    expect(orderZero(['AAB', 'A'], ['AB', 'C']).map(s => Math.exp(-s.nats))).toEqual([
      expect.closeTo((3.5 / 5.5) * (1.5 / 5.5), 12),
      expect.closeTo(0.5 / 5.5, 12),
    ]);
  });

  test('unigram counts tokens: by hand, and summing to one over the vocabulary', () => {
    const tokenizer = trainBPE(['AAB AAB'], { vocabSize: 7, alphabet: 'seen' }); // A, B, space, AA, …
    const counts = new Map<number, number>();
    for (const id of tokenizer.encode('AABAAB A')) counts.set(id, (counts.get(id) ?? 0) + 1);
    const total = [...counts.values()].reduce((a, b) => a + b, 0) + tokenizer.vocabSize / 2;
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('A', 'B', ' '), minLength: 1 }), text => {
        const [{ nats, tokens, bytes, endNats }] = unigram(['AABAAB', ' A'], [text], tokenizer);
        const ids = [...tokenizer.encode(text)];
        const expected = ids.reduce((sum, id) => sum - Math.log(((counts.get(id) ?? 0) + 0.5) / total), 0);
        expect(nats).toBeCloseTo(expected, 9);
        expect([tokens, bytes, endNats]).toEqual([ids.length, text.length, 0]);
      }),
    );
  });

  test('order k sees k bytes and no more: letters drawn after the sum of the k before them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.nat(), (k, seed) => {
        const random = new Random(seed);
        // The next digit is fixed by the k before it: any k − 1 of them leave it uniform over three.
        const digits = Array.from({ length: k }, () => random.integer(3));
        for (let i = 0; i < 3000; i++)
          digits.push((digits.slice(-k).reduce((a, b) => a + b, 0) + (random.uniform() < 0.05 ? 1 : 0)) % 3);
        const text = digits.join('');
        const bits = (order: number) => metrics(markov([text.slice(0, 2500)], [text.slice(2500)], order)).bitsPerByte;
        expect(bits(k)).toBeLessThan(0.6); // 0.29 of the noise, and what 2,500 digits leave to learn
        expect(bits(k - 1)).toBeGreaterThan(1.2); // log₂ 3 = 1.58
      }),
      { numRuns: 20 },
    );
  });

  test('order k counts bytes, and an unseen one is finite', () => {
    const [s] = markov(['AB'], ['Aé'], 2);
    expect(s).toMatchObject({ bytes: 3, tokens: 3 });
    expect(s.nats).toBeLessThan(30);
  });
});
