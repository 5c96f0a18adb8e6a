/**
 * Half-precision floats, which JavaScript on Node 20 does not have: IEEE binary16 ("float16") and bfloat16, held as
 * their bits in a `Uint16Array`, to and from float32.
 *
 * Widening is exact. Narrowing rounds to the nearest, ties to even, overflows to infinity and keeps subnormals.
 * NaN stays NaN with the leading bits of its payload, so widening and narrowing again is the identity on all 65,536
 * patterns of each format. All conversions work on bits through views of one buffer: reading a signalling NaN as a
 * number may silently quiet it.
 */

type Floats = Float32Array<ArrayBuffer>;
type Halves = Uint16Array<ArrayBuffer>;

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** binary16 to float32. `out` must be as long as `halves`. */
export function float16ToFloat32<T extends Float32Array = Floats>(
  halves: Uint16Array,
  out = new Float32Array(halves.length) as Float32Array as T,
): T {
  const words = bitsOf(out);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i];
    const sign = (half & 0x8000) << 16;
    if ((half & 0x7c00) === 0x7c00) {
      words[i] = sign | 0x7f800000 | ((half & 0x3ff) << 13); // Infinity and NaN.
    } else {
      // The bits in float32's places denote the value times 2^-112, subnormals included: exponents are biased by 15 and
      // 127.
      words[i] = sign | ((half & 0x7fff) << 13);
      out[i] *= 2 ** 112;
    }
  }
  return out;
}

// 2^16. From 65520, halfway to it from the largest float16, rounding carries into infinity.
const FLOAT16_INFINITE = 0x47800000;
const FLOAT16_NORMAL = 0x38800000; // 2^-14
const rounder = new Float32Array(1);
const rounderBits = bitsOf(rounder);

/** float32 to binary16. `out` must be as long as `values`. */
export function float32ToFloat16(values: Float32Array, out: Halves = new Uint16Array(values.length)): Halves {
  const words = bitsOf(values);
  for (let i = 0; i < words.length; i++) {
    const sign = (words[i] >>> 16) & 0x8000;
    const magnitude = words[i] & 0x7fffffff;
    let half: number;
    if (magnitude > 0x7f800000) half = 0x7c00 | ((magnitude >> 13) & 0x3ff || 0x200);
    else if (magnitude >= FLOAT16_INFINITE) half = 0x7c00;
    else if (magnitude >= FLOAT16_NORMAL) half = (magnitude - (112 << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    else {
      // Float16's subnormals step by 2^-24, as float32 does in [1/2, 1): adding 1/2 rounds to that step, ties to even.
      // (The sum is rounded first to float64; 53 ≥ 2 · 24 + 2 bits make that harmless.)
      rounder[0] = Math.abs(values[i]) + 0.5;
      half = rounderBits[0] - 0x3f000000;
    }
    out[i] = sign | half;
  }
  return out;
}

/** bfloat16 to float32: the same bits, and sixteen zeros. `out` must be as long as `halves`. */
export function bfloat16ToFloat32<T extends Float32Array = Floats>(
  halves: Uint16Array,
  out = new Float32Array(halves.length) as Float32Array as T,
): T {
  const words = bitsOf(out);
  for (let i = 0; i < halves.length; i++) words[i] = halves[i] << 16;
  return out;
}

/** float32 to bfloat16. `out` must be as long as `values`. */
export function float32ToBfloat16(values: Float32Array, out: Halves = new Uint16Array(values.length)): Halves {
  const words = bitsOf(values);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const half = word >>> 16;
    if ((word & 0x7fffffff) > 0x7f800000) out[i] = (half & 0x7f) === 0 ? half | 0x40 : half;
    // A carry out of the fraction raises the exponent, up to infinity.
    else out[i] = (word + 0x7fff + (half & 1)) >>> 16;
  }
  return out;
}
