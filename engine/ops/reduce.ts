/** Reductions over one, several or all dims, and the softmax family. */
import type { Reduction, Shape } from '../backend.ts';
import type { Dim } from '../attributes.ts';
import { addMethods, type Methods } from '../methods.ts';
import { apply, defineOp, type Op } from '../op.ts';
import { aroundDim, normalizeDim, sizeOf } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { where } from './elementwise.ts';
import { concat } from './layout.ts';

/** One dim, several, or, where it is missing, all. */
export type Dims = number | readonly number[];

/** Options of reductions. */
export interface ReduceOptions {
  /** Reduced dims stay, with length 1. */
  readonly keepdim?: boolean;
}

type Reduce = (x: Tensor, dims?: Dims, options?: ReduceOptions) => Tensor;
type AlongDim = (x: Tensor, dim?: number) => Tensor;

const inSize = ([x]: readonly Shape[]): number => sizeOf(x);
const keepDim = ([x]: readonly Shape[], { dim }: Dim): Shape => x.map((n, i) => (i === dim ? 1 : n));

function reduction(name: string, f: Reduction, vjp: Op<Dim>['vjp']): Op<Dim> {
  return defineOp<Dim>({
    name,
    shape: keepDim,
    primitive: (backend, [x], { dim }) => {
      const { outer, n, inner } = aroundDim(x.shape, dim);
      return backend.reduce(f, x, outer, n, inner);
    },
    vjp,
    flops: inSize,
  });
}

const sumOp = reduction('sum', 'sum', (g, [x]) => [() => g.broadcastTo(x.shape)]);
const amaxOp = reduction('amax', 'max', (g, [x], y, { dim }) => [
  () => {
    const ties = x.eq(y);
    return g.mul(ties.div(ties.sum(dim, { keepdim: true })));
  },
]);

/** Reduces dims one by one, last first; drops them unless `keepdim`. */
function overDims(op: Op<Dim>, x: Tensor, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  const all = x.shape.map((_, i) => i);
  const list =
    dims === undefined
      ? all
      : (typeof dims === 'number' ? [dims] : dims).map(d => normalizeDim(op.name, d, x.shape.length));
  const reduced = [...new Set(list)].sort((a, b) => b - a);
  const kept = reduced.reduce((t, dim) => apply(op, [t], { dim }), x);
  return keepdim ? kept : kept.reshape(x.shape.filter((_, i) => !reduced.includes(i)));
}

/** The sum over `dims` (all of them by default). */
export const sum: Reduce = (x, dims, options) => overDims(sumOp, x, dims, options);

/** The largest value over `dims` (all of them by default). Tied values share the gradient; NaN wins. */
export const amax: Reduce = (x, dims, options) => overDims(amaxOp, x, dims, options);

/** The smallest value over `dims` (all of them by default). Tied values share the gradient; NaN wins. */
export const amin: Reduce = (x, dims, options) => x.neg().amax(dims, options).neg();

/** The mean over `dims` (all of them by default). */
export const mean: Reduce = (x, dims, options) => {
  const total = x.sum(dims, options);
  return total.div(x.size / total.size);
};

/** Options of `variance` and `std`. */
export interface VarianceOptions extends ReduceOptions {
  /** What is taken from the number of values in the denominator: 1 (Bessel's correction) unless told otherwise. */
  readonly correction?: number;
}

/** The variance over `dims` (all of them by default): Σ (x − mean)² / (n − correction). As a method: `var`. */
export function variance(x: Tensor, dims?: Dims, { correction = 1, keepdim }: VarianceOptions = {}): Tensor {
  const squares = x
    .sub(x.mean(dims, { keepdim: true }))
    .square()
    .sum(dims, { keepdim });
  return squares.div(x.size / squares.size - correction);
}

/** The standard deviation over `dims` (all of them by default): the root of `variance`. */
export const std = (x: Tensor, dims?: Dims, options?: VarianceOptions): Tensor => variance(x, dims, options).sqrt();

/** The sums of the first 1, 2, … n values along `dim`, in ⌈log₂ n⌉ additions of the whole (Hillis & Steele 1986). */
export function cumsum(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('cumsum', dim, x.shape.length);
  const n = x.shape[d];
  let y = x;
  for (let shift = 1; shift < n; shift *= 2) {
    const head = y.slice(d, 0, shift);
    y = concat([head, y.slice(d, shift).add(y.slice(d, 0, n - shift))], d);
  }
  return y;
}

/** A fused operation along one dim. */
function along(
  name: string,
  flops: number,
  shape: Op<Dim>['shape'],
  definition: NonNullable<Op<Dim>['definition']>,
  vjp: Op<Dim>['vjp'],
): AlongDim {
  const op = defineOp<Dim>({
    name,
    shape,
    definition,
    vjp,
    flops: shapes => flops * inSize(shapes),
  });
  return (x, dim = -1) => apply(op, [x], { dim: normalizeDim(name, dim, x.shape.length) });
}

const logsumexpKept: AlongDim = along(
  'logsumexp',
  4,
  keepDim,
  ([x], { dim }) => {
    const top = x.amax(dim, { keepdim: true }).detach();
    const m = where(top.sub(top).eq(0), top, 0); // ∞ − ∞ is not a number
    return m.add(x.sub(m).exp().sum(dim, { keepdim: true }).log());
  },
  // Where y is −∞ so are all x, and the gradient is 0.
  (g, [x], y) => [() => g.mul(x.sub(where(y.eq(-Infinity), 0, y)).exp())],
);

/**
 * log Σ e^x along `dim`, shifted by the maximum, so that it does not overflow. Of a line of −∞ it is −∞, with gradient
 * 0; of a line with ∞ it is ∞, with gradient 0 but for that place, where it is NaN.
 */
export const logsumexp: (x: Tensor, dim?: number, options?: ReduceOptions) => Tensor = (
  x,
  dim = -1,
  { keepdim = false } = {},
) => {
  const kept = logsumexpKept(x, dim);
  const d = normalizeDim('logsumexp', dim, x.shape.length);
  return keepdim ? kept : kept.reshape(x.shape.filter((_, i) => i !== d));
};

const same: Op<Dim>['shape'] = ([x]) => x;

/** e^x / Σ e^x along `dim`. */
export const softmax: AlongDim = along(
  'softmax',
  5,
  same,
  ([x], { dim }) => {
    const e = x.sub(x.amax(dim, { keepdim: true }).detach()).exp();
    return e.div(e.sum(dim, { keepdim: true }));
  },
  (g, _, y, { dim }) => [() => y.mul(g.sub(g.mul(y).sum(dim, { keepdim: true })))],
);

/** log softmax along `dim`. */
export const logSoftmax: AlongDim = along(
  'logSoftmax',
  5,
  same,
  ([x], { dim }) => {
    const y = x.logsumexp(dim, { keepdim: true });
    return x.sub(where(y.eq(Infinity), NaN, y)); // as softmax, which divides ∞ by ∞
  },
  (g, _, y, { dim }) => [() => g.sub(y.exp().mul(g.sum(dim, { keepdim: true })))],
);

const methods = {
  sum,
  amax,
  amin,
  mean,
  var: variance,
  std,
  cumsum,
  logsumexp,
  softmax,
  logSoftmax,
};
declare module '../tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
