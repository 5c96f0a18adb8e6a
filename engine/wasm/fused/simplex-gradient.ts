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
import { addTo, clearSum, demote, eachItem, eachVector, kernel, masked, storeVector, sumLocals, total, type Kernels } from '../kernel.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import { reduce } from '../reduce.ts';

const { sub, gt } = f32x4;

/**
 * The two kinds of gradient: what of a line is summed over the support, and what is written to it. `line` is a vector
 * of per-line values: g of the line for thresholds.
 */
interface Rule {
  readonly name: string;
  /** Whether g has the shape of x, or one entry a line. */
  readonly full: boolean;
}
const rules: readonly Rule[] = [{ name: 'projection', full: true }, { name: 'threshold', full: false }];

// g: gradient; s: y or x, which shows the support; tau: one a line, for thresholds; dx, dm: results.
const params = { g: 'i32', s: 'i32', tau: 'i32', dx: 'i32', dm: 'i32', n: 'i32' } as const;

export function emitSimplexGradients(kernels: Kernels): void {
  for (const rule of rules) {
    emitLines(kernels, rule);
    emitColumns(kernels, rule);
  }
}

function emitLines(kernels: Kernels, { name, full }: Rule): void {
  kernel(kernels, `${name}GradientLines`, params, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    const [sum, size] = [sumLocals(f), f.local('v128')];
    const moving = [{ base: p.g, stride: full ? bytes : 4 }, { base: p.s, stride: bytes }, { base: p.tau, stride: 4 }, { base: p.dx, stride: bytes }, { base: p.dm, stride: 4 }] as const;
    eachItem(f, share, moving, ([g, s, tau, dx, dm]) => {
      const bound = full ? f32x4.const(0) : f.let(v128.load32_splat(tau));
      const inside = (at: I32) => gt(v128.load(i32.add(s, at)), bound);
      clearSum(f, sum);
      f.set(size, i32x4.const(0));
      eachVector(f, p.n, (at, tail) => {
        const mask = f.let(masked(inside(at), tail, 0));
        f.set(size, i32x4.sub(size, mask));
        if (full) addTo(f, sum, f.let(v128.and(v128.load(i32.add(g, at)), mask)));
      });
      const count = [1, 2, 3].reduce((c, lane) => i32.add(c, i32x4.extract_lane(size, lane)), i32x4.extract_lane(size, 0));
      const numerator = full ? total(f, sum) : f64.promote(f32.load(g));
      const share = f.let(f32.demote(f64.div(numerator, f64.convert_i32_s(count))));
      const shares = f.let(f32x4.splat(share));
      f.do(f32.store(dm, full ? share : f32.neg(share)));
      eachVector(f, p.n, (at, tail) => {
        const value = full ? sub(v128.load(i32.add(g, at)), shares) : shares;
        storeVector(f, i32.add(dx, at), v128.and(value, inside(at)), p.n, tail);
      });
    });
  });
}

function emitColumns(kernels: Kernels, { name, full }: Rule): void {
  kernel(kernels, `${name}GradientColumns`, { ...params, inner: 'i32', groups: 'i32' }, (f, p, { from, to }) => {
    const stride = f.let(i32.shl(p.inner, 2));
    f.for(from, to, 1, item => {
      const o = f.let(i32.div_u(item, p.groups));
      const column = f.let(i32.shl(i32.rem_u(item, p.groups), 4));
      const width = f.let(i32.min_u(i32.sub(p.inner, column), 16));
      const first = f.let(i32.shl(i32.add(i32.mul(i32.mul(o, p.n), p.inner), column), 2)); // bytes into full buffers
      const line = f.let(i32.shl(i32.add(i32.mul(o, p.inner), column), 2)); // bytes into those of lines
      f.if(i32.eq(width, 16), () => group(4, null), () => {
        eachVector(f, width, (_, tail) => {
          group(1, tail);
          f.set(first, i32.add(first, 16));
          f.set(line, i32.add(line, 16));
        });
      });

      function group(count: number, tail: V128 | null): void {
        const vectors = Array.from({ length: count }, (_, i) => i);
        const [sums, sizes] = [vectors.map(() => sumLocals(f)), vectors.map(() => f.let(i32x4.const(0)))];
        for (const sum of sums) clearSum(f, sum);
        const offset = f.local('i32');
        const eachRow = (body: () => void) => {
          f.set(offset, first);
          f.for(0, p.n, 1, () => {
            body();
            f.set(offset, i32.add(offset, stride));
          });
        };
        const ofLine = (base: I32, i: number) => v128.load(i32.add(base, line), 16 * i);
        const ofRow = (base: I32, i: number) => v128.load(i32.add(base, offset), 16 * i);
        const inside = (i: number) => gt(ofRow(p.s, i), full ? 0 : ofLine(p.tau, i));
        eachRow(() => vectors.forEach(i => {
          const mask = f.let(inside(i));
          f.set(sizes[i], i32x4.sub(sizes[i], mask));
          if (full) addTo(f, sums[i], f.let(v128.and(ofRow(p.g, i), mask)));
        }));
        const shares = vectors.map(i => shareOf(f, full ? sums[i] : null, full ? null : ofLine(p.g, i), sizes[i]));
        vectors.forEach(i => storeVector(f, i32.add(i32.add(p.dm, line), i32.const(16 * i)), full ? shares[i] : f32x4.neg(shares[i]), width, tail));
        eachRow(() => vectors.forEach(i => {
          const value = full ? sub(ofRow(p.g, i), shares[i]) : shares[i];
          storeVector(f, i32.add(i32.add(p.dx, offset), i32.const(16 * i)), v128.and(value, inside(i)), width, tail);
        }));
      }
    });
  });
}

/** Sum, or else value, over size for each of four lines. */
function shareOf(f: Func, sum: { low: V128; high: V128 } | null, value: V128 | null, size: Local<'v128'>): Local<'v128'> {
  const counts = f.let(f32x4.convert_i32x4_s(size));
  if (!sum) return f.let(f32x4.div(value!, counts));
  const high = v128.shuffle32(counts, counts, [2, 3, 2, 3]);
  return f.let(demote(f64x2.div(sum.low, f64x2.promote_low_f32x4(counts)), f64x2.div(sum.high, f64x2.promote_low_f32x4(high))));
}

export function simplexGradients(machine: Machine) {
  const run = (rule: string, g: WasmStorage, s: View<WasmStorage>, tau: number, dim: number): { dx: WasmStorage; dmass: WasmStorage } => {
    const { outer, n, inner } = aroundDim(s.shape, dim);
    const [dx, dmass] = [machine.allocate('float32', s.storage.size), machine.allocate('float32', outer * inner)];
    const pointers = [g.pointer, s.storage.pointer, tau, dx.pointer, dmass.pointer];
    if (inner === 1) {
      machine.run(`${rule}GradientLines`, [...pointers, n], { items: outer, grain: Math.ceil((1 << 14) / Math.max(n, 1)) });
    } else if (inner > 0) {
      const groups = Math.ceil(inner / 16);
      machine.run(`${rule}GradientColumns`, [...pointers, n, inner, groups], { items: outer * groups, grain: Math.ceil((1 << 10) / Math.max(n, 1)) });
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
    projection: (g: View<WasmStorage>, mass: View, y: View<WasmStorage>, dim: number) => withMass(run('projection', g.storage, y, 0, dim), mass),
    threshold: (g: View<WasmStorage>, x: View<WasmStorage>, mass: View, tau: View<WasmStorage>, dim: number) =>
      withMass(run('threshold', g.storage, x, tau.storage.pointer, dim), mass),
  };
}
