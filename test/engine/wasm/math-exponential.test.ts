/**
 * Error bounds of exp and what is made of it; the other functions are in `math.test.ts`, so that two threads share the
 * work.
 */
import { test } from 'vitest';
import * as math from '../../../engine/wasm/math.ts';
import { expectError, timeout, tiny } from './ulp.ts';

// Beyond these bounds the limit is the value to a hundredth of an ulp. Most floats are there, and need no exponential.
const exp = (x: number): number => (x > 89 ? Infinity : x < -105 ? 0 : Math.abs(x) < tiny ** 2 ? 1 : Math.exp(x));
const sigmoid = (x: number): number => (x > 22 ? 1 : x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)));
const tanh = (x: number): number => (Math.abs(x) > 11 ? Math.sign(x) : Math.abs(x) < tiny ? x : Math.tanh(x));
/** Without denormals. */
const flushed = (x: number): number => (exp(x) < 2 ** -126 ? 0 : exp(x));

test('exp is below 2 ulp', () => expectError('exp', 2, math.exp, exp), timeout);
test(
  'expOfNegative is below 2.5 ulp, and 0 where exp is a denormal',
  () => expectError('expOfNegative', 2.5, math.expOfNegative, flushed, { inside: x => !(x > 0) }),
  timeout,
);
test('sigmoid is below 4 ulp', () => expectError('sigmoid', 4, math.sigmoid, sigmoid), timeout);
test('tanh is below 4 ulp', () => expectError('tanh', 4, math.tanh, tanh), timeout);
