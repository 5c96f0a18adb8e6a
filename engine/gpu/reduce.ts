/**
 * Sums and maxima over the middle of (outer, n, inner), of values and of functions of them. A long line is shared by
 * several threads, thread p of `parts` taking elements p, p + parts, …, so that neighbours read neighbours; their
 * results are a shorter line, which is reduced again. A thread adds in blocks of 32: few roundings follow each other.
 */
import type { Reduction } from '../backend.ts';
import type { KernelSource, Thread, Values } from './gpujs.ts';
import { divide } from './indexing.ts';
import type { GpuStorage, Machine } from './machine.ts';

/** A tensor seen as lines. */
export interface Lines {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** The part p of thread (o, p, i). */
export function partOf(thread: number, inner: number, parts: number): number {
  const before = divide(thread, inner);
  return before - parts * divide(before, parts);
}
/** The line o · inner + i of thread (o, p, i). */
export function lineOf(thread: number, inner: number, parts: number): number {
  const before = divide(thread, inner);
  return divide(before, parts) * inner + thread - before * inner;
}
/** Where line o · inner + i starts in (outer, n, inner). */
export function lineStart(line: number, n: number, inner: number): number {
  const o = divide(line, inner);
  return o * n * inner + line - o * inner;
}

function sumOf(this: Thread, x: Values, n: number, inner: number, parts: number): number {
  const base = lineStart(lineOf(this.thread.x, inner, parts), n, inner);
  let sum = 0;
  for (let block = partOf(this.thread.x, inner, parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      part += x[base + j * inner];
    }
    sum += part;
  }
  return sum;
}

function maxOf(this: Thread, x: Values, n: number, inner: number, parts: number): number {
  const base = lineStart(lineOf(this.thread.x, inner, parts), n, inner);
  const first = partOf(this.thread.x, inner, parts);
  let most = x[base + first * inner];
  for (let j = first + parts; j < n; j += parts) {
    most = Math.max(most, x[base + j * inner]);
  }
  return most;
}

/** Σ e^(x − shift), the shift one for a line. */
export function expSum(this: Thread, x: Values, shift: Values, n: number, inner: number, parts: number): number {
  const line = lineOf(this.thread.x, inner, parts);
  const base = lineStart(line, n, inner);
  const most = shift[line];
  let sum = 0;
  for (let block = partOf(this.thread.x, inner, parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      part += Math.exp(x[base + j * inner] - most);
    }
    sum += part;
  }
  return sum;
}

/** Σ (x − shift)². */
export function squareSum(this: Thread, x: Values, shift: Values, n: number, inner: number, parts: number): number {
  const line = lineOf(this.thread.x, inner, parts);
  const base = lineStart(line, n, inner);
  const middle = shift[line];
  let sum = 0;
  for (let block = partOf(this.thread.x, inner, parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      const c = x[base + j * inner] - middle;
      part += c * c;
    }
    sum += part;
  }
  return sum;
}

/** Σ a b. */
export function productSum(this: Thread, a: Values, b: Values, n: number, inner: number, parts: number): number {
  const base = lineStart(lineOf(this.thread.x, inner, parts), n, inner);
  let sum = 0;
  for (let block = partOf(this.thread.x, inner, parts); block < n; block += 32 * parts) {
    const end = Math.min(n, block + 32 * parts);
    let part = 0;
    for (let j = block; j < end; j += parts) {
      part += a[base + j * inner] * b[base + j * inner];
    }
    sum += part;
  }
  return sum;
}

export const lineHelpers = [partOf, lineOf, lineStart];

/** Elements that one thread takes, at most. */
const share = 256;

/** Reduces `inputs` by a kernel; the parts' results are added up, or of maxima the largest taken. Lines are not empty. */
export function reduceLines(machine: Machine, kernel: KernelSource, inputs: readonly GpuStorage[], { outer, n, inner }: Lines): GpuStorage {
  const parts = Math.ceil(n / share);
  const y = machine.run(kernel, [outer * parts * inner], [...inputs, n, inner, parts]);
  if (parts === 1) return y;
  const reduced = reduceLines(machine, kernel === maxOf ? maxOf : sumOf, [y], { outer, n: parts, inner });
  machine.free(y);
  return reduced;
}

export function reduce(machine: Machine, f: Reduction, x: GpuStorage, outer: number, n: number, inner: number): GpuStorage {
  if (n === 0 || outer * inner === 0) return machine.filled(outer * inner, f === 'sum' ? 0 : -Infinity);
  return reduceLines(machine, f === 'sum' ? sumOf : maxOf, [x], { outer, n, inner });
}
