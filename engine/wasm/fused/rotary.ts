/**
 * The operation `rotary`: pairs (i, i + D/2) of the vector at position p turn by p · base^(−2i/D) or as told. Angles
 * are computed by the host in double precision; the tables of the last few calls are kept, since every layer asks for
 * the same.
 */
import type { Kernel, View } from '../../backend.ts';
import { rotaryInvFreq, type RotaryAttributes } from '../../attributes.ts';
import { f32x4, i32, v128 } from '../assembler/instructions.ts';
import { eachItem, kernel, type Kernels } from '../kernel.ts';
import { eachVector, loadAt, storeVector } from '../lines.ts';
import type { Machine, WasmStorage } from '../machine.ts';

const { add, sub, mul } = f32x4;

/** Adds the kernel of `rotary` to the module. */
export function emitRotary(kernels: Kernels): void {
  // Items are positions (b, t); `table` holds D/2 cosines, then as many sines for each t. sign = −1 turns backwards.
  kernel(
    kernels,
    'rotary',
    { x: 'i32', y: 'i32', table: 'i32', time: 'i32', heads: 'i32', half: 'i32', sign: 'f32' },
    (f, p, share) => {
      const halfBytes = f.let(i32.shl(p.half, 2));
      const headBytes = f.let(i32.shl(p.half, 3));
      const bytes = f.let(i32.mul(p.heads, headBytes));
      const sign = f.let(f32x4.splat(p.sign));
      eachItem(
        f,
        share,
        [
          { base: p.x, stride: bytes },
          { base: p.y, stride: bytes },
        ],
        ([x, y], item) => {
          const cosines = f.let(i32.add(p.table, i32.mul(i32.rem_u(item, p.time), headBytes)));
          const sines = f.let(i32.add(cosines, halfBytes));
          f.for(0, bytes, headBytes, head => {
            const [from, to] = [f.let(i32.add(x, head)), f.let(i32.add(y, head))];
            eachVector(f, p.half, (at, tail) => {
              const first = f.let(i32.add(from, at));
              const [a, b] = [f.let(v128.load(first)), f.let(loadAt(first, halfBytes))];
              const [c, s] = [f.let(loadAt(cosines, at)), f.let(mul(loadAt(sines, at), sign))];
              storeVector(f, i32.add(to, at), sub(mul(a, c), mul(b, s)), p.half, tail);
              storeVector(f, i32.add(i32.add(to, at), halfBytes), add(mul(b, c), mul(a, s)), p.half, tail);
            });
          });
        },
      );
    },
  );
}

const tablesKept = 4;

/** The kernel of `rotary`. */
export function rotary(machine: Machine): Record<string, Kernel<WasmStorage>> {
  const tables = new Map<string, WasmStorage>(); // in order of use

  const tableFor = (T: number, D: number, { base, invFreq, offset }: RotaryAttributes): WasmStorage => {
    const key = `${T} ${D} ${invFreq ?? base} ${offset}`;
    const known = tables.get(key);
    tables.delete(key);
    const table = known ?? machine.keep(machine.upload(anglesTable(T, rotaryInvFreq(D, { base, invFreq }), offset)));
    tables.set(key, table);
    if (tables.size > tablesKept) {
      const [oldest, storage] = tables.entries().next().value!;
      tables.delete(oldest);
      machine.free(storage);
    }
    return table;
  };

  const turn = (x: View<WasmStorage>, attributes: RotaryAttributes): WasmStorage => {
    const [B, T, H, D] = x.shape;
    const y = machine.allocate('float32', x.storage.size);
    if (y.size === 0) return y;
    const table = tableFor(T, D, attributes);
    machine.run('rotary', [x.storage.pointer, y.pointer, table.pointer, T, H, D / 2, attributes.inverse ? -1 : 1], {
      items: B * T,
      grain: Math.ceil((1 << 14) / (H * D)),
    });
    return y;
  };
  return {
    rotary: {
      forward: ([x], attributes: RotaryAttributes) => turn(x, attributes),
      vjp: (g, _, __, attributes: RotaryAttributes) => [turn(g, { ...attributes, inverse: !attributes.inverse })],
    },
  };
}

/** (T, 2, D/2): cosines and sines of every position. */
function anglesTable(T: number, invFreq: readonly number[], offset: number): Float32Array<ArrayBuffer> {
  const half = invFreq.length;
  const D = 2 * half;
  const table = new Float32Array(T * D);
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < half; i++) {
      const angle = (offset + t) * invFreq[i];
      table[t * D + i] = Math.cos(angle);
      table[t * D + half + i] = Math.sin(angle);
    }
  }
  return table;
}
