/**
 * Operations that move values and compute nothing: reshape, transpose, slice, concat, broadcast; and their adjoints.
 */
import type { Shape } from '../backend.ts';
import { addMethods, type Methods } from '../methods.ts';
import { apply, defineOp } from '../op.ts';
import {
  aroundDim,
  broadcastShapes,
  broadcastStrides,
  checkShape,
  normalizeDim,
  sameShape,
  show,
  sizeOf,
  stridesOf,
} from '../shape.ts';
import { zeros, type Tensor } from '../tensor.ts';
import { sumTo } from './elementwise.ts';

const noFlops = (): number => 0;

const reshapeOp = defineOp<{ shape: Shape }>({
  name: 'reshape',
  shape: (_, { shape }) => shape,
  primitive: (_, [x]) => x.storage,
  vjp: (g, [x]) => [() => g.reshape(x.shape)],
  flops: noFlops,
  bytes: noFlops,
});

/** The same values in another shape; one length may be −1 and is then inferred. Copies nothing. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = shape.reduce((size, n) => (n === -1 ? size : size * n), 1);
  const full = shape.map(n => (n === -1 && known > 0 ? x.size / known : n));
  checkShape('reshape', full);
  if (shape.filter(n => n === -1).length > 1 || sizeOf(full) !== x.size)
    throw new Error(`reshape: ${show(x.shape)} does not fit ${show(shape)}`);
  return sameShape(full, x.shape) ? x : apply(reshapeOp, [x], { shape: full });
}

const permuteOp = defineOp<{ dims: readonly number[] }>({
  name: 'permute',
  shape: ([x], { dims }) => dims.map(d => x[d]),
  primitive: (backend, [x], { dims }, out) =>
    backend.strided(
      x,
      out,
      dims.map(d => stridesOf(x.shape)[d]),
      0,
    ),
  vjp: (g, _, __, { dims }) => [() => g.permute(dims.map((_, d) => dims.indexOf(d)))],
  flops: noFlops,
});

/** Reorders the dims: dim i of the result is dim `dims[i]` of x. */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  const order = dims.map(d => normalizeDim('permute', d, x.shape.length));
  if (order.length !== x.shape.length || new Set(order).size !== order.length)
    throw new Error(`permute: ${show(dims)} is not a permutation of the ${x.shape.length} dims of ${show(x.shape)}`);
  return apply(permuteOp, [x], { dims: order });
}

/** Swaps two dims, by default the last two. */
export function transpose(x: Tensor, dim0: number = -2, dim1: number = -1): Tensor {
  const dims = x.shape.map((_, i) => i);
  const [a, b] = [dim0, dim1].map(d => normalizeDim('transpose', d, x.shape.length));
  [dims[a], dims[b]] = [b, a];
  return x.permute(dims);
}

const sliceOp = defineOp<{ dim: number; start: number; end: number }>({
  name: 'slice',
  shape: ([x], { dim, start, end }) => x.map((n, i) => (i === dim ? end - start : n)),
  primitive: (backend, [x], { dim, start }, out) =>
    backend.strided(x, out, stridesOf(x.shape), start * stridesOf(x.shape)[dim]),
  vjp: (g, [x], _, { dim, start, end }) => [
    () => {
      const pad = (n: number) =>
        n > 0
          ? [
              zeros(
                x.shape.map((m, i) => (i === dim ? n : m)),
                { dtype: g.dtype, backend: g.backend },
              ),
            ]
          : [];
      return concat([...pad(start), g, ...pad(x.shape[dim] - end)], dim);
    },
  ],
  flops: noFlops,
  bytes: (_, __, out) => 8 * sizeOf(out),
});

/** The part of x from `start` up to, not including, `end` along `dim`; negative positions count from the end. */
export function slice(
  x: Tensor,
  dim: number,
  start: number,
  end: number = x.shape[normalizeDim('slice', dim, x.shape.length)],
): Tensor {
  const d = normalizeDim('slice', dim, x.shape.length);
  const n = x.shape[d];
  const [from, to] = [start, end].map(i => (i < 0 ? i + n : i));
  if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= n))
    throw new Error(`slice: [${start}, ${end}) is not within dim ${dim} of ${show(x.shape)}`);
  return apply(sliceOp, [x], { dim: d, start: from, end: to });
}

const concatOp = defineOp<{ dim: number }>({
  name: 'concat',
  shape: (shapes, { dim }) => {
    const [first] = shapes;
    const fits = (s: Shape) => s.length === first.length && s.every((n, i) => i === dim || n === first[i]);
    if (!shapes.every(fits))
      throw new Error(`concat: shapes ${shapes.map(show).join(', ')} differ in dims other than ${dim}`);
    return first.map((n, i) => (i === dim ? shapes.reduce((sum, s) => sum + s[dim], 0) : n));
  },
  primitive: (backend, xs, { dim }) => {
    const { outer, inner } = aroundDim(xs[0].shape, dim);
    return backend.concat(
      xs,
      outer,
      xs.map(x => x.shape[dim]),
      inner,
    );
  },
  vjp: (g, xs, _, { dim }) => {
    let end = 0;
    return xs.map(x => {
      const start = end;
      end += x.shape[dim];
      return () => g.slice(dim, start, start + x.shape[dim]);
    });
  },
  flops: noFlops,
});

