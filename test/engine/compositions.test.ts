/** Functions that are compositions of operations, against plain formulas; their gradients against differences. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  arange,
  argmax,
  argmin,
  clamp,
  concat,
  createReferenceBackend,
  createWasmBackend,
  dropout,
  full,
  grad,
  randn,
  Random,
  scope,
  setBackend,
  stack,
  tensor,
  uniform,
  zeros,
  type Tensor,
} from '../../engine/index.ts';
import { randomOfTests } from '../random.ts';

const reference = createReferenceBackend();
setBackend(reference);
const random = randomOfTests('compositions');
const shape = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 });
const withDim = shape.chain(s => fc.tuple(fc.constant(s), fc.integer({ min: -s.length, max: s.length - 1 })));
const sizeOf = (s: readonly number[]) => s.reduce((a, b) => a * b, 1);
const draw = (s: readonly number[], requiresGrad = false) =>
  tensor(
    Float64Array.from({ length: sizeOf(s) }, () => random.normal()),
    { shape: s, requiresGrad },
  );
const list = (x: Tensor): number[] => Array.from(x.dataSync());
const same = (a: Tensor, b: Tensor) => {
  expect(a.shape).toEqual(b.shape);
  expect(list(a)).toEqual(list(b));
};

/** The lines of x along a dim, as plain numbers, in the order of the other dims. */
function lines(x: Tensor, dim: number): number[][] {
  const d = dim < 0 ? dim + x.shape.length : dim;
  const moved = x.permute([...x.shape.keys()].filter(i => i !== d).concat(d));
  const values = list(moved);
  const n = x.shape[d];
  return Array.from({ length: values.length / n }, (_, i) => values.slice(i * n, (i + 1) * n));
}

/** The gradient of a random combination of f's values against central differences, along a random direction. */
function expectGradient(f: (x: Tensor) => Tensor, x: Tensor): void {
  scope(() => {
    const [weights, direction] = [draw(f(x).shape), draw(x.shape)];
    const along = (h: number) =>
      list(
        f(x.detach().add(direction.mul(h)))
          .mul(weights)
          .sum(),
      )[0];
    const [g] = grad(f(x).mul(weights).sum(), [x]);
    const numeric = (along(1e-5) - along(-1e-5)) / 2e-5;
    // Truncation of order h², rounding of order 1e-16 / h.
    expect(Math.abs(list(g.mul(direction).sum())[0] - numeric)).toBeLessThan(1e-7 * (1 + Math.abs(numeric)));
  });
}

describe('shapes', () => {
  test('parts of a split, in any sizes, join to the whole', () => {
    fc.assert(
      fc.property(withDim, fc.integer({ min: 1, max: 5 }), ([s, dim], size) => {
        const x = draw(s);
        const n = x.shape.at(dim)!;
        const parts = x.split(size, dim);
        same(concat(parts, dim), x);
        expect(parts.map(p => p.shape.at(dim))).toEqual(
          Array.from({ length: Math.ceil(n / size) }, (_, i) => Math.min(size, n - i * size)),
        );
        same(concat(x.split([1, n - 1], dim), dim), x);
        const chunks = x.chunk(size, dim);
        same(concat(chunks, dim), x);
        expect(chunks.length).toBeLessThanOrEqual(size);
      }),
    );
  });

  test('positions of a slice count from the end where they are negative', () => {
    const values = draw([7, 3]);
    fc.assert(
      fc.property(fc.nat(7), fc.nat(7), (a, b) => {
        const [start, end] = [Math.min(a, b), Math.max(a, b)];
        const expected = values.slice(0, start, end);
        if (start < 7) same(values.slice(0, start - 7, end), expected);
        if (end < 7) same(values.slice(-2, start, end - 7), expected);
      }),
    );
  });

  test('what is stacked is found at its place along the new dim', () => {
    fc.assert(
      fc.property(shape, fc.integer({ min: 1, max: 3 }), fc.nat(3), (s, count, at) => {
        const dim = at % (s.length + 1);
        const xs = Array.from({ length: count }, () => draw(s));
        const y = stack(xs, dim);
        expect(y.shape).toEqual(s.toSpliced(dim, 0, count));
        xs.forEach((x, i) => same(y.slice(dim, i, i + 1).squeeze(dim), x));
        same(stack(xs, dim - s.length - 1), y);
      }),
    );
  });

  test('squeeze undoes unsqueeze; flatten joins dims', () => {
    fc.assert(
      fc.property(withDim, ([s, dim]) => {
        const x = draw(s);
        same(x.unsqueeze(dim).squeeze(dim), x);
        expect(x.squeeze().shape).toEqual(s.filter(n => n !== 1));
        expect(x.squeeze(dim).shape).toEqual(s.at(dim) === 1 ? s.toSpliced(dim, 1) : s);
        same(x.flatten(), x.reshape([-1]));
        if (s.length === 3) expect(x.flatten(1).shape).toEqual([s[0], s[1] * s[2]]);
        if (s.length === 3) expect(x.flatten(0, 1).shape).toEqual([s[0] * s[1], s[2]]);
      }),
    );
    expect(tensor(1).flatten().shape).toEqual([1]);
  });

  test.each([
    ['stack of an empty list', () => stack([]), 'stack: nothing to join'],
    ['stack of other shapes', () => stack([zeros([2]), zeros([3])]), 'stack: shapes differ: [2], [3]'],
    [
      'split into parts of length 0',
      () => zeros([2]).split(0),
      'split: the size of a part must be a whole number of 1 or more',
    ],
    ['sizes that do not add up', () => zeros([3]).split([1, 1]), 'split: sizes [1, 1] do not add up to dim 0 of [3]'],
    ['no chunks', () => zeros([3]).chunk(0), 'chunk: the number of parts must be a whole number of 1 or more, not 0'],
    ['flatten backwards', () => zeros([2, 3]).flatten(1, 0), 'flatten: dim 1 comes after dim 0'],
    ['unsqueeze out of range', () => zeros([2]).unsqueeze(2), 'unsqueeze: dim 2 is out of range'],
  ])('rejects %s', (_, call, message) => {
    expect(call).toThrow(message);
  });
});

