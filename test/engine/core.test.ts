/** The engine's promises to its users: lifetimes, gradients, errors, random numbers. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  add,
  apply,
  arange,
  broadcastTo,
  concat,
  createBackend,
  createReferenceBackend,
  crossEntropy,
  exp,
  full,
  embedding,
  getBackend,
  grad,
  matmul,
  memory,
  mul,
  noGrad,
  permute,
  Random,
  relu,
  reshape,
  scope,
  logSoftmax,
  logsumexp,
  setBackend,
  simplexGradient,
  simplexProjection,
  simplexThreshold,
  slice,
  softmax,
  sparsemax,
  square,
  sub,
  sum,
  ops,
  tensor,
  transpose,
  withGradient,
  zeros,
  type Tensor,
} from '../../engine/index.ts';
import { adamwMean } from '../../engine/ops/nn.ts';
import { samplingOf } from '../../engine/ops/samples.ts';
import { philox } from '../../engine/random.ts';
import { broadcastShapes, sizeOf } from '../../engine/shape.ts';

const reference = createReferenceBackend();
const wasm = createBackend('wasm');
beforeAll(() => setBackend(reference));

describe('scope', () => {
  test('frees what it made but not what it returns, at any depth', () => {
    const before = memory();
    const outside = tensor([1, 2, 3]);
    const kept = scope(() => {
      const a = exp(outside);
      const b = mul(a, a);
      return { list: [b], map: new Map([['a', a]]), deep: { er: add(a, 1) }, outside };
    });
    expect(memory().tensors - before.tensors).toBe(4);
    expect(kept.list[0].freed || kept.map.get('a')!.freed || kept.deep.er.freed || outside.freed).toBe(false);
    for (const t of [kept.list[0], kept.map.get('a')!, kept.deep.er, outside]) t.dispose();
    expect(memory()).toEqual(before);
  });

  test('frees everything when its function throws, and rejects a promise', () => {
    const before = memory();
    expect(() =>
      scope(() => {
        zeros([8]);
        throw new Error('no');
      }),
    ).toThrow('no');
    expect(() => scope(async () => zeros([8]))).toThrow('scope: the function returned a promise');
    expect(memory()).toEqual(before);
  });

  test('a thousand steps of forward and backward leave the counters where they were', () => {
    const w = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true },
    );
    const before = memory();
    for (let i = 0; i < 1000; i++)
      scope(() => {
        grad(sum(square(matmul(w, w))), [w]);
      });
    expect(memory()).toEqual(before);
    w.dispose();
  });

  test('tensors that share a buffer keep it until the last one is freed', () => {
    const before = memory();
    const x = tensor([1, 2, 3, 4]);
    const y = reshape(x, [2, 2]);
    expect(memory().bytes - before.bytes).toBe(16);
    x.dispose();
    x.dispose();
    expect([...y.dataSync()]).toEqual([1, 2, 3, 4]);
    y.dispose();
    expect(memory()).toEqual(before);
  });

  test('using a freed tensor is an error that says where', async () => {
    const x = scope(() => ({ shapeOnly: zeros([2, 3]).describe(), t: null }));
    expect(x.shapeOnly).toBe('float32 tensor [2, 3] on reference');
    const freed = zeros([2, 3]);
    freed.dispose();
    expect(() => add(freed, 1)).toThrow(
      'add: a tensor of shape [2, 3] was freed; return it from the scope that made it to keep it',
    );
    await expect(freed.data()).rejects.toThrow('data: a tensor of shape [2, 3] was freed');
    const a = tensor([1], { requiresGrad: true });
    const y = scope(() => exp(mul(a, 2)));
    expect(() => grad(y, [a])).toThrow('grad: the graph behind the output ([1]) was freed');
  });
});

test.each<[string, (x: Tensor, dim?: number) => Tensor]>([
  ['softmax', softmax],
  ['logSoftmax', logSoftmax],
  ['logsumexp', logsumexp],
  ['sparsemax', sparsemax],
  ['simplexThreshold', (x, dim) => simplexThreshold(x, 2, dim)],
  ['simplexProjection', (x, dim) => simplexProjection(x, 2, dim)],
  ['simplexGradient', (x, dim) => simplexGradient(x, relu(x), dim)],
])('%s goes along the last dim unless told otherwise', (_, along) => {
  const x = tensor([1, -2, 0.5, 3, 2.5, -1], { shape: [2, 3] });
  const values = (y: Tensor) => [...y.dataSync()];
  expect(values(along(x))).toEqual(values(along(x, -1)));
  expect(values(along(x))).toEqual(values(along(x, 1)));
  expect(values(along(x))).not.toEqual(values(along(x, 0)));
});

test('transpose swaps two dims, by default the last two', () => {
  const x = tensor(
    Float32Array.from({ length: 24 }, (_, i) => i),
    { shape: [2, 3, 4] },
  );
  for (const [dims, order] of [
    [[], [0, 2, 1]],
    [[0], [2, 1, 0]],
    [
      [0, 1],
      [1, 0, 2],
    ],
    [
      [-1, -3],
      [2, 1, 0],
    ],
    [
      [1, 1],
      [0, 1, 2],
    ],
  ]) {
    const [swapped, permuted] = [transpose(x, ...dims), permute(x, order)];
    expect(swapped.shape).toEqual(permuted.shape);
    expect(swapped.dataSync()).toEqual(permuted.dataSync());
  }
});

describe('grad', () => {
  const leaf = (...values: number[]) => tensor(values, { requiresGrad: true });
  const numbers = (t: Tensor) => [...t.dataSync()];

  test('a value used twice receives the sum of its uses', () => {
    const x = leaf(3);
    const y = add(mul(x, x), mul(x, 5)); // x² + 5x
    expect(numbers(grad(y, [x])[0])).toEqual([11]);
    expect(numbers(grad(add(x, x), [x])[0])).toEqual([2]);
  });

  test('with respect to any set: leaves, intermediate values, the output itself', () => {
    const [a, b] = [leaf(2), leaf(5)];
    const m = mul(a, b);
    const y = mul(m, m);
    expect(grad(y, [m, b, y, a]).map(g => numbers(g)[0])).toEqual([20, 40, 1, 100]);
  });

  test('noGrad and detach cut the graph; a mask has no gradient', () => {
    const x = leaf(2);
    expect(noGrad(() => mul(x, x)).requiresGrad).toBe(false);
    expect(numbers(grad(mul(x, x.detach()), [x])[0])).toEqual([2]);
  });

  test('second derivatives: x³ gives 6x', () => {
    const x = leaf(4);
    const [first] = grad(mul(x, mul(x, x)), [x], { createGraph: true });
    expect(numbers(grad(first, [x])[0])).toEqual([24]);
  });

  test("an operation of one's own", () => {
    const x = leaf(1, -2);
    const clipped = withGradient('straightThrough', [x], relu(x), g => [() => g]); // forward relu, backward identity
    expect([numbers(clipped), numbers(grad(sum(clipped), [x])[0])]).toEqual([
      [1, 0],
      [1, 1],
    ]);
  });

  test('errors state what is wrong', () => {
    const [x, other, constant] = [leaf(1, 2), leaf(1), tensor([1])];
    const y = sum(square(x));
    expect(() => grad(square(x), [x])).toThrow(
      'grad: an output of shape [2] is not a scalar; reduce it, or give outputGrad',
    );
    expect(() => grad(y, [other])).toThrow(
      'input 0, a float32 tensor [1] on reference, is not connected to the output: no operation leads from it to ' +
        'the output',
    );
    expect(() => grad(y, [x, constant])).toThrow(
      'input 1, a float32 tensor [1] on reference, is not connected to the output: it was made without requiresGrad',
    );
    expect(() => grad(square(x), [x], { outputGrad: constant })).toThrow(
      "outputGrad [1] does not have the output's shape [2]",
    );
  });

  const shape = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 });
  /** Two shapes that broadcast: one shape with some dims cut to 1 or left out. */
  const pairs = fc
    .tuple(shape, fc.infiniteStream(fc.boolean()), fc.nat(3))
    .map(([s, cut, drop]) => [s, s.map(n => (cut.next().value ? 1 : n)).slice(Math.min(drop, s.length))]);

  test('the adjoint of broadcast is the sum', () => {
    fc.assert(
      fc.property(pairs, ([big, small]) =>
        scope(() => {
          const x = tensor(new Float64Array(sizeOf(small)).fill(1), { shape: small, requiresGrad: true });
          const out = broadcastShapes('test', big, small);
          const g = grad(broadcastTo(x, out), [x], { outputGrad: full(out, 1, { dtype: 'float64' }) })[0];
          // Every element of x is read out.size / x.size times.
          expect([...g.dataSync()].every(v => v === sizeOf(out) / x.size)).toBe(true);
        }),
      ),
    );
  });

  test('linear operations: ⟨w, J u⟩ = ⟨Jᵀ w, u⟩', () => {
    const random = new Random(8);
    const draw = (n: number[]) => new Float64Array(sizeOf(n)).map(() => random.normal());
    const index = tensor([2, 0, 2], { dtype: 'int32' });
    const linear: [string, number[], (x: Tensor) => Tensor][] = [
      ['reshape', [2, 6], x => reshape(x, [3, 4])],
      ['permute', [2, 3, 4], x => permute(x, [2, 0, 1])],
      ['slice', [3, 5], x => slice(x, 1, 1, 4)],
      ['concat', [2, 3], x => concat([x, x, mul(x, 2)], 1)],
      ['sum', [3, 4], x => sum(x, 0)],
      ['embedding', [3, 4], x => embedding(index, x)],
      ['matmul', [3, 4], x => matmul(x, tensor(draw([4, 2]), { shape: [4, 2] }))],
      ['broadcastTo', [3, 1], x => broadcastTo(x, [2, 3, 4])],
    ];
    for (const [name, n, f] of linear) {
      const u = tensor(draw(n), { shape: n, requiresGrad: true });
      const y = f(u);
      const w = tensor(draw([...y.shape]), { shape: y.shape });
      const dot = (a: Tensor, b: Tensor) => sum(mul(a, b)).dataSync()[0];
      expect(dot(grad(y, [u], { outputGrad: w })[0], u), name).toBeCloseTo(dot(w, y), 10);
    }
  });
});

