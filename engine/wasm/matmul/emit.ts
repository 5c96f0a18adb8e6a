/**
 * The matrix product in WebAssembly, C = op(A) op(B) or C += op(A) op(B), for the operation `matmul` and inside
 * attention.
 *
 * A and B are copied, block by block, into panels that the micro-kernel reads in order: panels of 4 rows of A and 8
 * columns of B, each with the index of the inner sum outermost. Copying is where transposition happens. Lanes of a
 * panel beyond the edge of a matrix hold copies of its last row or column or whatever follows it in memory; they only
 * reach outputs that are not stored.
 *
 * An output is a sum over blocks of `depth` terms, each block summed in a register from zero, in order.
 */
import type { I32, Local } from '../assembler/code.ts';
import { f32, f32x4, i32, v128 } from '../assembler/instructions.ts';
import type { Func, FuncRef } from '../assembler/module.ts';
import { kernel, type Kernels } from '../kernel.ts';
import { emitDots } from './dots.ts';
import { blockColumns, blockRows, depth, edgeTile, packedA, packedB, fewRows, tileColumns, tileRows } from './plan.ts';
import { multiplyAdd, transpose4 } from './vectors.ts';

interface Packing {
  readonly lines: FuncRef;
  readonly columns: FuncRef;
}

const packParams = { source: 'i32', stride: 'i32', count: 'i32', k: 'i32', to: 'i32', width: 'i32' } as const;

/**
 * Packs `count` lines of k floats into panels of `width` (4 or 8) lines: element (line, l) goes to
 * panel ⌊line/width⌋, position l · width + line mod width. Groups of four lines at a time, up to whole panels.
 */
function emitPacking({ module }: Kernels): Packing {
  /** For each group of four lines: the first of them, and where its first element goes. */
  const eachGroup = (
    f: Func,
    p: { count: I32; k: I32; to: I32; width: I32 },
    body: (line: Local<'i32'>, to: Local<'i32'>) => void,
  ) => {
    const padded = f.let(i32.mul(i32.div_u(i32.add(p.count, i32.sub(p.width, 1)), p.width), p.width));
    f.for(0, padded, 4, line => {
      const panel = f.let(i32.div_u(line, p.width));
      const within = i32.rem_u(line, p.width);
      body(line, f.let(i32.add(p.to, i32.shl(i32.add(i32.mul(panel, i32.mul(p.width, p.k)), within), 2))));
    });
  };

  /** Lines are contiguous in memory, `stride` bytes from one to the next: four by four elements are transposed. */
  const lines = module.func('packLines', packParams, (f, p) => {
    eachGroup(f, p, (line, to) => {
      const last = i32.sub(p.count, 1);
      const from = [0, 1, 2, 3].map(r =>
        f.let(i32.add(p.source, i32.mul(i32.min_u(i32.add(line, r), last), p.stride))),
      );
      const step = f.let(i32.shl(p.width, 2)); // bytes from one l to the next
      const end = f.let(i32.add(from[0], i32.shl(p.k, 2)));
      const fourth = f.let(i32.sub(end, 15));
      f.while(
        () => i32.lt_u(from[0], fourth),
        () => {
          for (const v of transpose4(
            f,
            from.map(pointer => f.let(v128.load(pointer))),
          )) {
            f.do(v128.store(to, v));
            f.set(to, i32.add(to, step));
          }
          for (const pointer of from) f.set(pointer, i32.add(pointer, 16));
        },
      );
      f.while(
        () => i32.lt_u(from[0], end),
        () => {
          from.forEach((pointer, r) => f.do(f32.store(to, f32.load(pointer), 4 * r)));
          f.set(to, i32.add(to, step));
          for (const pointer of from) f.set(pointer, i32.add(pointer, 4));
        },
      );
    });
  });

  /**
   * Neighbouring lines are neighbours in memory, and `stride` bytes lead from one l to the next: the vectors of a
   * panel, one or two, are copied. What is read beyond the last line is within the slack of blocks.
   */
  const columns = module.func('packColumns', packParams, (f, p) => {
    const panels = (width: 4 | 8) => {
      const to = f.let(p.to);
      f.for(0, p.count, width, line => {
        const from = f.let(i32.add(p.source, i32.shl(line, 2)));
        f.for(0, p.k, 1, () => {
          for (let at = 0; at < 4 * width; at += 16) f.do(v128.store(to, v128.load(from, at), at));
          f.set(to, i32.add(to, 4 * width));
          f.set(from, i32.add(from, p.stride));
        });
      });
    };
    f.if(
      i32.lt_u(p.width, 8),
      () => panels(4),
      () => panels(8),
    );
  });

  return { lines, columns };
}

