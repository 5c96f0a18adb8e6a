/**
 * The reference backend: the contract in plain loops over typed arrays, float32 and float64. What it says is what
 * every other backend is checked against. It is not tuned for speed, except for a matrix product that keeps 2×2 sums in
 * registers. Sums run in double precision, so a float32 result carries one rounding.
 */
import type { Backend, Binary, DType, Kernel, Shape, Storage, TypedArray, Unary, View } from './backend.ts';
import { aroundDim, broadcastStrides, sizeOf } from './shape.ts';

interface ReferenceStorage extends Storage {
  readonly values: TypedArray;
}
type V = View<ReferenceStorage>;

const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array };

const store = (values: TypedArray, dtype: DType): ReferenceStorage => ({ values, dtype, size: values.length });

function make(dtype: DType, size: number): ReferenceStorage {
  return store(new arrays[dtype](size), dtype);
}

const unaries: Record<Unary, (x: number) => number> = {
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  tanh: Math.tanh,
  sin: Math.sin,
  cos: Math.cos,
  erf,
};

const binaries: Record<Binary, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  maximum: Math.max,
  pow: Math.pow,
  equal: (a, b) => (a === b ? 1 : 0),
  less: (a, b) => (a < b ? 1 : 0),
};

/** erf to double precision: its Taylor series where that converges fast, the continued fraction of erfc beyond. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x) || a === 0) return x;
  if (a > 6) return Math.sign(x);
  if (a < 2) {
    // erf x = 2/√π e^(−x²) Σ 2ⁿ x^(2n+1) / (1·3·5…(2n+1)): all terms positive, so nothing cancels.
    let [term, total] = [a, a];
    for (let n = 1; term > 1e-17 * total; n++) total += term *= (2 * a * a) / (2 * n + 1);
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * total;
  }
  let fraction = 0;
  for (let n = 80; n >= 1; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

/** Calls `visit(i, positions)` for every element of `out`, with the position of it in each strided operand. */
function walk(
  out: Shape,
  strides: readonly (readonly number[])[],
  start: readonly number[],
  visit: (i: number, at: readonly number[]) => void,
): void {
  const index = new Array<number>(out.length).fill(0);
  const at = [...start];
  const size = sizeOf(out);
  for (let i = 0; i < size; i++) {
    visit(i, at);
    for (let d = out.length - 1; d >= 0; d--) {
      index[d]++;
      for (let s = 0; s < at.length; s++) at[s] += strides[s][d];
      if (index[d] < out[d]) break;
      for (let s = 0; s < at.length; s++) at[s] -= strides[s][d] * out[d];
      index[d] = 0;
    }
  }
}

function binary(f: Binary, a: V, b: V, out: Shape): ReferenceStorage {
  const y = make(a.storage.dtype, sizeOf(out));
  const [fn, A, B, Y] = [binaries[f], a.storage.values, b.storage.values, y.values];
  if (A.length === Y.length && B.length === Y.length) for (let i = 0; i < Y.length; i++) Y[i] = fn(A[i], B[i]);
  else
    walk(out, [broadcastStrides(a.shape, out), broadcastStrides(b.shape, out)], [0, 0], (i, at) => {
      Y[i] = fn(A[at[0]], B[at[1]]);
    });
  return y;
}

function where(condition: V, a: V, b: V, out: Shape): ReferenceStorage {
  const y = make(a.storage.dtype, sizeOf(out));
  const [C, A, B] = [condition, a, b].map(v => v.storage.values);
  walk(
    out,
    [condition, a, b].map(v => broadcastStrides(v.shape, out)),
    [0, 0, 0],
    (i, at) => {
      y.values[i] = C[at[0]] !== 0 ? A[at[1]] : B[at[2]];
    },
  );
  return y;
}

function reduce(f: 'sum' | 'max', x: V, outer: number, n: number, inner: number): ReferenceStorage {
  const y = make(x.storage.dtype, outer * inner);
  const X = x.storage.values;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let r = f === 'sum' ? 0 : -Infinity;
      for (let j = 0, p = o * n * inner + i; j < n; j++, p += inner) r = f === 'sum' ? r + X[p] : Math.max(r, X[p]);
      y.values[o * inner + i] = r;
    }
  }
  return y;
}

