/**
 * Gradients of the simplex rows. With S the support of a line:
 *
 *     projection   dx = 1_S (g − mean_S g)    dm = mean_S g        S = {y > 0}
 *     threshold    dx = 1_S g_line/|S|        dm = −g_line/|S|     S = {x > τ}
 */
import type { View } from '../../backend.ts';
import { aroundDim } from '../../shape.ts';
import type { I32, Local, V128 } from '../assembler/code.ts';
import { f32, f32x4, f64, f64x2, i32, i32x4, v128 } from '../assembler/instructions.ts';
import type { Func } from '../assembler/module.ts';
import { columnGroups, columnParams, eachColumnGroup } from '../columns.ts';
import { eachItem, kernel, type Kernels } from '../kernel.ts';
import { addTo, clearSum, demote, eachVector, loadAt, masked, storeVector, sumLocals, total } from '../lines.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import { reduce } from '../reduce.ts';

const { sub, gt } = f32x4;

/** The two kinds of gradient, which the same code emits. */
interface Rule {
  readonly name: string;
  /** Whether g has the shape of x, as for a projection, or one entry a line, as for a threshold. */
  readonly full: boolean;
}
const rules: readonly Rule[] = [
  { name: 'projection', full: true },
  { name: 'threshold', full: false },
];

// g: gradient; s: y or x, which shows the support; tau: one a line, for thresholds; dx, dm: results.
const buffers = { g: 'i32', s: 'i32', tau: 'i32', dx: 'i32', dm: 'i32' } as const;

/** Adds the kernels of gradients of projections to the module. */
export function emitSimplexGradients(kernels: Kernels): void {
  for (const rule of rules) {
    emitLines(kernels, rule);
    emitColumns(kernels, rule);
  }
}

function emitLines(kernels: Kernels, { name, full }: Rule): void {
  kernel(kernels, `${name}GradientLines`, { ...buffers, n: 'i32' }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    const [sum, size] = [sumLocals(f), f.local('v128')];
    const moving = [
      { base: p.g, stride: full ? bytes : 4 },
      { base: p.s, stride: bytes },
      { base: p.tau, stride: 4 },
      { base: p.dx, stride: bytes },
      { base: p.dm, stride: 4 },
    ] as const;
    eachItem(f, share, moving, ([g, s, tau, dx, dm]) => {
      const bound = full ? f32x4.const(0) : f.let(v128.load32_splat(tau));
      const inside = (at: I32) => gt(loadAt(s, at), bound);
      clearSum(f, sum);
      f.set(size, i32x4.const(0));
      eachVector(f, p.n, (at, tail) => {
        const mask = f.let(masked(inside(at), tail, 0));
        f.set(size, i32x4.sub(size, mask));
        if (full) addTo(f, sum, f.let(v128.and(loadAt(g, at), mask)));
      });
      const count = [1, 2, 3].reduce(
        (c, lane) => i32.add(c, i32x4.extract_lane(size, lane)),
        i32x4.extract_lane(size, 0),
      );
      const numerator = full ? total(f, sum) : f64.promote(f32.load(g));
      const share = f.let(f32.demote(f64.div(numerator, f64.convert_i32_s(count))));
      const shares = f.let(f32x4.splat(share));
      f.do(f32.store(dm, full ? share : f32.neg(share)));
      eachVector(f, p.n, (at, tail) => {
        const value = full ? sub(loadAt(g, at), shares) : shares;
        storeVector(f, i32.add(dx, at), v128.and(value, inside(at)), p.n, tail);
      });
    });
  });
}

