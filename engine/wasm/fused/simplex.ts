/**
 * The operations `simplexThreshold`, `simplexProjection`, `sparsemax` and `simplexGradient`: τ of every line with Σ
 * max(x − τ, 0) = mass, and the projection max(x − τ, 0) itself. By selection, without a sort.
 *
 * A line is first shifted by its maximum, which the projection does not see and floats do: z = x − max ≤ 0. Newton's
 * method from t = −mass, which lies below the solution (Michelot 1986), replaces t by (Σ z − mass)/|S| over the
 * support S = {z > t}. t only rises and S only shrinks, so it ends, when S stays the same, with the exact solution;
 * rounding is not allowed to lower t, nor to raise it to 0, where the maximum itself would leave S.
 * Most of a line leaves S in the first step: what remains is kept in a list in the workspace, whole vectors of which
 * any lane is left, and later steps read that alone.
 *
 * Along the last dim the four lanes hold one line; along any other they hold four neighbouring lines, and 16 of them,
 * a cache line of floats, are read together.
 */
import type { Kernel, Shape, View } from '../../backend.ts';
import { aroundDim, broadcastStrides, sizeOf } from '../../shape.ts';
import type { I32, Local, V128 } from '../assembler/code.ts';
import { f32, f32x4, f64, f64x2, i32, i32x4, select, v128 } from '../assembler/instructions.ts';
import type { Func } from '../assembler/module.ts';
import { columnGroups, columnParams, eachColumnGroup } from '../columns.ts';
import { eachItem, kernel, type Kernels } from '../kernel.ts';
import { strided } from '../layout.ts';
import {
  addTo,
  clearMaximum,
  clearSum,
  demote,
  eachVector,
  lineMax,
  loadAt,
  masked,
  maximumLocals,
  maximumOf,
  raiseTo,
  storeVector,
  sumLocals,
  total,
  type Sum,
} from '../lines.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import { emitSimplexGradients, simplexGradients } from './simplex-gradient.ts';

const { sub, gt, max } = f32x4;
type Pointer = Local<'i32'>;

/** Appends z to a list if any lane of it is above t. */
function keep(f: Func, end: Pointer, z: V128, above: V128): void {
  f.do(v128.store(end, z));
  f.set(end, i32.add(end, select(i32.const(16), i32.const(0), v128.any_true(above))));
}

/**
 * Sum and size of the support within the list [start, end) at threshold t; vectors that left it are dropped from the
 * list.
 */
function shrink(f: Func, start: I32, end: Pointer, t: V128, sum: Sum, size: Local<'v128'>): void {
  clearSum(f, sum);
  f.set(size, i32x4.const(0));
  const kept = f.let(start);
  f.for(start, end, 16, from => {
    const z = f.let(v128.load(from));
    const above = f.let(gt(z, t));
    addTo(f, sum, f.let(v128.and(z, above)));
    f.set(size, i32x4.sub(size, above)); // a mask is −1
    keep(f, kept, z, above);
  });
  f.set(end, kept);
}

/** The float just below zero. */
const largestThreshold = -(2 ** -149);

/** Newton's steps on a list until the support stays the same. `combine` gives t from sum and size of the support. */
function solve(
  f: Func,
  start: I32,
  end: Pointer,
  t: Local<'v128'>,
  combine: (sum: Sum, size: Local<'v128'>) => V128,
): void {
  const [sum, size, before] = [sumLocals(f), f.local('v128'), f.local('v128')];
  f.set(size, i32x4.const(-1));
  f.doWhile(
    () => {
      f.set(before, size);
      shrink(f, start, end, t, sum, size);
      f.set(t, f32x4.min(max(t, combine(sum, size)), largestThreshold));
    },
    () => v128.any_true(v128.xor(size, before)),
  );
}

const sumOfLanes = (f: Func, v: V128): I32 => {
  const a = f.let(i32x4.add(v, v128.shuffle32(v, v, [2, 3, 0, 1])));
  return i32.add(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1));
};

/** NaN where the maximum of a line is not finite, which the host turns into an error; 0 elsewhere. */
const failure = (top: V128): V128 => sub(top, top);