/** C (m, n) with rows `stride` bytes apart = or += packed A (m, k) times packed B (k, n). */
function emitBlock({ module, features }: Kernels): FuncRef {
  const params = {
    a: 'i32',
    b: 'i32',
    c: 'i32',
    stride: 'i32',
    m: 'i32',
    n: 'i32',
    k: 'i32',
    accumulate: 'i32',
    edge: 'i32',
  } as const;
  const madd = multiplyAdd(features);

  return module.func('matmulBlock', params, (f, { a, b, c, stride, m, n, k, accumulate, edge }) => {
    const sums = Array.from({ length: tileRows }, () => [f.local('v128'), f.local('v128')] as const);
    const [pa, pb] = [f.local('i32'), f.local('i32')];
    const bytesA = f.let(i32.mul(k, 4 * tileRows)); // of a panel
    const bytesB = f.let(i32.mul(k, 4 * tileColumns));

    /**
     * Adds one term of the sum to all 4 × 8 outputs. The loop is not unrolled: V8 would move the loads of all terms
     * before the arithmetic of any, and spill what does not fit into its 15 registers (half the speed was lost).
     */
    const addTerm = () => {
      const columns = [0, 16].map(offset => f.let(v128.load(pb, offset)));
      sums.forEach((row, r) => {
        const x = f.let(v128.load32_splat(pa, 4 * r));
        row.forEach((sum, j) => f.set(sum, madd(x, columns[j], sum)));
      });
      f.set(pa, i32.add(pa, 4 * tileRows));
      f.set(pb, i32.add(pb, 4 * tileColumns));
    };

    /** Stores the tile; `rows` are the addresses of its rows. */
    const store = (rows: readonly I32[]) => {
      f.if(
        accumulate,
        () =>
          rows.forEach((row, r) =>
            sums[r].forEach((sum, j) => f.do(v128.store(row, f32x4.add(v128.load(row, 16 * j), sum), 16 * j))),
          ),
        () => rows.forEach((row, r) => sums[r].forEach((sum, j) => f.do(v128.store(row, sum, 16 * j)))),
      );
    };

    /** Stores what of the tile is inside C, by way of a tile in memory. */
    const storeEdge = (corner: I32, height: I32, width: I32) => {
      sums.forEach((row, r) => row.forEach((sum, j) => f.do(v128.store(edge, sum, 4 * tileColumns * r + 16 * j))));
      const [from, to] = [f.let(edge), f.let(corner)];
      f.for(0, height, 1, () => {
        f.for(0, i32.shl(width, 2), 4, at => {
          const value = f.let(f32.load(i32.add(from, at)));
          f.if(accumulate, () => f.set(value, f32.add(f32.load(i32.add(to, at)), value)));
          f.do(f32.store(i32.add(to, at), value));
        });
        f.set(from, i32.add(from, 4 * tileColumns));
        f.set(to, i32.add(to, stride));
      });
    };

    const panelB = f.let(b);
    f.for(0, n, tileColumns, j => {
      const panelA = f.let(a);
      f.for(0, m, tileRows, i => {
        f.set(pa, panelA);
        f.set(pb, panelB);
        for (const sum of sums.flat()) f.set(sum, f32x4.const(0));
        const end = f.let(i32.add(panelA, bytesA));
        f.while(() => i32.lt_u(pa, end), addTerm);
        f.set(panelA, end);
        const corner = f.let(i32.add(c, i32.add(i32.mul(i, stride), i32.shl(j, 2))));
        const inside = i32.and(i32.le_u(i32.add(i, tileRows), m), i32.le_u(i32.add(j, tileColumns), n));
        f.if(
          inside,
          () => {
            const rows: Local<'i32'>[] = [corner];
            for (let r = 1; r < tileRows; r++) rows.push(f.let(i32.add(rows[r - 1], stride)));
            store(rows);
          },
          () => storeEdge(corner, i32.min_u(i32.sub(m, i), tileRows), i32.min_u(i32.sub(n, j), tileColumns)),
        );
      });
      f.set(panelB, i32.add(panelB, bytesB));
    });
  });
}

