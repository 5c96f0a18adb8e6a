/**
 * The instructions that kernels use, as typed functions over expressions, under their names in the WebAssembly
 * specification. A number stands for a constant (in all lanes, for vectors).
 */
import { unsigned } from './bytes.ts';
import {
  expression,
  f32Operand,
  f32x4Operand,
  f64Operand,
  f64x2Operand,
  i32Operand,
  i32x4Operand,
  statement,
  type Expr,
  type F32,
  type F64,
  type I32,
  type Statement,
  type V128,
  type ValueType,
} from './code.ts';

type Int = I32 | number;
type Float = F32 | number;
type Vector = V128 | number;

const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
/** Alignment as a power of two (a hint; 4 bytes is true everywhere) and offset. */
const memarg = (offset: number): number[] => [2, ...unsigned(offset)];
const at = (offset: number): string => (offset ? ` offset=${offset}` : '');

/** Makers of instructions: what does not depend on operands is computed once. */
function binary<A, T extends ValueType>(type: T, lift: (x: A) => Expr, name: string, bytes: readonly number[]) {
  return (a: A, b: A): Expr<T> => expression(type, name, bytes, [lift(a), lift(b)]);
}
const int2 = (name: string, opcode: number) => binary('i32', i32Operand, `i32.${name}`, [opcode]);
const float2 = (name: string, opcode: number) => binary('f32', f32Operand, `f32.${name}`, [opcode]);
const double2 = (name: string, opcode: number) => binary('f64', f64Operand, `f64.${name}`, [opcode]);
const load =
  <T extends ValueType>(type: T, name: string, bytes: readonly number[]) =>
  (address: Int, offset = 0): Expr<T> =>
    expression(type, name + at(offset), [...bytes, ...memarg(offset)], [i32Operand(address)]);

/** Instructions on 32-bit integers. */
export const i32 = {
  const: (x: number): I32 => i32Operand(x),
  load: load('i32', 'i32.load', [0x28]),
  store: (address: Int, value: Int, offset = 0): Statement =>
    statement(`i32.store${at(offset)}`, [0x36, ...memarg(offset)], [i32Operand(address), i32Operand(value)]),
  eqz: (a: Int): I32 => expression('i32', 'i32.eqz', [0x45], [i32Operand(a)]),
  eq: int2('eq', 0x46),
  lt_s: int2('lt_s', 0x48),
  lt_u: int2('lt_u', 0x49),
  le_u: int2('le_u', 0x4d),
  add: int2('add', 0x6a),
  sub: int2('sub', 0x6b),
  mul: int2('mul', 0x6c),
  div_u: int2('div_u', 0x6e),
  rem_u: int2('rem_u', 0x70),
  and: int2('and', 0x71),
  or: int2('or', 0x72),
  shl: int2('shl', 0x74),
  shr_u: int2('shr_u', 0x76),
  /** The smaller of two unsigned integers; operands are evaluated twice. */
  min_u: (a: Int, b: Int): I32 => select(i32Operand(a), i32Operand(b), i32.lt_u(a, b)),
};

/** Instructions on single-precision floats. */
export const f32 = {
  const: (x: number): F32 => f32Operand(x),
  load: load('f32', 'f32.load', [0x2a]),
  store: (address: Int, value: Float, offset = 0): Statement =>
    statement(`f32.store${at(offset)}`, [0x38, ...memarg(offset)], [i32Operand(address), f32Operand(value)]),
  neg: (a: F32): F32 => expression('f32', 'f32.neg', [0x8c], [a]),
  add: float2('add', 0x92),
  sub: float2('sub', 0x93),
  mul: float2('mul', 0x94),
  div: float2('div', 0x95),
  demote: (x: F64): F32 => expression('f32', 'f32.demote_f64', [0xb6], [x]),
};

