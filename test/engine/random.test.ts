/** Random numbers: the known answers of Philox, positions and streams, and the laws of the distributions. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { createReferenceBackend, Random, randn, scope, setBackend, uniform } from '../../engine/index.ts';
import { philox } from '../../engine/random.ts';
import { sizeOf } from '../../engine/shape.ts';
import { shapes } from '../arbitraries/shapes.ts';

beforeAll(() => setBackend(createReferenceBackend()));

const seeds = fc.maxSafeNat();
const names = fc.string({ minLength: 1 });
const words = (random: Random, n: number) => Array.from({ length: n }, () => random.word());
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

type Counter = [number, number, number, number];

describe('Philox4x32-10', () => {
  // The file kat_vectors of Random123.
  test.each<[Counter, [number, number], string]>([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ])('counter %j, key %j', (counter, key, answer) => {
    expect(
      philox(counter, key)
        .map(w => w.toString(16).padStart(8, '0'))
        .join(' '),
    ).toBe(answer);
  });

  test("agrees with the paper's rounds in exact integers", () => {
    const word = fc.nat(0xffffffff);
    const exact = (counter: readonly number[], key: readonly number[]): number[] => {
      let [c0, c1, c2, c3, k0, k1] = [...counter, ...key].map(BigInt);
      const low = (x: bigint) => BigInt.asUintN(32, x);
      for (let round = 0; round < 10; round++) {
        const [p0, p1] = [0xd2511f53n * c0, 0xcd9e8d57n * c2];
        [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, low(p1), (p0 >> 32n) ^ c3 ^ k1, low(p0)];
        [k0, k1] = [low(k0 + 0x9e3779b9n), low(k1 + 0xbb67ae85n)];
      }
      return [c0, c1, c2, c3].map(Number);
    };
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.tuple(word, word), (counter, key) => {
        expect(philox(counter, key)).toEqual(exact(counter, key));
      }),
    );
  });

  test('the words of a generator are those of counters 0, 1, … under the seed as key', () => {
    fc.assert(
      fc.property(seeds, fc.nat(0xffffffff), (seed, stream) => {
        const key: [number, number] = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
        expect(words(new Random(seed, stream), 8)).toEqual([
          ...philox([0, 0, stream, 0], key),
          ...philox([1, 0, stream, 0], key),
        ]);
      }),
    );
  });

  test('the counter passes 2³² without repeating', () => {
    expect(words(new Random(1, 0, 4 * 2 ** 32), 4)).toEqual(philox([0, 1, 0, 0], [1, 0]));
  });
});

describe('positions and streams', () => {
  test('resuming from a position gives the words that would have come next', () => {
    fc.assert(
      fc.property(
        seeds,
        fc.nat(0xffffffff),
        fc.array(fc.constantFrom('word', 'uniform', 'normal', 'integer'), { maxLength: 20 }),
        (seed, stream, drawn) => {
          const whole = new Random(seed, stream);
          for (const kind of drawn) void (kind === 'integer' ? whole.integer(7) : whole[kind as 'word']());
          const resumed = new Random(whole.seed, whole.stream, whole.position);
          expect(words(resumed, 9)).toEqual(words(whole, 9));
          expect(resumed.position).toBe(whole.position);
        },
      ),
    );
  });

  test('a position counts words: one for uniform and integer, two for normal', () => {
    const random = new Random(0);
    const after = [() => random.word(), () => random.uniform(), () => random.integer(5), () => random.normal()].map(
      draw => {
        draw();
        return random.position;
      },
    );
    expect(after).toEqual([1, 2, 3, 5]);
  });

  test('seeds, streams and names give different words', () => {
    fc.assert(
      fc.property(seeds, seeds, names, names, (a, b, first, second) => {
        fc.pre(a !== b && first !== second);
        const all = [
          new Random(a),
          new Random(b),
          new Random(a, 1),
          new Random(a).split(first),
          new Random(a).split(second),
          new Random(a).split(first).split(second),
        ];
        expect(new Set(all.map(r => words(r, 4).join())).size).toBe(all.length);
      }),
    );
  });

  test('a split depends on seed, stream and name, not on the position, and does not advance the generator', () => {
    fc.assert(
      fc.property(seeds, names, fc.nat(9), (seed, name, skip) => {
        const random = new Random(seed, 5, skip);
        expect(words(random.split(name), 4)).toEqual(words(new Random(seed, 5).split(name), 4));
        expect(random.position).toBe(skip);
      }),
    );
  });

  test.each([-1, 0.5, NaN, Infinity, 2 ** 53])(
    '%d is rejected as a seed, a stream and a position; an unnamed stream is rejected',
    value => {
      expect(() => new Random(value)).toThrow(
        `Random: the seed must be a whole number from 0 to 2^53 − 1, not ${value}`,
      );
      expect(() => new Random(0, value)).toThrow(
        `Random: the stream must be a whole number from 0 to 2^32 − 1, not ${value}`,
      );
      expect(() => new Random(0, 0, value)).toThrow(
        `Random: the position must be a whole number from 0 to 2^53 − 1, not ${value}`,
      );
      expect(() => new Random(0).split('')).toThrow('Random: the name of a stream must not be empty');
    },
  );
});

/**
 * A mean of n independent draws with variance σ² is within 5σ/√n of its expectation, but for one seed in 1.7 million;
 * the seeds are fixed.
 */
