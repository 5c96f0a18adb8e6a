/** Error bounds of exp and what is made of it; the other functions are in `math.test.ts`, so that two threads share the work. */
import { test } from 'vitest';
import * as math from '../../../engine/wasm/math.ts';
import { expectError, timeout } from './ulp.ts';

const sigmoid = (x: number): number => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
/** Without denormals. */
const flushed = (x: number): number => (Math.exp(x) < 2 ** -126 ? 0 : Math.exp(x));

test('exp is below 2 ulp', () => expectError('exp', 2, math.exp, Math.exp), timeout);
test('expOfNegative is below 2.5 ulp, and 0 where exp is a denormal', () => expectError('expOfNegative', 2.5, math.expOfNegative, flushed, x => !(x > 0)), timeout);
test('sigmoid is below 4 ulp', () => expectError('sigmoid', 4, math.sigmoid, sigmoid), timeout);
test('tanh is below 4 ulp', () => expectError('tanh', 4, math.tanh, Math.tanh), timeout);
