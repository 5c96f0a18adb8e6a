/**
 * Functions of four floats at a time. Each is written so that its error stays below a bound in units in the last place
 * (ulp) for every float: exp and log 2, tanh, sigmoid and erf 4. Sine and cosine are computed in double precision.
 * None of them uses fused multiply-add: results are the same on every machine.
 *
 * Polynomials are those of the Cephes library (Moshier, single precision) unless said otherwise.
 */
import type { Local, V128 } from './assembler/code.ts';
import { bitselect, f32x4, f64x2, i32x4, v128 } from './assembler/instructions.ts';
import type { Func } from './assembler/module.ts';
import { demote } from './lines.ts';

const { add, sub, mul, div } = f32x4;

/** Horner's scheme, highest coefficient first. */
const polynomial = (x: V128, coefficients: readonly number[]): V128 =>
  coefficients.slice(1).reduce<V128>((sum, c) => add(mul(sum, x), c), f32x4.const(coefficients[0]));

const signBit = i32x4.const(0x80000000 | 0);
const copySign = (magnitude: V128, sign: V128): V128 => v128.or(magnitude, v128.and(sign, signBit));

/** 2^n for integers n of −126…127, from the exponent's bits. */
const powerOfTwo = (n: V128): V128 => i32x4.shl(i32x4.add(n, 127), 23);

/** 1.5 · 2²³: added to a small number it leaves the nearest integer in the low bits of the sum. */
const roundingShift = 12582912;
const roundingShiftBits = 0x4b400000;

/** x = n ln 2 + r with n = ⌊x / ln 2⌉ and |r| ≤ ln 2 / 2. */
function reduceByLn2(f: Func, x: Local<'v128'>): { n: V128; r: Local<'v128'> } {
  const shifted = f.let(add(mul(x, Math.LOG2E), roundingShift));
  const n = f.let(sub(shifted, roundingShift));
  // ln 2 in two parts; the first has few bits, so n times it is exact.
  const r = f.let(sub(sub(x, mul(n, 0.693359375)), mul(n, -2.1219444e-4)));
  return { n: i32x4.sub(shifted, roundingShiftBits), r };
}

/** e^x = 2^n e^r. */
export function exp(f: Func, x: V128): V128 {
  // Beyond these bounds the result is 0 or infinite anyway; NaN passes through both.
  const { n, r } = reduceByLn2(f, f.let(f32x4.pmax(f32x4.pmin(x, 89), -105)));
  // The polynomial in pairs (Estrin): Horner's chain of dependent operations is what would take the time here.
  const square = f.let(mul(r, r));
  const pair = (a: number, b: number) => add(mul(r, a), b);
  const low = add(mul(pair(8.3334519073e-3, 4.1665795894e-2), square), pair(1.6666665459e-1, 5.0000001201e-1));
  const p = add(mul(pair(1.98756915e-4, 1.3981999507e-3), mul(square, square)), low);
  const e = f.let(add(add(mul(p, square), r), 1));
  // n may be as low as −151 or as high as 128: two factors, so that only the last product rounds to a denormal.
  const whole = f.let(n);
  const half = f.let(i32x4.shr_s(whole, 1));
  return mul(mul(e, powerOfTwo(half)), powerOfTwo(i32x4.sub(whole, half)));
}

/** The logarithm of the smallest normal number. */
const leastLog = -87.336544;

/**
 * e^x for x ≤ 0 to 2.5 ulp, in two thirds of the instructions of `exp`, for sums of exponentials: 0 where the result
 * would be a denormal, and a shorter polynomial, (e^r − 1)/r by minimax.
 */
export function expOfNegative(f: Func, x: Local<'v128'>): V128 {
  const { n, r } = reduceByLn2(f, f.let(f32x4.pmax(x, leastLog)));
  const scale = f.let(powerOfTwo(n));
  const p = polynomial(r, [8.2902722e-3, 4.189816e-2, 1.6667639e-1, 4.9999148e-1, 9.999997e-1]);
  return v128.andnot(add(mul(mul(scale, r), p), scale), f32x4.lt(x, leastLog));
}

/** ln x = ln m + e ln 2 with m of √½…√2. */
export function log(f: Func, x: V128): V128 {
  const smallest = 2 ** -126;
  const tiny = f.let(f32x4.lt(x, smallest)); // denormal, zero or negative
  const scaled = f.let(bitselect(mul(x, 2 ** 23), x, tiny));
  // Exponent and mantissa as if of m in √½…√2: subtracting √½'s bits first moves the boundary there.
  const sqrtHalf = 0x3f3504f3;
  const offset = f.let(i32x4.sub(scaled, sqrtHalf));
  const exponent = f.let(i32x4.sub(i32x4.shr_s(offset, 23), i32x4.and(tiny, 23)));
  const m = i32x4.add(i32x4.and(offset, 0x007fffff), sqrtHalf);
  const t = f.let(sub(m, 1));
  const e = f.let(f32x4.convert_i32x4_s(exponent));
  const square = f.let(mul(t, t));
  const p = polynomial(
    t,
    [
      7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ],
  );
  const tail = add(mul(mul(p, square), t), mul(e, -2.1219444e-4));
  const result = f.let(add(add(t, sub(tail, mul(square, 0.5))), mul(e, 0.693359375)));
  // ln ∞ = ∞ and NaN stays: x + x. ln 0 = −∞. Below 0 there is no logarithm.
  const finite = f.let(bitselect(result, add(x, x), f32x4.lt(x, Infinity)));
  const positive = f.let(bitselect(finite, -Infinity, f32x4.ne(x, 0)));
  return bitselect(NaN, positive, f32x4.lt(x, 0));
}

