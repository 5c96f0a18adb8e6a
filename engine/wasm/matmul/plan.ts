/**
 * How a matrix product is cut, after Goto and van de Geijn (2008): sizes chosen for registers and caches, and the
 * shares of threads. `emit.ts` turns the sizes into code.
 */

/**
 * The tile of the micro-kernel: 4 × 8 outputs are 8 vectors, which with two of B and one of A stay below 16 registers.
 */
export const tileRows = 4;
/** Columns of a tile of the output: two vectors. */
export const tileColumns = 8;
/** Depth of a panel: 8 columns of B, 8 KiB, stay in the first-level cache. It is also the length of a partial sum. */
export const depth = 256;
/** Rows of A packed at a time, 128 KiB, and columns of B, 512 KiB: both stay in the second level. */
export const blockRows = 128;
/** Columns of B that are packed at a time. */
export const blockColumns = 512;

/** Up to so many rows times a transposed matrix are not worth packing it. */
export const fewRows = 4;

/** A large product packs each operand once, for all threads, in pieces of at most so many bytes. */
export const packedBytes = 16 * 2 ** 20;

/** Layout of a thread's workspace in bytes. */
export const packedA = 0;
/** Where packed B begins in a thread's workspace, in bytes. */
export const packedB = packedA + blockRows * depth * 4;
/** Where a tile at a ragged edge is computed. */
export const edgeTile = packedB + blockColumns * depth * 4;
/** Bytes of a thread's workspace. */
export const workBytes = edgeTile + tileRows * tileColumns * 4;

/** How the work is cut into items. */
export interface Items {
  /** Whether items are groups of rows; of columns otherwise. */
  readonly byRows: boolean;
  /** Rows or columns of an item. */
  readonly length: number;
  readonly count: number;
}

/** Products of fewer multiplications than this are not worth a second thread. */
const leastShare = 1 << 18;

/**
 * The product as items for threads: groups of rows where there are more rows, groups of columns otherwise. An item is
 * a separate product; every output is the same sum in the same order whatever the cut.
 */
export function itemsOf(m: number, n: number, k: number, threads: number): Items {
  const byRows = m >= n;
  const [along, across] = byRows ? [m, n] : [n, m];
  const whole = { byRows, length: along, count: 1 };
  if (threads === 1 || m * n * k < 2 * leastShare) return whole;
  const tile = byRows ? tileRows : tileColumns;
  const most = byRows ? blockRows : blockColumns;
  // Three items a thread even out differences of speed, but what each packs again must stay small beside the product.
  const length = Math.max(Math.ceil(along / (3 * threads)), Math.ceil(leastShare / (across * k)), 8 * tile);
  const rounded = Math.min(Math.ceil(length / tile) * tile, Math.max(most, tile));
  return { byRows, length: rounded, count: Math.ceil(along / rounded) };
}

/** How a large product is cut: what is packed at a time, and the tiles of C that threads take. */
export interface Tiles {
  /** Rows of A and columns of B that are packed at a time. */
  readonly rows: number;
  readonly columns: number;
  /** Rows and columns of a tile. */
  readonly tileRows: number;
  readonly tileColumns: number;
}

/** Tiles a thread, where the product has as many: they even out differences of speed. */
const tilesOfThread = 4;
const leastTileColumns = 64;

/**
 * The cut of a product that is worth packing once for all threads; null for one that is too small or too narrow, which
 * `itemsOf` cuts.
 */
export function tilesOf(m: number, n: number, k: number, threads: number): Tiles | null {
  if (m < 2 * leastTileColumns || n < 2 * leastTileColumns || m * n * k < 4 * leastShare) return null;
  const most = Math.max(blockRows, Math.floor(packedBytes / (4 * k) / blockRows) * blockRows);
  const [rows, columns] = [Math.min(m, most), Math.min(n, most)];
  const tile = { rows: blockRows, columns: blockColumns };
  const count = () => Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
  while (threads > 1 && count() < tilesOfThread * threads && tile.columns > leastTileColumns) {
    if (tile.columns > tile.rows) tile.columns /= 2;
    else tile.rows /= 2;
  }
  return { rows, columns, tileRows: tile.rows, tileColumns: tile.columns };
}
