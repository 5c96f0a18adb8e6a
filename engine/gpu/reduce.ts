/** Sums and maxima over the middle of (outer, n, inner): one thread adds up a chunk of a line, then the chunks are a shorter line. */
import type { Reduction } from '../backend.ts';
import type { KernelSource, Thread, Values } from './gpujs.ts';
import { divide } from './indexing.ts';
import type { GpuStorage, Machine } from './machine.ts';

/** The sum of chunk c of line (o, i), output (outer, chunks, inner); in blocks of 32, so that few roundings follow each other. */
function chunkSum(this: Thread, x: Values, n: number, inner: number, chunk: number, chunks: number): number {
  const line = divide(this.thread.x, inner);
  const o = divide(line, chunks);
  const first = (line - o * chunks) * chunk;
  const end = Math.min(n, first + chunk);
  const base = o * n * inner + (this.thread.x - line * inner);
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
  const line = divide(this.thread.x, inner);
  const o = divide(line, chunks);
  const first = (line - o * chunks) * chunk;
  const end = Math.min(n, first + chunk);
  const base = o * n * inner + (this.thread.x - line * inner);
  let most = x[base + first * inner];
  for (let j = first + 1; j < end; j += 1) {
    most = Math.max(most, x[base + j * inner]);
  }
  return most;
}

const kernels: Readonly<Record<Reduction, KernelSource>> = { sum: chunkSum, max: chunkMax };
const empty: Readonly<Record<Reduction, number>> = { sum: 0, max: -Infinity };

/** Threads that keep a device busy: with fewer lines, a line is cut into more chunks. */
const enoughThreads = 1 << 14;
const shortest = 32;
const longest = 1024;

export function reduce(machine: Machine, f: Reduction, x: GpuStorage, outer: number, n: number, inner: number): GpuStorage {
  const lines = outer * inner;
  if (n === 0 && lines > 0) return machine.filled(lines, empty[f]);
  const chunk = Math.max(shortest, Math.min(longest, Math.ceil((n * lines) / enoughThreads)));
  const chunks = Math.ceil(n / chunk);
  const y = machine.run(kernels[f], [lines * chunks], [x, n, inner, chunk, chunks]);
  if (chunks <= 1) return y;
  const rest = reduce(machine, f, y, outer, chunks, inner);
  machine.free(y);
  return rest;
}