describe('statistics', () => {
  test('var and std are their textbook formulas, over one dim or several, biased or not', () => {
    fc.assert(
      fc.property(withDim, fc.boolean(), fc.boolean(), ([s, dim], biased, keepdim) => {
        const x = draw(s.with(dim < 0 ? dim + s.length : dim, 3));
        const correction = biased ? 0 : 1;
        const [variance, std] = [x.var(dim, { correction, keepdim }), x.std(dim, { correction, keepdim })];
        expect(variance.shape.length).toBe(keepdim ? s.length : s.length - 1);
        lines(x, dim).forEach((line, i) => {
          const mean = line.reduce((a, b) => a + b) / line.length;
          const expected = line.reduce((t, v) => t + (v - mean) ** 2, 0) / (line.length - correction);
          expect(list(variance)[i]).toBeCloseTo(expected, 12);
          expect(list(std)[i]).toBeCloseTo(Math.sqrt(expected), 12);
        });
      }),
    );
    expect(
      list(
        tensor(
          [
            [1, 2],
            [3, 4],
          ],
          { dtype: 'float64' },
        ).var(),
      )[0],
    ).toBeCloseTo(5 / 3, 14);
  });

  test('cumsum adds up what comes before', () => {
    fc.assert(
      fc.property(withDim, ([s, dim]) => {
        const x = draw(s);
        const sums = x.cumsum(dim);
        expect(sums.shape).toEqual(x.shape);
        const expected = lines(x, dim).map(line => line.map((_, i) => line.slice(0, i + 1).reduce((a, b) => a + b)));
        lines(sums, dim).forEach((line, i) => line.forEach((v, j) => expect(v).toBeCloseTo(expected[i][j], 12)));
      }),
    );
  });

  test('amin is the minimum of each line', () => {
    fc.assert(
      fc.property(withDim, ([s, dim]) => {
        const x = draw(s);
        expect(list(x.amin(dim))).toEqual(lines(x, dim).map(line => Math.min(...line)));
      }),
    );
  });

  test('argmax and argmin return the first of ties; topk sorts', () => {
    const line = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(line, fc.integer({ min: 1, max: 3 }), fc.nat(1), (first, copies, at) => {
        const rows = Array.from({ length: copies }, (_, i) => first.map((v, j) => (i === 0 ? v : (v * (j + i)) % 5)));
        const x = at === 0 ? tensor(rows) : tensor(rows).transpose();
        const dim = at === 0 ? 1 : 0;
        expect(list(argmax(x, dim))).toEqual(rows.map(row => row.indexOf(Math.max(...row))));
        expect(list(argmin(x, dim))).toEqual(rows.map(row => row.indexOf(Math.min(...row))));
        const k = 1 + Math.floor((first.length - 1) / 2);
        const top = x.topk(k, dim);
        const best = rows.map(row => [...row].sort((a, b) => b - a).slice(0, k));
        expect(lines(top.values, dim)).toEqual(best);
        lines(top.indices, dim).forEach((places, i) => {
          expect(places.map(j => rows[i][j])).toEqual(best[i]);
          expect(new Set(places).size).toBe(k);
        });
      }),
    );
    const x = tensor([
      [1, NaN],
      [3, 2],
    ]);
    expect([list(x.argmax()), x.argmax().shape, x.argmax(undefined, { keepdim: true }).shape]).toEqual([
      [1],
      [],
      [1, 1],
    ]);
    expect([list(x.argmax(0)), x.argmax(0, { keepdim: true }).shape]).toEqual([
      [1, 0],
      [1, 2],
    ]);
    expect(x.argmax().dtype).toBe('int32');
    expect(() => x.topk(3)).toThrow('topk: 3 of the 2 values along dim 1 of [2, 2]');
    expect(() => zeros([0]).argmax()).toThrow('argmax: [0] has no values');
    expect(() => zeros([2, 0]).argmin(1)).toThrow('argmin: [2, 0] has no values along dim 1');
  });

  test('argmaxAsync, argminAsync and topkAsync choose the same, whether a backend reads at once or not', async () => {
    const later = { ...reference, readSync: undefined };
    await fc.assert(
      fc.asyncProperty(withDim, fc.nat(2), fc.boolean(), async ([s, dim], less, keepdim) => {
        const x = draw(s);
        const k = Math.max(1, s.at(dim)! - less);
        for (const backend of [reference, later]) {
          const y = tensor(x.dataSync().slice(), { shape: s, backend, dtype: x.dtype });
          const read = async (t: Tensor) => [t.shape, [...(await t.data())]];
          const top = await y.topkAsync(k, dim);
          expect(await read(top.values)).toEqual([top.values.shape, list(x.topk(k, dim).values)]);
          expect(await read(top.indices)).toEqual([top.indices.shape, list(x.topk(k, dim).indices)]);
          for (const [now, then] of [
            [x.argmax(dim, { keepdim }), await y.argmaxAsync(dim, { keepdim })],
            [x.argmin(dim, { keepdim }), await y.argminAsync(dim, { keepdim })],
            [x.argmax(), await y.argmaxAsync()],
          ])
            expect(await read(then)).toEqual([now.shape, list(now)]);
        }
      }),
      { numRuns: 30 },
    );
    const y = tensor([1, 2], { backend: later });
    const say = (name: string) => `${name}: backend '${later.name}' reads asynchronously; use await x.${name}Async(…)`;
    expect(() => y.argmax()).toThrow(say('argmax'));
    expect(() => y.argmin()).toThrow(say('argmin'));
    expect(() => y.topk(1)).toThrow(say('topk'));
    await expect(y.topkAsync(3)).rejects.toThrow('topk: 3 of the 2 values along dim 0 of [2]');
  });

  test('gradients agree with differences', () => {
    const x = draw([3, 4], true);
    expectGradient(t => t.var(0), x);
    expectGradient(t => t.std(1, { correction: 0 }), x);
    expectGradient(t => t.cumsum(1), x);
    expectGradient(t => t.topk(2, 1).values, x);
    expectGradient(t => t.topk(2, 0).values, x);
    expectGradient(t => t.amin(0), x);
    expectGradient(t => stack([t, t.square()], 1), x);
    expectGradient(t => t.chunk(2, 1)[1].exp(), x);
  });
});

