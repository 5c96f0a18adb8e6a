/** The primitive `matmul` on the host: batches, and shares for threads. */
import type { Shape } from '../../backend.ts';
import { broadcastStrides, sizeOf } from '../../shape.ts';
import { collapse, walkOuter } from '../elementwise.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import { itemsOf, tileColumns, tileRows, tilesOf, workBytes, type Tiles } from './plan.ts';

interface Operand {
  readonly storage: WasmStorage;
  readonly shape: Shape;
}

/** The batched product over the last two dims, either operand transposed: (…, m, n). */
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
  const tiles = y.size === m * n ? tilesOf(m, n, k, machine.threads) : null;
  if (tiles !== null) {
    inTiles(
      machine,
      [a.storage, b.storage, y].map(x => x.pointer),
      transposeA,
      transposeB,
      m,
      n,
      k,
      tiles,
    );
    return y;
  }
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

/** One large product: each operand is packed once, in pieces where it is very large, and then read by all threads. */
function inTiles(
  machine: Machine,
  [a, b, c]: readonly number[],
  transposeA: boolean,
  transposeB: boolean,
  m: number,
  n: number,
  k: number,
  tiles: Tiles,
): void {
  /** Packs lines from `start` on; they are contiguous, or, where `across`, their elements are `length` apart. */
  const pack = (
    from: number,
    start: number,
    count: number,
    length: number,
    across: boolean,
    to: number,
    width: number,
  ) =>
    machine.run(
      'matmulPack',
      [from + 4 * start * (across ? 1 : k), 4 * (across ? length : k), Number(across), count, k, to, width],
      { items: Math.ceil(count / width), grain: Math.max(1, Math.ceil((1 << 15) / (width * k))) },
    );
  const padded = (count: number, width: number) => 4 * k * Math.ceil(count / width) * width;
  machine.scratch(padded(tiles.rows, tileRows), packedA =>
    machine.scratch(padded(tiles.columns, tileColumns), packedB => {
      for (let j = 0; j < n; j += tiles.columns) {
        const columns = Math.min(tiles.columns, n - j);
        pack(b, j, columns, n, !transposeB, packedB, tileColumns);
        for (let i = 0; i < m; i += tiles.rows) {
          const rows = Math.min(tiles.rows, m - i);
          if (j === 0 || tiles.rows < m) pack(a, i, rows, m, transposeA, packedA, tileRows);
          machine.run(
            'matmulTiles',
            [packedA, packedB, c + 4 * (i * n + j), 4 * n, rows, columns, k, tiles.tileRows, tiles.tileColumns],
            { items: Math.ceil(rows / tiles.tileRows) * Math.ceil(columns / tiles.tileColumns), grain: 1 },
            workBytes,
          );
        }
      }
    }),
  );
}
