/** Every primitive of the backend against the reference, at sizes around the width of a vector and of a cache line. */
import { describe, expect, test } from 'vitest';
import type { Binary, DType, Shape } from '../../../engine/backend.ts';
import { broadcastShapes, sizeOf, stridesOf } from '../../../engine/shape.ts';
import { expectParity, indices, normals, on, random, reference, wasm } from './support.ts';

const positive = (shape: Shape) => normals(shape).map(x => Math.abs(x) + 0.1);
const lengths = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 130];

describe('elementwise', () => {
  const pairs: [Shape, Shape][] = [
    [[], []],
    [[1], [5]],
    [[7], []],
    [[], [9]],
    [[3, 5], [5]],
    [[5], [3, 5]],
    [
      [3, 5],
      [3, 1],
    ],
    [
      [3, 1],
      [1, 6],
    ],
    [
      [2, 3, 4],
      [3, 1],
    ],
    [
      [2, 1, 5, 1],
      [3, 1, 7],
    ],
    [[0, 3], [3]],
    [[20000], [1]],
    [[3, 9001], [9001]],
    [[9001], []],
    [
      [4, 1, 3],
      [1, 5, 3],
    ],
  ];
  test.each<Binary>(['add', 'sub', 'mul', 'div', 'maximum', 'equal', 'less', 'pow'])(
    '%s over all kinds of broadcasting',
    f => {
      for (const [a, b] of pairs) {
        const make = f === 'pow' ? positive : normals;
        const out = broadcastShapes(f, a, b);
        expectParity(
          [
            { values: make(a), shape: a },
            { values: make(b), shape: b },
          ],
          (backend, [x, y]) => backend.binary(f, x, y, out),
          1.01,
        );
      }
    },
  );

  test.each<Binary>(['maximum', 'equal', 'less', 'pow', 'div'])('%s of special values', f => {
    const special = [0, -0, 1, -1, 2, -2, 0.5, Infinity, -Infinity, NaN, 3e38, 1e-42];
    const [a, b] = [
      { values: Float32Array.from(special), shape: [special.length, 1] },
      { values: Float32Array.from(special), shape: [special.length] },
    ];
    expectParity([a, b], (backend, [x, y]) => backend.binary(f, x, y, [special.length, special.length]), 1.01);
  });

  test('where takes a branch as it is, even if the other one is NaN', () => {
    for (const [shape, other] of [
      [[3, 5], [5]],
      [[17], []],
      [
        [2, 3, 4],
        [3, 1],
      ],
    ] as [Shape, Shape][]) {
      const condition = { values: normals(shape).map(x => (x > 0 ? 1 : 0)), shape };
      const [a, b] = [
        { values: normals(other).map(x => (x > 1 ? NaN : x)), shape: other },
        { values: normals(shape), shape },
      ];
      expectParity([condition, a, b], (backend, [c, x, y]) => backend.where(c, x, y, shape), 0);
      expectParity([condition, b, a], (backend, [c, x, y]) => backend.where(c, x, y, shape), 0);
    }
  });

  test('toFloat', () => {
    expectParity(
      [{ values: Int32Array.of(0, 1, -5, 2 ** 24 + 1, -(2 ** 31)), shape: [5] }],
      (backend, [x]) => backend.toFloat(x, 'float32'),
      1,
    );
  });
});

describe('reduce', () => {
  test.each(['sum', 'max'] as const)('%s of lines and columns', f => {
    for (const n of [0, ...lengths]) {
      for (const inner of [1, 2, 4, 7, 16, 23, 40]) {
        const values = normals([3, n, inner]);
        const scale = (i: number) => {
          let total = 0;
          for (let j = 0; j < n; j++) total += Math.abs(values[(Math.floor(i / inner) * n + j) * inner + (i % inner)]);
          return total;
        };
        // Sums run in double precision: one rounding, whatever the length.
        expectParity(
          [{ values, shape: [3, n, inner] }],
          (backend, [x]) => backend.reduce(f, x, 3, n, inner),
          f === 'sum' ? 1.01 : 0,
          scale,
        );
      }
    }
  });

  test.each(['sum', 'max'] as const)('%s of columns in several strips, with a ragged end', f => {
    const values = normals([2, 19, 4101]);
    expectParity(
      [{ values, shape: [2, 19, 4101] }],
      (backend, [x]) => backend.reduce(f, x, 2, 19, 4101),
      f === 'sum' ? 1.01 : 0,
      () => 19,
    );
  });

  test('a long sum of equal terms is exact', () => {
    const [mean] = on(wasm, [{ values: new Float32Array(1 << 20).fill(0.1), shape: [1 << 20] }], (backend, [x]) =>
      backend.reduce('sum', x, 1, 1 << 20, 1),
    );
    expect(mean).toBe(Math.fround(Math.fround(0.1) * 2 ** 20));
  });

  test('max propagates NaN', () => {
    for (const inner of [1, 5]) {
      const values = normals([2, 6, inner]);
      values[7 * inner] = NaN;
      expectParity([{ values, shape: [2, 6, inner] }], (backend, [x]) => backend.reduce('max', x, 2, 6, inner), 0);
    }
  });
});

