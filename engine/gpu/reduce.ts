/**
 * Sums and maxima over the middle of (outer, n, inner), of values and of functions of them. A long line is shared by
 * several threads, thread p of `parts` taking elements p, p + parts, …, so that neighbours read neighbours; their
 * results are a shorter line, which is reduced again. A thread adds in blocks of 32: few roundings follow each other.
 *
 * The sum kernels differ in one term and repeat the loop around it. gpu.js translates the source text of a kernel
 * without its closure, so a term cannot be passed in; source assembled from strings would escape TypeScript's checks,
 * and one kernel that chose its term by an argument would read two operands where a plain sum has one.
 */
import type { Reduction } from '../backend.ts';
import type { KernelSource, Thread, Values } from './gpujs.ts';
import { divide, remainder } from './indexing.ts';
import type { GpuStorage, Machine } from './machine.ts';

/** A tensor seen as lines. */
export interface Lines {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** The line o · inner + i of thread (o, p, i). */
export function lineOf(thread: number, inner: number, parts: number): number {
  return divide(thread, inner * parts) * inner + thread - inner * divide(thread, inner);
}
/** The place of element j of line (o, i). */
export function elementAt(o: number, n: number, j: number, inner: number, i: number): number {
  return (o * n + j) * inner + i;
}

function sumOf(this: Thread, x: Values, n: number, inner: number, parts: number): number {
  const o = divide(this.thread.x, inner * parts);
  const i = remainder(this.thread.x, inner);
  let sum = 0;
  for (let block = remainder(divide(this.thread.x, inner), parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      part += x[elementAt(o, n, j, inner, i)];
    }
    sum += part;
  }
  return sum;
}

function maxOf(this: Thread, x: Values, n: number, inner: number, parts: number): number {
  const o = divide(this.thread.x, inner * parts);
  const i = remainder(this.thread.x, inner);
  const first = remainder(divide(this.thread.x, inner), parts);
  let most = x[elementAt(o, n, first, inner, i)];
  for (let j = first + parts; j < n; j += parts) {
    most = Math.max(most, x[elementAt(o, n, j, inner, i)]);
  }
  return most;
}

/** Σ e^(x − shift), the shift one for a line. */
export function expSum(this: Thread, x: Values, shift: Values, n: number, inner: number, parts: number): number {
  const line = lineOf(this.thread.x, inner, parts);
  const o = divide(this.thread.x, inner * parts);
  const i = remainder(this.thread.x, inner);
  const most = shift[line];
  let sum = 0;
  for (let block = remainder(divide(this.thread.x, inner), parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      part += Math.exp(x[elementAt(o, n, j, inner, i)] - most);
    }
    sum += part;
  }
  return sum;
}

/** Σ (x − shift)². */
export function squareSum(this: Thread, x: Values, shift: Values, n: number, inner: number, parts: number): number {
  const line = lineOf(this.thread.x, inner, parts);
  const o = divide(this.thread.x, inner * parts);
  const i = remainder(this.thread.x, inner);
  const middle = shift[line];
  let sum = 0;
  for (let block = remainder(divide(this.thread.x, inner), parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      const c = x[elementAt(o, n, j, inner, i)] - middle;
      part += c * c;
    }
    sum += part;
  }
  return sum;
}

/** Σ a b. */
export function productSum(this: Thread, a: Values, b: Values, n: number, inner: number, parts: number): number {
  const o = divide(this.thread.x, inner * parts);
  const i = remainder(this.thread.x, inner);
  let sum = 0;
  for (let block = remainder(divide(this.thread.x, inner), parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      part += a[elementAt(o, n, j, inner, i)] * b[elementAt(o, n, j, inner, i)];
    }
    sum += part;
  }
  return sum;
}

/** Functions of indices that kernels along lines call. */
export const lineHelpers = [lineOf, elementAt];

/** Elements that one thread takes, at most. */
const share = 256;
/** Lines, and elements of one: kernels have them in floats. */
const most = 2 ** 24;

/**
 * Reduces `inputs` by a kernel; the parts' results are added up, or of maxima the largest taken. Lines are not empty.
 */
export function reduceLines(
  machine: Machine,
  kernel: KernelSource,
  inputs: readonly GpuStorage[],
  { outer, n, inner }: Lines,
): GpuStorage {
  if (outer * inner > most || n > most)
    throw new RangeError(`gpu: ${outer * inner} lines of ${n} elements; there are ${most} at most of either`);
  const parts = Math.ceil(n / share);
  const y = machine.run(kernel, [outer * parts * inner], [...inputs, n, inner, parts]);
  if (parts === 1) return y;
  const reduced = reduceLines(machine, kernel === maxOf ? maxOf : sumOf, [y], { outer, n: parts, inner });
  machine.free(y);
  return reduced;
}

/** The sum or the maximum of the middle of (outer, n, inner); the empty sum is 0, the empty maximum −∞. */
export function reduce(
  machine: Machine,
  f: Reduction,
  x: GpuStorage,
  outer: number,
  n: number,
  inner: number,
): GpuStorage {
  if (n === 0 || outer * inner === 0) return machine.filled(outer * inner, f === 'sum' ? 0 : -Infinity);
  return reduceLines(machine, f === 'sum' ? sumOf : maxOf, [x], { outer, n, inner });
}
