/**
 * Error bounds of logarithm, root, error function, sine and cosine; those of exponentials are in
 * `math-exponential.test.ts`.
 */
import { expect, test } from 'vitest';
import { createReferenceBackend } from '../../../engine/index.ts';
import { f32x4 } from '../../../engine/wasm/assembler/instructions.ts';
import * as math from '../../../engine/wasm/math.ts';
import { expectError, timeout, tiny, worstError } from './ulp.ts';

const reference = createReferenceBackend();
const storage = reference.upload(new Float64Array(1));
/** The reference's, one at a time; 1 to a thousandth of an ulp from 5 on. */
const erf = (x: number): number => {
  if (Math.abs(x) > 5) return Math.sign(x);
  if (Math.abs(x) < tiny) return (2 / Math.sqrt(Math.PI)) * x;
  storage.values[0] = x;
  return reference.unary('erf', { storage, shape: [1] }).values[0];
};
const log = (x: number): number => (x < 0 ? NaN : Math.log(x));
const sin = (x: number): number => (Math.abs(x) < tiny ? x : Math.sin(x));
const cos = (x: number): number => (Math.abs(x) < tiny ? 1 : Math.cos(x));
const periodic = { inside: (x: number) => Math.abs(x) < 1e8, monotone: false };

test('log is below 2 ulp', () => expectError('log', 2, math.log, log), timeout);
test('sqrt is rounded correctly', () => expectError('sqrt', 0.5001, (_, x) => f32x4.sqrt(x), Math.sqrt), timeout);
test('erf is below 4 ulp', () => expectError('erf', 4, math.erf, erf), timeout);
test('sin is below 1 ulp up to 10⁸', () => expectError('sin', 1, math.sin, sin, periodic), timeout);
test('cos is below 1 ulp up to 10⁸', () => expectError('cos', 1, math.cos, cos, periodic), timeout);

test('an inaccurate function is detected, and so is a wrong sign, infinity or NaN', () => {
  const off = (fn: math.VectorFunction) => worstError(fn, Math.exp).error;
  expect(off((f, x) => f32x4.mul(math.exp(f, x), 1 + 2 ** -20))).toBeGreaterThan(7);
  expect(off((f, x) => f32x4.neg(math.exp(f, x)))).toBe(Infinity);
  expect(off((f, x) => f32x4.pmin(math.exp(f, x), 3e38))).toBe(Infinity);
  expect(off((f, x) => math.exp(f, f.let(f32x4.pmax(f.let(f32x4.const(-100)), x))))).toBe(Infinity); // loses NaN
});
