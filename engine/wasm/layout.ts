/**
 * Primitives that move values: strided copies, concatenation, gathering rows and adding them up by index. Values are
 * four bytes, float or integer alike.
 */
import type { Shape } from '../backend.ts';
import { sizeOf } from '../shape.ts';
import { i32, v128, zeroFill } from './assembler/instructions.ts';
import { collapse, walkOuter } from './elementwise.ts';
import { eachItem, kernel, type Kernels } from './kernel.ts';
import { addTo, clearSum, demote, eachVector, loadAt, storeVector, sumLocals } from './lines.ts';
import type { Machine, WasmStorage } from './machine.ts';

const rowParams = { x: 'i32', y: 'i32', columns: 'i32', xRow: 'i32', yRow: 'i32', step: 'i32' } as const;

/** Adds the kernels that move values to the module. */
export function emitLayout(kernels: Kernels): void {
  // y[r, c] = x[r · xRow + c]; strides in bytes.
  kernel(kernels, 'copyRows', rowParams, (f, p, share) => {
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: p.xRow },
        { base: p.y, stride: p.yRow },
      ],
      ([x, y]) => {
        eachVector(f, p.columns, (at, tail) => storeVector(f, i32.add(y, at), loadAt(x, at), p.columns, tail));
      },
    );
  });

  // y[r, c] = x[r · xRow].
  kernel(kernels, 'fillRows', rowParams, (f, p, share) => {
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: p.xRow },
        { base: p.y, stride: p.yRow },
      ],
      ([x, y]) => {
        const value = f.let(v128.load32_splat(x));
        eachVector(f, p.columns, (at, tail) => storeVector(f, i32.add(y, at), value, p.columns, tail));
      },
    );
  });

  // y[r, c] = x[r · xRow + c · step], element by element where neighbours of the result are no neighbours of x.
  kernel(kernels, 'pickRows', rowParams, (f, p, share) => {
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: p.xRow },
        { base: p.y, stride: p.yRow },
      ],
      ([x, y]) => {
        const [from, to] = [f.let(x), f.let(y)];
        f.for(0, p.columns, 1, () => {
          f.do(i32.store(to, i32.load(from)));
          f.set(from, i32.add(from, p.step));
          f.set(to, i32.add(to, 4));
        });
      },
    );
  });

  // y[r, c] = x[r + c · step/4] in groups of four rows: x is read in vectors along r, so a transpose does not stride
  // badly.
  kernel(
    kernels,
    'transposeRows',
    { x: 'i32', y: 'i32', rows: 'i32', columns: 'i32', yRow: 'i32', step: 'i32' },
    (f, p, { from, to }) => {
      f.for(from, to, 1, group => {
        const row = f.let(i32.shl(group, 2));
        const source = f.let(i32.add(p.x, i32.shl(row, 2)));
        const targets = [0, 1, 2, 3].map(r =>
          f.let(i32.add(p.y, i32.mul(i32.min_u(i32.add(row, r), i32.sub(p.rows, 1)), p.yRow))),
        );
        f.for(0, p.columns, 1, () => {
          const v = f.let(v128.load(source));
          // Rows beyond the last are written before it, into it.
          for (const [r, target] of [...targets.entries()].reverse())
            f.do(v128.store32_lane(target, laneWithin(v, r), 0));
          f.set(source, i32.add(source, p.step));
          for (const target of targets) f.set(target, i32.add(target, 4));
        });
      });
    },
  );

  // y[i] = table[index[i]].
  kernel(kernels, 'gather', { table: 'i32', index: 'i32', y: 'i32', width: 'i32' }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.width, 2));
    eachItem(
      f,
      share,
      [
        { base: p.index, stride: 4 },
        { base: p.y, stride: bytes },
      ],
      ([index, y]) => {
        const row = f.let(i32.add(p.table, i32.mul(i32.load(index), bytes)));
        eachVector(f, p.width, (at, tail) => storeVector(f, i32.add(y, at), loadAt(row, at), p.width, tail));
      },
    );
  });

  // y[i] = Σ rows[order[j]] for j in starts[i] … starts[i + 1], in this order, in double precision.
  kernel(kernels, 'scatterAdd', { rows: 'i32', order: 'i32', starts: 'i32', y: 'i32', width: 'i32' }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.width, 2));
    const sum = sumLocals(f);
    eachItem(
      f,
      share,
      [
        { base: p.starts, stride: 4 },
        { base: p.y, stride: bytes },
      ],
      ([start, y]) => {
        const [first, end] = [0, 4].map(offset => f.let(i32.add(p.order, i32.shl(i32.load(start, offset), 2))));
        f.if(
          i32.eq(first, end),
          () => f.do(zeroFill(y, bytes)),
          () => {
            eachVector(f, p.width, (at, tail) => {
              clearSum(f, sum);
              f.for(first, end, 4, position =>
                addTo(f, sum, f.let(v128.load(i32.add(i32.add(p.rows, i32.mul(i32.load(position), bytes)), at)))),
              );
              storeVector(f, i32.add(y, at), demote(sum.low, sum.high), p.width, tail);
            });
          },
        );
      },
    );
  });
}

