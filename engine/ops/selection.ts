/**
 * Choosing values along a dim: argmax, argmin, topk.
 *
 * Their results are indices, which backends keep and check on the host, so these functions read the values of x. A
 * backend that reads only asynchronously (gpu) has them as promises: `await x.argmaxAsync()`. There x must live until
 * the promise is settled.
 */
import type { Shape, TypedArray } from '../backend.ts';
import { addMethods, type Methods } from '../methods.ts';
import { aroundDim, normalizeDim, show } from '../shape.ts';
import { tensor, type Tensor } from '../tensor.ts';
import type { ReduceOptions } from './reduce.ts';

/** The k largest values along a dim, largest first, and their places (int32); both have length k along that dim. */
export interface TopK {
  readonly values: Tensor;
  readonly indices: Tensor;
}

type Choose = (x: Tensor, dim?: number, options?: ReduceOptions) => Tensor;
type ChooseAsync = (...args: Parameters<Choose>) => Promise<Tensor>;

/** The values of x at once; an error that says what to call where the backend cannot give them. */
function readNow(name: string, x: Tensor): TypedArray {
  if (!x.backend.readSync)
    throw new Error(`${name}: backend '${x.backend.name}' reads asynchronously; use await x.${name}Async(…)`);
  return x.dataSync();
}

/**
 * For every line along the middle of (outer, n, inner) the places of its k first values, largest first (`sign` 1) or
 * smallest first (−1); equal values in the order of their places, NaN before all others.
 */
function places(values: TypedArray, [outer, n, inner]: Shape, k: number, sign: 1 | -1): Int32Array<ArrayBuffer> {
  const found = new Int32Array(outer * k * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const value = (j: number) => sign * values[(o * n + j) * inner + i];
      const compare = (a: number, b: number): number => {
        const [p, q] = [value(a), value(b)];
        if (Number.isNaN(p) || Number.isNaN(q)) return Number(Number.isNaN(q)) - Number(Number.isNaN(p)) || a - b;
        return q > p ? 1 : q < p ? -1 : a - b;
      };
      const all = Array.from({ length: n }, (_, j) => j);
      const order = k === 1 ? [all.reduce((a, b) => (compare(a, b) < 0 ? a : b))] : all.sort(compare);
      for (let j = 0; j < k; j++) found[(o * k + j) * inner + i] = order[j];
    }
  }
  return found;
}

/** argmax or argmin, once the shape is checked: what it makes of the values. */
function extreme(
  name: string,
  sign: 1 | -1,
  x: Tensor,
  dim?: number,
  { keepdim = false }: ReduceOptions = {},
): (values: TypedArray) => Tensor {
  const d = dim === undefined ? undefined : normalizeDim(name, dim, x.shape.length);
  const { outer, n, inner } = d === undefined ? { outer: 1, n: x.size, inner: 1 } : aroundDim(x.shape, d);
  if (n === 0)
    throw new Error(`${name}: ${show(x.shape)} has no values${dim === undefined ? '' : ` along dim ${dim}`}`);
  const kept = x.shape.map((length, i) => (d === undefined || i === d ? 1 : length));
  const shape = keepdim ? kept : x.shape.filter((_, i) => d !== undefined && i !== d);
  return values => tensor(places(values, [outer, n, inner], 1, sign), { shape, backend: x.backend });
}

/** topk, once the arguments are checked: what it makes of the values. */
function largest(x: Tensor, k: number, dim: number): (values: TypedArray) => TopK {
  const d = normalizeDim('topk', dim, x.shape.length);
  const { outer, n, inner } = aroundDim(x.shape, d);
  if (!(Number.isInteger(k) && k >= 1 && k <= n))
    throw new Error(`topk: ${k} of the ${n} values along dim ${d} of ${show(x.shape)}`);
  const shape = x.shape.with(d, k);
  return values => {
    const found = places(values, [outer, n, inner], k, 1);
    const flat = found.map((j, p) => (Math.floor(p / (k * inner)) * n + j) * inner + (p % inner));
    const [indices, positions] = [found, flat].map(ids => tensor(ids, { shape, backend: x.backend }));
    return { values: positions.embedding(x.reshape([-1, 1])).reshape(shape), indices };
  };
}

/**
 * The place of the largest value along `dim`, or in the flattened tensor: int32, the first of equals; NaN counts as the
 * largest. No gradient. An error where the backend reads only asynchronously: use `argmaxAsync` there.
 */
export const argmax: Choose = (x, dim, options) => extreme('argmax', 1, x, dim, options)(readNow('argmax', x));

/** The place of the smallest value along `dim`, as `argmax`; NaN counts as the smallest. */
export const argmin: Choose = (x, dim, options) => extreme('argmin', -1, x, dim, options)(readNow('argmin', x));

/**
 * The k largest values along `dim`, largest first, and their places. The gradient goes to the chosen values. An error
 * where the backend reads only asynchronously: use `topkAsync` there.
 */
export const topk = (x: Tensor, k: number, dim: number = -1): TopK => largest(x, k, dim)(readNow('topk', x));

/** `argmax` on any backend. */
export const argmaxAsync: ChooseAsync = async (x, dim, options) =>
  extreme('argmax', 1, x, dim, options)(await x.data());

/** `argmin` on any backend. */
export const argminAsync: ChooseAsync = async (x, dim, options) =>
  extreme('argmin', -1, x, dim, options)(await x.data());

/** `topk` on any backend. The values are chosen once they are read, so no scope holds the results. */
export const topkAsync = async (x: Tensor, k: number, dim: number = -1): Promise<TopK> =>
  largest(x, k, dim)(await x.data());

const methods = { argmax, argmin, topk, argmaxAsync, argminAsync, topkAsync };
declare module '../tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