describe('layout', () => {
  test('strided: every permutation and a slice', () => {
    for (const shape of [
      [2, 3, 4],
      [5, 1, 9],
      [1, 17, 6],
      [4, 8, 3],
    ]) {
      for (const dims of [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
      ]) {
        const strides = stridesOf(shape);
        expectParity(
          [{ values: normals(shape), shape }],
          (backend, [x]) =>
            backend.strided(
              x,
              dims.map(d => shape[d]),
              dims.map(d => strides[d]),
              0,
            ),
          0,
        );
      }
      const smaller = shape.map(n => Math.max(n - 1, 1));
      expectParity(
        [{ values: normals(shape), shape }],
        (backend, [x]) => backend.strided(x, smaller, stridesOf(shape), sizeOf(shape) > 30 ? 1 : 0),
        0,
      );
    }
  });

  test('strided: broadcasting by strides of 0, a large transpose, integers', () => {
    expectParity(
      [{ values: normals([3]), shape: [3] }],
      (backend, [x]) => backend.strided(x, [2, 3, 5], [0, 1, 0], 0),
      0,
    );
    expectParity(
      [{ values: normals([101, 67]), shape: [101, 67] }],
      (backend, [x]) => backend.strided(x, [67, 101], [1, 67], 0),
      0,
    );
    expectParity(
      [{ values: indices(12, 100), shape: [3, 4] }],
      (backend, [x]) => backend.strided(x, [4, 3], [1, 4], 0),
      0,
    );
  });

  test('concat', () => {
    for (const inner of [1, 3, 8]) {
      const parts = [2, 0, 5, 1].map(n => ({ values: normals([3, n, inner]), shape: [3, n, inner] }));
      expectParity(parts, (backend, xs) => backend.concat(xs, 3, [2, 0, 5, 1], inner), 0);
    }
  });
});

describe('index', () => {
  test('gather and scatterAdd', () => {
    for (const width of [1, 3, 4, 19]) {
      const index = { values: indices(50, 7), shape: [5, 10] };
      expectParity(
        [{ values: normals([7, width]), shape: [7, width] }, index],
        (backend, [table, i]) => backend.gather(table, i),
        0,
      );
      const rows = normals([5, 10, width]);
      const scale = () => 50 * 4;
      expectParity(
        [{ values: rows, shape: [5, 10, width] }, index],
        (backend, [x, i]) => backend.scatterAdd(x, i, 9),
        1,
        scale,
      );
    }
  });

  test('oneHot', () => {
    const index = { values: Int32Array.of(2, -1, 0, 4, -100), shape: [5] };
    const dtype: DType = 'float32';
    expectParity([index], (backend, [i]) => backend.oneHot(i, 5, dtype), 0);
  });

  test('an index out of range is a RangeError that says where', () => {
    const index = { values: Int32Array.of(0, 3), shape: [2] };
    const table = { values: normals([3, 2]), shape: [3, 2] };
    expect(() => on(wasm, [table, index], (backend, [t, i]) => backend.gather(t, i))).toThrow(
      new RangeError('embedding: index 3 at position 1 is outside [0, 3)'),
    );
    expect(() =>
      on(wasm, [{ values: normals([2, 2]), shape: [2, 2] }, index], (backend, [x, i]) => backend.scatterAdd(x, i, 3)),
    ).toThrow(RangeError);
    expect(() => on(wasm, [index], (backend, [i]) => backend.oneHot(i, 3, 'float32'))).toThrow(RangeError);
  });
});

describe('matmul', () => {
  const product = (
    batchA: Shape,
    batchB: Shape,
    m: number,
    k: number,
    n: number,
    transposeA: boolean,
    transposeB: boolean,
  ) => {
    const a = [...batchA, ...(transposeA ? [k, m] : [m, k])];
    const b = [...batchB, ...(transposeB ? [n, k] : [k, n])];
    const out = [...broadcastShapes('matmul', batchA, batchB), m, n];
    const inputs = [
      { values: normals(a), shape: a },
      { values: normals(b), shape: b },
    ];
    // A rounding for each term of a sum, relative to the sum of their sizes; sums of 256 run in a register.
    const sizes = on(
      reference,
      inputs.map(({ values, shape }) => ({ values: Float64Array.from(values, Math.abs), shape })),
      (backend, [x, y]) => backend.matmul(x, y, transposeA, transposeB, out),
    );
    expectParity(
      inputs,
      (backend, [x, y]) => backend.matmul(x, y, transposeA, transposeB, out),
      Math.min(k, 256) + Math.ceil(k / 256),
      i => sizes[i],
    );
  };
  const sides = [false, true];

  test('edges of tiles, all transpositions', () => {
    for (const ta of sides)
      for (const tb of sides)
        for (const m of [1, 4, 5, 11])
          for (const n of [1, 7, 8, 18]) for (const k of [0, 1, 3, 4, 9]) product([], [], m, k, n, ta, tb);
  });
  test('edges of blocks', () => {
    for (const ta of sides) for (const tb of sides) product([], [], 131, 259, 517, ta, tb);
  });
  test('batches broadcast', () => {
    for (const [a, b] of [
      [[3], [3]],
      [[2, 3], [3]],
      [[2, 1], [3]],
      [
        [2, 1, 3],
        [4, 1],
      ],
      [[], [5]],
      [[0], [1]],
    ] as Shape[][]) {
      product(a, b, 5, 6, 7, random.integer(2) === 1, random.integer(2) === 1);
    }
  });
});