/** Instructions on double-precision floats. */
export const f64 = {
  add: double2('add', 0xa0),
  sub: double2('sub', 0xa1),
  mul: double2('mul', 0xa2),
  div: double2('div', 0xa3),
  sqrt: (x: F64): F64 => expression('f64', 'f64.sqrt', [0x9f], [x]),
  promote: (x: F32): F64 => expression('f64', 'f64.promote_f32', [0xbb], [x]),
  convert_i32_s: (x: Int): F64 => expression('f64', 'f64.convert_i32_s', [0xb7], [i32Operand(x)]),
};

/** condition ? a : b, both evaluated. */
export function select<T extends 'i32' | 'f32' | 'f64'>(a: Expr<T>, b: Expr<T>, condition: I32): Expr<T> {
  return expression(a.type, 'select', [0x1b], [a, b, condition]);
}

/** Instructions on vectors whatever their lanes. */
export const v128 = {
  load: load('v128', 'v128.load', simd(0)),
  /** Eight bytes in the low half, zero above. */
  load64_zero: load('v128', 'v128.load64_zero', simd(93)),
  load32_splat: load('v128', 'v128.load32_splat', simd(9)),
  store: (address: Int, value: V128, offset = 0): Statement =>
    statement(`v128.store${at(offset)}`, [...simd(11), ...memarg(offset)], [i32Operand(address), value]),
  store32_lane: (address: Int, value: V128, lane: number, offset = 0): Statement =>
    statement(
      `v128.store32_lane ${lane}${at(offset)}`,
      [...simd(90), ...memarg(offset), lane],
      [i32Operand(address), value],
    ),
  store64_lane: (address: Int, value: V128, lane: number, offset = 0): Statement =>
    statement(
      `v128.store64_lane ${lane}${at(offset)}`,
      [...simd(91), ...memarg(offset), lane],
      [i32Operand(address), value],
    ),
  /** 32-bit lanes of a (0–3) and b (4–7), in the order given. */
  shuffle32: (a: V128, b: V128, lanes: readonly [number, number, number, number]): V128 =>
    expression(
      'v128',
      `i8x16.shuffle ;; lanes ${lanes.join(' ')}`,
      [...simd(13), ...lanes.flatMap(l => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3])],
      [a, b],
    ),
  not: (a: V128): V128 => expression('v128', 'v128.not', simd(77), [a]),
  and: (a: V128, b: V128): V128 => expression('v128', 'v128.and', simd(78), [a, b]),
  /** a and not b. */
  andnot: (a: V128, b: V128): V128 => expression('v128', 'v128.andnot', simd(79), [a, b]),
  or: (a: V128, b: V128): V128 => expression('v128', 'v128.or', simd(80), [a, b]),
  xor: (a: V128, b: V128): V128 => expression('v128', 'v128.xor', simd(81), [a, b]),
  any_true: (a: V128): I32 => expression('i32', 'v128.any_true', simd(83), [a]),
};

/** mask ? a : b for each bit; a number stands for four floats. */
export const bitselect = (a: Vector, b: Vector, mask: V128): V128 =>
  expression('v128', 'v128.bitselect', simd(82), [f32x4Operand(a), f32x4Operand(b), mask]);

type Lift = (x: Vector) => V128;
const vector2 = (lift: Lift, name: string, opcode: number) => binary('v128', lift, name, simd(opcode));
function vector1(name: string, opcode: number) {
  const bytes = simd(opcode);
  return (a: V128): V128 => expression('v128', name, bytes, [a]);
}
function shift(name: string, opcode: number) {
  const bytes = simd(opcode);
  return (a: V128, by: number): V128 => expression('v128', name, bytes, [a, i32Operand(by)]);
}