/** 1 / (1 + e^−x), as e^x / (1 + e^x) below zero, where the first form would overflow. */
export function sigmoid(f: Func, x: V128): V128 {
  const e = f.let(exp(f, f32x4.neg(f32x4.abs(x))));
  return div(bitselect(e, 1, f32x4.lt(x, 0)), add(e, 1));
}

/** A polynomial near zero, 1 − 2 / (e^2|x| + 1) beyond 0.625. */
export function tanh(f: Func, x: V128): V128 {
  const magnitude = f.let(f32x4.abs(x));
  const square = f.let(mul(x, x));
  const p = polynomial(
    square,
    [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
  );
  const near = f.let(add(mul(mul(p, square), x), x));
  const far = f.let(sub(1, div(2, add(exp(f, add(magnitude, magnitude)), 1))));
  return bitselect(copySign(far, x), near, f32x4.gt(magnitude, 0.625));
}

/** The error function: an odd polynomial near zero, 1 − e^q(|x|) beyond (coefficients by N. Juffa, public domain). */
export function erf(f: Func, x: V128): V128 {
  const t = f.let(f32x4.abs(x));
  const square = f.let(mul(x, x));
  const near = f.let(
    add(
      mul(
        polynomial(
          square,
          [-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1],
        ),
        x,
      ),
      x,
    ),
  );
  const bounded = f.let(f32x4.pmin(t, 4)); // erf is 1 from there on
  const q = polynomial(
    bounded,
    [-1.7285347e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1, -1.28717512e-1],
  );
  const far = f.let(sub(1, exp(f, f.let(sub(mul(q, bounded), bounded)))));
  return bitselect(copySign(far, x), near, f32x4.gt(t, 0.927734375));
}

/** π/2 in three parts: n times the first or second, which have 27 bits, is exact for n below 2²⁶. */
const halfPi = Math.PI / 2;
const halfPiHigh = Math.floor(halfPi * 2 ** 26) / 2 ** 26;
const halfPiParts = [halfPiHigh, halfPi - halfPiHigh, 6.123233995736766e-17];

/**
 * sin(x + shift · π/2) for two doubles: x − n π/2, then the series of sine or cosine. Good to a float's precision for
 * |x| up to 10⁸; beyond, neighbouring floats are further apart than a period.
 */
function sineOfDoubles(f: Func, x: V128, shift: number): V128 {
  const { add, sub, mul } = f64x2;
  const series = (z: V128, coefficients: readonly number[]) =>
    coefficients.slice(1).reduce<V128>((sum, c) => add(mul(sum, z), c), f64x2.const(coefficients[0]));
  const n = f.let(f64x2.nearest(mul(x, 2 / Math.PI)));
  const r = f.let(halfPiParts.reduce<V128>((rest, part) => sub(rest, mul(n, part)), x));
  const z = f.let(mul(r, r));
  const factorial = (k: number): number => (k < 2 ? 1 : k * factorial(k - 1));
  const sine = f.let(
    mul(
      r,
      series(z, [
        1 / factorial(13),
        -1 / factorial(11),
        1 / factorial(9),
        -1 / factorial(7),
        1 / factorial(5),
        -1 / factorial(3),
        1,
      ]),
    ),
  );
  const cosine = f.let(
    series(z, [
      1 / factorial(12),
      -1 / factorial(10),
      1 / factorial(8),
      -1 / factorial(6),
      1 / factorial(4),
      -1 / factorial(2),
      1,
    ]),
  );
  // The quadrant in the low half of each 64-bit lane, copied to both halves.
  const narrow = f.let(i32x4.trunc_sat_f64x2_s_zero(n));
  const quadrant = f.let(i32x4.add(v128.shuffle32(narrow, narrow, [0, 0, 1, 1]), shift));
  const odd = i32x4.eq(i32x4.and(quadrant, 1), 1);
  const value = f.let(bitselect(cosine, sine, odd));
  // Quadrants 2 and 3 are negative: bit 1 moves to the sign of each double.
  const sign = i32x4.shl(i32x4.and(quadrant, 2), 30);
  return v128.xor(value, v128.and(sign, f64x2.const(-0)));
}

function sineShifted(f: Func, x: V128, shift: number): V128 {
  const low = f.let(sineOfDoubles(f, f.let(f64x2.promote_low_f32x4(x)), shift));
  const high = f.let(sineOfDoubles(f, f.let(f64x2.promote_low_f32x4(v128.shuffle32(x, x, [2, 3, 2, 3]))), shift));
  return demote(low, high);
}

/** sin x, in radians. */
export const sin = (f: Func, x: V128): V128 => sineShifted(f, x, 0);
/** cos x, in radians. */
export const cos = (f: Func, x: V128): V128 => sineShifted(f, x, 1);

/** A function of a vector as kernels take it. */
export type VectorFunction = (f: Func, x: Local<'v128'>) => V128;
