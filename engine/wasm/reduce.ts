/**
 * Reductions of the middle of (outer, n, inner), for the rows `sum` and `max`.
 *
 * Sums run in double precision and are rounded once, which is better than pairwise. Where inner is 1 a line is
 * contiguous and four lanes run along it; otherwise 16 neighbouring lines, a cache line of floats, are reduced together.
 */
import type { Reduction } from '../backend.ts';
import type { I32 } from './assembler/code.ts';
import { f32, f32x4, i32, v128 } from './assembler/instructions.ts';
import type { Func } from './assembler/module.ts';
import { addTo, clearSum, demote, eachItem, eachVector, kernel, masked, maxOfLanes, storeVector, sumLocals, total, type Kernels } from './kernel.ts';
import type { Machine, WasmStorage } from './machine.ts';

const { shl, sub } = i32;

function emitLines(kernels: Kernels): void {
  const params = { x: 'i32', y: 'i32', n: 'i32' } as const;
  const lines = (name: string, line: (f: Func, x: I32, n: I32) => { clear(): void; add(at: I32, tail: Parameters<typeof masked>[1]): void; result(): ReturnType<typeof total> | ReturnType<typeof maxOfLanes> }) =>
    kernel(kernels, name, params, (f, { x, y, n }, share) => {
      eachItem(f, share, [{ base: x, stride: f.let(shl(n, 2)) }, { base: y, stride: 4 }], ([px, py]) => {
        const reduction = line(f, px, n);
        reduction.clear();
        eachVector(f, n, (at, tail) => reduction.add(at, tail));
        const result = reduction.result();
        f.do(f32.store(py, result.type === 'f64' ? f32.demote(result) : result));
      });
    });

  lines('sumLines', (f, x) => {
    const sum = sumLocals(f);
    return {
      clear: () => clearSum(f, sum),
      add: (at, tail) => addTo(f, sum, f.let(masked(v128.load(i32.add(x, at)), tail, 0))),
      result: () => total(f, sum),
    };
  });
  lines('maxLines', (f, x) => {
    const top = f.local('v128');
    return {
      clear: () => f.set(top, f32x4.const(-Infinity)),
      add: (at, tail) => f.set(top, f32x4.max(top, masked(v128.load(i32.add(x, at)), tail, -Infinity))),
      result: () => maxOfLanes(f, top),
    };
  });
}

/** Items are (outer index, group of columns); `groups` of them in a row of `inner`. */
function emitColumns(kernels: Kernels): void {
  const params = { x: 'i32', y: 'i32', n: 'i32', inner: 'i32', groups: 'i32' } as const;
  const columns = (name: string, make: (f: Func) => { clear(): void; add(pointer: I32): void; result(): ReturnType<typeof v128.load> }) =>
    kernel(kernels, name, params, (f, { x, y, n, inner, groups }, { from, to }) => {
      const stride = f.let(shl(inner, 2));
      f.for(from, to, 1, item => {
        const o = f.let(i32.div_u(item, groups));
        const column = f.let(shl(i32.rem_u(item, groups), 4));
        const first = f.let(i32.add(x, shl(i32.add(i32.mul(i32.mul(o, n), inner), column), 2)));
        const out = f.let(i32.add(y, shl(i32.add(i32.mul(o, inner), column), 2)));
        const width = f.let(i32.min_u(sub(inner, column), 16));
        const group = (count: number) => {
          const parts = Array.from({ length: count }, () => make(f));
          const pointer = f.let(first);
          for (const part of parts) part.clear();
          f.for(0, n, 1, () => {
            parts.forEach((part, i) => part.add(i32.add(pointer, 16 * i)));
            f.set(pointer, i32.add(pointer, stride));
          });
          return parts.map(part => f.let(part.result()));
        };
        f.if(i32.eq(width, 16), () => group(4).forEach((v, i) => f.do(v128.store(out, v, 16 * i))), () => {
          // The last columns, four at a time.
          eachVector(f, width, (_, tail) => {
            storeVector(f, out, group(1)[0], width, tail);
            f.set(first, i32.add(first, 16));
            f.set(out, i32.add(out, 16));
          });
        });
      });
    });

  columns('sumColumns', f => {
    const sum = sumLocals(f);
    return { clear: () => clearSum(f, sum), add: pointer => addTo(f, sum, f.let(v128.load(pointer))), result: () => demote(sum.low, sum.high) };
  });
  columns('maxColumns', f => {
    const top = f.local('v128');
    return { clear: () => f.set(top, f32x4.const(-Infinity)), add: pointer => f.set(top, f32x4.max(top, v128.load(pointer))), result: () => top };
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
    const groups = Math.ceil(inner / 16);
    machine.run(`${f}Columns`, [x.pointer, y.pointer, n, inner, groups], { items: outer * groups, grain: grainOf(16 * n) });
  }
  return y;
}
