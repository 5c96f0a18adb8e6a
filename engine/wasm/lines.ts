/**
 * Loops over a contiguous line of floats in vectors of four, and sums and maxima along it.
 *
 * Blocks have slack behind them, so a whole vector may be read at a ragged end; what lies in the lanes beyond the end
 * is any float, and must not reach a result. It is not written either: the next line may be another thread's.
 */
import { i32x4Constant, type F64, type I32, type Local, type V128 } from './assembler/code.ts';
import { bitselect, f32x4, f64, f64x2, i32, i32x4, v128 } from './assembler/instructions.ts';
import type { Func } from './assembler/module.ts';

/** The vector at a byte offset from a base. */
export const loadAt = (base: I32, offset: I32): V128 => v128.load(i32.add(base, offset));

/**
 * For each of the vectors of n floats: `body` gets the byte offset and, for a last incomplete one, the mask of its
 * lanes.
 */
export function eachVector(f: Func, n: I32, body: (at: Local<'i32'>, tail: V128 | null) => void): void {
  const at = f.local('i32');
  f.set(at, i32.const(0));
  const whole = f.let(i32.shl(i32.shr_u(n, 2), 4));
  f.while(
    () => i32.lt_u(at, whole),
    () => {
      body(at, null);
      f.set(at, i32.add(at, 16));
    },
  );
  f.if(i32.and(n, 3), () => {
    const mask = f.let(i32x4.gt_s(i32x4.splat(i32.and(n, 3)), i32x4Constant([0, 1, 2, 3])));
    body(at, mask);
  });
}

/**
 * The same, `count` vectors at a time while there are as many, and then one: `body` gets the number of the vector among
 * them, so that a sum or maximum of each need not wait for the one before. `after` follows each single one.
 */
function eachVectors(
  f: Func,
  n: I32,
  count: number,
  body: (at: Local<'i32'>, tail: V128 | null, which: number) => void,
  after?: () => void,
): void {
  const together = f.let(i32.sub(n, i32.rem_u(n, 4 * count)));
  const end = f.let(i32.shl(together, 2));
  f.for(0, end, 16 * count, at => {
    for (let which = 0; which < count; which++) body(which ? f.let(i32.add(at, 16 * which)) : at, null, which);
  });
  eachVector(f, f.let(i32.sub(n, together)), (at, tail) => {
    body(f.let(i32.add(end, at)), tail, 0);
    after?.();
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
    f.if(
      high,
      () => f.do(v128.store32_lane(address, v, 2, 8)),
      () => f.do(v128.store32_lane(address, v, 0)),
    );
  });
}

/**
 * A maximum that NaN wins. On x64 the instruction of that name becomes eight; these are a pseudo-maximum, which is one
 * and skips NaN in what is added, and a mask that remembers it.
 */
export interface Maximum {
  readonly top: Local<'v128'>;
  readonly nan: Local<'v128'>;
}

/** Locals for a running maximum of four lanes. */
export const maximumLocals = (f: Func): Maximum => ({ top: f.local('v128'), nan: f.local('v128') });

/** Starts a maximum at −∞, no NaN seen. */
export function clearMaximum(f: Func, m: Maximum): void {
  f.set(m.top, f32x4.const(-Infinity));
  f.set(m.nan, f32x4.const(0));
}

/** `x` is evaluated three times. */
export function raiseTo(f: Func, m: Maximum, x: V128): void {
  f.set(m.top, f32x4.pmax(m.top, x));
  f.set(m.nan, v128.or(m.nan, f32x4.ne(x, x)));
}

/** The maxima of the lanes: all bits set are NaN. */
export const maximumOf = ({ top, nan }: Maximum): V128 => v128.or(top, nan);

/** The largest of a line of n floats, NaN if one is, in all lanes. */
export function lineMax(f: Func, x: I32, n: I32): Local<'v128'> {
  const maxima = [0, 1, 2, 3].map(() => maximumLocals(f));
  for (const m of maxima) clearMaximum(f, m);
  eachVectors(f, n, maxima.length, (at, tail, which) =>
    raiseTo(f, maxima[which], f.let(masked(loadAt(x, at), tail, -Infinity))),
  );
  return largest(f, maxima.map(maximumOf));
}