/** A vector with lane r of v in lane 0. */
const laneWithin = (v: Parameters<typeof v128.shuffle32>[0], r: number) =>
  r === 0 ? v : v128.shuffle32(v, v, [r, r, r, r]);

/** Elements that make a share worth a thread. */
const grain = 1 << 15;
const share = (items: number, length: number) => ({ items, grain: Math.ceil(grain / Math.max(length, 1)) });

/** Copies a strided view out: out[i…] = x[offset + Σ i·strides]. */
export function strided(
  machine: Machine,
  x: WasmStorage,
  out: Shape,
  strides: readonly number[],
  offset: number,
): WasmStorage {
  const y = machine.allocate(x.dtype, sizeOf(out));
  if (y.size === 0) return y;
  const loop = collapse(out, [strides]);
  const [rows, columns] = [loop.shape.at(-2) ?? 1, loop.shape.at(-1) ?? 1];
  const [xRow, step] = [loop.strides[0].at(-2) ?? 0, loop.strides[0].at(-1) ?? 1];
  walkOuter(loop, 2, ([at], block) => {
    const from = x.pointer + 4 * (offset + at);
    const to = y.pointer + 4 * block * rows * columns;
    if (step === 1) machine.run('copyRows', [from, to, columns, 4 * xRow, 4 * columns, 0], share(rows, columns));
    else if (step === 0) machine.run('fillRows', [from, to, columns, 4 * xRow, 4 * columns, 0], share(rows, columns));
    else if (xRow === 1 && rows >= 4)
      machine.run(
        'transposeRows',
        [from, to, rows, columns, 4 * columns, 4 * step],
        share(Math.ceil(rows / 4), 4 * columns),
      );
    else machine.run('pickRows', [from, to, columns, 4 * xRow, 4 * columns, 4 * step], share(rows, columns));
  });
  return y;
}

/** Joins (outer, nᵢ, inner) along the middle. */
export function concat(
  machine: Machine,
  xs: readonly WasmStorage[],
  outer: number,
  lengths: readonly number[],
  inner: number,
): WasmStorage {
  const width = lengths.reduce((sum, n) => sum + n, 0) * inner;
  const y = machine.allocate(xs[0].dtype, outer * width);
  let column = 0;
  xs.forEach((x, i) => {
    const columns = lengths[i] * inner;
    if (columns > 0)
      machine.run(
        'copyRows',
        [x.pointer, y.pointer + 4 * column, columns, 4 * columns, 4 * width, 0],
        share(outer, columns),
      );
    column += columns;
  });
  return y;
}

/** The values of an index; throws a RangeError naming `op` if one is outside [least, n). */
export function checkedIndex(machine: Machine, op: string, index: WasmStorage, n: number, least: number): Int32Array {
  const values = machine.ints(index.pointer, index.size);
  const wrong = values.findIndex(i => i >= n || i < least);
  if (wrong >= 0) throw new RangeError(`${op}: index ${values[wrong]} at position ${wrong} is outside [0, ${n})`);
  return values;
}

/** Rows of `table` (n, width) by `index`: (index size, width). */
export function gather(machine: Machine, table: WasmStorage, [n, width]: Shape, index: WasmStorage): WasmStorage {
  checkedIndex(machine, 'embedding', index, n, 0);
  const y = machine.allocate(table.dtype, index.size * width);
  machine.run('gather', [table.pointer, index.pointer, y.pointer, width], share(index.size, width));
  return y;
}

/** Sums rows into (n, width) by index, in order of position. */
export function scatterAdd(
  machine: Machine,
  rows: WasmStorage,
  width: number,
  index: WasmStorage,
  n: number,
): WasmStorage {
  checkedIndex(machine, 'scatterAdd', index, n, 0);
  const y = machine.allocate('float32', n * width);
  return machine.scratch(4 * (n + 1 + index.size), starts => {
    const order = starts + 4 * (n + 1);
    sortByIndex(machine.ints(index.pointer, index.size), machine.ints(starts, n + 1), machine.ints(order, index.size));
    machine.run('scatterAdd', [rows.pointer, order, starts, y.pointer, width], share(n, width));
    return y;
  });
}

/** A counting sort: positions by index, those of one index in order; those of index i are starts[i] … starts[i + 1]. */
function sortByIndex(index: Int32Array, starts: Int32Array, order: Int32Array): void {
  starts.fill(0);
  for (let p = 0; p < index.length; p++) starts[index[p] + 1]++;
  for (let i = 1; i < starts.length; i++) starts[i] += starts[i - 1];
  const next = starts.slice();
  for (let p = 0; p < index.length; p++) order[next[index[p]]++] = p;
}

/** (index size, n): 1 at the index, 0 elsewhere. */
export function oneHot(machine: Machine, index: WasmStorage, n: number): WasmStorage {
  const columns = checkedIndex(machine, 'oneHot', index, n, -Infinity);
  const y = machine.allocate('float32', index.size * n);
  // An allocation may move the views of the memory, but not what the index says.
  const values = machine.floats(y.pointer, y.size).fill(0);
  columns.forEach((column, row) => {
    if (column >= 0) values[row * n + column] = 1;
  });
  return y;
}
