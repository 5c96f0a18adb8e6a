/**
 * Operations along lines: the softmax family, normalisation, cross-entropy. Statistics of the lines are reduced in
 * parallel (`reduce.ts`), then one thread an element applies the operation's formula.
 */
import type { Kernel, Shape, View } from '../../backend.ts';
import type { Dim } from '../../attributes.ts';
import { aroundDim, sizeOf } from '../../shape.ts';
import type { KernelSource, Thread, Values } from '../gpujs.ts';
import { divide, placeOf, remainder } from '../indexing.ts';
import { indices } from '../layout.ts';
import { real, type GpuStorage, type KernelArgument, type Machine } from '../machine.ts';
import { expSum, productSum, squareSum, lineOf, reduce, reduceLines, type Lines } from '../reduce.ts';

/** log Σ e^x; NaN where the maximum is infinite, as softmax, which divides by the sum. */
function logSum(this: Thread, most: Values, sum: Values): number {
  return most[this.thread.x] + Math.log(sum[this.thread.x]);
}
/** The same, and the maximum where that is infinite, beyond the largest float: the sum has ∞ − ∞ there. */
function logSumOrMost(this: Thread, most: Values, sum: Values): number {
  const m = most[this.thread.x];
  if (m > 3.4028234663852886e38) return m;
  if (m < -3.4028234663852886e38) return m;
  return m + Math.log(sum[this.thread.x]);
}
/** Where log Σ e^x is −∞ so are all x, and the gradient is 0. */
function expVjp(this: Thread, g: Values, x: Values, logsum: Values, n: number, inner: number): number {
  const line = lineOf(this.thread.x, inner, n);
  if (logsum[line] < -3.4028234663852886e38) return 0;
  return g[line] * Math.exp(x[this.thread.x] - logsum[line]);
}
function softmax(this: Thread, x: Values, most: Values, sum: Values, n: number, inner: number): number {
  const line = lineOf(this.thread.x, inner, n);
  return Math.exp(x[this.thread.x] - most[line]) / sum[line];
}
function softmaxVjp(this: Thread, g: Values, y: Values, dot: Values, n: number, inner: number): number {
  return y[this.thread.x] * (g[this.thread.x] - dot[lineOf(this.thread.x, inner, n)]);
}
function logSoftmax(this: Thread, x: Values, logsum: Values, n: number, inner: number): number {
  return x[this.thread.x] - logsum[lineOf(this.thread.x, inner, n)];
}
function logSoftmaxVjp(this: Thread, g: Values, y: Values, sum: Values, n: number, inner: number): number {
  return g[this.thread.x] - Math.exp(y[this.thread.x]) * sum[lineOf(this.thread.x, inner, n)];
}

/** (x − mean) / √(Σ(x − mean)²/n + ε). */
function layerNorm(this: Thread, x: Values, mean: Values, squares: Values, n: number, eps: number): number {
  const line = divide(this.thread.x, n);
  return (x[this.thread.x] - mean[line]) / Math.sqrt(squares[line] / n + eps);
}
/** The line loses its component along y and its mean, and shrinks by the scale. */
function layerNormVjp(
  this: Thread,
  g: Values,
  y: Values,
  products: Values,
  mean: Values,
  squares: Values,
  n: number,
  eps: number,
): number {
  const line = divide(this.thread.x, n);
  return (g[this.thread.x] - (y[this.thread.x] * products[line]) / n - mean[line]) / Math.sqrt(squares[line] / n + eps);
}
/** The same without a mean. */
function rmsNorm(this: Thread, x: Values, squares: Values, n: number, eps: number): number {
  return x[this.thread.x] / Math.sqrt(squares[divide(this.thread.x, n)] / n + eps);
}
function rmsNormVjp(
  this: Thread,
  g: Values,
  y: Values,
  products: Values,
  squares: Values,
  n: number,
  eps: number,
): number {
  const line = divide(this.thread.x, n);
  return (g[this.thread.x] - (y[this.thread.x] * products[line]) / n) / Math.sqrt(squares[line] / n + eps);
}
function divided(this: Thread, x: Values, n: number): number {
  return x[this.thread.x] / n;
}

/** −log softmax(x)[target]; 0 where the target is negative. */
function crossEntropy(this: Thread, x: Values, target: Values, logsum: Values, n: number): number {
  const t = target[this.thread.x];
  if (t < 0) return 0;
  return logsum[this.thread.x] - x[placeOf(this.thread.x, n, t)];
}
/** g (softmax(x) − 1_target), where log Σ e^x is the loss and the target's logit together. */
function crossEntropyVjp(this: Thread, g: Values, x: Values, target: Values, loss: Values, n: number): number {
  const row = divide(this.thread.x, n);
  const column = remainder(this.thread.x, n);
  const t = target[row];
  if (t < 0) return 0;
  const p = Math.exp(x[this.thread.x] - (loss[row] + x[placeOf(row, n, t)]));
  if (column === t) return g[row] * (p - 1);
  return g[row] * p;
}

/** Softmax of every line. */
export function softmaxLines(machine: Machine, x: GpuStorage, lines: Lines): GpuStorage {
  const { outer, n, inner } = lines;
  const most = reduce(machine, 'max', x, outer, n, inner);
  const sum = reduceLines(machine, expSum, [x, most], lines);
  const y = machine.run(softmax, [x.size], [x, most, sum, n, inner]);
  [most, sum].forEach(t => machine.free(t));
  return y;
}

