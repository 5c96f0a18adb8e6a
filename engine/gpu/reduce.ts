/**
 * Sums and maxima over the middle of (outer, n, inner), of values and of functions of them. One thread takes a chunk of
 * a line; the chunks' results are a shorter line, which is reduced again. A thread adds in blocks of 32, so that few
 * roundings follow each other.
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

/** The first element of chunk c, for thread (o, c, i). */
export function chunkFirst(thread: number, inner: number, chunk: number, chunks: number): number {
  const c = divide(thread, inner);
  return (c - chunks * divide(c, chunks)) * chunk;
}
/** The line o · inner + i of thread (o, c, i). */
export function lineOf(thread: number, inner: number, chunks: number): number {
  const before = divide(thread, inner);
  return divide(before, chunks) * inner + thread - before * inner;
}
/** Where line o · inner + i starts in (outer, n, inner). */
export function lineStart(line: number, n: number, inner: number): number {
  const o = divide(line, inner);
  return o * n * inner + line - o * inner;
}

function chunkSum(this: Thread, x: Values, n: number, inner: number, chunk: number, chunks: number): number {
  const first = chunkFirst(this.thread.x, inner, chunk, chunks);
  const end = Math.min(n, first + chunk);
  const base = lineStart(lineOf(this.thread.x, inner, chunks), n, inner);
  let sum = 0;
  for (let block = first; block < end; block += 32) {
    const blockEnd = Math.min(end, block + 32);
    let part = 0;
    for (let j = block; j < blockEnd; j += 1) {
      part += x[base + j * inner];
    }
    sum += part;
  }
  return sum;
}

function chunkMax(this: Thread, x: Values, n: number, inner: number, chunk: number, chunks: number): number {
  const first = chunkFirst(this.thread.x, inner, chunk, chunks);
  const end = Math.min(n, first + chunk);
  const base = lineStart(lineOf(this.thread.x, inner, chunks), n, inner);
  let most = x[base + first * inner];
  for (let j = first + 1; j < end; j += 1) {
    most = Math.max(most, x[base + j * inner]);
  }
  return most;
}

/** Σ e^(x − shift), the shift one for a line. */
export function chunkExpSum(this: Thread, x: Values, shift: Values, n: number, inner: number, chunk: number, chunks: number): number {
  const first = chunkFirst(this.thread.x, inner, chunk, chunks);
  const end = Math.min(n, first + chunk);
  const line = lineOf(this.thread.x, inner, chunks);
  const base = lineStart(line, n, inner);
  const most = shift[line];
  let sum = 0;
  for (let block = first; block < end; block += 32) {
    const blockEnd = Math.min(end, block + 32);
    let part = 0;
    for (let j = block; j < blockEnd; j += 1) {
      part += Math.exp(x[base + j * inner] - most);
    }
    sum += part;
  }
  return sum;
}

/** Σ (x − shift)². */
export function chunkSquares(this: Thread, x: Values, shift: Values, n: number, inner: number, chunk: number, chunks: number): number {
  const first = chunkFirst(this.thread.x, inner, chunk, chunks);
  const end = Math.min(n, first + chunk);
  const line = lineOf(this.thread.x, inner, chunks);
  const base = lineStart(line, n, inner);
  const middle = shift[line];
  let sum = 0;
  for (let block = first; block < end; block += 32) {
    const blockEnd = Math.min(end, block + 32);
    let part = 0;
    for (let j = block; j < blockEnd; j += 1) {
      const c = x[base + j * inner] - middle;
      part += c * c;
    }
    sum += part;
  }
  return sum;
}

/** Σ a b. */
export function chunkProducts(this: Thread, a: Values, b: Values, n: number, inner: number, chunk: number, chunks: number): number {
  const first = chunkFirst(this.thread.x, inner, chunk, chunks);
  const end = Math.min(n, first + chunk);
  const base = lineStart(lineOf(this.thread.x, inner, chunks), n, inner);
  let sum = 0;
  for (let block = first; block < end; block += 32) {
    const blockEnd = Math.min(end, block + 32);
    let part = 0;
    for (let j = block; j < blockEnd; j += 1) {
      part += a[base + j * inner] * b[base + j * inner];
    }
    sum += part;
  }
  return sum;
}

export const lineHelpers = [chunkFirst, lineOf, lineStart];

/** Threads that keep a device busy: with fewer lines, a line is cut into more chunks. */
const enoughThreads = 1 << 14;
const shortest = 32;
const longest = 1024;

/** Reduces `inputs` by a chunk kernel; its results are added up, or of maxima the largest taken. Lines are not empty. */
export function reduceLines(machine: Machine, kernel: KernelSource, inputs: readonly GpuStorage[], { outer, n, inner }: Lines): GpuStorage {
  const lines = outer * inner;
  const chunk = Math.max(shortest, Math.min(longest, Math.ceil((n * lines) / enoughThreads)));
  const chunks = Math.ceil(n / chunk);
  const y = machine.run(kernel, [lines * chunks], [...inputs, n, inner, chunk, chunks]);
  if (chunks === 1) return y;
  const reduced = reduceLines(machine, kernel === chunkMax ? chunkMax : chunkSum, [y], { outer, n: chunks, inner });
  machine.free(y);
  return reduced;
}

export function reduce(machine: Machine, f: Reduction, x: GpuStorage, outer: number, n: number, inner: number): GpuStorage {
  if (n === 0 || outer * inner === 0) return machine.filled(outer * inner, f === 'sum' ? 0 : -Infinity);
  return reduceLines(machine, f === 'sum' ? chunkSum : chunkMax, [x], { outer, n, inner });
}