function matmul(a: V, b: V, transposeA: boolean, transposeB: boolean, out: Shape): ReferenceStorage {
  const y = make(a.storage.dtype, sizeOf(out));
  const [m, n] = out.slice(-2);
  const k = a.shape.at(transposeA ? -2 : -1)!;
  // Strides of one step in m, n and k.
  const [am, ak] = transposeA ? [1, m] : [k, 1];
  const [bk, bn] = transposeB ? [1, k] : [n, 1];
  const batch = out.slice(0, -2);
  const batchStrides = [a, b].map(v => broadcastStrides(v.shape.slice(0, -2), batch));
  walk(batch, [batchStrides[0].map(s => s * m * k), batchStrides[1].map(s => s * k * n)], [0, 0], (i, [pa, pb]) => {
    product(a.storage.values, pa, am, ak, b.storage.values, pb, bk, bn, y.values, i * m * n, m, n, k);
  });
  return y;
}

/** One matrix product, 2×2 outputs at a time. */
function product(
  A: TypedArray,
  pa: number,
  am: number,
  ak: number,
  B: TypedArray,
  pb: number,
  bk: number,
  bn: number,
  Y: TypedArray,
  py: number,
  m: number,
  n: number,
  k: number,
): void {
  for (let i = 0; i < m; i += 2) {
    const i1 = i + 1 < m ? am : 0; // at an odd edge the last row is computed twice
    for (let j = 0; j < n; j += 2) {
      const j1 = j + 1 < n ? bn : 0;
      let [s00, s01, s10, s11] = [0, 0, 0, 0];
      for (let l = 0, a = pa + i * am, b = pb + j * bn; l < k; l++, a += ak, b += bk) {
        const [a0, a1, b0, b1] = [A[a], A[a + i1], B[b], B[b + j1]];
        s00 += a0 * b0;
        s01 += a0 * b1;
        s10 += a1 * b0;
        s11 += a1 * b1;
      }
      const y = py + i * n + j;
      Y[y] = s00;
      if (j1) Y[y + 1] = s01;
      if (i1) Y[y + n] = s10;
      if (i1 && j1) Y[y + n + 1] = s11;
    }
  }
}

function checkIndex(op: string, index: V, n: number, least: number): TypedArray {
  const { values } = index.storage;
  for (let i = 0; i < values.length; i++) {
    if (values[i] >= n || values[i] < least)
      throw new RangeError(`${op}: index ${values[i]} at position ${i} is outside [0, ${n})`);
  }
  return values;
}

/**
 * The maximum of every line. Throws, naming the operation, on lines without a finite maximum and on masses that are not
 * positive and finite.
 */
function topOfLines(op: string, x: V, mass: V | undefined, dim: number): TypedArray {
  const { outer, n, inner } = aroundDim(x.shape, dim);
  const top = reduce('max', x, outer, n, inner).values;
  const line = top.findIndex(value => !Number.isFinite(value));
  if (line >= 0)
    throw new RangeError(
      `${op}: line ${line} of a tensor [${x.shape}] along dim ${dim} has no finite maximum (${top[line]})`,
    );
  const wrong = mass ? mass.storage.values.findIndex(m => !(m > 0 && m < Infinity)) : -1;
  if (wrong >= 0)
    throw new RangeError(`${op}: mass ${wrong} is ${mass!.storage.values[wrong]}; it must be positive and finite`);
  return top;
}

/**
 * Validates on behalf of a composed operation, so that the error names that operation rather than the one it calls.
 */
const checkLines = (op: string): Kernel<ReferenceStorage> => ({
  forward([x, mass], { dim }: { dim: number }) {
    topOfLines(op, x, mass, dim);
    return null;
  },
});

