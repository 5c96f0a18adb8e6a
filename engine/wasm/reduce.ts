/**
 * Reductions of the middle of (outer, n, inner), for the rows `sum` and `max`.
 *
 * Sums run in double precision and are rounded once, which is better than pairwise. Where inner is 1 a line is
 * contiguous and four lanes run along it; otherwise 16 neighbouring lines, a cache line of floats, are reduced together.
 */
import type { Reduction } from '../backend.ts';
import type { F32, I32, V128 } from './assembler/code.ts';
import { f32, f32x4, i32, v128 } from './assembler/instructions.ts';
import type { Func } from './assembler/module.ts';
import { columnGroups, columnParams, eachColumnGroup } from './columns.ts';
import { eachItem, kernel, type Kernels } from './kernel.ts';
import { addTo, clearSum, demote, eachVector, lineSum, loadAt, masked, maxOfLanes, storeVector, sumLocals } from './lines.ts';
import type { Machine, WasmStorage } from './machine.ts';

function emitLines(kernels: Kernels): void {
  const lines = (name: string, reduceLine: (f: Func, x: I32, n: I32) => F32) =>
    kernel(kernels, name, { x: 'i32', y: 'i32', n: 'i32' }, (f, { x, y, n }, share) => {
      eachItem(f, share, [{ base: x, stride: f.let(i32.shl(n, 2)) }, { base: y, stride: 4 }], ([px, py]) => {
        const result = f.let(reduceLine(f, px, n));
        f.do(f32.store(py, result));
      });
    });
  lines('sumLines', (f, x, n) => f32.demote(lineSum(f, n, at => loadAt(x, at))));
  lines('maxLines', (f, x, n) => {
    const top = f.let(f32x4.const(-Infinity));
    eachVector(f, n, (at, tail) => f.set(top, f32x4.max(top, masked(loadAt(x, at), tail, -Infinity))));
    return maxOfLanes(f, top);
  });
}

function emitColumns(kernels: Kernels): void {
  const columns = (name: string, make: (f: Func) => { clear(): void; add(x: V128): void; result(): V128 }) =>
    kernel(kernels, name, { x: 'i32', y: 'i32', ...columnParams }, (f, p, share) => {
      eachColumnGroup(f, p, share, ({ vectors, line, width, tail, eachStep }) => {
        const reductions = vectors.map(() => make(f));
        for (const r of reductions) r.clear();
        eachStep(offset => vectors.forEach(i => reductions[i].add(v128.load(i32.add(p.x, offset), 16 * i))));
        const y = f.let(i32.add(p.y, line));
        vectors.forEach(i => storeVector(f, i32.add(y, 16 * i), reductions[i].result(), width, tail));
      });
    });

  columns('sumColumns', f => {
    const sum = sumLocals(f);
    return { clear: () => clearSum(f, sum), add: x => addTo(f, sum, f.let(x)), result: () => demote(sum.low, sum.high) };
  });
  columns('maxColumns', f => {
    const top = f.local('v128');
    return { clear: () => f.set(top, f32x4.const(-Infinity)), add: x => f.set(top, f32x4.max(top, x)), result: () => top };
  });
}

export function emitReduce(kernels: Kernels): void {
  emitLines(kernels);
  emitColumns(kernels);
}

export function reduce(machine: Machine, f: Reduction, x: WasmStorage, outer: number, n: number, inner: number): WasmStorage {
  const y = machine.allocate('float32', outer * inner);
  const grainOf = (length: number) => Math.ceil(16384 / Math.max(length, 1));
  if (inner === 1) {
    machine.run(`${f}Lines`, [x.pointer, y.pointer, n], { items: outer, grain: grainOf(n) });
  } else if (inner > 0) {
    const { args, items } = columnGroups(outer, n, inner);
    machine.run(`${f}Columns`, [x.pointer, y.pointer, ...args], { items, grain: grainOf(16 * n) });
  }
  return y;
}
