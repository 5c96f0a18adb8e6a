/**
 * Reductions of the middle of (outer, n, inner), for the operations `sum` and `amax`.
 *
 * Sums run in double precision and are rounded once, which is better than pairwise. Where inner is 1 a line is
 * contiguous and four lanes run along it; otherwise a strip of neighbouring lines is reduced together, row by row.
 */
import type { Reduction } from '../backend.ts';
import type { F32, I32, Local, V128 } from './assembler/code.ts';
import { f32, f32x4, i32, v128 } from './assembler/instructions.ts';
import type { Func } from './assembler/module.ts';
import { eachItem, kernel, type Kernels } from './kernel.ts';
import {
  addFrom,
  clearMaximum,
  clearSum,
  demote,
  eachVector,
  lineMax,
  lineSum,
  loadAt,
  maximumLocals,
  maximumOf,
  raiseTo,
  storeVector,
  sumLocals,
} from './lines.ts';
import type { Machine, WasmStorage } from './machine.ts';

function emitLines(kernels: Kernels): void {
  const lines = (name: string, reduceLine: (f: Func, x: I32, n: I32) => F32) =>
    kernel(kernels, name, { x: 'i32', y: 'i32', n: 'i32' }, (f, { x, y, n }, share) => {
      eachItem(
        f,
        share,
        [
          { base: x, stride: f.let(i32.shl(n, 2)) },
          { base: y, stride: 4 },
        ],
        ([px, py]) => {
          const result = f.let(reduceLine(f, px, n));
          f.do(f32.store(py, result));
        },
      );
    });
  lines('sumLines', (f, x, n) => f32.demote(lineSum(f, n, at => loadAt(x, at))));
  lines('maxLines', (f, x, n) => f32x4.extract_lane(lineMax(f, x, n), 0));
}

/** What is known of four lines on the way, two vectors. */
interface State {
  readonly locals: readonly [Local<'v128'>, Local<'v128'>];
  clear(): void;
  add(address: I32): void;
  result(): V128;
}
const stateBytes = 32;

function sumState(f: Func): State {
  const sum = sumLocals(f);
  return {
    locals: [sum.low, sum.high],
    clear: () => clearSum(f, sum),
    add: address => addFrom(f, sum, address),
    result: () => demote(sum.low, sum.high),
  };
}

function maxState(f: Func): State {
  const maximum = maximumLocals(f);
  return {
    locals: [maximum.top, maximum.nan],
    clear: () => clearMaximum(f, maximum),
    add: address => raiseTo(f, maximum, f.let(v128.load(address))),
    result: () => maximumOf(maximum),
  };
}

/** Rows that are read together, so that a state is loaded and stored once for all of them. */
const rowsTogether = 8;
/** Lines of a strip at most: their states, 16 KiB, stay in the first-level cache beside the rows. */
const stripLines = 2048;

function emitColumns(kernels: Kernels): void {
  const columns = (name: string, make: (f: Func) => State) =>
    // Items are strips of at most `width` lines, of which each outer index has `strips`.
    kernel(
      kernels,
      name,
      { x: 'i32', y: 'i32', n: 'i32', inner: 'i32', strips: 'i32', width: 'i32' },
      (f, p, share) => {
        const state = make(f);
        const stride = f.let(i32.shl(p.inner, 2));
        const stateOf = (at: I32) => f.let(i32.add(share.work, i32.mul(at, stateBytes / 16)));
        const load = (from: I32) => state.locals.forEach((local, i) => f.set(local, v128.load(from, 16 * i)));
        const store = (to: I32) => state.locals.forEach((local, i) => f.do(v128.store(to, local, 16 * i)));
        f.for(share.from, share.to, 1, item => {
          const outer = f.let(i32.div_u(item, p.strips));
          const column = f.let(i32.mul(i32.rem_u(item, p.strips), p.width));
          const lines = f.let(i32.min_u(i32.sub(p.inner, column), p.width));
          const bytes = f.let(i32.shl(lines, 2)); // a last vector is whole: what is beyond the end is not stored
          state.clear();
          f.for(0, bytes, 16, at => store(stateOf(at)));

          const row = f.let(i32.add(p.x, i32.shl(i32.add(i32.mul(i32.mul(outer, p.n), p.inner), column), 2)));
          const addRows = (count: number) => {
            const rows = [row];
            while (rows.length < count) rows.push(f.let(i32.add(rows.at(-1)!, stride)));
            f.for(0, bytes, 16, at => {
              const place = stateOf(at);
              load(place);
              for (const r of rows) state.add(f.let(i32.add(r, at)));
              store(place);
            });
            f.set(row, i32.add(row, i32.mul(stride, count)));
          };
          f.for(0, i32.div_u(p.n, rowsTogether), 1, () => addRows(rowsTogether));
          f.for(0, i32.rem_u(p.n, rowsTogether), 1, () => addRows(1));

          const y = f.let(i32.add(p.y, i32.shl(i32.add(i32.mul(outer, p.inner), column), 2)));
          eachVector(f, lines, (at, tail) => {
            load(stateOf(at));
            storeVector(f, i32.add(y, at), state.result(), lines, tail);
          });
        });
      },
    );
  columns('sumColumns', sumState);
  columns('maxColumns', maxState);
}

/** Adds the kernels of reductions to the module. */
export function emitReduce(kernels: Kernels): void {
  emitLines(kernels);
  emitColumns(kernels);
}

/** The sum or the maximum of the middle of (outer, n, inner). */
export function reduce(
  machine: Machine,
  f: Reduction,
  x: WasmStorage,
  outer: number,
  n: number,
  inner: number,
): WasmStorage {
  const y = machine.allocate('float32', outer * inner);
  const grainOf = (length: number) => Math.ceil(16384 / Math.max(length, 1));
  if (inner === 1) {
    machine.run(`${f}Lines`, [x.pointer, y.pointer, n], { items: outer, grain: grainOf(n) });
  } else if (inner > 0) {
    // Strips as wide as may be, for long runs of memory, but one for every thread, in whole cache lines.
    const share = Math.min(stripLines, inner, (outer * inner) / machine.threads);
    const width = Math.max(1, Math.floor(share / 16)) * 16;
    const strips = Math.ceil(inner / width);
    machine.run(
      `${f}Columns`,
      [x.pointer, y.pointer, n, inner, strips, width],
      { items: outer * strips, grain: grainOf(width * n) },
      (stateBytes / 4) * width,
    );
  }
  return y;
}