test('clamp keeps values within bounds, keeps NaN, and passes no gradient where it clamped', () => {
  const x = tensor([-2, -0.5, 0.5, 2, NaN], { dtype: 'float64', requiresGrad: true });
  expect(list(clamp(x, { min: -1, max: 1 }))).toEqual([-1, -0.5, 0.5, 1, NaN]);
  expect(list(clamp(x, { max: 0 }))).toEqual([-2, -0.5, 0, 0, NaN]);
  expect(list(clamp(x, { min: 0 }))).toEqual([0, 0, 0.5, 2, NaN]);
  expect(list(grad(clamp(x, { min: -1, max: 1 }).sum(), [x])[0])).toEqual([0, 1, 1, 0, 1]);
  expect(() => clamp(x, { min: 1, max: 0 })).toThrow('clamp: min 1 is above max 0');
});

describe('dropout', () => {
  test('drops about p of the values and scales the others, in values and gradients', () => {
    const n = 10_000;
    for (const p of [0.1, 0.5, 0.9]) {
      const x = full([n], 1, { dtype: 'float64', requiresGrad: true });
      const y = dropout(x, p, new Random(3));
      const kept = list(y).filter(v => v !== 0);
      expect(kept.every(v => v === 1 / (1 - p))).toBe(true);
      // Five standard deviations of a binomial.
      expect(Math.abs(kept.length - n * (1 - p))).toBeLessThan(5 * Math.sqrt(n * p * (1 - p)));
      expect(list(grad(y.sum(), [x])[0])).toEqual(list(y));
      expect(list(dropout(x, p, new Random(3)))).toEqual(list(y));
    }
    const x = draw([3]);
    expect(dropout(x, 0, new Random(1))).toBe(x);
    expect(() => dropout(x, 1, new Random(1))).toThrow('dropout: p must be in [0, 1); got 1');
  });
});

