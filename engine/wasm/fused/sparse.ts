/**
 * The operations `sparseMatmul` and `sampledMatmul`: products of a matrix a (u, v) of which few entries are positive
 * with a dense one, and the product of two dense ones at its positive entries.
 *
 * a stays dense in memory: every training step recomputes it, and one pass over it finds its entries. It is cut
 * into tiles of columns, as many as there are rows of the dense operand that stay in a cache, and the lines of a tile
 * follow each other. The entries of a line within a tile go to a list in the workspace, which is then walked once for
 * each block of columns of the result, whose sums are in registers.
 *
 * The kernels decline a matrix that is not sparse: an entry costs the packed product a third of the time.
 */
import type { Kernel, View } from '../../backend.ts';
import type { I32, Local, V128 } from '../assembler/code.ts';
import { f32x4, i32, i32x4, select, v128, zeroFill } from '../assembler/instructions.ts';
import type { Func } from '../assembler/module.ts';
import { eachItem, kernel, type Kernels, type Moving, type Share } from '../kernel.ts';
import { eachVector, loadAt, masked, storeVector } from '../lines.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import { multiplyAdd, transpose4 } from '../matmul/vectors.ts';

type Pointer = Local<'i32'>;

/** Vectors of a block of columns: eight sums leave registers for the operands. */
const blockVectors = 8;
const blockBytes = 16 * blockVectors;

// v, d and tile: lengths in floats; a tile has a multiple of four.
const dims = { v: 'i32', d: 'i32', tile: 'i32' } as const;
type Dims = { readonly [K in keyof typeof dims]: Local<'i32'> };

/**
 * For each tile and each line: `body` gets the byte offset of the tile's columns in a line, their number, and the
 * pointers.
 */
function eachTile<const M extends readonly Moving[]>(
  f: Func,
  { v, tile }: Dims,
  share: Share,
  moving: M,
  body: (first: I32, n: Local<'i32'>, pointers: { [K in keyof M]: Pointer }) => void,
): void {
  f.for(0, v, tile, column => {
    const n = f.let(i32.min_u(i32.sub(v, column), tile));
    const first = f.let(i32.shl(column, 2));
    eachItem(f, share, moving, pointers => body(first, n, pointers));
  });
}

/**
 * Writes the byte offsets of the entries of n floats that are `inside` to a list in the workspace, and gives its end;
 * `also` sees each vector on the way.
 */
function list(
  f: Func,
  line: Pointer,
  n: Local<'i32'>,
  { work }: Share,
  inside: (x: V128) => V128,
  also?: (at: Pointer, tail: V128 | null) => void,
): Pointer {
  const end = f.let(work);
  eachVector(f, n, (at, tail) => {
    const found = f.let(i32x4.bitmask(masked(inside(loadAt(line, at)), tail, 0)));
    also?.(at, tail);
    f.if(found, () => {
      for (let lane = 0; lane < 4; lane++) {
        f.do(i32.store(end, i32.add(at, 4 * lane)));
        f.set(end, i32.add(end, select(i32.const(4), i32.const(0), i32.and(found, 1 << lane))));
      }
    });
  });
  return end;
}

