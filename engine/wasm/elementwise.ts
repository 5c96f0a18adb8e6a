/**
 * Elementwise primitives and broadcasting.
 *
 * Shapes are first reduced to as few dims as say the same (`collapse`). What is left ends in a dim along which every
 * operand either advances by one or stays: the kernels work on rows of that, a step of 16 or 0 bytes a vector for each
 * operand, and the host walks over the dims further out, if any.
 */
import type { Binary, Shape, Unary } from '../backend.ts';
import { broadcastStrides, sizeOf } from '../shape.ts';
import type { Local, V128 } from './assembler/code.ts';
import { bitselect, f32, f32x4, f64, i32, i32x4, v128 } from './assembler/instructions.ts';
import { hostPow, type Func } from './assembler/module.ts';
import { eachItem, kernel, type Kernels } from './kernel.ts';
import { eachVector, storeVector } from './lines.ts';
import type { Machine, WasmStorage } from './machine.ts';
import * as math from './math.ts';

const unaries: Record<Unary | 'toFloat' | 'copy', math.VectorFunction> = {
  exp: math.exp,
  log: math.log,
  tanh: math.tanh,
  erf: math.erf,
  sin: math.sin,
  cos: math.cos,
  sqrt: (_, x) => f32x4.sqrt(x),
  toFloat: (_, x) => f32x4.convert_i32x4_s(x),
  copy: (_, x) => x,
};

const one = f32x4.const(1);
const binaries: Record<Binary, (f: Func, a: Local<'v128'>, b: Local<'v128'>) => V128> = {
  add: (_, a, b) => f32x4.add(a, b),
  sub: (_, a, b) => f32x4.sub(a, b),
  mul: (_, a, b) => f32x4.mul(a, b),
  div: (_, a, b) => f32x4.div(a, b),
  maximum: (_, a, b) => f32x4.max(a, b),
  equal: (_, a, b) => v128.and(f32x4.eq(a, b), one),
  less: (_, a, b) => v128.and(f32x4.lt(a, b), one),
  pow: (f, a, b) => {
    // Lane by lane, by the host's function: powers are rare, and every special case is then that of JavaScript.
    const lane = (i: number) =>
      f32.demote(hostPow(f64.promote(f32x4.extract_lane(a, i)), f64.promote(f32x4.extract_lane(b, i))));
    const [w, x, y, z] = [0, 1, 2, 3].map(i => f.let(f32x4.splat(lane(i))));
    return v128.shuffle32(v128.shuffle32(w, x, [0, 4, 0, 4]), v128.shuffle32(y, z, [0, 4, 0, 4]), [0, 1, 4, 5]);
  },
};

/** y[i] = fn(x[i]); items are vectors of four. The block's slack takes what is beyond the end. */
export function emitMap(kernels: Kernels, name: string, fn: math.VectorFunction): void {
  kernel(kernels, name, { x: 'i32', y: 'i32' }, (f, { x, y }, share) => {
    eachItem(
      f,
      share,
      [
        { base: x, stride: 16 },
        { base: y, stride: 16 },
      ],
      ([px, py]) => {
        const v = f.let(v128.load(px));
        f.do(v128.store(py, fn(f, v)));
      },
    );
  });
}

/**
 * Rows of `columns` outputs from operands that step along (16) or stay (0). A scalar operand is spread in the
 * workspace and loaded from there with step 0, so that one loop does all cases.
 */
function emitRows<const N extends readonly string[]>(
  kernels: Kernels,
  name: string,
  operands: N,
  fn: (f: Func, values: Local<'v128'>[]) => V128,
): void {
  const params = Object.fromEntries(
    operands.flatMap(x => [x, `${x}Row`, `${x}Step`]).map(key => [key, 'i32' as const]),
  );
  kernel(kernels, name, { ...params, y: 'i32', columns: 'i32' }, (f, p: Record<string, Local<'i32'>>, share) => {
    const rows = operands.map(x => ({ base: p[x], stride: p[`${x}Row`] }));
    eachItem(f, share, [...rows, { base: p.y, stride: f.let(i32.shl(p.columns, 2)) }], pointers => {
      const y = pointers[operands.length];
      const from = operands.map((x, i) => {
        const pointer = f.let(pointers[i]);
        f.if(i32.eqz(p[`${x}Step`]), () => {
          f.do(v128.store(share.work, v128.load32_splat(pointer), 16 * i));
          f.set(pointer, i32.add(share.work, 16 * i));
        });
        return pointer;
      });
      eachVector(f, p.columns, (at, tail) => {
        const values = from.map(pointer => f.let(v128.load(pointer)));
        storeVector(f, i32.add(y, at), fn(f, values), p.columns, tail);
        operands.forEach((x, i) => f.set(from[i], i32.add(from[i], p[`${x}Step`])));
      });
    });
  });
}

