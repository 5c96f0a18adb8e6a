/** The bootstrap of paired differences and Mantel's test: what must hold for any numbers, and a known case. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../../../../engine/index.ts';
import { Bootstrap, correlation, mantel } from '../../../../s2t2/app/paper/statistics.ts';

/** Nats of N sequences for S seeds, twice, and the sequences' bytes. */
const samples = fc
  .record({ S: fc.integer({ min: 1, max: 4 }), N: fc.integer({ min: 2, max: 12 }), seed: fc.nat() })
  .map(({ S, N, seed }) => {
    const random = new Random(seed);
    const nats = () => Array.from({ length: S }, () => Array.from({ length: N }, () => 50 + 50 * random.uniform()));
    return {
      S,
      N,
      bytes: Array.from({ length: N }, () => 10 + Math.floor(40 * random.uniform())),
      a: nats(),
      b: nats(),
    };
  });

const options = { replicates: 200 };

describe('Bootstrap', () => {
  test('the figure is the ratio of sums, and lies within its interval’s reach', () => {
    fc.assert(
      fc.property(samples, ({ S, bytes, a }) => {
        const { mean, low, high, error } = new Bootstrap(bytes, S, options).bitsPerByte(a);
        const total = (values: readonly number[]) => values.reduce((x, y) => x + y, 0);
        expect(mean).toBeCloseTo(total(a.map(total)) / S / total(bytes) / Math.LN2, 10);
        expect(low).toBeLessThanOrEqual(high);
        expect(error).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  test('of two resamples the ends are the two, and the error is their distance over √2', () => {
    fc.assert(
      fc.property(samples, ({ S, bytes, a }) => {
        const { low, high, error } = new Bootstrap(bytes, S, { replicates: 2 }).bitsPerByte(a);
        expect(error).toBeCloseTo((high - low) / Math.SQRT2, 10);
      }),
    );
  });

  test('a difference is antisymmetric, and zero with no error between equals', () => {
    fc.assert(
      fc.property(samples, ({ S, bytes, a, b }) => {
        const bootstrap = new Bootstrap(bytes, S, options);
        const [ab, ba, aa] = [bootstrap.difference(a, b), bootstrap.difference(b, a), bootstrap.difference(a, a)];
        expect(ab.mean).toBeCloseTo(-ba.mean, 10);
        expect(ab.error).toBeCloseTo(ba.error, 10);
        expect(aa).toEqual({ mean: 0, error: 0, low: 0, high: 0 });
        expect(ab.mean).toBeCloseTo(bootstrap.bitsPerByte(a).mean - bootstrap.bitsPerByte(b).mean, 10);
      }),
    );
  });

  test('pairing: a shift by the same bits per byte everywhere has no error, however noisy the sequences', () => {
    fc.assert(
      fc.property(samples, fc.double({ min: -1, max: 1, noNaN: true }), ({ S, bytes, a }, bits) => {
        const shifted = a.map(line => line.map((nats, n) => nats + bits * Math.LN2 * bytes[n]));
        const { mean, error } = new Bootstrap(bytes, S, options).difference(shifted, a);
        expect(mean).toBeCloseTo(bits, 9);
        expect(error).toBeLessThan(1e-9);
      }),
    );
  });

  test('one seed stands for all of a model without randomness', () => {
    fc.assert(
      fc.property(samples, ({ S, bytes, a }) => {
        const bootstrap = new Bootstrap(bytes, S, options);
        expect(bootstrap.bitsPerByte([a[0]])).toEqual(bootstrap.bitsPerByte(Array.from({ length: S }, () => a[0])));
      }),
    );
  });

  test('the error of a mean of N draws is near σ/√N', () => {
    const random = new Random(1);
    const N = 400;
    const nats = Array.from({ length: N }, () => 100 + 10 * random.normal());
    const { error } = new Bootstrap(new Array<number>(N).fill(100), 1).bitsPerByte([nats]);
    const wanted = 10 / Math.sqrt(N) / 100 / Math.LN2;
    // σ is estimated from 400 draws and the error from 2,000: 3.5 % and 1.6 %, four times over.
    expect(Math.abs(error / wanted - 1)).toBeLessThan(4 * Math.hypot(0.035, 0.016));
  });

  test('rejects methods of other seeds or sequences', () => {
    const bootstrap = new Bootstrap([1, 1], 3, options);
    expect(() =>
      bootstrap.bitsPerByte([
        [1, 1],
        [1, 1],
      ]),
    ).toThrow(/2 seeds of a method, and 3/);
    expect(() => bootstrap.bitsPerByte([[1, 1, 1]])).toThrow(/3 sequences of a method, and 2/);
  });
});

describe('Mantel’s test', () => {
  const distances = (n: number, seed: number) => {
    const random = new Random(seed);
    const points = Array.from({ length: n }, () => random.normal());
    return (i: number, j: number) => Math.abs(points[i] - points[j]);
  };

  test('a matrix agrees with itself, and the smallest p is one over the permutations', () => {
    const d = distances(8, 1);
    const { correlation: r, p } = mantel(d, d, 8, { permutations: 99 });
    expect(r).toBeCloseTo(1, 12);
    expect(p).toBeLessThan(0.05);
    expect(p).toBeGreaterThanOrEqual(1 / 100);
  });

  test('of unrelated matrices few are called significant', () => {
    const significant = Array.from({ length: 100 }, (_, k) =>
      mantel(distances(7, 2 * k), distances(7, 2 * k + 1), 7, { permutations: 99, seed: k }),
    ).filter(({ p }) => p <= 0.1).length;
    expect(significant).toBeLessThan(25); // 10 expected, deviation 3, five times over
  });

  test('correlation is 1 of a rising line, −1 of a falling one', () => {
    expect(correlation([1, 2, 3], [5, 7, 9])).toBeCloseTo(1, 12);
    expect(correlation([1, 2, 3], [9, 7, 5])).toBeCloseTo(-1, 12);
  });
});
