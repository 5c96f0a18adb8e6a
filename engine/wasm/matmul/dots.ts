/**
 * The product of a few rows with a transposed matrix, C = A Bᵀ or C += A Bᵀ: what generating one token at a time asks
 * for. To pack B would take longer than to use it, so its lines are read where they are, four at a time.
 *
 * An output is the sum of four lanes, each over every fourth term, in blocks of `depth` terms as in the packed product.
 */
import { f32x4, i32 } from '../assembler/instructions.ts';
import type { FuncRef } from '../assembler/module.ts';
import type { Kernels } from '../kernel.ts';
import { eachVector, loadAt, masked, storeVector } from '../lines.ts';
import { depth } from './plan.ts';
import { multiplyAdd, transpose4 } from './vectors.ts';

const params = {
  a: 'i32',
  b: 'i32',
  c: 'i32',
  strideA: 'i32',
  strideB: 'i32',
  strideC: 'i32',
  m: 'i32',
  n: 'i32',
  k: 'i32',
  accumulate: 'i32',
} as const;

/** Adds the product by dot products to the module. */
export function emitDots({ module, features }: Kernels): FuncRef {
  const madd = multiplyAdd(features);
  return module.func('matmulDots', params, (f, p) => {
    const lanes = [0, 1, 2, 3];
    const [totals, sums] = [lanes.map(() => f.local('v128')), lanes.map(() => f.local('v128'))];
    eachVector(f, p.n, (column, tail) => {
      const j = f.let(i32.shr_u(column, 2));
      const lines = lanes.map(r => f.let(i32.add(p.b, i32.mul(i32.min_u(i32.add(j, r), i32.sub(p.n, 1)), p.strideB))));
      const [a, c] = [f.let(p.a), f.let(i32.add(p.c, column))];
      f.for(0, p.m, 1, () => {
        for (const t of totals) f.set(t, f32x4.const(0));
        f.for(0, p.k, depth, l => {
          const start = f.let(i32.shl(l, 2));
          for (const s of sums) f.set(s, f32x4.const(0));
          eachVector(f, f.let(i32.min_u(i32.sub(p.k, l), depth)), (offset, end) => {
            const at = f.let(i32.add(start, offset));
            const x = f.let(masked(loadAt(a, at), end, 0));
            lanes.forEach(r => f.set(sums[r], madd(x, masked(loadAt(lines[r], at), end, 0), sums[r])));
          });
          lanes.forEach(r => f.set(totals[r], f32x4.add(totals[r], sums[r])));
        });
        const [w, x, y, z] = transpose4(f, totals);
        const result = f.let(f32x4.add(f32x4.add(w, x), f32x4.add(y, z)));
        f.if(p.accumulate, () => f.set(result, f32x4.add(result, loadAt(c, i32.const(0)))));
        storeVector(f, c, result, p.n, tail);
        f.set(a, i32.add(a, p.strideA));
        f.set(c, i32.add(c, p.strideC));
      });
    });
  });
}
