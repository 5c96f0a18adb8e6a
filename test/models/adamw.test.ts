/** AdamW against a plain loop over numbers, its clipping, and the schedule. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createReferenceBackend, memory, Random, scope, tensor } from '../../engine/index.ts';
import { AdamW, linearSchedule } from '../../models/adamw.ts';

const backend = createReferenceBackend();
const options = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 };

/** Loshchilov & Hutter 2019, algorithm 2, one number at a time; gradients are already clipped. */
function plainAdamW(values: number[], gradients: readonly number[][], rate: number, decay: number): number[] {
  const [m, v] = [values.map(() => 0), values.map(() => 0)];
  gradients.forEach((g, step) =>
    values.forEach((_, i) => {
      m[i] = options.beta1 * m[i] + (1 - options.beta1) * g[i];
      v[i] = options.beta2 * v[i] + (1 - options.beta2) * g[i] ** 2;
      const [mean, variance] = [m[i] / (1 - options.beta1 ** (step + 1)), v[i] / (1 - options.beta2 ** (step + 1))];
      values[i] -= rate * (mean / (Math.sqrt(variance) + options.epsilon) + decay * values[i]);
    }),
  );
  return values;
}

describe('AdamW', () => {
  test.each([
    [[2, 3], 0.1],
    [[6], 0],
  ] as const)('is the plain loop for shape %j: matrices decay by %f, vectors do not', (shape, decay) => {
    const random = new Random(1);
    const draw = (scale: number) => Array.from({ length: 6 }, () => scale * random.normal());
    const start = draw(1);
    const gradients = Array.from({ length: 12 }, () => draw(0.1)); // norm below 1: not clipped
    const p = tensor(Float64Array.from(start), { shape, backend });
    const optimizer = new AdamW({ p }, options);
    for (const g of gradients) scope(() => optimizer.update([tensor(Float64Array.from(g), { shape, backend })], 0.01));
    const expected = plainAdamW([...start], gradients, 0.01, decay);
    // Clipping divides by the norm plus 1e-6, which changes nothing below the limit.
    p.dataSync().forEach((value: number, i: number) => expect(value).toBeCloseTo(expected[i], 12));
  });

  test('gradients are clipped together by their global norm', () => {
    const [a, b] = [tensor(new Float64Array(4), { backend }), tensor(new Float64Array(9), { backend })];
    const optimizer = new AdamW({ a, b }, { ...options, beta1: 0 });
    scope(() =>
      optimizer.update(
        [tensor(new Float64Array(4).fill(3), { backend }), tensor(new Float64Array(9).fill(-4), { backend })],
        0,
      ),
    );
    const norm = Math.sqrt(4 * 9 + 9 * 16);
    expect(optimizer.mean.a.dataSync()[0]).toBeCloseTo(3 / norm, 6);
    expect(optimizer.mean.b.dataSync()[8]).toBeCloseTo(-4 / norm, 6);
  });

  test('a parameter with a rate of its own moves as at that rate', () => {
    const random = new Random(2);
    const [start, ...gradients] = Array.from({ length: 5 }, () =>
      Float64Array.from({ length: 4 }, () => 0.1 * random.normal()),
    );
    const place = (values: Float64Array) => tensor(values.slice(), { shape: [2, 2], backend });
    const [a, b, alone] = [start, start, start].map(place);
    const [both, one] = [
      new AdamW({ a, b }, { ...options, clip: Infinity, rateOf: name => (name === 'b' ? 0.25 : 1) }),
      new AdamW({ alone }, { ...options, clip: Infinity }),
    ];
    for (const g of gradients)
      scope(() => {
        both.update([place(g), place(g)], 0.04);
        one.update([place(g)], 0.01);
      });
    expect(b.dataSync()).toEqual(alone.dataSync());
    expect(a.dataSync()).not.toEqual(alone.dataSync());
  });

  test('leaks nothing', () => {
    const before = memory();
    const p = tensor([1, 2, 3]);
    const optimizer = new AdamW({ p });
    for (let i = 0; i < 3; i++) scope(() => optimizer.update([tensor([1, 1, 1])], 0.1));
    optimizer.dispose();
    p.dispose();
    expect(memory()).toEqual(before);
  });
});

describe('the schedule', () => {
  test('rises to the peak by the end of the warm-up, then falls and stays positive', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.double({ min: 0, max: 1, noNaN: true }), (steps, share) => {
        const warmup = Math.ceil(share * steps);
        const rates = Array.from({ length: steps }, (_, step) => linearSchedule(step, steps, warmup));
        expect(Math.max(...rates)).toBeCloseTo(1, 12);
        expect(Math.min(...rates)).toBeGreaterThan(0);
        for (let i = 1; i < steps; i++)
          expect(Math.sign(rates[i] - rates[i - 1])).toBe(i < warmup ? 1 : i === warmup ? 0 : -1);
      }),
    );
  });
});
