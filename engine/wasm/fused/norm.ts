/**
 * The operations `layerNorm` and `rmsNorm`: y = (x − shift) / √(mean((x − shift)²) + ε) over contiguous lines, where
 * shift is the mean of the line or 0. Statistics are double sums; the mean is taken first, so large means cost no
 * precision.
 */
import type { Kernel } from '../../backend.ts';
import { sizeOf } from '../../shape.ts';
import type { F32, I32, V128 } from '../assembler/code.ts';
import { f32, f32x4, f64, i32 } from '../assembler/instructions.ts';
import type { Func } from '../assembler/module.ts';
import { eachItem, kernel, type Kernels } from '../kernel.ts';
import { eachVector, lineSum, lineSumByFours, loadAt as at, storeVector } from '../lines.ts';
import type { Machine, WasmStorage } from '../machine.ts';

const { sub, mul } = f32x4;

function emitNorm(kernels: Kernels, name: string, centre: boolean): void {
  /** The mean over a line of what `term` gives, in all lanes. */
  const mean = (f: Func, n: I32, term: (offset: I32) => V128, sum = lineSumByFours) =>
    f.let(f32x4.splat(f32.demote(f64.div(sum(f, n, term), f64.convert_i32_s(n)))));

  /** The line less its shift, and 1 / √(mean square + ε) in all lanes. */
  const statistics = (f: Func, x: I32, n: I32, eps: F32) => {
    const shift = centre ? mean(f, n, offset => at(x, offset), lineSum) : null;
    const centred = (offset: I32): V128 => (shift ? sub(at(x, offset), shift) : at(x, offset));
    const squares = lineSumByFours(f, n, offset => {
      const c = f.let(centred(offset));
      return mul(c, c);
    });
    const scale = f64.sqrt(f64.add(f64.div(squares, f64.convert_i32_s(n)), f64.promote(eps)));
    return { centred, scale: f.let(f32x4.splat(f32.demote(f64.div(1, scale)))) };
  };

  kernel(kernels, name, { x: 'i32', y: 'i32', n: 'i32', eps: 'f32' }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: bytes },
        { base: p.y, stride: bytes },
      ],
      ([x, y]) => {
        const { centred, scale } = statistics(f, x, p.n, p.eps);
        eachVector(f, p.n, (offset, tail) =>
          storeVector(f, i32.add(y, offset), mul(centred(offset), scale), p.n, tail),
        );
      },
    );
  });

  // dx = (g − y mean(g y) − mean(g)) scale, the last mean only where the line was centred.
  kernel(kernels, `${name}Vjp`, { g: 'i32', x: 'i32', y: 'i32', dx: 'i32', n: 'i32', eps: 'f32' }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    eachItem(
      f,
      share,
      [p.g, p.x, p.y, p.dx].map(base => ({ base, stride: bytes })),
      ([g, x, y, dx]) => {
        const { scale } = statistics(f, x, p.n, p.eps);
        const along = mean(f, p.n, offset => mul(at(g, offset), at(y, offset)));
        const shift = centre ? mean(f, p.n, offset => at(g, offset)) : null;
        eachVector(f, p.n, (offset, tail) => {
          const rest = sub(at(g, offset), mul(at(y, offset), along));
          storeVector(f, i32.add(dx, offset), mul(shift ? sub(rest, shift) : rest, scale), p.n, tail);
        });
      },
    );
  });
}

/** Adds the kernels of normalisation to the module. */
export function emitNorms(kernels: Kernels): void {
  emitNorm(kernels, 'layerNorm', true);
  emitNorm(kernels, 'rmsNorm', false);
}

const grain = 1 << 14;

/** The kernels of `layerNorm` and `rmsNorm`. */
export function norms(machine: Machine): Record<string, Kernel<WasmStorage>> {
  const norm = (name: string): Kernel<WasmStorage> => {
    const run = (
      kernelName: string,
      inputs: readonly WasmStorage[],
      shape: readonly number[],
      eps: number,
    ): WasmStorage => {
      const n = shape.at(-1) ?? 1;
      const y = machine.allocate('float32', inputs[0].size);
      machine.run(kernelName, [...inputs.map(x => x.pointer), y.pointer, n, eps], {
        items: sizeOf(shape.slice(0, -1)),
        grain: Math.ceil(grain / Math.max(n, 1)),
      });
      return y;
    };
    return {
      forward: ([x], { eps }: { eps: number }) => run(name, [x.storage], x.shape, eps),
      vjp: (g, [x], y, { eps }: { eps: number }) => [
        run(`${name}Vjp`, [g.storage, x.storage, y.storage], x.shape, eps),
      ],
    };
  };
  return { layerNorm: norm('layerNorm'), rmsNorm: norm('rmsNorm') };
}
