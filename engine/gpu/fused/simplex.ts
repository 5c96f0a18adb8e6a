/**
 * Projections on simplices: τ of a line with Σ max(x − τ, 0) = m by Michelot's method (1986), which drops what is below
 * τ until nothing is; one thread a line, since how long it takes depends on the values.
 */
import type { Kernel, View } from '../../backend.ts';
import type { Dim } from '../../attributes.ts';
import { aroundDim } from '../../shape.ts';
import type { Thread, Values } from '../gpujs.ts';
import { divide, patternOf, position, remainder } from '../indexing.ts';
import type { GpuStorage, Machine } from '../machine.ts';
import { elementAt, lineOf, reduce } from '../reduce.ts';

/**
 * τ − max x: relative to the maximum large values lose nothing. τ rises, so the support shrinks; that it stops
 * shrinking is the end.
 */
function excess(
  this: Thread,
  x: Values,
  most: Values,
  mass: Values,
  n: number,
  inner: number,
  step: number,
  size: number,
): number {
  const o = divide(this.thread.x, inner);
  const i = remainder(this.thread.x, inner);
  const m = mass[position(this.thread.x, step, size)];
  const top = most[this.thread.x];
  let tau = -m;
  let before = n + 2;
  let support = n + 1;
  while (support < before) {
    before = support;
    support = 0;
    let total = 0;
    for (let j = 0; j < n; j++) {
      const z = x[elementAt(o, n, j, inner, i)] - top;
      if (z > tau) {
        total += z;
        support += 1;
      }
    }
    tau = (total - m) / support;
  }
  return tau;
}

function sum(this: Thread, a: Values, b: Values): number {
  return a[this.thread.x] + b[this.thread.x];
}

/** max(x − max x − τ, 0). */
function projected(this: Thread, x: Values, most: Values, tau: Values, n: number, inner: number): number {
  const line = lineOf(this.thread.x, inner, n);
  return Math.max(x[this.thread.x] - most[line] - tau[line], 0);
}

/** The mean of g over the support of y, one for a line. */
function supportMean(this: Thread, g: Values, y: Values, n: number, inner: number): number {
  const o = divide(this.thread.x, inner);
  const i = remainder(this.thread.x, inner);
  let total = 0;
  let support = 0;
  for (let j = 0; j < n; j++) {
    const inside = y[elementAt(o, n, j, inner, i)] > 0 ? 1 : 0;
    total += inside * g[elementAt(o, n, j, inner, i)];
    support += inside;
  }
  return total / support;
}
/** 1_S (g − mean_S g). */
function centred(this: Thread, g: Values, y: Values, mean: Values, n: number, inner: number): number {
  return y[this.thread.x] > 0 ? g[this.thread.x] - mean[lineOf(this.thread.x, inner, n)] : 0;
}

/** Kernels of projections on simplices. */
export function simplex(machine: Machine): Record<string, Kernel<GpuStorage>> {
  /** What `result` makes of the maxima of the lines and τ relative to them. */
  const withThreshold = (
    x: View<GpuStorage>,
    mass: View<GpuStorage>,
    dim: number,
    result: (most: GpuStorage, tau: GpuStorage, n: number, inner: number) => GpuStorage,
  ): GpuStorage | null => {
    const { outer, n, inner } = aroundDim(x.shape, dim);
    const pattern = patternOf(
      mass.shape,
      x.shape.map((length, d) => (d === dim ? 1 : length)),
    );
    if (x.storage.size === 0 || pattern === null) return null;
    const most = reduce(machine, 'max', x.storage, outer, n, inner);
    const tau = machine.run(
      excess,
      [outer * inner],
      [x.storage, most, mass.storage, n, inner, pattern.step, pattern.size],
    );
    const y = result(most, tau, n, inner);
    [most, tau].forEach(t => machine.free(t));
    return y;
  };
  const gradient = (g: GpuStorage, y: View<GpuStorage>, dim: number): GpuStorage => {
    const { outer, n, inner } = aroundDim(y.shape, dim);
    const mean = machine.run(supportMean, [outer * inner], [g, y.storage, n, inner]);
    const centredGradient = machine.run(centred, [g.size], [g, y.storage, mean, n, inner]);
    machine.free(mean);
    return centredGradient;
  };
  const project = (x: View<GpuStorage>, mass: View<GpuStorage>, dim: number): GpuStorage | null =>
    withThreshold(x, mass, dim, (most, tau, n, inner) =>
      machine.run(projected, [x.storage.size], [x.storage, most, tau, n, inner]),
    );
  return {
    simplexThreshold: {
      forward: ([x, mass], { dim }: Dim) =>
        withThreshold(x, mass, dim, (most, tau) => machine.run(sum, [tau.size], [most, tau])),
    },
    simplexProjection: { forward: ([x, mass], { dim }: Dim) => project(x, mass, dim) },
    sparsemax: {
      forward: ([x], { dim }: Dim) => {
        const one = machine.upload(Float32Array.of(1));
        const y = project(x, { storage: one, shape: [] }, dim);
        machine.free(one);
        return y;
      },
      vjp: (g, _, y, { dim }: Dim) => (y.storage.size === 0 ? null : [gradient(g.storage, y, dim)]),
    },
    simplexGradient: { forward: ([g, y], { dim }: Dim) => (g.storage.size === 0 ? null : gradient(g.storage, y, dim)) },
  };
}
