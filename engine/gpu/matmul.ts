/** Batched matrix products: one thread an output element (column x, row y, batch z), by strides, so that a transpose is no copy. */
import type { Shape, View } from '../backend.ts';
import { broadcastStrides, sizeOf } from '../shape.ts';
import type { Thread, Values } from './gpujs.ts';
import { patternOf, position } from './indexing.ts';
import { strided } from './layout.ts';
import type { GpuStorage, Machine } from './machine.ts';

/** Σ_i a[y, i] b[i, x] of the batch z; strides of a row, a column and the place of a batch by its step and size. */
function product(
  this: Thread, a: Values, b: Values, k: number, aRow: number, aColumn: number, bRow: number, bColumn: number,
  aMatrix: number, bMatrix: number, aStep: number, aBatches: number, bStep: number, bBatches: number,
): number {
  const aBase = position(this.thread.z, aStep, aBatches) * aMatrix + this.thread.y * aRow;
  const bBase = position(this.thread.z, bStep, bBatches) * bMatrix + this.thread.x * bColumn;
  let sum = 0;
  for (let i = 0; i < k; i++) {
    sum += a[aBase + i * aColumn] * b[bBase + i * bRow];
  }
  return sum;
}

export function matmul(machine: Machine, a: View<GpuStorage>, b: View<GpuStorage>, transposeA: boolean, transposeB: boolean, out: Shape): GpuStorage {
  const [m, n] = out.slice(-2);
  const k = a.shape.at(transposeA ? -2 : -1)!;
  const batch = out.slice(0, -2);
  const size = sizeOf(out);
  if (k === 0 && size > 0) return machine.filled(size, 0);
  const copies: GpuStorage[] = [];
  const operand = ({ storage, shape }: View<GpuStorage>) => {
    const pattern = patternOf(shape.slice(0, -2), batch);
    if (pattern) return { storage, ...pattern };
    const whole = [...batch, ...shape.slice(-2)];
    const copy = strided(machine, storage, whole, broadcastStrides(shape, whole), 0);
    copies.push(copy);
    return { storage: copy, step: 1, size: 0 };
  };
  const [A, B] = [operand(a), operand(b)];
  const [aRow, aColumn] = transposeA ? [1, m] : [k, 1];
  const [bRow, bColumn] = transposeB ? [1, k] : [n, 1];
  const y = machine.run(product, [n, m, sizeOf(batch)], [A.storage, B.storage, k, aRow, aColumn, bRow, bColumn, m * k, k * n, A.step, A.size, B.step, B.size]);
  copies.forEach(c => machine.free(c));
  return y;
}
