/**
 * The numbers of a safetensors file to and from the two forms the engine has: floating dtypes as float32, integer
 * dtypes as int32. A dtype that is not here (8-bit floats) can still be copied as bytes.
 *
 * Nothing is bent to fit: an integer outside the other side's range, or a finite float that narrowing would turn into
 * infinity, makes the function say so.
 */

import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../float16.ts';
import type { SafetensorsDType } from './header.ts';

/** Floats as the engine has them. */
export type Floats = Float32Array<ArrayBuffer>;
/** Integers as the engine has them. */
export type Ints = Int32Array<ArrayBuffer>;

interface Codec<Values extends Floats | Ints> {
  /** Fills `out` from the beginning of `bytes`; false where a value does not fit. */
  decode(bytes: ArrayBuffer, out: Values): boolean;
  /** Undefined where a value does not fit. */
  encode(values: Values): ArrayBufferView<ArrayBuffer> | undefined;
}

/** Every floating dtype widens exactly or, from F64, rounds to nearest (beyond float32's range to infinity). */
export const FLOAT_CODECS: Partial<Record<SafetensorsDType, Codec<Floats>>> = {
  F32: {
    decode: (bytes, out) => (out.set(new Float32Array(bytes, 0, out.length)), true),
    encode: values => values,
  },
  F64: {
    decode: (bytes, out) => (out.set(new Float64Array(bytes, 0, out.length)), true),
    encode: values => new Float64Array(values),
  },
  F16: {
    decode: (bytes, out) => (float16ToFloat32(new Uint16Array(bytes, 0, out.length), out), true),
    encode: values => unlessOverflown(values, float32ToFloat16(values), 0x7c00),
  },
  BF16: {
    decode: (bytes, out) => (bfloat16ToFloat32(new Uint16Array(bytes, 0, out.length), out), true),
    encode: values => unlessOverflown(values, float32ToBfloat16(values), 0x7f80),
  },
};

/** The bits of exponents, all set in an infinity and in NaN, in 32 bits: of a number, its upper half, or two. */
const EXPONENTS: Partial<Record<SafetensorsDType, number>> = {
  F32: 0x7f800000,
  F64: 0x7ff00000,
  F16: 0x7c007c00,
  BF16: 0x7f807f80,
};

/** Whether none of the floats whose bytes these are, from the beginning of their buffer, is NaN or an infinity. */
export function areFinite(dtype: SafetensorsDType, { buffer, length }: Uint8Array<ArrayBuffer>): boolean {
  const exponents = EXPONENTS[dtype]!;
  const carries = dtype === 'F16' || dtype === 'BF16' ? 0x80008000 | 0 : 0x80000000 | 0;
  const words = new Int32Array(buffer, 0, length >> 2);
  const step = dtype === 'F64' ? 2 : 1;
  // Added to the bits that an exponent lacks, the exponent's bits carry into the sign's, unless it lacks none.
  let all = carries;
  for (let i = step - 1; i < words.length; i += step) all &= ((words[i] & exponents) ^ exponents) + exponents;
  if (length % 4 > 0) all &= ((new Uint16Array(buffer, length - 2, 1)[0] & exponents) ^ exponents) + exponents;
  return (all & carries) === carries;
}

/** Every integer dtype; a value beyond int32, or on the way back beyond the dtype, does not fit. */
export const INT_CODECS: Partial<Record<SafetensorsDType, Codec<Ints>>> = {
  I8: small(Int8Array),
  I16: small(Int16Array),
  I32: small(Int32Array),
  U8: small(Uint8Array),
  U16: small(Uint16Array),
  U32: {
    // A value from 2^31 has, read as int32, its sign bit set. The same on the way back.
    decode: (bytes, out) => (out.set(new Int32Array(bytes, 0, out.length)), noneNegative(out)),
    encode: values => (noneNegative(values) ? values : undefined),
  },
  BOOL: {
    decode: (bytes, out) => (out.set(new Uint8Array(bytes, 0, out.length)), true),
    encode: values => (values.every(value => value === 0 || value === 1) ? new Uint8Array(values) : undefined),
  },
  I64: {
    decode: decodeLong,
    encode: encodeLong,
  },
  U64: {
    // From 2^63 on the upper word, read as int32, is negative: no int32's upper word then but -1, of a negative value.
    decode: (bytes, out) => decodeLong(bytes, out) && noneNegative(out),
    encode: values => (noneNegative(values) ? encodeLong(values) : undefined),
  },
};

function unlessOverflown(
  values: Floats,
  halves: Uint16Array<ArrayBuffer>,
  infinity: number,
): Uint16Array<ArrayBuffer> | undefined {
  const overflown = halves.some((half, i) => (half & 0x7fff) === infinity && Number.isFinite(values[i]));
  return overflown ? undefined : halves;
}

type SmallArray =
  | Int8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Ints
  | Uint8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>;

interface SmallArrayType {
  new (values: Ints): SmallArray;
  new (bytes: ArrayBuffer, offset: number, length: number): SmallArray;
}

/** Integers of at most 32 bits, whose every value is an int32. */
function small(type: SmallArrayType): Codec<Ints> {
  return {
    decode: (bytes, out) => (out.set(new type(bytes, 0, out.length)), true),
    encode(values) {
      const narrow = new type(values); // Wraps what does not fit.
      return values.every((value, i) => narrow[i] === value) ? narrow : undefined;
    },
  };
}

function noneNegative(values: Ints): boolean {
  return values.every(value => value >= 0);
}

/** 64-bit integers in two words, the lower first: an int32 when the upper one only repeats the sign. */
function decodeLong(bytes: ArrayBuffer, out: Ints): boolean {
  const words = new Int32Array(bytes, 0, 2 * out.length);
  for (let i = 0; i < out.length; i++) {
    out[i] = words[2 * i];
    if (words[2 * i + 1] !== out[i] >> 31) return false;
  }
  return true;
}

function encodeLong(values: Ints): Ints {
  const words = new Int32Array(2 * values.length);
  values.forEach((value, i) => words.set([value, value >> 31], 2 * i));
  return words;
}