describe('logsumexp of a line with infinities, as in PyTorch but for the gradient of −∞ alone', () => {
  test.each([
    ['reference', createReferenceBackend()],
    ['wasm', createWasmBackend({ threads: 1 })],
  ])('on %s', (_, backend) => {
    const x = tensor(
      [
        [-Infinity, -Infinity],
        [0, -Infinity],
        [1, Infinity],
        [Infinity, -Infinity],
        [Infinity, NaN],
      ],
      { backend, requiresGrad: true },
    );
    const y = x.logsumexp(1);
    expect(list(y)).toEqual([-Infinity, 0, Infinity, Infinity, NaN]);
    expect(list(grad(y, [x], { outputGrad: full([5], 1, { backend }) })[0])).toEqual(
      [
        [0, 0],
        [1, 0],
        [0, NaN],
        [NaN, 0],
        [NaN, NaN],
      ].flat(),
    );
  });
});

describe('full', () => {
  test('a shape that does not fit in memory is an error before anything is written', () => {
    const wasm = createWasmBackend({ threads: 1, memoryLimit: 2 ** 20 });
    for (const dtype of ['float32', 'int32'] as const)
      expect(() => zeros([2 ** 20, 2 ** 20], { backend: wasm, dtype })).toThrow(
        `full: shape [1048576, 1048576] needs ${4 * 2 ** 40} bytes; backend 'wasm' has ${2 ** 20}`,
      );
    expect(() => zeros([2 ** 30, 2 ** 10])).toThrow("backend 'reference' has 4294967296");
  });

  test('and so it is for arange and random values', () => {
    const wasm = createWasmBackend({ threads: 1, memoryLimit: 2 ** 20 });
    const random = new Random(1);
    for (const [backend, limit] of [
      [wasm, 2 ** 20],
      [createReferenceBackend(), 2 ** 32],
    ] as const) {
      const said = (user: string, shape: string, bytes: number) =>
        `${user}: shape ${shape} needs ${bytes} bytes; backend '${backend.name}' has ${limit}`;
      expect(() => arange(1e11, { backend })).toThrow(said('arange', '[100000000000]', 4e11));
      expect(() => randn(random, [1e5, 1e5], { backend })).toThrow(said('randn', '[100000, 100000]', 4e10));
      expect(() => uniform(random, [1e5, 1e5], 0, 1, { backend, dtype: 'float64' })).toThrow(
        said('uniform', '[100000, 100000]', 8e10),
      );
    }
    expect(random.position).toBe(0);
    expect(() => arange(1.5)).toThrow('arange: [1.5] is not a shape: lengths are integers of 0 or more');
    expect(() => randn(random, [-1])).toThrow('randn: [-1] is not a shape');
  });

  test('gives one value on every backend and dtype', () => {
    const wasm = createWasmBackend({ threads: 1 });
    expect(list(full([2, 3], 2.5, { backend: wasm }))).toEqual(new Array(6).fill(2.5));
    expect(list(full([2], 7, { backend: wasm, dtype: 'int32' }))).toEqual([7, 7]);
    expect(list(full([2], 0.1, { dtype: 'float64' }))).toEqual([0.1, 0.1]);
  });
});
