/**
 * Loops over a contiguous line of floats in vectors of four, and sums and maxima along it.
 *
 * Blocks have slack behind them, so a whole vector may be read at a ragged end; what lies in the lanes beyond the end
 * is any float, and must not reach a result. It is not written either: the next line may be another thread's.
 */
import { i32x4Constant, type F32, type F64, type I32, type Local, type V128 } from './assembler/code.ts';
import { bitselect, f32x4, f64, f64x2, i32, i32x4, v128 } from './assembler/instructions.ts';
import type { Func } from './assembler/module.ts';

/** The vector at a byte offset from a base. */
export const loadAt = (base: I32, offset: I32): V128 => v128.load(i32.add(base, offset));

/** For each of the vectors of n floats: `body` gets the byte offset and, for a last incomplete one, the mask of its lanes. */
export function eachVector(f: Func, n: I32, body: (at: Local<'i32'>, tail: V128 | null) => void): void {
  const at = f.local('i32');
  f.set(at, i32.const(0));
  const whole = f.let(i32.shl(i32.shr_u(n, 2), 4));
  f.while(() => i32.lt_u(at, whole), () => {
    body(at, null);
    f.set(at, i32.add(at, 16));
  });
  f.if(i32.and(n, 3), () => {
    const mask = f.let(i32x4.gt_s(i32x4.splat(i32.and(n, 3)), i32x4Constant([0, 1, 2, 3])));
    body(at, mask);
  });
}

/** x, with `neutral` in the lanes beyond the end. */
export const masked = (x: V128, tail: V128 | null, neutral: number): V128 => (tail ? bitselect(x, neutral, tail) : x);

/** Stores a vector, or the lanes of it that are not beyond the end of n floats. */
export function storeVector(f: Func, address: I32, value: V128, n: I32, tail: V128 | null): void {
  if (!tail) {
    f.do(v128.store(address, value));
    return;
  }
  const v = f.let(value);
  const high = f.let(i32.const(0));
  f.if(i32.and(n, 2), () => {
    f.do(v128.store64_lane(address, v, 0));
    f.set(high, i32.const(8));
  });
  f.if(i32.and(n, 1), () => {
    f.if(high, () => f.do(v128.store32_lane(address, v, 2, 8)), () => f.do(v128.store32_lane(address, v, 0)));
  });
}

/** The largest of four lanes, NaN if one is. */
export function maxOfLanes(f: Func, v: V128): F32 {
  const a = f.let(f32x4.max(v, v128.shuffle32(v, v, [2, 3, 0, 1])));
  return f32x4.extract_lane(f32x4.max(a, v128.shuffle32(a, a, [1, 0, 3, 2])), 0);
}

/** Two sums of doubles, one of the low, one of the high lanes: what rounding is left is that of the terms. */
export interface Sum {
  readonly low: Local<'v128'>;
  readonly high: Local<'v128'>;
}

export const sumLocals = (f: Func): Sum => ({ low: f.local('v128'), high: f.local('v128') });

export function clearSum(f: Func, s: Sum): void {
  f.set(s.low, f64x2.const(0));
  f.set(s.high, f64x2.const(0));
}

/** Adds four floats to the sums. `x` is evaluated twice. */
export function addTo(f: Func, s: Sum, x: V128): void {
  f.set(s.low, f64x2.add(s.low, f64x2.promote_low_f32x4(x)));
  f.set(s.high, f64x2.add(s.high, f64x2.promote_low_f32x4(v128.shuffle32(x, x, [2, 3, 2, 3]))));
}

export function total(f: Func, s: Sum): F64 {
  const both = f.let(f64x2.add(s.low, s.high));
  return f64.add(f64x2.extract_lane(both, 0), f64x2.extract_lane(both, 1));
}

/** Four floats from two vectors of two doubles. */
export const demote = (low: V128, high: V128): V128 => v128.shuffle32(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), [0, 1, 4, 5]);

/** Σ of what `term` gives for each vector of a line of n floats; it may store that as well. */
export function lineSum(f: Func, n: I32, term: (offset: I32, tail: V128 | null) => V128): F64 {
  const sum = sumLocals(f);
  clearSum(f, sum);
  eachVector(f, n, (offset, tail) => addTo(f, sum, f.let(masked(term(offset, tail), tail, 0))));
  return f.let(total(f, sum));
}