/** Kernels of the softmax family, of normalisation and of cross-entropy. */
export function alongLines(machine: Machine): Record<string, Kernel<GpuStorage>> {
  /** Runs `body` with a way to make values that are freed afterwards. */
  const within = <R>(body: (keep: (x: GpuStorage) => GpuStorage) => R): R => {
    const made: GpuStorage[] = [];
    const result = body(x => (made.push(x), x));
    made.forEach(x => machine.free(x));
    return result;
  };
  const each = (kernel: KernelSource, like: GpuStorage, ...args: KernelArgument[]): GpuStorage =>
    machine.run(kernel, [like.size], args);
  const max = (x: GpuStorage, { outer, n, inner }: Lines): GpuStorage => reduce(machine, 'max', x, outer, n, inner);
  const sum = (x: GpuStorage, { outer, n, inner }: Lines): GpuStorage => reduce(machine, 'sum', x, outer, n, inner);
  const normalizer = (x: GpuStorage, lines: Lines, kernel: KernelSource = logSum): GpuStorage =>
    within(keep => {
      const most = keep(max(x, lines));
      const total = keep(reduceLines(machine, expSum, [x, most], lines));
      return each(kernel, most, most, total);
    });
  const logsumexp = (x: GpuStorage, lines: Lines): GpuStorage => normalizer(x, lines, logSumOrMost);
  /** Kernels of a row along `dim`; of an empty tensor the definition takes care. */
  const family = (
    forward: (x: GpuStorage, lines: Lines) => GpuStorage,
    vjp: (g: GpuStorage, x: GpuStorage, y: GpuStorage, lines: Lines) => GpuStorage,
  ): Kernel<GpuStorage> => ({
    forward: ([x], { dim }: Dim) => (x.storage.size === 0 ? null : forward(x.storage, aroundDim(x.shape, dim))),
    vjp: (g, [x], y, { dim }: Dim) =>
      x.storage.size === 0 ? null : [vjp(g.storage, x.storage, y.storage, aroundDim(x.shape, dim))],
  });
  const lastDim = (shape: Shape): Lines => ({ outer: sizeOf(shape.slice(0, -1)), n: shape.at(-1) ?? 1, inner: 1 });
  const mean = (x: GpuStorage, lines: Lines): GpuStorage =>
    within(keep => {
      const total = keep(sum(x, lines));
      return each(divided, total, total, lines.n);
    });
  const products = (a: GpuStorage, b: GpuStorage, lines: Lines): GpuStorage =>
    reduceLines(machine, productSum, [a, b], lines);
  const checked = (targets: View<GpuStorage>, n: number): GpuStorage => {
    indices('crossEntropy', targets.storage, n, -Infinity);
    return targets.storage;
  };
  return {
    logsumexp: family(logsumexp, (g, x, y, { n, inner }) => each(expVjp, x, g, x, y, n, inner)),
    softmax: family(
      (x, lines) => softmaxLines(machine, x, lines),
      (g, _, y, lines) => within(keep => each(softmaxVjp, y, g, y, keep(products(g, y, lines)), lines.n, lines.inner)),
    ),
    logSoftmax: family(
      (x, lines) => within(keep => each(logSoftmax, x, x, keep(normalizer(x, lines)), lines.n, lines.inner)),
      (g, _, y, lines) => within(keep => each(logSoftmaxVjp, y, g, y, keep(sum(g, lines)), lines.n, lines.inner)),
    ),
    layerNorm: {
      forward: ([x], { eps }: { eps: number }) =>
        x.storage.size === 0
          ? null
          : within(keep => {
              const lines = lastDim(x.shape);
              const centre = keep(mean(x.storage, lines));
              const squares = keep(reduceLines(machine, squareSum, [x.storage, centre], lines));
              return each(layerNorm, x.storage, x.storage, centre, squares, lines.n, real(eps));
            }),
      vjp: ({ storage: g }, [x], { storage: y }, { eps }: { eps: number }) =>
        x.storage.size === 0
          ? null
          : within(keep => {
              const lines = lastDim(x.shape);
              const squares = keep(reduceLines(machine, squareSum, [x.storage, keep(mean(x.storage, lines))], lines));
              return [
                each(
                  layerNormVjp,
                  x.storage,
                  g,
                  y,
                  keep(products(g, y, lines)),
                  keep(mean(g, lines)),
                  squares,
                  lines.n,
                  real(eps),
                ),
              ];
            }),
    },
    rmsNorm: {
      forward: ([x], { eps }: { eps: number }) =>
        x.storage.size === 0
          ? null
          : within(keep => {
              const lines = lastDim(x.shape);
              return each(
                rmsNorm,
                x.storage,
                x.storage,
                keep(products(x.storage, x.storage, lines)),
                lines.n,
                real(eps),
              );
            }),
      vjp: ({ storage: g }, [x], { storage: y }, { eps }: { eps: number }) =>
        x.storage.size === 0
          ? null
          : within(keep => {
              const lines = lastDim(x.shape);
              return [
                each(
                  rmsNormVjp,
                  x.storage,
                  g,
                  y,
                  keep(products(g, y, lines)),
                  keep(products(x.storage, x.storage, lines)),
                  lines.n,
                  real(eps),
                ),
              ];
            }),
    },
    crossEntropy: {
      forward: ([x, targets]) =>
        x.storage.size === 0
          ? null
          : within(keep => {
              const [rows, n] = x.shape;
              const target = checked(targets, n);
              return machine.run(
                crossEntropy,
                [rows],
                [x.storage, target, keep(normalizer(x.storage, { outer: rows, n, inner: 1 })), n],
              );
            }),
      vjp: (g, [x, targets], loss) =>
        x.storage.size === 0
          ? null
          : [each(crossEntropyVjp, x.storage, g.storage, x.storage, targets.storage, loss.storage, x.shape[1]), null],
    },
  };
}
