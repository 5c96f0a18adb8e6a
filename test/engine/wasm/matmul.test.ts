/**
 * Every small matrix product, exactly: of small integers all sums are floats, whatever their order and whether a
 * multiply-add rounds once or twice. So the plain loop is matched bit for bit and no tolerance can hide an edge.
 */
import { describe, expect, test } from 'vitest';
import { createWasmBackend } from '../../../engine/wasm/index.ts';
import { random, wasm } from './support.ts';

const sides = [false, true];
const most = 20;

const integers = (size: number): Float32Array<ArrayBuffer> => new Float32Array(size).map(() => random.integer(17) - 8);

/** Σ_l a[i, l] b[l, j], each operand with its rows or, transposed, its columns one after another. */
function product(
  a: Float32Array,
  b: Float32Array,
  transposeA: boolean,
  transposeB: boolean,
  m: number,
  k: number,
  n: number,
): Float32Array {
  const [rowA, stepA] = transposeA ? [1, m] : [k, 1];
  const [stepB, columnB] = transposeB ? [1, k] : [n, 1];
  const c = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a[i * rowA + l * stepA] * b[l * stepB + j * columnB];
      c[i * n + j] = sum;
    }
  }
  return c;
}

function equal(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

describe('matmul of integers is exact', () => {
  test.each(sides.flatMap(ta => sides.map(tb => [ta, tb])))(
    `all shapes from 1 to ${most}, transposeA %s, transposeB %s`,
    (transposeA, transposeB) => {
      const values = [integers(most * most), integers(most * most)];
      const storages = values.map(v => wasm.upload(v));
      const wrong: string[] = [];
      for (let m = 1; m <= most; m++) {
        for (let k = 1; k <= most; k++) {
          for (let n = 1; n <= most; n++) {
            // A smaller matrix is the start of a larger one: shapes alone say how much of it is read.
            const shapes = [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]];
            const y = wasm.matmul(
              { storage: storages[0], shape: shapes[0] },
              { storage: storages[1], shape: shapes[1] },
              transposeA,
              transposeB,
              [m, n],
            );
            if (!equal(wasm.readSync!(y), product(values[0], values[1], transposeA, transposeB, m, k, n)))
              wrong.push(`${m} × ${k} × ${n}`);
            wasm.free(y);
          }
        }
      }
      storages.forEach(x => wasm.free(x));
      expect(wrong).toEqual([]);
    },
  );

  // Shapes that are packed once for all threads: edges of panels, tiles, partial sums and of what is packed at a time.
  test.each([
    [128, 128, 128],
    [129, 200, 131],
    [300, 257, 141],
    [130, 513, 700],
    [129, 16_400, 36],
  ])('large shapes %d × %d × %d on one and two threads', (m, k, n) => {
    const [a, b] = [integers(m * k), integers(k * n)].map(values => values.map(x => Math.sign(x)));
    const transposed = (values: Float32Array, rows: number, columns: number) =>
      Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]);
    const expected = product(a, b, false, false, m, k, n);
    for (const threads of k > 1000 ? [2] : [1, 2]) {
      const backend = createWasmBackend({ threads });
      const upload = (values: Float32Array<ArrayBuffer>, shape: number[]) => ({
        storage: backend.upload(values),
        shape,
      });
      for (const transposeA of sides) {
        for (const transposeB of sides) {
          const x = transposeA ? upload(transposed(a, m, k), [k, m]) : upload(a, [m, k]);
          const y = transposeB ? upload(transposed(b, k, n), [n, k]) : upload(b, [k, n]);
          const c = backend.matmul(x, y, transposeA, transposeB, [m, n]);
          expect(equal(backend.readSync!(c), expected), `transposeA ${transposeA}, transposeB ${transposeB}`).toBe(
            true,
          );
          for (const storage of [x.storage, y.storage, c]) backend.free(storage);
        }
      }
    }
  });

  test('an operand followed by NaN in memory: what lies beyond an edge reaches no output', () => {
    const poisoned = (values: Float32Array) => Float32Array.from([...values, ...new Float32Array(32).fill(NaN)]);
    for (const transposeA of sides) {
      for (const transposeB of sides) {
        for (const [m, k, n] of [
          [1, 1, 1],
          [3, 5, 7],
          [4, 3, 8],
          [5, 2, 9],
          [6, 11, 3],
        ]) {
          const [a, b] = [integers(m * k), integers(k * n)];
          const [x, y] = [a, b].map(v => wasm.upload(poisoned(v)));
          const shapes = [transposeA ? [k, m] : [m, k], transposeB ? [n, k] : [k, n]];
          const c = wasm.matmul(
            { storage: x, shape: shapes[0] },
            { storage: y, shape: shapes[1] },
            transposeA,
            transposeB,
            [m, n],
          );
          expect(wasm.readSync!(c)).toEqual(product(a, b, transposeA, transposeB, m, k, n));
          for (const storage of [x, y, c]) wasm.free(storage);
        }
      }
    }
  });
});

describe('describe', () => {
  test('says what runs, with which features and why', () => {
    const backend = createWasmBackend({ threads: 1, relaxedSimd: false, memoryLimit: 64 * 2 ** 20 });
    expect(backend.describe()).toBe(
      'wasm: WebAssembly SIMD (relaxed multiply-add is not there or not wanted), one thread (as asked), float32, ' +
        'at most 64 MiB',
    );
    expect(backend.arithmetic).toBe('wasm, plain SIMD');
    expect(backend.memoryLimit).toBe(64 * 2 ** 20);
  });

  test('a limit below one page is an error', () => {
    expect(() => createWasmBackend({ memoryLimit: 1000 })).toThrow(
      'wasm: memoryLimit is 1000 bytes; it must be at least 65536',
    );
  });
});
