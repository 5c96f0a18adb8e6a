/**
 * Elementwise kernels: one thread an element; operands broadcast by `position`, of which each has its step and period.
 * (No argument may be named `aSize` or `aDim` beside an array `a`: in WebGL2 gpu.js names the array's own uniforms so.)
 */
import type { Binary, Shape, Unary, View } from '../backend.ts';
import { broadcastStrides, sizeOf } from '../shape.ts';
import { erfOf, powerOf, sineOf, tanhOf } from './functions.ts';
import type { KernelSource, Thread, Values } from './gpujs.ts';
import { patternOf, position } from './indexing.ts';
import { strided } from './layout.ts';
import type { GpuStorage, KernelArgument, Machine } from './machine.ts';

function exp(this: Thread, x: Values): number {
  return Math.exp(x[this.thread.x]);
}
function log(this: Thread, x: Values): number {
  return Math.log(x[this.thread.x]);
}
function sqrt(this: Thread, x: Values): number {
  return Math.sqrt(x[this.thread.x]);
}
function tanh(this: Thread, x: Values): number {
  return tanhOf(x[this.thread.x]);
}
function erf(this: Thread, x: Values): number {
  return erfOf(x[this.thread.x]);
}
function sin(this: Thread, x: Values): number {
  return sineOf(x[this.thread.x], 0);
}
function cos(this: Thread, x: Values): number {
  return sineOf(x[this.thread.x], 1);
}

function add(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return a[position(this.thread.x, aStep, aPeriod)] + b[position(this.thread.x, bStep, bPeriod)];
}
function sub(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return a[position(this.thread.x, aStep, aPeriod)] - b[position(this.thread.x, bStep, bPeriod)];
}
function mul(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return a[position(this.thread.x, aStep, aPeriod)] * b[position(this.thread.x, bStep, bPeriod)];
}
function div(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return a[position(this.thread.x, aStep, aPeriod)] / b[position(this.thread.x, bStep, bPeriod)];
}
function maximum(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return Math.max(a[position(this.thread.x, aStep, aPeriod)], b[position(this.thread.x, bStep, bPeriod)]);
}
function pow(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return powerOf(a[position(this.thread.x, aStep, aPeriod)], b[position(this.thread.x, bStep, bPeriod)]);
}
function equal(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return a[position(this.thread.x, aStep, aPeriod)] === b[position(this.thread.x, bStep, bPeriod)] ? 1 : 0;
}
function less(
  this: Thread,
  a: Values,
  b: Values,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  return a[position(this.thread.x, aStep, aPeriod)] < b[position(this.thread.x, bStep, bPeriod)] ? 1 : 0;
}

function select(
  this: Thread,
  condition: Values,
  a: Values,
  b: Values,
  cStep: number,
  cPeriod: number,
  aStep: number,
  aPeriod: number,
  bStep: number,
  bPeriod: number,
): number {
  if (condition[position(this.thread.x, cStep, cPeriod)] !== 0) return a[position(this.thread.x, aStep, aPeriod)];
  return b[position(this.thread.x, bStep, bPeriod)];
}

const unaries: Readonly<Record<Unary, KernelSource>> = { exp, log, sqrt, tanh, erf, sin, cos };
const binaries: Readonly<Record<Binary, KernelSource>> = { add, sub, mul, div, maximum, pow, equal, less };

/** f(x), element by element. */
export const unary = (machine: Machine, f: Unary, x: GpuStorage): GpuStorage => machine.run(unaries[f], [x.size], [x]);

/** Runs a kernel whose arguments are operands that broadcast to `out`, and then the step and size of each. */
function broadcast(
  machine: Machine,
  kernel: KernelSource,
  operands: readonly View<GpuStorage>[],
  out: Shape,
): GpuStorage {
  const copies: GpuStorage[] = [];
  const patterns: KernelArgument[] = [];
  const values = operands.map(({ storage, shape }) => {
    const pattern = patternOf(shape, out);
    patterns.push(pattern?.step ?? 1, pattern?.size ?? 0);
    if (pattern) return storage;
    const whole = strided(machine, storage, out, broadcastStrides(shape, out), 0);
    copies.push(whole);
    return whole;
  });
  const result = machine.run(kernel, [sizeOf(out)], [...values, ...patterns]);
  copies.forEach(c => machine.free(c));
  return result;
}

/** f(a, b) with broadcasting. */
export const binary = (machine: Machine, f: Binary, a: View<GpuStorage>, b: View<GpuStorage>, out: Shape): GpuStorage =>
  broadcast(machine, binaries[f], [a, b], out);

/** condition ≠ 0 ? a : b, with broadcasting. */
export const where = (
  machine: Machine,
  condition: View<GpuStorage>,
  a: View<GpuStorage>,
  b: View<GpuStorage>,
  out: Shape,
): GpuStorage => broadcast(machine, select, [condition, a, b], out);
