/**
 * Kernels that move values: strided copies, joins, rows by index. Indices are checked, and their inverse made, on the
 * host.
 */
import type { Shape, View } from '../backend.ts';
import { sizeOf } from '../shape.ts';
import type { Thread, Values } from './gpujs.ts';
import { divide, placeOf, remainder } from './indexing.ts';
import type { GpuStorage, Machine } from './machine.ts';

/** x at offset + Σ i_d stride_d; `layout` holds length and stride of every dim, the innermost first. */
function stridedCopy(this: Thread, x: Values, layout: Values, rank: number, offset: number): number {
  // gpu.js keeps a local whole that is counted up somewhere; so both are one more than they should be.
  let rest = 0;
  let at = 0;
  rest++;
  at++;
  rest += this.thread.x;
  for (let d = 0; d < rank; d++) {
    at += placeOf(remainder(rest - 1, layout[2 * d]), layout[2 * d + 1], 0);
    rest = placeOf(divide(rest - 1, layout[2 * d]), 1, 1);
  }
  return x[at + offset - 1];
}

/** Copies a strided view out: out[i…] = x[offset + Σ i·strides]. */
export function strided(
  machine: Machine,
  x: GpuStorage,
  out: Shape,
  strides: readonly number[],
  offset: number,
): GpuStorage {
  const size = sizeOf(out);
  if (x.host !== null) {
    const at = (i: number): number =>
      out.reduceRight(([p, rest], n, d): [number, number] => [p + (rest % n) * strides[d], Math.floor(rest / n)], [
        offset,
        i,
      ] as [number, number])[0];
    return machine.upload(Int32Array.from({ length: size }, (_, i) => x.host![at(i)]));
  }
  const merged = mergedLayout(out, strides);
  const layout = machine.constant(`layout ${merged.join()}`, () => Float32Array.from(merged));
  const y = machine.run(stridedCopy, [size], [x, layout, merged.length / 2, offset]);
  machine.free(layout);
  return y;
}

/** Length and stride of every dim, the innermost first; dims that follow each other in memory become one. */
function mergedLayout(out: Shape, strides: readonly number[]): number[] {
  const layout: number[] = [];
  for (let d = out.length - 1; d >= 0; d--) {
    if (out[d] === 1) continue;
    const last = layout.length - 2;
    if (last >= 0 && layout[last] * layout[last + 1] === strides[d]) layout[last] *= out[d];
    else layout.push(out[d], strides[d]);
  }
  return layout.length > 0 ? layout : [1, 0];
}

/** (outer, aWidth) and (outer, bWidth) side by side. */
function joined(this: Thread, a: Values, b: Values, aWidth: number, bWidth: number): number {
  if (remainder(this.thread.x, aWidth + bWidth) < aWidth)
    return a[placeOf(divide(this.thread.x, aWidth + bWidth), aWidth, remainder(this.thread.x, aWidth + bWidth))];
  return b[placeOf(divide(this.thread.x, aWidth + bWidth), bWidth, remainder(this.thread.x, aWidth + bWidth) - aWidth)];
}

/** Joins (outer, nᵢ, inner) along the middle. */
export function concat(
  machine: Machine,
  xs: readonly GpuStorage[],
  outer: number,
  lengths: readonly number[],
  inner: number,
): GpuStorage {
  if (xs[0].host !== null) {
    const rows = Array.from({ length: outer }, (_, o) =>
      xs.flatMap((x, i) => Array.from(x.host!.subarray(o * lengths[i] * inner, (o + 1) * lengths[i] * inner))),
    );
    return machine.upload(Int32Array.from(rows.flat()));
  }
  const parts = xs.map((x, i) => ({ x, width: lengths[i] * inner })).filter(({ x }) => x.size > 0);
  if (parts.length < 2) {
    const [only] = parts;
    return only ? strided(machine, only.x, [only.x.size], [1], 0) : machine.filled(0, 0);
  }
  return parts.slice(1).reduce((a, b, i) => {
    const x = machine.run(joined, [outer * (a.width + b.width)], [a.x, b.x, a.width, b.width]);
    if (i > 0) machine.free(a.x);
    return { x, width: a.width + b.width };
  }, parts[0]).x;
}

function gathered(this: Thread, table: Values, index: Values, width: number): number {
  const row = index[divide(this.thread.x, width)];
  const column = remainder(this.thread.x, width);
  return table[placeOf(row, width, column)];
}

/** Rows of `table` (n, width) by `index`: (index size, width). */
export function gather(machine: Machine, table: View<GpuStorage>, index: GpuStorage): GpuStorage {
  const [n, width] = table.shape;
  indices('embedding', index, n, 0);
  return machine.run(gathered, [index.size * width], [table.storage, index, width]);
}

/** The sum of the rows that `order` lists for this row, from `starts[row]` up to the next row's start. */
function summedRows(this: Thread, rows: Values, order: Values, starts: Values, width: number): number {
  const row = divide(this.thread.x, width);
  const column = remainder(this.thread.x, width);
  const end = starts[row + 1];
  let sum = 0;
  for (let p = starts[row]; p < end; p += 1) {
    const from = order[p];
    sum += rows[placeOf(from, width, column)];
  }
  return sum;
}

/**
 * A scatter as a gather: a device adds floats from many threads in no fixed order, one thread a sum in that of the
 * index.
 */
export function scatterAdd(machine: Machine, rows: View<GpuStorage>, index: GpuStorage, n: number): GpuStorage {
  const width = rows.shape.at(-1)!;
  const values = indices('scatterAdd', index, n, 0);
  if (values.length === 0) return machine.filled(n * width, 0);
  const starts = new Float32Array(n + 1);
  for (const row of values) starts[row + 1]++;
  for (let row = 0; row < n; row++) starts[row + 1] += starts[row];
  const next = starts.slice();
  const order = new Float32Array(values.length);
  values.forEach((row, i) => {
    order[next[row]++] = i;
  });
  const [orderThere, startsThere] = [machine.upload(order), machine.upload(starts)];
  const sums = machine.run(summedRows, [n * width], [rows.storage, orderThere, startsThere, width]);
  machine.free(orderThere);
  machine.free(startsThere);
  return sums;
}

function hot(this: Thread, index: Values, n: number): number {
  const column = remainder(this.thread.x, n);
  return index[divide(this.thread.x, n)] === column ? 1 : 0;
}

/** (index size, n): 1 at the index, 0 elsewhere. */
export function oneHot(machine: Machine, index: GpuStorage, n: number): GpuStorage {
  indices('oneHot', index, n, -Infinity);
  return machine.run(hot, [index.size * n], [index, n]);
}

/** The values of an index, once they are known to be in [least, n). */
export function indices(op: string, index: GpuStorage, n: number, least: number): Int32Array {
  const values = index.host!;
  const wrong = values.findIndex(v => v >= n || v < least);
  if (wrong >= 0) throw new RangeError(`${op}: index ${values[wrong]} at position ${wrong} is outside [0, ${n})`);
  return values;
}