/** The largest of a line of n floats, or any of them where one is NaN, in all lanes. */
export function lineTop(f: Func, x: I32, n: I32): Local<'v128'> {
  const tops = [0, 1, 2, 3].map(() => f.let(f32x4.const(-Infinity)));
  eachVectors(f, n, tops.length, (at, tail, which) =>
    f.set(tops[which], f32x4.pmax(tops[which], masked(loadAt(x, at), tail, -Infinity))),
  );
  return largest(f, tops);
}

/** The largest lane of four vectors, in all lanes. */
function largest(f: Func, [a, b, c, d]: readonly V128[]): Local<'v128'> {
  const both = f.let(f32x4.max(f32x4.max(a, b), f32x4.max(c, d)));
  const pairs = f.let(f32x4.max(both, v128.shuffle32(both, both, [2, 3, 0, 1])));
  return f.let(f32x4.max(pairs, v128.shuffle32(pairs, pairs, [1, 0, 3, 2])));
}

/** Two sums of doubles, one of the low, one of the high lanes: what rounding is left is that of the terms. */
export interface Sum {
  readonly low: Local<'v128'>;
  readonly high: Local<'v128'>;
}

/** Locals for a running sum in double precision. */
export const sumLocals = (f: Func): Sum => ({ low: f.local('v128'), high: f.local('v128') });

/** Starts a sum at 0. */
export function clearSum(f: Func, s: Sum): void {
  f.set(s.low, f64x2.const(0));
  f.set(s.high, f64x2.const(0));
}

/** Adds four floats to the sums. `x` is evaluated twice. */
export function addTo(f: Func, s: Sum, x: V128): void {
  f.set(s.low, f64x2.add(s.low, f64x2.promote_low_f32x4(x)));
  f.set(s.high, f64x2.add(s.high, f64x2.promote_low_f32x4(v128.shuffle32(x, x, [2, 3, 2, 3]))));
}

/** The same of the four floats at an address. */
export function addFrom(f: Func, s: Sum, address: I32): void {
  f.set(s.low, f64x2.add(s.low, f64x2.promote_low_f32x4(v128.load64_zero(address))));
  f.set(s.high, f64x2.add(s.high, f64x2.promote_low_f32x4(v128.load64_zero(address, 8))));
}

/** The sum of all lanes. */
export function total(f: Func, s: Sum): F64 {
  const both = f.let(f64x2.add(s.low, s.high));
  return f64.add(f64x2.extract_lane(both, 0), f64x2.extract_lane(both, 1));
}

/** Four floats from two vectors of two doubles. */
export const demote = (low: V128, high: V128): V128 =>
  v128.shuffle32(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), [0, 1, 4, 5]);

/** Σ of what `term` gives for each vector of a line of n floats; it may store that as well. */
export function lineSum(f: Func, n: I32, term: (offset: I32, tail: V128 | null) => V128): F64 {
  const parts = [0, 1, 2, 3].map(() => sumLocals(f));
  for (const sum of parts) clearSum(f, sum);
  eachVectors(f, n, parts.length, (offset, tail, which) =>
    addTo(f, parts[which], f.let(masked(term(offset, tail), tail, 0))),
  );
  return f.let(parts.map(sum => total(f, sum)).reduce((a, b) => f64.add(a, b)));
}

/**
 * The same for terms that are rounded themselves: four are added as floats before they join the sum, which costs less.
 */
export function lineSumByFours(f: Func, n: I32, term: (offset: I32, tail: V128 | null) => V128): F64 {
  const [sum, four] = [sumLocals(f), f.local('v128')];
  clearSum(f, sum);
  eachVectors(
    f,
    n,
    4,
    (offset, tail, which) => {
      f.set(four, which ? f32x4.add(four, term(offset, tail)) : masked(term(offset, tail), tail, 0));
      if (which === 3) addTo(f, sum, four);
    },
    () => addTo(f, sum, four),
  );
  return f.let(total(f, sum));
}