describe('errors of operations name the operation and the shapes', () => {
  test.each<[string, () => unknown, string]>([
    ['broadcast', () => add(zeros([2, 3]), zeros([4])), 'add: shapes [2, 3] and [4] do not broadcast'],
    ['matmul', () => matmul(zeros([2, 3]), zeros([4, 5])), 'matmul: inner dims differ: 3 of [2, 3] and 4 of [4, 5]'],
    ['broadcastTo', () => broadcastTo(zeros([2, 3]), [3, 2]), 'broadcastTo: '],
    ['broadcastTo fewer dims', () => broadcastTo(zeros([2, 3]), [3]), 'does not stretch to [3]'],
    [
      'crossEntropy, three dims',
      () => crossEntropy(zeros([2, 3, 4]), tensor(new Int32Array(2))),
      'crossEntropy: needs logits',
    ],
    [
      'crossEntropy, targets in two',
      () => crossEntropy(zeros([2, 3]), tensor(new Int32Array(2), { shape: [2, 1] })),
      'crossEntropy: needs logits',
    ],
    [
      'crossEntropy, too few targets',
      () => crossEntropy(zeros([2, 3]), tensor(new Int32Array(1))),
      'crossEntropy: needs logits',
    ],
    ['matmul, transposed', () => matmul(zeros([2, 3]), zeros([4, 5]), { transposeB: true }), '5 of [4, 5] transposed'],
    ['reshape', () => reshape(zeros([2, 3]), [4, -1]), 'reshape: '],
    ['dim', () => sum(zeros([2, 3]), 2), 'sum: dim 2 is out of range for a tensor of rank 2'],
    ['dim below', () => sum(zeros([2, 3]), -3), 'sum: dim -3 is out of range for a tensor of rank 2'],
    ['dim that is not whole', () => sum(zeros([2, 3]), 0.5), 'sum: dim 0.5 is out of range for a tensor of rank 2'],
    [
      'concat',
      () => concat([zeros([2, 3]), zeros([3, 3])], 1),
      'concat: shapes [2, 3], [3, 3] differ in dims other than 1',
    ],
    [
      'concat of other ranks',
      () => concat([zeros([2, 3]), zeros([2, 3, 1])], 1),
      'concat: shapes [2, 3], [2, 3, 1] differ in dims other than 1',
    ],
    ...[
      [
        [2, 3, 1],
        [4, 3],
        [2, 4],
      ],
      [
        [2, 3],
        [4, 3, 1],
        [2, 4],
      ],
      [
        [2, 3],
        [4, 3],
        [2, 4, 1],
      ],
      [
        [2, 3],
        [4, 5],
        [2, 4],
      ],
      [
        [2, 3],
        [4, 3],
        [5, 4],
      ],
      [
        [2, 3],
        [4, 3],
        [2, 5],
      ],
    ].map((shapes): [string, () => unknown, string] => [
      `sampledMatmul of ${shapes.map(shape => `[${shape}]`).join(' ')}`,
      () =>
        apply(
          ops.find(row => row.name === 'sampledMatmul')!,
          shapes.map(shape => zeros(shape)),
          {},
        ),
      'sampledMatmul: needs (u, d), (v, d) and (u, v), got [',
    ]),
    ['slice', () => slice(zeros([4]), 0, 2, 9), 'slice: [2, 9) is not within dim 0 of [4]'],
    ['slice before the start', () => slice(zeros([4]), 0, -5), 'slice: [-5, 4) is not within dim 0 of [4]'],
    [
      'a dim twice',
      () => zeros([2, 3]).permute([0, 0]),
      'permute: [0, 0] is not a permutation of the 2 dims of [2, 3]',
    ],
    ['too few dims', () => zeros([2, 3]).permute([0]), 'permute: [0] is not a permutation of the 2 dims of [2, 3]'],
    ['moments of another shape', () => adamwMean(zeros([2, 3]), zeros([3]), 0.9), 'adamw: shapes differ: [2, 3], [3]'],
    ['index dtype', () => embedding(zeros([2]), zeros([2, 3])), 'embedding: the index must be int32'],
    [
      'index range',
      () => embedding(tensor([2], { dtype: 'int32' }), zeros([2, 3])),
      'embedding: index 2 at position 0 is outside [0, 2)',
    ],
    ['ragged', () => tensor([[1, 2], [3]]), 'tensor: nested arrays are ragged'],
    ['size', () => tensor([1, 2, 3], { shape: [2, 2] }), 'tensor: 3 values do not fill shape [2, 2]'],
    ['dtypes', () => add(zeros([1]), zeros([1], { dtype: 'float64' })), 'add: inputs have different dtypes'],
    ['backends', () => add(zeros([1]), zeros([1], { backend: wasm })), 'add: inputs are on different backends'],
    ['float64 on wasm', () => zeros([1], { backend: wasm, dtype: 'float64' }), "backend 'wasm' has no float64"],
    ['integer gradient', () => tensor([1], { dtype: 'int32', requiresGrad: true }), 'an int32 tensor has no gradient'],
    ['sparsemax of −∞ alone', () => sparsemax(full([1, 2], -Infinity)), 'has no finite maximum'],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(message);
  });
});

