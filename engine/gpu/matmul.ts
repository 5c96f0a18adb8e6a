/**
 * Batched matrix products, by strides, so that a transpose copies nothing. On WebGPU a thread gives four neighbouring
 * elements of a row: one value of a then serves four products, and a load is what a product waits for. gpu.js has no
 * memory that threads share, so there are no tiles beyond that.
 */
import type { Shape, View } from '../backend.ts';
import { broadcastStrides, sizeOf } from '../shape.ts';
import type { Thread, Values } from './gpujs.ts';
import { patternOf } from './indexing.ts';
import { strided } from './layout.ts';
import type { GpuStorage, Machine } from './machine.ts';

/** Σ_i a[y, i] b[i, x] of the batch z: the definition. Arguments are the steps of a row, a column and a batch. */
function product(
  this: Thread,
  a: Values,
  b: Values,
  k: number,
  aBatch: number,
  aRow: number,
  aColumn: number,
  bBatch: number,
  bRow: number,
  bColumn: number,
): number {
  let sum = 0;
  for (let i = 0; i < k; i++) {
    sum +=
      a[this.thread.z * aBatch + this.thread.y * aRow + i * aColumn] *
      b[this.thread.z * bBatch + i * bRow + this.thread.x * bColumn];
  }
  return sum;
}

/** The same for columns 4x … 4x + 3. */
function fourProducts(
  this: Thread,
  a: Values,
  b: Values,
  k: number,
  aBatch: number,
  aRow: number,
  aColumn: number,
  bBatch: number,
  bRow: number,
  bColumn: number,
): [number, number, number, number] {
  let first = 0;
  let second = 0;
  let third = 0;
  let fourth = 0;
  for (let i = 0; i < k; i++) {
    const value = a[this.thread.z * aBatch + this.thread.y * aRow + i * aColumn];
    first += value * b[this.thread.z * bBatch + i * bRow + this.thread.x * 4 * bColumn];
    second += value * b[this.thread.z * bBatch + i * bRow + (this.thread.x * 4 + 1) * bColumn];
    third += value * b[this.thread.z * bBatch + i * bRow + (this.thread.x * 4 + 2) * bColumn];
    fourth += value * b[this.thread.z * bBatch + i * bRow + (this.thread.x * 4 + 3) * bColumn];
  }
  return [first, second, third, fourth];
}

/** The batched product over the last two dims, either operand transposed: (…, m, n). */
export function matmul(
  machine: Machine,
  a: View<GpuStorage>,
  b: View<GpuStorage>,
  transposeA: boolean,
  transposeB: boolean,
  out: Shape,
): GpuStorage {
  const [m, n] = out.slice(-2);
  const k = a.shape.at(transposeA ? -2 : -1)!;
  const batch = out.slice(0, -2);
  const batches = sizeOf(batch);
  const size = batches * m * n;
  if (k === 0 || size === 0) return machine.filled(size, 0);
  const copies: GpuStorage[] = [];
  /** The operand with every batch in its place, or one for all of them: its values and the step of a batch. */
  const operand = ({ storage, shape }: View<GpuStorage>): [GpuStorage, number] => {
    const pattern = patternOf(shape.slice(0, -2), batch);
    const matrix = shape.slice(-2);
    if (pattern?.size === 0) return [storage, sizeOf(matrix)];
    if (pattern?.size === 1) return [storage, 0];
    const whole = [...batch, ...matrix];
    const copy = strided(machine, storage, whole, broadcastStrides(shape, whole), 0);
    copies.push(copy);
    return [copy, sizeOf(matrix)];
  };
  const [[A, aBatch], [B, bBatch]] = [operand(a), operand(b)];
  const args = [A, B, k, aBatch, ...(transposeA ? [1, m] : [k, 1]), bBatch, ...(transposeB ? [1, k] : [n, 1])];
  const y = machine.packs ? packed(machine, args, batches, m, n) : machine.run(product, [n, m, batches], args);
  copies.forEach(c => machine.free(c));
  return y;
}

/**
 * Four elements a thread; where n is not a multiple of four the last thread of a row computes past the edge, and the
 * surplus is cut off.
 */
function packed(
  machine: Machine,
  args: readonly (GpuStorage | number)[],
  batches: number,
  m: number,
  n: number,
): GpuStorage {
  const fours = Math.ceil(n / 4);
  const wide = machine.run(fourProducts, [fours, m, batches], args, 4);
  if (4 * fours === n) return wide;
  const y = strided(machine, wide, [batches * m, n], [4 * fours, 1], 0);
  machine.free(wide);
  return y;
}