/** Adds the kernels of projections on simplices to the module. */
export function emitSimplex(kernels: Kernels): void {
  // tau[line] = τ; where y is not 0 also y = max(x − τ, 0).
  kernel(kernels, 'simplexLines', { x: 'i32', mass: 'i32', tau: 'i32', y: 'i32', n: 'i32' }, (f, p, share) => {
    const bytes = f.let(i32.shl(p.n, 2));
    const t = f.local('v128');
    eachItem(
      f,
      share,
      [
        { base: p.x, stride: bytes },
        { base: p.mass, stride: 4 },
        { base: p.tau, stride: 4 },
        { base: p.y, stride: bytes },
      ],
      ([x, mass, tau, y]) => {
        const top = lineMax(f, x, p.n);
        const z = (at: I32) => sub(loadAt(x, at), top);
        f.set(t, f32x4.neg(v128.load32_splat(mass)));
        const end = f.let(share.work);
        eachVector(f, p.n, (at, tail) => {
          const shifted = f.let(masked(z(at), tail, -Infinity));
          keep(f, end, shifted, gt(shifted, t));
        });
        solve(f, share.work, end, t, (sum, size) => {
          const excess = f64.sub(total(f, sum), f64.promote(f32.load(mass)));
          return f32x4.splat(f32.demote(f64.div(excess, f64.convert_i32_s(sumOfLanes(f, size)))));
        });
        f.do(f32.store(tau, f32x4.extract_lane(f32x4.add(f32x4.add(top, t), failure(top)), 0)));
        f.if(p.y, () =>
          eachVector(f, p.n, (at, tail) => storeVector(f, i32.add(y, at), f32x4.pmax(sub(z(at), t), 0), p.n, tail)),
        );
      },
    );
  });

  // The same along the middle of (outer, n, inner); what lanes beyond the end compute is not stored.
  kernel(kernels, 'simplexColumns', { x: 'i32', mass: 'i32', tau: 'i32', y: 'i32', ...columnParams }, (f, p, share) => {
    const listBytes = f.let(i32.shl(p.n, 4));
    eachColumnGroup(f, p, share, ({ vectors, line, width, tail, eachStep }) => {
      const x = (offset: I32, i: number) => v128.load(i32.add(p.x, offset), 16 * i);
      const maxima = vectors.map(() => maximumLocals(f));
      for (const m of maxima) clearMaximum(f, m);
      eachStep(offset => vectors.forEach(i => raiseTo(f, maxima[i], f.let(x(offset, i)))));
      const tops = maxima.map(m => f.let(maximumOf(m)));
      const masses = vectors.map(i => f.let(v128.load(i32.add(p.mass, line), 16 * i)));
      const ts = masses.map(m => f.let(f32x4.neg(m)));
      const starts = vectors.map(i => f.let(i32.add(share.work, i32.mul(listBytes, i))));
      const ends = starts.map(start => f.let(start));
      eachStep(offset =>
        vectors.forEach(i => {
          const z = f.let(sub(x(offset, i), tops[i]));
          keep(f, ends[i], z, gt(z, ts[i]));
        }),
      );
      vectors.forEach(i => {
        solve(f, starts[i], ends[i], ts[i], (sum, size) => {
          const counts = f.let(f32x4.convert_i32x4_s(size));
          const high = (v: V128) => v128.shuffle32(v, v, [2, 3, 2, 3]);
          const step = (s: V128, m: V128, c: V128) =>
            f64x2.div(f64x2.sub(s, f64x2.promote_low_f32x4(m)), f64x2.promote_low_f32x4(c));
          return demote(step(sum.low, masses[i], counts), step(sum.high, high(masses[i]), high(counts)));
        });
        storeVector(
          f,
          i32.add(i32.add(p.tau, line), 16 * i),
          f32x4.add(f32x4.add(tops[i], ts[i]), failure(tops[i])),
          width,
          tail,
        );
      });
      f.if(p.y, () =>
        eachStep(offset =>
          vectors.forEach(i => {
            storeVector(
              f,
              i32.add(i32.add(p.y, offset), 16 * i),
              f32x4.pmax(sub(sub(x(offset, i), tops[i]), ts[i]), 0),
              width,
              tail,
            );
          }),
        ),
      );
    });
  });
  emitSimplexGradients(kernels);
}