/**
 * A large product in two steps. `matmulPack` packs `count` lines of k floats for all threads, an item a panel; blocks
 * of `depth` terms follow each other, each with all panels. `matmulTiles` multiplies packed A (m, k) and B (k, n), an
 * item a tile of C.
 */
function emitTiles(kernels: Kernels, pack: Packing, block: FuncRef): void {
  /** Where in packed lines the panel of line `line` begins, in the block of k terms from term l on. */
  const panelAt = (base: I32, count: I32, width: I32 | number, l: I32, line: I32, k: I32) => {
    const padded = i32.mul(i32.div_u(i32.add(count, i32.sub(width, 1)), width), width);
    return i32.add(base, i32.shl(i32.add(i32.mul(l, padded), i32.mul(line, k)), 2));
  };

  kernel(
    kernels,
    'matmulPack',
    { source: 'i32', stride: 'i32', across: 'i32', count: 'i32', k: 'i32', packed: 'i32', width: 'i32' },
    (f, p, share) => {
      f.for(share.from, share.to, 1, panel => {
        const line = f.let(i32.mul(panel, p.width));
        const lines = f.let(i32.min_u(i32.sub(p.count, line), p.width));
        f.for(0, p.k, depth, l => {
          const k = f.let(i32.min_u(i32.sub(p.k, l), depth));
          const to = f.let(panelAt(p.packed, p.count, p.width, l, line, k));
          const at = (contiguous: I32, strided: I32) =>
            i32.add(p.source, i32.add(i32.mul(strided, p.stride), i32.shl(contiguous, 2)));
          f.if(
            p.across,
            () => f.call(pack.columns, at(line, l), p.stride, lines, k, to, p.width),
            () => f.call(pack.lines, at(l, line), p.stride, lines, k, to, p.width),
          );
        });
      });
    },
  );

  const product = { a: 'i32', b: 'i32', c: 'i32', strideC: 'i32', m: 'i32', n: 'i32', k: 'i32' } as const;
  kernel(kernels, 'matmulTiles', { ...product, rows: 'i32', columns: 'i32' }, (f, p, { from, to, work }) => {
    const across = f.let(i32.div_u(i32.add(p.n, i32.sub(p.columns, 1)), p.columns)); // tiles side by side
    f.for(from, to, 1, item => {
      const i = f.let(i32.mul(i32.div_u(item, across), p.rows));
      const j = f.let(i32.mul(i32.rem_u(item, across), p.columns));
      const [m, n] = [f.let(i32.min_u(i32.sub(p.m, i), p.rows)), f.let(i32.min_u(i32.sub(p.n, j), p.columns))];
      const c = f.let(i32.add(p.c, i32.add(i32.mul(i, p.strideC), i32.shl(j, 2))));
      f.for(0, p.k, depth, l => {
        const k = f.let(i32.min_u(i32.sub(p.k, l), depth));
        const a = panelAt(p.a, p.m, tileRows, l, i, k);
        f.call(block, a, panelAt(p.b, p.n, tileColumns, l, j, k), c, p.strideC, m, n, k, l, i32.add(work, edgeTile));
      });
    });
  });
}

/**
 * One whole product: strides in bytes between stored rows, `ta` and `tb` say that the stored matrix is the transpose.
 */
export interface MatmulFunctions {
  /** (a, b, c, strideA, strideB, strideC, ta, tb, m, n, k, accumulate, work) */
  readonly matmul: FuncRef;
}