describe.each([1, 2, 3])('distributions, seed %i', seed => {
  const n = 40_000;
  const draw = (f: (random: Random) => number) => {
    const random = new Random(seed);
    return Array.from({ length: n }, () => f(random));
  };
  const expectMean = (values: readonly number[], expectation: number, variance: number) => {
    expect(Math.abs(mean(values) - expectation)).toBeLessThan(5 * Math.sqrt(variance / n));
  };

  test('uniform: E uᵏ = 1/(k+1), in [0, 1), neighbours uncorrelated', () => {
    const u = draw(r => r.uniform());
    expect(u.every(x => x >= 0 && x < 1)).toBe(true);
    for (const k of [1, 2, 3, 4])
      expectMean(
        u.map(x => x ** k),
        1 / (k + 1),
        1 / (2 * k + 1) - 1 / (k + 1) ** 2,
      );
    const c = u.map(x => x - 0.5);
    expectMean(
      c.map((x, i) => x * c[(i + 1) % n]),
      0,
      1 / 144,
    );
  });

  test('uniform: as many in each of 64 bins (χ² with 63 degrees of freedom)', () => {
    const counts = new Array(64).fill(0);
    for (const u of draw(r => r.uniform())) counts[Math.floor(64 * u)]++;
    const chi = counts.reduce((total, c) => total + (c - n / 64) ** 2 / (n / 64), 0);
    expect(Math.abs(chi - 63)).toBeLessThan(5 * Math.sqrt(2 * 63));
  });

  test('normal: moments 0, 1, 0, 3, the share within one and two σ, neighbours uncorrelated', () => {
    const z = draw(r => r.normal());
    expect(z.every(Number.isFinite)).toBe(true);
    expectMean(z, 0, 1);
    expectMean(
      z.map(x => x * x),
      1,
      2,
    );
    expectMean(
      z.map(x => x ** 3),
      0,
      15,
    );
    expectMean(
      z.map(x => x ** 4),
      3,
      96,
    );
    for (const [limit, share] of [
      [1, 0.682689492],
      [2, 0.954499736],
    ])
      expectMean(
        z.map(x => (Math.abs(x) < limit ? 1 : 0)),
        share,
        share * (1 - share),
      );
    expectMean(
      z.map((x, i) => x * z[(i + 1) % n]),
      0,
      1,
    );
  });

  test('integer: each of n as often', () => {
    const rolls = draw(r => r.integer(6));
    for (let face = 0; face < 6; face++)
      expectMean(
        rolls.map(x => (x === face ? 1 : 0)),
        1 / 6,
        5 / 36,
      );
  });

  test('shuffle: each of the 24 orders as often', () => {
    const random = new Random(seed);
    const counts = new Map<string, number>();
    for (let i = 0; i < n; i++) {
      const order = random.shuffle([0, 1, 2, 3]).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    for (const count of counts.values())
      expect(Math.abs(count / n - 1 / 24)).toBeLessThan(5 * Math.sqrt(((1 / 24) * (23 / 24)) / n));
  });
});

describe('in use', () => {
  test('shuffling permutes in place, by the seed alone', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), seeds, (items, seed) => {
        const ascending = (a: number, b: number) => a - b;
        const copy = [...items];
        const shuffled = new Random(seed).shuffle(copy);
        expect(shuffled).toBe(copy);
        expect([...shuffled].sort(ascending)).toEqual([...items].sort(ascending));
        expect(new Random(seed).shuffle([...items])).toEqual(shuffled);
      }),
    );
  });

  test('integers are whole and below n', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 1, max: 2 ** 31 }), (seed, n) => {
        const k = new Random(seed).integer(n);
        expect(Number.isInteger(k) && k >= 0 && k < n).toBe(true);
      }),
    );
  });

  test("tensors hold the generator's numbers in order, rounded to their dtype", () => {
    fc.assert(
      fc.property(seeds, shapes(), fc.constantFrom('float32' as const, 'float64' as const), (seed, shape, dtype) =>
        scope(() => {
          const round = dtype === 'float32' ? Math.fround : (x: number) => x;
          const [u, z] = [
            uniform(new Random(seed), shape, -2, 3, { dtype }),
            randn(new Random(seed), shape, { dtype }),
          ];
          const expected = (f: (random: Random) => number) => {
            const random = new Random(seed);
            return Array.from({ length: sizeOf(shape) }, () => round(f(random)));
          };
          expect([u.shape, z.shape, u.dtype]).toEqual([shape, shape, dtype]);
          expect(Array.from(u.dataSync())).toEqual(expected(r => -2 + 5 * r.uniform()));
          expect(Array.from(z.dataSync())).toEqual(expected(r => r.normal()));
        }),
      ),
    );
  });
});
