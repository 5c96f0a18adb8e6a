/** Lifetimes: what a scope frees, what shares a buffer, what a freed tensor says; and what is not a tensor at all. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  add,
  arange,
  concat,
  createReferenceBackend,
  createWasmBackend,
  exp,
  full,
  embedding,
  getBackend,
  grad,
  matmul,
  memory,
  mul,
  ones,
  peakBytes,
  reshape,
  scope,
  setBackend,
  softmax,
  sum,
  tensor,
  where,
  zeros,
  type Tensor,
} from '../../engine/index.ts';
import { sizeOf } from '../../engine/shape.ts';
import { shapes } from '../arbitraries/shapes.ts';

const reference = createReferenceBackend();
const wasm = createWasmBackend({ threads: 1 });
const backends = [
  ['reference', reference],
  ['wasm', wasm],
] as const;

beforeEach(() => setBackend(reference));

const list = (t: Tensor) => Array.from(t.dataSync());

describe.each(backends)('scope on %s', (_, backend) => {
  beforeEach(() => setBackend(backend));

  test('frees what it made and did not return', () => {
    const before = memory();
    const made: Tensor[] = [];
    const kept = scope(() => {
      made.push(zeros([3]), exp(ones([3])));
      return full([2], 7);
    });
    expect(made.map(t => t.freed)).toEqual([true, true]);
    expect(list(kept)).toEqual([7, 7]);
    expect(memory()).toEqual({ tensors: before.tensors + 1, bytes: before.bytes + 8 });
    kept.dispose();
    expect(memory()).toEqual(before);
  });

  test('keeps what it returns, however deep: arrays, maps, sets, objects, cycles', () => {
    interface Holder {
      array: (Tensor | number)[];
      map: Map<string, Tensor[]>;
      set: Set<Tensor>;
      object: { deep: { t: Tensor } };
      self?: unknown;
      none: null;
    }
    const result = scope((): Holder => {
      zeros([100]); // not returned
      const holder: Holder = {
        array: [tensor([1]), 5],
        map: new Map([['a', [tensor([2])]]]),
        set: new Set([tensor([3])]),
        object: { deep: { t: tensor([4]) } },
        none: null,
      };
      holder.self = holder;
      return holder;
    });
    const kept = [result.array[0] as Tensor, result.map.get('a')![0], ...result.set, result.object.deep.t];
    expect(kept.map(t => list(t)[0])).toEqual([1, 2, 3, 4]);
    kept.forEach(t => t.dispose());
  });

  test('passes what it keeps to the enclosing scope', () => {
    const before = memory();
    scope(() => {
      scope(() => ones([5]));
    });
    expect(memory()).toEqual(before);
  });

  test('does not free tensors from outside', () => {
    const outer = ones([2]);
    scope(() => {
      add(outer, 1);
    });
    expect(outer.freed).toBe(false);
    outer.dispose();
  });

  test('frees everything when its function throws, also what it would have returned', () => {
    const before = memory();
    expect(() =>
      scope(() => {
        scope(() => ones([4]));
        exp(ones([4]));
        throw new TypeError('mine');
      }),
    ).toThrow(new TypeError('mine'));
    expect(memory()).toEqual(before);
  });

  test('rejects a promise, and frees', () => {
    const before = memory();
    expect(() => scope(async () => ones([4]))).toThrow(
      'scope: the function returned a promise; read values after the scope, not inside it',
    );
    expect(memory()).toEqual(before);
  });

  test('memory stays flat over thousands of rounds of forward and backward', () => {
    const w = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true },
    );
    const before = memory();
    for (let round = 0; round < 3000; round++) {
      scope(() => {
        const [g] = grad(sum(softmax(matmul(w, w))), [w]);
        w.assign(add(w, mul(g, 0)));
      });
      if (round % 500 === 0) expect(memory()).toEqual(before);
    }
    expect(memory()).toEqual(before);
    w.dispose();
  });
});

describe('buffers', () => {
  test('an alias, a reshape and a detached tensor share one buffer, freed with the last of them, in any order', () => {
    fc.assert(
      fc.property(shapes(), fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }), (shape, order) => {
        const before = memory();
        const x = ones(shape);
        const all = [x, x.alias(), x.detach(), reshape(x, [sizeOf(shape), 1, 1, 1])];
        const bytes = 4 * sizeOf(shape);
        order.forEach((which, i) => {
          expect(memory()).toEqual({ tensors: before.tensors + 4 - i, bytes: before.bytes + bytes });
          expect(list(all[which])).toEqual(new Array(sizeOf(shape)).fill(1));
          all[which].dispose();
        });
        expect(memory()).toEqual(before);
      }),
    );
  });

  test('disposing twice frees once', () => {
    const before = memory();
    const x = ones([3]);
    const y = x.alias();
    x.dispose();
    x.dispose();
    expect(list(y)).toEqual([1, 1, 1]);
    y.dispose();
    expect(memory()).toEqual(before);
  });

  test('the bytes of every dtype count', () => {
    const before = memory().bytes;
    const made = [zeros([3]), zeros([3], { dtype: 'float64' }), zeros([3], { dtype: 'int32' })];
    expect(memory().bytes - before).toBe(12 + 24 + 12);
    made.forEach(t => t.dispose());
  });

  test('the peak is the most that was alive, and resets when read', () => {
    peakBytes();
    const start = memory().bytes;
    scope(() => {
      ones([1000]);
    });
    expect(peakBytes() - start).toBe(4000);
    expect(peakBytes()).toBe(start);
  });

  test('assign takes the values and frees the source; tensors that shared the old buffer keep it', () => {
    const before = memory();
    const [p, source] = [tensor([1, 2]), tensor([3, 4])];
    const old = p.alias();
    p.assign(source);
    expect([list(p), list(old), source.freed]).toEqual([[3, 4], [1, 2], true]);
    [p, old].forEach(t => t.dispose());
    expect(memory()).toEqual(before);
  });

  test('assign rejects another size, dtype or backend, and then changes nothing', () => {
    const p = tensor([1, 2]);
    const misfits = [tensor([1, 2, 3]), zeros([2], { dtype: 'float64' }), zeros([2], { backend: wasm })];
    for (const source of misfits) {
      expect(() => p.assign(source)).toThrow(
        `assign: ${source.describe()} does not fit float32 tensor [2] on reference`,
      );
      expect([source.freed, list(p)]).toEqual([false, [1, 2]]);
      source.dispose();
    }
    p.dispose();
  });

  test('reading copies: writing into what was read changes nothing', async () => {
    for (const [, backend] of backends) {
      const x = tensor([1, 2], { backend });
      x.dataSync()[0] = 9;
      (await x.data())[1] = 9;
      expect(list(x)).toEqual([1, 2]);
      x.dispose();
    }
  });

  test('making copies: writing into the array afterwards changes nothing', () => {
    for (const [, backend] of backends) {
      const values = Float32Array.of(1, 2);
      const x = tensor(values, { backend });
      values[0] = 9;
      expect(list(x)).toEqual([1, 2]);
      x.dispose();
    }
  });
});

describe('a freed tensor', () => {
  const freed = (): Tensor => {
    const x = zeros([2, 3]);
    x.dispose();
    return x;
  };
  const message = (user: string) =>
    `${user}: a tensor of shape [2, 3] was freed; return it from the scope that made it to keep it`;

  test.each<[string, (x: Tensor) => unknown]>([
    ['dataSync', x => x.dataSync()],
    ['alias', x => x.alias()],
    ['alias', x => x.detach()],
    ['assign', x => zeros([2, 3]).assign(x)],
    ['assign', x => x.assign(zeros([2, 3]))],
    ['add', x => add(x, 1)],
    ['exp', x => exp(x)],
    ['sum', x => sum(x)],
    ['matmul', x => matmul(x, zeros([3, 1]))],
    ['reshape', x => reshape(x, [6])],
    ['concat', x => concat([zeros([2, 3]), x])],
    ['embedding', x => embedding(zeros([1], { dtype: 'int32' }), x)],
    ['softmax', x => softmax(x)],
    ['where', x => where(zeros([2, 3]), x, 0)],
  ])('names the user: %s', (user, use) => {
    scope(() => {
      expect(() => use(freed())).toThrow(message(user));
    });
  });

  test('names the operation that reads it later', async () => {
    await expect(freed().data()).rejects.toThrow(message('data'));
  });

  test('a graph that its scope has freed is reported as such', () => {
    const a = tensor([2], { requiresGrad: true });
    const y = scope(() => exp(mul(a, 3)));
    expect(() => grad(y, [a])).toThrow(
      'grad: the graph behind the output ([1]) was freed: a scope keeps what its function returns',
    );
  });
});

describe('making tensors', () => {
  test('nested arrays give their shape, and flatten back to their values', () => {
    fc.assert(
      fc.property(shapes({ minRank: 1, min: 1 }), shape =>
        scope(() => {
          let next = 0;
          const nest = (dims: readonly number[]): number | never[] =>
            dims.length === 0 ? next++ : (Array.from({ length: dims[0] }, () => nest(dims.slice(1))) as never[]);
          const x = tensor(nest(shape));
          expect([x.shape, list(x)]).toEqual([shape, Array.from({ length: sizeOf(shape) }, (_, i) => i)]);
        }),
      ),
    );
  });

  test('a number is a scalar, an empty array has length 0', async () => {
    expect([tensor(3).shape, await tensor(3).item(), tensor([]).shape]).toEqual([[], 3, [0]]);
  });

  test('the dtype is that of a typed array, unless asked for another', () => {
    expect(
      [
        tensor([1]),
        tensor(Float64Array.of(1)),
        tensor(Int32Array.of(1)),
        tensor(Int32Array.of(1), { dtype: 'float64' }),
      ].map(t => t.dtype),
    ).toEqual(['float32', 'float64', 'int32', 'float64']);
    expect([list(arange(4)), list(ones([2], { dtype: 'int32' })), list(full([], 2.5))]).toEqual([
      [0, 1, 2, 3],
      [1, 1],
      [2.5],
    ]);
  });

  test.each<[string, () => unknown, string]>([
    ['ragged', () => tensor([[1, 2], [3]]), 'tensor: nested arrays are ragged: rows differ in length'],
    [
      'ragged below',
      () =>
        tensor([
          [[1], [2]],
          [
            [1, 2],
            [3, 4],
          ],
        ]),
      'tensor: nested arrays are ragged: rows differ in length',
    ],
    ['numbers among arrays', () => tensor([1, [2]]), 'tensor: nested arrays are ragged: rows differ in length'],
    ['too few values', () => tensor([1, 2, 3], { shape: [2, 2] }), 'tensor: 3 values do not fill shape [2, 2]'],
    ['too many values', () => tensor(Float32Array.of(1, 2), { shape: [] }), 'tensor: 2 values do not fill shape []'],
    ['a negative length', () => zeros([-1]), 'full: [-1] is not a shape: lengths are integers of 0 or more'],
    [
      'a fractional length',
      () => tensor([1], { shape: [1.5] }),
      'tensor: [1.5] is not a shape: lengths are integers of 0 or more',
    ],
    [
      'an int32 gradient',
      () => tensor([1], { dtype: 'int32', requiresGrad: true }),
      'tensor: an int32 tensor has no gradient',
    ],
    [
      'float64 on wasm',
      () => zeros([1], { backend: wasm, dtype: 'float64' }),
      "tensor: backend 'wasm' has no float64; it has float32",
    ],
  ])('%s is an error', (_, make, message) => {
    const before = memory();
    expect(make).toThrow(message);
    expect(memory()).toEqual(before);
  });

  test('item needs exactly one element', async () => {
    await expect(zeros([2]).item()).rejects.toThrow('item: a tensor of shape [2] does not have exactly one element');
    await expect(zeros([0]).item()).rejects.toThrow('item: a tensor of shape [0] does not have exactly one element');
  });
});

describe('mixing', () => {
  const [here, there, wide] = [
    ones([1, 1], { backend: reference }),
    ones([1, 1], { backend: wasm }),
    ones([1, 1], { backend: reference, dtype: 'float64' }),
  ];
  const users: [string, (a: Tensor, b: Tensor) => unknown][] = [
    ['add', add],
    ['matmul', matmul],
    ['concat', (a, b) => concat([a, b])],
    ['where', (a, b) => where(a, a, b)],
  ];

  test.each(users)('backends in %s is an error', (name, use) => {
    expect(() => use(here, there)).toThrow(
      `${name}: inputs are on different backends: float32 tensor [1, 1] on reference and `,
    );
  });

  test.each(users)('dtypes in %s is an error', (name, use) => {
    expect(() => use(here, wide)).toThrow(
      `${name}: inputs have different dtypes: float32 tensor [1, 1] on reference and `,
    );
  });

  test('the backend that was set is where tensors are made', () => {
    setBackend(wasm);
    expect([getBackend().name, ones([1]).backend === wasm]).toEqual(['wasm', true]);
  });
});
