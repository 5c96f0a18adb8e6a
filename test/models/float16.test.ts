/** float16 and bfloat16 against a definition too slow to be wrong: the nearest of all 65,536 values, ties to even. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../models/float16.ts';

const everyPattern = Uint16Array.from({ length: 65536 }, (_, i) => i);

const formats = [
  { name: 'float16', widen: float16ToFloat32, narrow: float32ToFloat16, exponentBits: 5, fractionBits: 10 },
  { name: 'bfloat16', widen: bfloat16ToFloat32, narrow: float32ToBfloat16, exponentBits: 8, fractionBits: 7 },
];

describe.each(formats)('$name', ({ widen, narrow, exponentBits, fractionBits }) => {
  const bias = 2 ** (exponentBits - 1) - 1;
  const infinity = (2 ** exponentBits - 1) * 2 ** fractionBits;

  /** IEEE 754's definition. The pattern after the largest finite one counts as the power of two it would be. */
  function define(half: number): number {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half & 0x7fff) >> fractionBits;
    const fraction = (half & (2 ** fractionBits - 1)) / 2 ** fractionBits;
    return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
  }

  /**
   * The non-negative pattern nearest to |x|, by bisection over the increasing values of all patterns up to infinity.
   */
  function nearest(x: number): number {
    let low = 0;
    let high = infinity;
    if (Math.abs(x) >= define(infinity)) return infinity;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (define(middle) <= Math.abs(x)) low = middle;
      else high = middle;
    }
    const below = Math.abs(x) - define(low);
    const above = define(high) - Math.abs(x);
    return below < above || (below === above && low % 2 === 0) ? low : high;
  }

  test('widening agrees with the definition on all patterns', () => {
    const wide = widen(everyPattern);
    for (const half of everyPattern) {
      const magnitude = half & 0x7fff;
      const expected =
        magnitude > infinity ? NaN : magnitude === infinity ? (half & 0x8000 ? -Infinity : Infinity) : define(half);
      if (!Object.is(wide[half], expected)) expect.fail(`0x${half.toString(16)}: ${wide[half]}, not ${expected}`);
    }
  });

  test('narrow(widen(x)) is the identity on all patterns, NaN payloads included', () => {
    expect(narrow(widen(everyPattern))).toEqual(everyPattern);
  });

  const float32 = fc.oneof(
    fc.float({ noNaN: true }),
    // Around the boundaries where rounding changes: a pattern, the midpoint above it, and their float32 neighbours.
    fc
      .record({
        half: fc.nat({ max: infinity - 1 }),
        midway: fc.boolean(),
        ulps: fc.integer({ min: -2, max: 2 }),
        negative: fc.boolean(),
      })
      .map(({ half, midway, ulps, negative }) => {
        const value = Float32Array.of(midway ? (define(half) + define(half + 1)) / 2 : define(half));
        const bits = new Int32Array(value.buffer);
        bits[0] = Math.max(0, bits[0] + ulps);
        return negative ? -value[0] : value[0];
      }),
  );

  test('narrowing rounds to the nearest, ties to even', () => {
    fc.assert(
      fc.property(float32, x => {
        const sign = Object.is(x, -0) || x < 0 ? 0x8000 : 0;
        expect(narrow(Float32Array.of(x))[0]).toBe(sign | nearest(x));
      }),
      { numRuns: 5000 },
    );
  });

  test('NaN stays NaN, even when its payload does not fit', () => {
    const signalling = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001, 0x7fc00000, 0xffffffff).buffer);
    expect(widen(narrow(signalling))).toEqual(Float32Array.of(NaN, NaN, NaN, NaN));
  });

  test('fills the array it is given', () => {
    const halves = new Uint16Array(2);
    expect(narrow(Float32Array.of(1, -2), halves)).toBe(halves);
    const out = new Float32Array(2);
    expect(widen(halves, out)).toBe(out);
    expect(out).toEqual(Float32Array.of(1, -2));
  });
});