/** The kernels of projections on simplices. */
export function simplex(machine: Machine): Record<string, Kernel<WasmStorage>> {
  /** τ of every line, and the projection if it is wanted. `mass` has one entry a line. */
  const run = (
    op: string,
    x: View<WasmStorage>,
    mass: WasmStorage,
    dim: number,
    projection: WasmStorage | null,
  ): WasmStorage => {
    const { outer, n, inner } = aroundDim(x.shape, dim);
    const tau = machine.allocate('float32', outer * inner);
    const pointers = [x.storage.pointer, mass.pointer, tau.pointer, projection?.pointer ?? 0];
    if (inner === 1) {
      machine.run(
        'simplexLines',
        [...pointers, n],
        { items: outer, grain: Math.ceil((1 << 13) / Math.max(n, 1)) },
        4 * n + 32,
      );
    } else if (inner > 0) {
      const { args, items } = columnGroups(outer, n, inner);
      machine.run(
        'simplexColumns',
        [...pointers, ...args],
        { items, grain: Math.ceil((1 << 9) / Math.max(n, 1)) },
        64 * n + 64,
      );
    }
    const line = machine.floats(tau.pointer, tau.size).findIndex(Number.isNaN);
    if (line < 0) return tau;
    throw new RangeError(`${op}: line ${line} of a tensor [${x.shape}] along dim ${dim} has no finite maximum`);
  };

  /** The mass of each line: `mass` stretched to `lines`. */
  const withMasses = <R>(op: string, mass: View<WasmStorage>, lines: Shape, use: (masses: WasmStorage) => R): R => {
    const wrong = machine.floats(mass.storage.pointer, mass.storage.size).findIndex(m => !(m > 0 && m < Infinity));
    if (wrong >= 0)
      throw new RangeError(
        `${op}: mass ${wrong} is ${machine.floats(mass.storage.pointer, mass.storage.size)[wrong]}; it must be ` +
          'positive and finite',
      );
    if (mass.storage.size === sizeOf(lines)) return use(mass.storage);
    const masses = strided(machine, mass.storage, lines, broadcastStrides(mass.shape, lines), 0);
    const result = use(masses);
    machine.free(masses);
    return result;
  };

  const linesOf = ({ shape }: View, dim: number): Shape => shape.map((n, d) => (d === dim ? 1 : n));

  const project = (op: string, x: View<WasmStorage>, mass: View<WasmStorage>, dim: number): WasmStorage =>
    withMasses(op, mass, linesOf(x, dim), masses => {
      const y = machine.allocate('float32', x.storage.size);
      machine.free(run(op, x, masses, dim, y));
      return y;
    });

  const gradients = simplexGradients(machine);
  const gradient = (g: View<WasmStorage>, y: View<WasmStorage>, dim: number): WasmStorage => {
    const { dx, dmass } = gradients.lines(g, y, dim);
    machine.free(dmass);
    return dx;
  };
  return {
    simplexGradient: { forward: ([g, y], { dim }: { dim: number }) => gradient(g, y, dim) },
    simplexThreshold: {
      forward: ([x, mass], { dim }: { dim: number }) =>
        withMasses('simplexThreshold', mass, linesOf(x, dim), masses => run('simplexThreshold', x, masses, dim, null)),
      vjp: (g, [x, mass], tau, { dim }: { dim: number }) => gradients.threshold(g, x, mass, tau, dim),
    },
    simplexProjection: {
      forward: ([x, mass], { dim }: { dim: number }) => project('simplexProjection', x, mass, dim),
      vjp: (g, [, mass], y, { dim }: { dim: number }) => gradients.projection(g, mass, y, dim),
    },
    sparsemax: {
      forward: ([x], { dim }: { dim: number }) => {
        const one = { storage: machine.upload(Float32Array.of(1)), shape: [] };
        const y = project('sparsemax', x, one, dim);
        machine.free(one.storage);
        return y;
      },
      vjp: (g, _, y, { dim }: { dim: number }) => [gradient(g, y, dim)],
    },
  };
}