/** Adds the matrix product to the module. */
export function emitMatmul(kernels: Kernels): MatmulFunctions {
  const { module } = kernels;
  const pack = emitPacking(kernels);
  const block = emitBlock(kernels);
  const dots = emitDots(kernels);
  const operands = {
    a: 'i32',
    b: 'i32',
    c: 'i32',
    strideA: 'i32',
    strideB: 'i32',
    strideC: 'i32',
    ta: 'i32',
    tb: 'i32',
    m: 'i32',
    n: 'i32',
    k: 'i32',
  } as const;

  const packed = module.func('matmulPacked', { ...operands, accumulate: 'i32', work: 'i32' }, (f, p) => {
    const [toA, toB, edge] = [packedA, packedB, edgeTile].map(offset => f.let(i32.add(p.work, offset)));
    /** The address of (line, l) where lines are contiguous, and where their elements are `stride` apart. */
    const inLines = (base: I32, stride: I32, line: I32, l: I32) =>
      i32.add(base, i32.add(i32.mul(line, stride), i32.shl(l, 2)));
    const packOperand = (
      transposed: I32,
      base: I32,
      stride: I32,
      line: I32,
      l: I32,
      count: I32,
      k: I32,
      to: I32,
      width: number,
    ) => {
      f.if(
        transposed,
        () => f.call(pack.columns, inLines(base, stride, l, line), stride, count, k, to, width),
        () => f.call(pack.lines, inLines(base, stride, line, l), stride, count, k, to, width),
      );
    };
    const notTb = f.let(i32.eqz(p.tb)); // columns of B are its lines
    f.for(0, p.n, blockColumns, j => {
      const n = f.let(i32.min_u(i32.sub(p.n, j), blockColumns));
      f.for(0, p.k, depth, l => {
        const k = f.let(i32.min_u(i32.sub(p.k, l), depth));
        packOperand(notTb, p.b, p.strideB, j, l, n, k, toB, tileColumns);
        f.for(0, p.m, blockRows, i => {
          const m = f.let(i32.min_u(i32.sub(p.m, i), blockRows));
          packOperand(p.ta, p.a, p.strideA, i, l, m, k, toA, tileRows);
          f.call(
            block,
            toA,
            toB,
            i32.add(p.c, i32.add(i32.mul(i, p.strideC), i32.shl(j, 2))),
            p.strideC,
            m,
            n,
            k,
            i32.or(p.accumulate, l),
            edge,
          );
        });
      });
    });
  });

  emitTiles(kernels, pack, block);

  /**
   * Few rows of a product with a transposed matrix go another way; `rows` is m of the whole product, so that cutting it
   * changes no sum.
   */
  const isFew = (rows: I32, ta: I32, tb: I32) => i32.and(i32.le_u(rows, fewRows), i32.and(i32.eqz(ta), tb));
  const matmul = module.func('matmul', { ...operands, accumulate: 'i32', work: 'i32' }, (f, p) => {
    f.if(
      isFew(p.m, p.ta, p.tb),
      () => f.call(dots, p.a, p.b, p.c, p.strideA, p.strideB, p.strideC, p.m, p.n, p.k, p.accumulate),
      () => f.call(packed, ...Object.values(p)),
    );
  });

  // Items: groups of `length` rows (byRows) or columns of each of a row of products, `batch…` bytes apart.
  kernel(
    kernels,
    'matmulItems',
    { ...operands, batchA: 'i32', batchB: 'i32', batchC: 'i32', byRows: 'i32', length: 'i32', count: 'i32' },
    (f, p, { from, to, work }) => {
      f.for(from, to, 1, item => {
        const batch = f.let(i32.div_u(item, p.count));
        const start = f.let(i32.mul(i32.rem_u(item, p.count), p.length));
        const [a, b, c] = (
          [
            [p.a, p.batchA],
            [p.b, p.batchB],
            [p.c, p.batchC],
          ] as const
        ).map(([base, stride]) => f.let(i32.add(base, i32.mul(batch, stride))));
        const [m, n] = [f.let(p.m), f.let(p.n)];
        /** Moves a pointer to row or column `start` of a matrix whose lines are contiguous unless `across`. */
        const advance = (pointer: Local<'i32'>, stride: I32, across: I32) => {
          f.if(
            across,
            () => f.set(pointer, i32.add(pointer, i32.shl(start, 2))),
            () => f.set(pointer, i32.add(pointer, i32.mul(start, stride))),
          );
        };
        f.if(
          p.byRows,
          () => {
            f.set(m, i32.min_u(i32.sub(m, start), p.length));
            advance(a, p.strideA, p.ta);
            advance(c, p.strideC, i32.const(0));
          },
          () => {
            f.set(n, i32.min_u(i32.sub(n, start), p.length));
            advance(b, p.strideB, i32.eqz(p.tb));
            advance(c, p.strideC, i32.const(1));
          },
        );
        f.if(
          isFew(p.m, p.ta, p.tb),
          () => f.call(dots, a, b, c, p.strideA, p.strideB, p.strideC, m, n, p.k, 0),
          () => f.call(packed, a, b, c, p.strideA, p.strideB, p.strideC, p.ta, p.tb, m, n, p.k, 0, work),
        );
      });
    },
  );
  return { matmul };
}
