/** Reductions over one, several or all dims, and the softmax family. */
import type { Reduction, Shape } from '../backend.ts';
import { apply, row, type Row, type Sample } from '../op.ts';
import { aroundDim, normalizeDim, sizeOf } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { div, equal, exp, log, mul, sub, add } from './elementwise.ts';
import { broadcastTo, reshape } from './layout.ts';
import { normals } from './samples.ts';

/** Attributes of rows that work along one dim; it is resolved, so not negative. */
export interface Dim {
  readonly dim: number;
}

const inSize = ([x]: readonly Shape[]): number => sizeOf(x);
const keepDim = ([x]: readonly Shape[], { dim }: Dim): Shape => x.map((n, i) => (i === dim ? 1 : n));
const sampleAlong =
  (dim: number): Row<Dim>['sample'] =>
  (random, size) => ({ inputs: [normals(random, [size, size + 1])], attributes: { dim } });

/** The smallest gap between the largest values of a line: the distance from a tie. */
function gapOfLargest([x]: readonly Sample[], { dim }: Dim): number {
  const { outer, n, inner } = aroundDim(x.shape, dim);
  let least = Infinity;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const line = Array.from({ length: n }, (_, j) => x.values[(o * n + j) * inner + i]).sort((a, b) => b - a);
      if (n > 1) least = Math.min(least, line[0] - line[1]);
    }
  }
  return least;
}

function reduction(f: Reduction, vjp: Row<Dim>['vjp'], kinks?: Row<Dim>['kinks']): Row<Dim> {
  return row<Dim>({
    name: f,
    shape: keepDim,
    primitive: (backend, [x], { dim }) => {
      const { outer, n, inner } = aroundDim(x.shape, dim);
      return backend.reduce(f, x, outer, n, inner);
    },
    vjp,
    kinks,
    sample: sampleAlong(0),
    flops: inSize,
  });
}

const sumOp = reduction('sum', (g, [x]) => [() => broadcastTo(g, x.shape)]);
const maxOp = reduction(
  'max',
  (g, [x], y, { dim }) => [
    () => {
      const ties = equal(x, y);
      return mul(g, div(ties, sum(ties, dim, true)));
    },
  ],
  gapOfLargest,
);

/** Reduces dims one by one, last first; drops them unless `keep`. */
function overDims(op: Row<Dim>, x: Tensor, dims: number | readonly number[] | undefined, keep: boolean): Tensor {
  const all = x.shape.map((_, i) => i);
  const list =
    dims === undefined
      ? all
      : (typeof dims === 'number' ? [dims] : dims).map(d => normalizeDim(op.name, d, x.shape.length));
  const reduced = [...new Set(list)].sort((a, b) => b - a);
  const kept = reduced.reduce((t, dim) => apply(op, [t], { dim }), x);
  return keep
    ? kept
    : reshape(
        kept,
        x.shape.filter((_, i) => !reduced.includes(i)),
      );
}

/** The sum over `dims` (all of them by default). */
export const sum = (x: Tensor, dims?: number | readonly number[], keep = false): Tensor =>
  overDims(sumOp, x, dims, keep);

/** The largest value over `dims`; tied values share the gradient, as in PyTorch's amax. */
export const max = (x: Tensor, dims?: number | readonly number[], keep = false): Tensor =>
  overDims(maxOp, x, dims, keep);

/** The mean over `dims` (all of them by default). */
export function mean(x: Tensor, dims?: number | readonly number[], keep = false): Tensor {
  const total = sum(x, dims, keep);
  return div(total, x.size / total.size);
}

/** A fused row along one dim. */
function along(
  name: string,
  flops: number,
  shape: Row<Dim>['shape'],
  definition: NonNullable<Row<Dim>['definition']>,
  vjp: Row<Dim>['vjp'],
): (x: Tensor, dim?: number) => Tensor {
  const op = row<Dim>({
    name,
    shape,
    definition,
    vjp,
    sample: sampleAlong(1),
    flops: shapes => flops * inSize(shapes),
  });
  return (x, dim = -1) => apply(op, [x], { dim: normalizeDim(name, dim, x.shape.length) });
}

/** log Σ e^x along `dim`, which keeps length 1; shifted by the maximum, so that it does not overflow. */
export const logsumexp = along(
  'logsumexp',
  4,
  keepDim,
  ([x], { dim }) => {
    const m = max(x, dim, true).detach();
    return add(m, log(sum(exp(sub(x, m)), dim, true)));
  },
  (g, [x], y) => [() => mul(g, exp(sub(x, y)))],
);

const same: Row<Dim>['shape'] = ([x]) => x;

/** e^x / Σ e^x along `dim`. */
export const softmax = along(
  'softmax',
  5,
  same,
  ([x], { dim }) => {
    const e = exp(sub(x, max(x, dim, true).detach()));
    return div(e, sum(e, dim, true));
  },
  (g, _, y, { dim }) => [() => mul(y, sub(g, sum(mul(g, y), dim, true)))],
);

/** log softmax along `dim`. */
export const logSoftmax = along(
  'logSoftmax',
  5,
  same,
  ([x], { dim }) => sub(x, logsumexp(x, dim)),
  (g, _, y, { dim }) => [() => sub(g, mul(exp(y), sum(g, dim, true)))],
);
