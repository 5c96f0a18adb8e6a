/**
 * Error bounds of the vector functions in ulp, against double precision. By default on one float of a few thousand,
 * spread over all signs and exponents; with LONG_TESTS set on every one of the 2³² floats.
 */
import { describe, expect, test } from 'vitest';
import type { Unary } from '../../../engine/backend.ts';
import { on, reference, wasm } from './support.ts';

const long = Boolean(process.env.LONG_TESTS);
const step = long ? 1 : 4099;
const batch = 1 << 18;

/** The gap between floats at the size of y. */
const ulp = (y: number): number => 2 ** (Math.max(Math.floor(Math.log2(Math.abs(y))), -126) - 23);

type Tested = Unary | 'sigmoid';
const exact: Partial<Record<Tested, (x: number) => number>> = {
  exp: Math.exp, log: Math.log, tanh: Math.tanh, sin: Math.sin, cos: Math.cos, sqrt: Math.sqrt,
  sigmoid: x => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x))),
};

/** The largest error over the floats with bits first, first + step, … and where it is. */
function worst(f: Tested, inside: (x: number) => boolean): { error: number; x: number } {
  let result = { error: 0, x: NaN };
  for (let first = 0; first < 2 ** 32; first += step * batch) {
    const bits = Uint32Array.from({ length: Math.min(batch, Math.ceil((2 ** 32 - first) / step)) }, (_, i) => first + i * step);
    const x = new Float32Array(bits.buffer);
    const input = [{ values: x, shape: [x.length] }];
    const y = on(wasm, input, (backend, [v]) => (f === 'sigmoid' ? backend.kernels.sigmoid.forward!([v], {} as never, v.shape)! : backend.unary(f, v)));
    const fn = exact[f];
    const truth = fn ? null : on(reference, [{ values: Float64Array.from(x), shape: [x.length] }], (backend, [v]) => backend.unary(f as Unary, v));
    for (let i = 0; i < x.length; i++) {
      if (!inside(x[i])) continue;
      const t = fn ? fn(x[i]) : truth![i];
      if (Object.is(y[i], Math.fround(t))) continue;
      const error = Math.abs(t) > 3.4028235677973366e38 ? Infinity : Math.abs(y[i] - t) / ulp(t);
      if (!(error <= result.error)) result = { error, x: x[i] };
    }
  }
  return result;
}

describe('error in ulp over all floats', () => {
  test.each([['exp', 2], ['log', 2], ['sqrt', 0.5001], ['tanh', 4], ['erf', 4], ['sigmoid', 4]] as [Tested, number][])('%s is below %d', (f, bound) => {
    expect(worst(f, () => true).error).toBeLessThan(bound);
  }, long ? 3_600_000 : 60_000);

  test.each(['sin', 'cos'] as const)('%s is below 1 up to 10⁸', f => {
    expect(worst(f, x => Math.abs(x) < 1e8).error).toBeLessThan(1);
  }, long ? 3_600_000 : 60_000);
});
