/**
 * Functions of one float that kernels call, where gpu.js has none or the device's own may be off by more than a few
 * units in the last place: WGSL promises an absolute error of 2⁻¹¹ for sine and cosine, within ±π only.
 * Polynomials as in `engine/wasm/math.ts`: Cephes (Moshier, single precision), erf by N. Juffa.
 */

/** 1 / (1 + e^−x), as e^x / (1 + e^x) below zero, where the first form would overflow. */
export function sigmoidOf(x: number): number {
  const e = Math.exp(-Math.abs(x));
  if (x < 0) return e / (1 + e);
  return 1 / (1 + e);
}

/** A polynomial near zero, 1 − 2 / (e^2|x| + 1) beyond 0.625; 1 from 10 on. */
export function tanhOf(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude > 0.625) {
    const far = 1 - 2 / (Math.exp(2 * Math.min(magnitude, 10)) + 1);
    if (x < 0) return -far;
    return far;
  }
  const z = x * x;
  return (
    ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z -
      3.33332819422e-1) *
      z *
      x +
    x
  );
}

/** The error function: an odd polynomial near zero, 1 − e^q(|x|) beyond; 1 from 4 on. */
export function erfOf(x: number): number {
  const t = Math.min(Math.abs(x), 4);
  if (t > 0.927734375) {
    const q =
      (((((-1.7285347e-5 * t + 3.83197126e-4) * t - 3.88396438e-3) * t + 2.42546219e-2) * t - 1.06777877e-1) * t -
        6.34846687e-1) *
        t -
      1.28717512e-1;
    const far = 1 - Math.exp(q * t - t);
    if (x < 0) return -far;
    return far;
  }
  const z = x * x;
  return (
    (((((-5.96761703e-4 * z + 4.99119423e-3) * z - 2.67681349e-2) * z + 1.12819925e-1) * z - 3.76125336e-1) * z +
      1.28379166e-1) *
      x +
    x
  );
}

/** sin(x + shift π/2): x − n π/2 in three parts, then the series of sine or cosine. For |x| up to 8192. */
export function sineOf(x: number, shift: number): number {
  const n = Math.floor(x * 0.6366197723675814 + 0.5);
  const r = x - n * 1.5703125 - n * 4.837512969970703e-4 - n * 7.549789948768648e-8;
  const z = r * r;
  const quadrant = n + shift - 4 * Math.floor((n + shift) / 4);
  let value = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
  if (quadrant === 1 || quadrant === 3) {
    value = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1;
  }
  if (quadrant > 1) return -value;
  return value;
}

/** a^b; a device's own takes the logarithm of a, so a negative base needs its sign back: b whole and even or odd. */
export function powerOf(a: number, b: number): number {
  if (a < 0 && b === Math.floor(b)) {
    const size = Math.pow(-a, b);
    if (b - 2 * Math.floor(b / 2) === 1) return -size;
    return size;
  }
  return Math.pow(a, b);
}

/** Functions of floats that kernels call. */
export const functions = [sigmoidOf, tanhOf, erfOf, sineOf, powerOf];