/** Adds the kernels of sparse products to the module. */
export function emitSparse(kernels: Kernels): void {
  const madd = multiplyAdd(kernels.features);

  // y[i] = Σ a[i, j] b[j] over the positive a[i, j]: the terms of a tile in registers, added to those before. NaN
  // counts, as in max(x, 0).
  kernel(kernels, 'sparseMatmul', { a: 'i32', b: 'i32', y: 'i32', ...dims }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.d, 2));
    f.do(zeroFill(i32.add(p.y, i32.mul(share.from, bytes)), i32.mul(i32.sub(share.to, share.from), bytes)));
    eachTile(
      f,
      p,
      share,
      [
        { base: p.a, stride: f.let(i32.shl(p.v, 2)) },
        { base: p.y, stride: bytes },
      ],
      (first, n, [aRow, y]) => {
        const a = f.let(i32.add(aRow, first));
        const end = list(f, a, n, share, x => v128.not(f32x4.ge(0, x)));
        const b = f.let(i32.add(p.b, i32.mul(first, p.d))); // the byte offset of column j times d is that of row j of b
        const columns = (at: Pointer, vectors: number, store: (i: number, sum: Local<'v128'>) => void) => {
          const sums = Array.from({ length: vectors }, () => f.let(f32x4.const(0)));
          f.for(share.work, end, 4, entry => {
            const offset = f.let(i32.load(entry));
            const weight = f.let(v128.load32_splat(i32.add(a, offset)));
            const row = f.let(i32.add(i32.add(b, at), i32.mul(offset, p.d)));
            sums.forEach((sum, i) => f.set(sum, madd(weight, v128.load(row, 16 * i), sum)));
          });
          sums.forEach((sum, i) => store(i, f.let(f32x4.add(sum, v128.load(i32.add(y, at), 16 * i)))));
        };
        f.if(i32.lt_u(share.work, end), () => {
          const at = f.let(i32.const(0));
          const blocksEnd = f.let(i32.and(bytes, -blockBytes));
          f.while(
            () => i32.lt_u(at, blocksEnd),
            () => {
              columns(at, blockVectors, (i, sum) => f.do(v128.store(i32.add(y, at), sum, 16 * i)));
              f.set(at, i32.add(at, blockBytes));
            },
          );
          const rest = f.let(i32.sub(p.d, i32.shr_u(blocksEnd, 2)));
          eachVector(f, rest, (_, tail) => {
            columns(at, 1, (_, sum) => storeVector(f, i32.add(y, at), sum, rest, tail));
            f.set(at, i32.add(at, 16));
          });
        });
      },
    );
  });

  // y[i, j] = ⟨l[i], r[j]⟩ where a[i, j] is positive, 0 elsewhere; four entries at a time.
  kernel(kernels, 'sampledMatmul', { l: 'i32', r: 'i32', a: 'i32', y: 'i32', ...dims }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.v, 2));
    eachTile(
      f,
      p,
      share,
      [
        { base: p.l, stride: f.let(i32.shl(p.d, 2)) },
        { base: p.a, stride: bytes },
        { base: p.y, stride: bytes },
      ],
      (first, n, [l, aRow, yRow]) => {
        const [a, y] = [aRow, yRow].map(row => f.let(i32.add(row, first)));
        const r = f.let(i32.add(p.r, i32.mul(first, p.d)));
        const end = list(
          f,
          a,
          n,
          share,
          x => f32x4.gt(x, 0),
          (at, tail) => storeVector(f, i32.add(y, at), f32x4.const(0), n, tail),
        );
        f.if(i32.lt_u(share.work, end), () => {
          // The last entry stands in for those missing from the last four.
          for (let i = 0; i < 3; i++) f.do(i32.store(end, i32.load(i32.sub(end, 4)), 4 * i));
        });
        f.for(share.work, end, 16, entry => {
          const offsets = [0, 1, 2, 3].map(i => f.let(i32.load(entry, 4 * i)));
          const rows = offsets.map(offset => f.let(i32.add(r, i32.mul(offset, p.d))));
          const sums = rows.map(() => f.let(f32x4.const(0)));
          eachVector(f, p.d, (at, tail) => {
            const x = f.let(masked(loadAt(l, at), tail, 0));
            sums.forEach((sum, i) => f.set(sum, madd(x, masked(loadAt(rows[i], at), tail, 0), sum)));
          });
          const [w, x, z, q] = transpose4(f, sums);
          const result = f.let(f32x4.add(f32x4.add(w, x), f32x4.add(z, q)));
          offsets.forEach((offset, i) => f.do(v128.store32_lane(i32.add(y, offset), result, i)));
        });
      },
    );
  });
}

/** Floats of the dense operand in a tile, 256 KiB, and columns of a tile at least. */
const tileFloats = 1 << 16;
const leastTile = 64;
const tileOf = (d: number): number => Math.max(leastTile, 4 * Math.floor(tileFloats / Math.max(d, 1) / 4));

/** Above this share of positive entries the packed product takes less time. */
const sparse = 0.25;
const probes = 4096;

/** Whether a is sparse, by entries spread over it. */
function isSparse(machine: Machine, a: WasmStorage): boolean {
  const values = machine.floats(a.pointer, a.size);
  const count = Math.min(probes, a.size);
  let positive = 0;
  // Multiples of the golden ratio, modulo 1, fall in step with no row length.
  for (let i = 0; i < count; i++) if (values[Math.floor(((i * 0.6180339887498949) % 1) * a.size)] > 0) positive++;
  return positive <= sparse * count;
}

/** The kernels of `sparseMatmul` and `sampledMatmul`. */
export function sparseProducts(machine: Machine): Record<string, Kernel<WasmStorage>> {
  const run = (
    name: string,
    inputs: readonly WasmStorage[],
    { shape: [u, v] }: View,
    d: number,
    size: number,
  ): WasmStorage => {
    const y = machine.allocate('float32', size);
    const tile = tileOf(d);
    machine.run(
      name,
      [...inputs.map(x => x.pointer), y.pointer, v, d, tile],
      { items: u, grain: Math.ceil((1 << 14) / Math.max(v, 1)) },
      4 * tile + 16,
    );
    return y;
  };
  return {
    sparseMatmul: {
      forward: ([a, b]) =>
        isSparse(machine, a.storage)
          ? run('sparseMatmul', [a.storage, b.storage], a, b.shape[1], a.shape[0] * b.shape[1])
          : null,
    },
    sampledMatmul: {
      forward: ([l, r, a]) =>
        isSparse(machine, a.storage)
          ? run('sampledMatmul', [l.storage, r.storage, a.storage], a, l.shape[1], a.storage.size)
          : null,
    },
  };
}