describe('random numbers', () => {
  test('Philox4x32-10 gives the known answers of its authors', () => {
    const hex = (words: readonly number[]) => words.map(w => w.toString(16).padStart(8, '0')).join(' ');
    expect(hex(philox([0, 0, 0, 0], [0, 0]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    const ones = 0xffffffff;
    expect(hex(philox([ones, ones, ones, ones], [ones, ones]))).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    expect(hex(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]))).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    );
  });

  test('a position resumes; seeds and streams differ', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(50), (seed, skip) => {
        const draw = (random: Random) => Array.from({ length: 5 }, () => random.word());
        const whole = new Random(seed);
        for (let i = 0; i < skip; i++) whole.word();
        expect(draw(new Random(seed, 0, skip))).toEqual(draw(whole));
        expect(draw(new Random(seed).split('a'))).not.toEqual(draw(new Random(seed).split('b')));
        expect(draw(new Random(seed))).not.toEqual(draw(new Random(seed + 1)));
      }),
    );
    expect(() => new Random(-1)).toThrow('the seed must be a whole number from 0');
  });

  test('moments are those of the distributions, within five standard errors', () => {
    const n = 40_000;
    const random = new Random(12);
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const [u, z] = [
      Array.from({ length: n }, () => random.uniform()),
      Array.from({ length: n }, () => random.normal()),
    ];
    expect(Math.abs(mean(u) - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / n));
    expect(Math.abs(mean(z))).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(mean(z.map(v => v * v)) - 1)).toBeLessThan(5 * Math.sqrt(2 / n));
    expect(Math.abs(mean(z.map(v => v ** 4)) - 3)).toBeLessThan(5 * Math.sqrt(96 / n));
  });

  test('shuffling permutes', () => {
    fc.assert(
      fc.property(fc.array(fc.nat()), fc.nat(), (list, seed) => {
        expect(new Random(seed).shuffle([...list]).sort()).toEqual([...list].sort());
      }),
    );
  });
});

test('one program runs on every backend and reads with await', async () => {
  for (const backend of [reference, wasm]) {
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { backend, requiresGrad: true },
    );
    const y = sum(square(sub(x, arange(2, { backend }))));
    expect([await y.item(), ...(await grad(y, [x])[0].data())]).toEqual([1 + 1 + 9 + 9, 2, 2, 6, 6]);
  }
  expect(getBackend().describe()).toContain('reference');
});

test('no operation writes into its inputs', () => {
  const random = new Random(3);
  for (const backend of [reference, wasm]) {
    for (const op of ops) {
      const { inputs, attributes } = samplingOf(op).draw(random, 4);
      scope(() => {
        const xs = inputs.map(x =>
          tensor(x.values, { shape: x.shape, backend, dtype: x.values instanceof Int32Array ? 'int32' : 'float32' }),
        );
        const before = xs.map(x => [...x.dataSync()]);
        apply(op, xs, attributes);
        op.definition?.(xs, attributes);
        expect(
          xs.map(x => [...x.dataSync()]),
          op.name,
        ).toEqual(before);
      });
    }
  }
});