/** Instructions on four integers. */
export const i32x4 = {
  const: i32x4Operand,
  splat: (x: Int): V128 => expression('v128', 'i32x4.splat', simd(17), [i32Operand(x)]),
  extract_lane: (a: V128, lane: number): I32 =>
    expression('i32', `i32x4.extract_lane ${lane}`, [...simd(27), lane], [a]),
  eq: vector2(i32x4Operand, 'i32x4.eq', 55),
  lt_s: vector2(i32x4Operand, 'i32x4.lt_s', 57),
  gt_s: vector2(i32x4Operand, 'i32x4.gt_s', 59),
  bitmask: (a: V128): I32 => expression('i32', 'i32x4.bitmask', simd(164), [a]),
  shl: shift('i32x4.shl', 171),
  shr_s: shift('i32x4.shr_s', 172),
  shr_u: shift('i32x4.shr_u', 173),
  and: vector2(i32x4Operand, 'v128.and', 78),
  add: vector2(i32x4Operand, 'i32x4.add', 174),
  sub: vector2(i32x4Operand, 'i32x4.sub', 177),
  trunc_sat_f32x4_s: vector1('i32x4.trunc_sat_f32x4_s', 248),
  trunc_sat_f64x2_s_zero: vector1('i32x4.trunc_sat_f64x2_s_zero', 252),
};

/** Instructions on four floats. */
export const f32x4 = {
  const: f32x4Operand,
  splat: (x: Float): V128 => expression('v128', 'f32x4.splat', simd(19), [f32Operand(x)]),
  extract_lane: (a: V128, lane: number): F32 =>
    expression('f32', `f32x4.extract_lane ${lane}`, [...simd(31), lane], [a]),
  eq: vector2(f32x4Operand, 'f32x4.eq', 65),
  ne: vector2(f32x4Operand, 'f32x4.ne', 66),
  lt: vector2(f32x4Operand, 'f32x4.lt', 67),
  gt: vector2(f32x4Operand, 'f32x4.gt', 68),
  ge: vector2(f32x4Operand, 'f32x4.ge', 70),
  nearest: vector1('f32x4.nearest', 106),
  abs: vector1('f32x4.abs', 224),
  neg: vector1('f32x4.neg', 225),
  sqrt: vector1('f32x4.sqrt', 227),
  add: vector2(f32x4Operand, 'f32x4.add', 228),
  sub: vector2(f32x4Operand, 'f32x4.sub', 229),
  mul: vector2(f32x4Operand, 'f32x4.mul', 230),
  div: vector2(f32x4Operand, 'f32x4.div', 231),
  min: vector2(f32x4Operand, 'f32x4.min', 232),
  /** NaN if either is; on x64 V8 makes this eight instructions, and one of the pseudo-maximum. */
  max: vector2(f32x4Operand, 'f32x4.max', 233),
  /** b < a ? b : a, so a if one is NaN. */
  pmin: vector2(f32x4Operand, 'f32x4.pmin', 234),
  /** a < b ? b : a, so a if one is NaN. */
  pmax: vector2(f32x4Operand, 'f32x4.pmax', 235),
  convert_i32x4_s: vector1('f32x4.convert_i32x4_s', 250),
  demote_f64x2_zero: vector1('f32x4.demote_f64x2_zero', 94),
  /** a b + c, fused where the machine can: relaxed SIMD. */
  relaxed_madd: (a: V128, b: V128, c: V128): V128 => expression('v128', 'f32x4.relaxed_madd', simd(0x105), [a, b, c]),
};

/** Instructions on two doubles. */
export const f64x2 = {
  const: f64x2Operand,
  extract_lane: (a: V128, lane: number): F64 =>
    expression('f64', `f64x2.extract_lane ${lane}`, [...simd(33), lane], [a]),
  nearest: vector1('f64x2.nearest', 148),
  add: vector2(f64x2Operand, 'f64x2.add', 240),
  sub: vector2(f64x2Operand, 'f64x2.sub', 241),
  mul: vector2(f64x2Operand, 'f64x2.mul', 242),
  div: vector2(f64x2Operand, 'f64x2.div', 243),
  promote_low_f32x4: vector1('f64x2.promote_low_f32x4', 95),
};

/** memory.fill with zeros. */
export const zeroFill = (address: Int, bytes: Int): Statement =>
  statement('memory.fill', [0xfc, 11, 0], [i32Operand(address), i32Operand(0), i32Operand(bytes)]);