function emitColumns(kernels: Kernels, { name, full }: Rule): void {
  kernel(kernels, `${name}GradientColumns`, { ...buffers, ...columnParams }, (f, p, share) => {
    eachColumnGroup(f, p, share, ({ vectors, line, width, tail, eachStep }) => {
      const [sums, sizes] = [vectors.map(() => sumLocals(f)), vectors.map(() => f.let(i32x4.const(0)))];
      for (const sum of sums) clearSum(f, sum);
      const at = (base: I32, offset: I32, i: number) => v128.load(i32.add(base, offset), 16 * i);
      const inside = (offset: I32, i: number) => gt(at(p.s, offset, i), full ? 0 : at(p.tau, line, i));
      eachStep(offset =>
        vectors.forEach(i => {
          const mask = f.let(inside(offset, i));
          f.set(sizes[i], i32x4.sub(sizes[i], mask));
          if (full) addTo(f, sums[i], f.let(v128.and(at(p.g, offset, i), mask)));
        }),
      );
      const shares = vectors.map(i => shareOf(f, full ? sums[i] : null, full ? null : at(p.g, line, i), sizes[i]));
      vectors.forEach(i =>
        storeVector(f, i32.add(i32.add(p.dm, line), 16 * i), full ? shares[i] : f32x4.neg(shares[i]), width, tail),
      );
      eachStep(offset =>
        vectors.forEach(i => {
          const value = full ? sub(at(p.g, offset, i), shares[i]) : shares[i];
          storeVector(f, i32.add(i32.add(p.dx, offset), 16 * i), v128.and(value, inside(offset, i)), width, tail);
        }),
      );
    });
  });
}

/** Sum, or else value, over size for each of four lines. */
function shareOf(
  f: Func,
  sum: { low: V128; high: V128 } | null,
  value: V128 | null,
  size: Local<'v128'>,
): Local<'v128'> {
  const counts = f.let(f32x4.convert_i32x4_s(size));
  if (!sum) return f.let(f32x4.div(value!, counts));
  const high = v128.shuffle32(counts, counts, [2, 3, 2, 3]);
  return f.let(
    demote(f64x2.div(sum.low, f64x2.promote_low_f32x4(counts)), f64x2.div(sum.high, f64x2.promote_low_f32x4(high))),
  );
}

/** The kernels of gradients of projections. */
export function simplexGradients(machine: Machine) {
  const run = (
    rule: string,
    g: WasmStorage,
    s: View<WasmStorage>,
    tau: number,
    dim: number,
  ): { dx: WasmStorage; dmass: WasmStorage } => {
    const { outer, n, inner } = aroundDim(s.shape, dim);
    const [dx, dmass] = [machine.allocate('float32', s.storage.size), machine.allocate('float32', outer * inner)];
    const pointers = [g.pointer, s.storage.pointer, tau, dx.pointer, dmass.pointer];
    if (inner === 1) {
      machine.run(`${rule}GradientLines`, [...pointers, n], {
        items: outer,
        grain: Math.ceil((1 << 14) / Math.max(n, 1)),
      });
    } else if (inner > 0) {
      const { args, items } = columnGroups(outer, n, inner);
      machine.run(`${rule}GradientColumns`, [...pointers, ...args], {
        items,
        grain: Math.ceil((1 << 10) / Math.max(n, 1)),
      });
    }
    return { dx, dmass };
  };

  /** The gradient of masses from that of lines: the adjoint of stretching one mass over all lines, or none of them. */
  const withMass = ({ dx, dmass }: { dx: WasmStorage; dmass: WasmStorage }, mass: View): WasmStorage[] | null => {
    if (mass.storage.size === dmass.size) return [dx, dmass];
    const total = mass.storage.size === 1 ? reduce(machine, 'sum', dmass, 1, dmass.size, 1) : null;
    machine.free(dmass);
    if (total) return [dx, total];
    machine.free(dx);
    return null; // masses stretched along some dims only: the definition's rule covers them
  };

  return {
    /** dx, and dm of every line, of a projection with result y. */
    lines: (g: View<WasmStorage>, y: View<WasmStorage>, dim: number) => run('projection', g.storage, y, 0, dim),
    projection: (g: View<WasmStorage>, mass: View, y: View<WasmStorage>, dim: number) =>
      withMass(run('projection', g.storage, y, 0, dim), mass),
    threshold: (g: View<WasmStorage>, x: View<WasmStorage>, mass: View, tau: View<WasmStorage>, dim: number) =>
      withMass(run('threshold', g.storage, x, tau.storage.pointer, dim), mass),
  };
}