/** τ of every line by Newton's method, in its finite form (Michelot 1986): drop what is below τ until nothing is. */
const simplexThreshold: Kernel<ReferenceStorage> = {
  forward([x, mass], { dim }: { dim: number }, out) {
    const { outer, n, inner } = aroundDim(x.shape, dim);
    const tau = make(x.storage.dtype, outer * inner);
    const X = x.storage.values;
    const tops = topOfLines('simplexThreshold', x, mass, dim);
    walk(out, [broadcastStrides(mass.shape, out)], [0], (line, [at]) => {
      const m = mass.storage.values[at];
      const first = Math.floor(line / inner) * n * inner + (line % inner);
      const last = first + n * inner;
      const top = tops[line];
      // Relative to the maximum τ starts below the solution and rises, so the support shrinks; that it stops shrinking
      // ends the search, even where rounding lets an entry at τ come and go.
      let t = -m;
      for (let support = Infinity, size = n + 1; size < support; ) {
        support = size;
        let total = 0;
        size = 0;
        for (let p = first; p < last; p += inner) {
          const z = X[p] - top;
          if (z <= t) continue;
          total += z;
          size++;
        }
        t = (total - m) / size;
      }
      tau.values[line] = top + t;
    });
    return tau;
  },
};

/** The reference backend: float32 and float64, one thread, no limit. */
export function createReferenceBackend(): Backend<ReferenceStorage> {
  return {
    name: 'reference',
    arithmetic: 'reference',
    floats: ['float32', 'float64'],
    describe: () => 'reference: plain loops over typed arrays, one thread, float32 and float64',
    upload: values =>
      store(
        values.slice(),
        values instanceof Int32Array ? 'int32' : values instanceof Float64Array ? 'float64' : 'float32',
      ),
    read: async x => x.values.slice(),
    readSync: x => x.values.slice(),
    free: () => {},
    unary: (f, x) => {
      const y = make(x.storage.dtype, x.storage.size);
      for (let i = 0; i < y.size; i++) y.values[i] = unaries[f](x.storage.values[i]);
      return y;
    },
    binary,
    where,
    toFloat: (x, dtype) => store(arrays[dtype].from(x.storage.values), dtype),
    reduce,
    matmul,
    gather: (table, index) => {
      const [n, width] = table.shape;
      const rows = make(table.storage.dtype, index.storage.size * width);
      checkIndex('embedding', index, n, 0).forEach((row, i) =>
        rows.values.set(table.storage.values.subarray(row * width, (row + 1) * width), i * width),
      );
      return rows;
    },
    scatterAdd: (rows, index, n) => {
      const width = rows.shape.at(-1)!;
      const sums = new Float64Array(n * width);
      checkIndex('scatterAdd', index, n, 0).forEach((row, i) => {
        for (let c = 0; c < width; c++) sums[row * width + c] += rows.storage.values[i * width + c];
      });
      return store(arrays[rows.storage.dtype].from(sums), rows.storage.dtype);
    },
    oneHot: (index, n, dtype) => {
      const y = make(dtype, index.storage.size * n);
      checkIndex('oneHot', index, n, -Infinity).forEach((column, i) => {
        if (column >= 0) y.values[i * n + column] = 1;
      });
      return y;
    },
    strided: (x, out, strides, offset) => {
      const y = make(x.storage.dtype, sizeOf(out));
      walk(out, [strides], [offset], (i, [at]) => {
        y.values[i] = x.storage.values[at];
      });
      return y;
    },
    concat: (xs, outer, lengths, inner) => {
      const total = lengths.reduce((s, n) => s + n, 0);
      const y = make(xs[0].storage.dtype, outer * total * inner);
      let start = 0;
      xs.forEach((x, i) => {
        const width = lengths[i] * inner;
        for (let o = 0; o < outer; o++)
          y.values.set(x.storage.values.subarray(o * width, (o + 1) * width), o * total * inner + start);
        start += width;
      });
      return y;
    },
    kernels: {
      simplexThreshold,
      simplexProjection: checkLines('simplexProjection'),
      sparsemax: checkLines('sparsemax'),
    },
  };
}