/** Joins tensors along `dim`. */
export function concat(xs: readonly Tensor[], dim = 0): Tensor {
  if (xs.length === 0) throw new Error('concat: nothing to join');
  return apply(concatOp, xs, { dim: normalizeDim('concat', dim, xs[0].shape.length) });
}

/** Joins tensors of one shape along a new dim, at position `dim` of the result. */
export function stack(xs: readonly Tensor[], dim: number = 0): Tensor {
  if (xs.length === 0) throw new Error('stack: nothing to join');
  if (!xs.every(x => sameShape(x.shape, xs[0].shape)))
    throw new Error(`stack: shapes differ: ${xs.map(x => show(x.shape)).join(', ')}`);
  const d = normalizeDim('stack', dim, xs[0].shape.length + 1);
  return concat(
    xs.map(x => x.unsqueeze(d)),
    d,
  );
}

/** Cuts x along `dim` into parts of `size`, the last one shorter if need be; or into parts of the given sizes. */
export function split(x: Tensor, size: number | readonly number[], dim: number = 0): Tensor[] {
  const d = normalizeDim('split', dim, x.shape.length);
  const n = x.shape[d];
  if (typeof size === 'number' && !(Number.isInteger(size) && size > 0))
    throw new Error(`split: the size of a part must be a whole number of 1 or more, not ${size}`);
  const sizes =
    typeof size === 'number'
      ? Array.from({ length: Math.max(1, Math.ceil(n / size)) }, (_, i) => Math.min(size, n - i * size))
      : size;
  if (sizes.reduce((a, b) => a + b, 0) !== n)
    throw new Error(`split: sizes ${show(sizes)} do not add up to dim ${dim} of ${show(x.shape)}`);
  let end = 0;
  return sizes.map(m => x.slice(d, end, (end += m)));
}

/** Cuts x along `dim` into at most `chunks` parts of one size, the last one shorter if need be. */
export function chunk(x: Tensor, chunks: number, dim: number = 0): Tensor[] {
  if (!(Number.isInteger(chunks) && chunks > 0))
    throw new Error(`chunk: the number of parts must be a whole number of 1 or more, not ${chunks}`);
  return x.split(Math.max(1, Math.ceil(x.shape[normalizeDim('chunk', dim, x.shape.length)] / chunks)), dim);
}

/** Puts a dim of length 1 at position `dim` of the result. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = normalizeDim('unsqueeze', dim, x.shape.length + 1);
  return x.reshape(x.shape.toSpliced(d, 0, 1));
}

/** Drops `dim` if its length is 1; without `dim` every dim of length 1. */
export function squeeze(x: Tensor, dim?: number): Tensor {
  const d = dim === undefined ? null : normalizeDim('squeeze', dim, x.shape.length);
  return x.reshape(x.shape.filter((n, i) => n !== 1 || (d !== null && i !== d)));
}

/** Joins the dims from `start` to `end`, both included, into one; all of them unless told otherwise. */
export function flatten(x: Tensor, start: number = 0, end: number = -1): Tensor {
  if (x.shape.length === 0) return x.reshape([1]);
  const [from, to] = [start, end].map(d => normalizeDim('flatten', d, x.shape.length));
  if (from > to) throw new Error(`flatten: dim ${start} comes after dim ${end} of ${show(x.shape)}`);
  return x.reshape([...x.shape.slice(0, from), sizeOf(x.shape.slice(from, to + 1)), ...x.shape.slice(to + 1)]);
}

const broadcastToOp = defineOp<{ shape: Shape }>({
  name: 'broadcastTo',
  shape: ([x], { shape }) => {
    if (!sameShape(broadcastShapes('broadcastTo', x, shape), shape))
      throw new Error(`broadcastTo: ${show(x)} does not stretch to ${show(shape)}`);
    return shape;
  },
  primitive: (backend, [x], _, out) => backend.strided(x, out, broadcastStrides(x.shape, out), 0),
  vjp: (g, [x]) => [() => sumTo(g, x.shape)],
  flops: noFlops,
  bytes: (_, __, out) => 4 * sizeOf(out),
});

/** Stretches x to `shape` by NumPy's rule. */
export const broadcastTo = (x: Tensor, shape: Shape): Tensor => apply(broadcastToOp, [x], { shape });

const methods = { reshape, permute, transpose, slice, split, chunk, unsqueeze, squeeze, flatten, broadcastTo };
declare module '../tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