/** Adds the kernels of all elementwise primitives to the module. */
export function emitElementwise(kernels: Kernels): void {
  for (const [name, fn] of Object.entries(unaries)) emitMap(kernels, name, fn);
  for (const [name, fn] of Object.entries(binaries)) emitRows(kernels, name, ['a', 'b'], (f, [a, b]) => fn(f, a, b));
  emitRows(kernels, 'where', ['condition', 'a', 'b'], (_, [condition, a, b]) =>
    bitselect(a, b, f32x4.ne(condition, 0)),
  );
  emitRows(kernels, 'whereInt', ['condition', 'a', 'b'], (_, [condition, a, b]) =>
    bitselect(b, a, i32x4.eq(condition, 0)),
  );
}

/** Elements of an elementwise operation that make a share worth a thread. */
export const floatGrain = 1 << 15;

/** A kernel made by `emitMap`. */
export function map(machine: Machine, name: string, x: WasmStorage): WasmStorage {
  const y = machine.allocate('float32', x.size);
  machine.run(name, [x.pointer, y.pointer], { items: Math.ceil(x.size / 4), grain: floatGrain / 4 });
  return y;
}

/** A broadcast loop: output lengths, and the strides in elements of every operand. */
export interface Loop {
  readonly shape: number[];
  readonly strides: number[][];
}

/** Drops dims of length 1 and merges neighbours that all operands pass through evenly. */
export function collapse(shape: Shape, strides: readonly (readonly number[])[]): Loop {
  const loop: Loop = { shape: [], strides: strides.map(() => []) };
  shape.forEach((n, d) => {
    if (n === 1) return;
    const last = loop.shape.length - 1;
    if (last >= 0 && strides.every((s, i) => loop.strides[i][last] === s[d] * n)) {
      loop.shape[last] *= n;
      strides.forEach((s, i) => {
        loop.strides[i][last] = s[d];
      });
    } else {
      loop.shape.push(n);
      strides.forEach((s, i) => loop.strides[i].push(s[d]));
    }
  });
  return loop;
}

/**
 * Calls `visit` for every position in the dims before the last `inner`, with the offset in elements of each operand.
 */
export function walkOuter(
  { shape, strides }: Loop,
  inner: number,
  visit: (offsets: readonly number[], i: number) => void,
): void {
  const rank = shape.length - inner;
  const outer = shape.slice(0, Math.max(rank, 0));
  const index = outer.map(() => 0);
  const offsets = strides.map(() => 0);
  const count = sizeOf(outer);
  for (let i = 0; i < count; i++) {
    visit(offsets, i);
    for (let d = rank - 1; d >= 0; d--) {
      index[d]++;
      strides.forEach((s, o) => {
        offsets[o] += s[d];
      });
      if (index[d] < outer[d]) break;
      strides.forEach((s, o) => {
        offsets[o] -= s[d] * outer[d];
      });
      index[d] = 0;
    }
  }
}

/** Long rows are cut into rows of this length, so that threads can share them. */
const longestRow = 4096;

/** A kernel made by `emitRows`, over the broadcast of its operands. */
export function broadcast(
  machine: Machine,
  name: string,
  operands: readonly { storage: WasmStorage; shape: Shape }[],
  out: Shape,
  dtype: 'float32' | 'int32',
): WasmStorage {
  const y = machine.allocate(dtype, sizeOf(out));
  if (y.size === 0) return y;
  const loop = collapse(
    out,
    operands.map(x => broadcastStrides(x.shape, out)),
  );
  const columns = loop.shape.at(-1) ?? 1;
  const steps = loop.strides.map(s => (s.at(-1) ?? 0) * 16);
  const rowStrides = loop.strides.map(s => s.at(-2) ?? 0);
  const rows = loop.shape.at(-2) ?? 1;
  const run = (
    offsets: readonly number[],
    at: number,
    rowCount: number,
    length: number,
    strides: readonly number[],
  ) => {
    const args = operands.flatMap((x, i) => [x.storage.pointer + 4 * offsets[i], 4 * strides[i], steps[i]]);
    machine.run(name, [...args, y.pointer + 4 * at, length], {
      items: rowCount,
      grain: Math.ceil(floatGrain / length),
    });
  };
  walkOuter(loop, 2, (offsets, block) => {
    const at = block * rows * columns;
    if (rows > 1 || columns <= longestRow) {
      run(offsets, at, rows, columns, rowStrides);
      return;
    }
    const strides = steps.map(s => (s / 16) * longestRow);
    const whole = Math.floor(columns / longestRow);
    run(offsets, at, whole, longestRow, strides);
    if (columns % longestRow)
      run(
        offsets.map((o, i) => o + whole * strides[i]),
        at + whole * longestRow,
        1,
        columns % longestRow,
        strides,
      );
  });
  return y;
}
