/**
 * gpu.js on WebAssembly: the peer one writes one's own kernels for. A kernel is a function of one thread's output, so
 * its matmul is the textbook loop; it has no tiles to share and no library of operations to call.
 *
 * gpu.js falls back to plain JavaScript in silence, so the mode that ran is asserted after the first call.
 */
import { GPU, Input } from 'gpu.js';

/** What gpu.js's own types leave out. */
interface Kernel {
  (...inputs: unknown[]): unknown;
  readonly kernel: { readonly constructor: { readonly mode: string } };
  readonly fallbackReason: string | null;
  destroy(): void;
}
interface This {
  readonly thread: { readonly x: number; readonly y: number };
  readonly constants: { readonly n: number };
}
type Rows = readonly (readonly number[])[];

function matmul(this: This, a: Rows, b: Rows): number {
  let sum = 0;
  for (let i = 0; i < this.constants.n; i++) {
    sum += a[this.thread.y][i] * b[i][this.thread.x];
  }
  return sum;
}

/** (Σ exp(x - max), max) of a line would be recomputed by each of its threads: one thread a line finds them first. */
function lineMax(this: This, x: Rows): number {
  let most = x[this.thread.x][0];
  for (let i = 1; i < this.constants.n; i++) {
    most = Math.max(most, x[this.thread.x][i]);
  }
  return most;
}
function lineExpSum(this: This, x: Rows, most: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < this.constants.n; i++) {
    sum += Math.exp(x[this.thread.x][i] - most[this.thread.x]);
  }
  return sum;
}
function softmaxFrom(this: This, x: Rows, most: readonly number[], sum: readonly number[]): number {
  return Math.exp(x[this.thread.y][this.thread.x] - most[this.thread.y]) / sum[this.thread.y];
}

function lineMean(this: This, x: Rows): number {
  let sum = 0;
  for (let i = 0; i < this.constants.n; i++) {
    sum += x[this.thread.x][i];
  }
  return sum / this.constants.n;
}
function lineVariance(this: This, x: Rows, mean: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < this.constants.n; i++) {
    sum += (x[this.thread.x][i] - mean[this.thread.x]) * (x[this.thread.x][i] - mean[this.thread.x]);
  }
  return sum / this.constants.n;
}
function normalisedBy(this: This, x: Rows, mean: readonly number[], variance: readonly number[]): number {
  return (x[this.thread.y][this.thread.x] - mean[this.thread.y]) / Math.sqrt(variance[this.thread.y] + 0.00001);
}

interface Work {
  run: () => Promise<Float32Array[]>;
  free: () => void;
}

/** The three operations on a square matrix of the values. */
export function gpuOperations(
  values: (size: number) => Float32Array,
): Record<'matmul' | 'softmax' | 'layerNorm', (size: number) => Work> {
  const gpu = new GPU({ mode: 'webasm' as 'cpu' });
  const work = (
    size: number,
    chain: (x: unknown, kernel: (source: unknown, ...dims: number[]) => Kernel) => () => Promise<unknown>,
  ): Work => {
    const kernels: Kernel[] = [];
    const compile = (source: unknown, ...output: number[]): Kernel => {
      const kernel = gpu.createKernel(source as () => number, { output, constants: { n: size } }) as unknown as Kernel;
      kernels.push(kernel);
      return kernel;
    };
    const run = chain(new Input(values(size) as unknown as number[], [size, size]), compile);
    return {
      run: async () => {
        const result = (await run()) as Float32Array[];
        for (const k of kernels)
          if (k.kernel.constructor.mode !== 'webasm')
            throw new Error(`gpu.js ran ${k.kernel.constructor.mode}: ${k.fallbackReason}`);
        return result;
      },
      free: () => kernels.forEach(k => k.destroy()),
    };
  };
  return {
    matmul: n =>
      work(n, (x, kernel) => {
        const product = kernel(matmul, n, n);
        return async () => product(x, x);
      }),
    softmax: n =>
      work(n, (x, kernel) => {
        const [most, sum, last] = [kernel(lineMax, n), kernel(lineExpSum, n), kernel(softmaxFrom, n, n)];
        return async () => {
          const m = await most(x);
          return last(x, m, await sum(x, m));
        };
      }),
    layerNorm: n =>
      work(n, (x, kernel) => {
        const [mean, variance, last] = [kernel(lineMean, n), kernel(lineVariance, n), kernel(normalisedBy, n, n)];
        return async () => {
          const m = await mean(x);
          return last(x, m, await variance(x, m));
        };
      }),
  };
}
