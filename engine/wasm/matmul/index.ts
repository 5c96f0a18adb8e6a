/** The primitive `matmul` on the host: batches, and shares for threads. */
import type { Shape } from '../../backend.ts';
import { broadcastStrides, sizeOf } from '../../shape.ts';
import { collapse, walkOuter } from '../elementwise.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import { itemsOf, workBytes } from './plan.ts';

interface Operand {
  readonly storage: WasmStorage;
  readonly shape: Shape;
}

export function matmul(
  machine: Machine,
  a: Operand,
  b: Operand,
  transposeA: boolean,
  transposeB: boolean,
  out: Shape,
): WasmStorage {
  const y = machine.allocate('float32', sizeOf(out));
  const [m, n] = out.slice(-2);
  const k = a.shape.at(transposeA ? -2 : -1)!;
  if (k === 0) machine.floats(y.pointer, y.size).fill(0);
  if (k === 0 || y.size === 0) return y;

  // Batch dims as one loop, in which a broadcast operand stands still.
  const batch = out.slice(0, -2);
  const strides = [a, b].map(x => broadcastStrides(x.shape.slice(0, -2), batch));
  const loop = collapse(batch, [strides[0].map(s => s * m * k), strides[1].map(s => s * k * n)]);
  const count = loop.shape.at(-1) ?? 1;
  const batchBytes = loop.strides.map(s => 4 * (s.at(-1) ?? 0));
  const items = itemsOf(m, n, k, machine.threads);
  const lineBytes = [transposeA ? m : k, transposeB ? k : n, n].map(length => 4 * length);
  walkOuter(loop, 1, ([offsetA, offsetB], block) => {
    const pointers = [
      a.storage.pointer + 4 * offsetA,
      b.storage.pointer + 4 * offsetB,
      y.pointer + 4 * block * count * m * n,
    ];
    machine.run(
      'matmulItems',
      [
        ...pointers,
        ...lineBytes,
        Number(transposeA),
        Number(transposeB),
        m,
        n,
        k,
        ...batchBytes,
        4 * m * n,
        Number(items.byRows),
        items.length,
        items.count,
      ],
      { items: count * items.count, grain: Math.max(1, Math.ceil((1 << 17) / ((m * n * k) / items.count))) },
      workBytes,
    );
  });
  return y;
}
