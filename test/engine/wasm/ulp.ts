/**
 * The largest error of a vector function in units in the last place, against double precision. By default over one
 * float of a few thousand, spread over all signs and exponents; with LONG_TESTS set over every one of the 2³² floats,
 * which takes half a minute or more a function. So the functions are run in a module of their own, in place on bit
 * patterns.
 */
import { expect } from 'vitest';
import { ModuleBuilder } from '../../../engine/wasm/assembler/module.ts';
import { emitMap } from '../../../engine/wasm/elementwise.ts';
import type { VectorFunction } from '../../../engine/wasm/math.ts';

const long = Boolean(process.env.LONG_TESTS);
/** For a whole run over all floats. */
export const timeout = long ? 4 * 3_600_000 : 60_000;
const step = long ? 1 : 4099;
const batch = 1 << 20;
const [pageBytes, start] = [65536, 16384];
const pages = 1 + (2 * 4 * batch) / pageBytes;

/** The gap between floats at the size of y, by the exponent of y as a double. */
const gaps = Float64Array.from({ length: 2048 }, (_, exponent) => 2 ** (Math.max(exponent - 1023, -126) - 23));
const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);
function ulp(y: number): number {
  double[0] = y;
  return gaps[(words[1] >>> 20) & 2047];
}

/** From here on a number rounds to infinity. */
const overflow = 2 ** 128 * (1 - 2 ** -25);

function allAre(ys: Float32Array, y: number): boolean {
  for (let i = 0; i < ys.length; i++) if (ys[i] !== y) return false;
  return true;
}

export interface Where {
  /** Which floats count; all by default. */
  inside?(x: number): boolean;
  /** Whether the function rises or falls all along a binade: where its ends round to one float, so does all between. */
  readonly monotone?: boolean;
}

export function worstError(
  fn: VectorFunction,
  exact: (x: number) => number,
  { inside = () => true, monotone = true }: Where = {},
): { error: number; x: number } {
  const module = new ModuleBuilder({
    memory: { shared: false, maximum: pages },
    constants: { start: 4096, end: start },
  });
  emitMap({ module, features: { relaxedSimd: false } }, 'map', fn);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const map = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), { env: { memory, pow: Math.pow } })
    .exports.map as (...args: number[]) => void;
  const [bits, xs, ys] = [
    new Int32Array(memory.buffer, start, batch),
    new Float32Array(memory.buffer, start, batch),
    new Float32Array(memory.buffer, start + 4 * batch, batch),
  ];
  let [worst, at] = [0, NaN];
  for (let first = 0; first < 2 ** 32; first += step * batch) {
    const count = Math.min(batch, Math.ceil((2 ** 32 - first) / step));
    for (let i = 0; i < count; i++) bits[i] = first + i * step;
    map(start, start + 4 * batch, 0, batch / 4, 0);
    // A batch of neighbours is an eighth of a binade; most of them are where such a function has reached its limit.
    const limit = Math.fround(exact(xs[0]));
    if (step === 1 && monotone && Math.fround(exact(xs[batch - 1])) === limit && allAre(ys, limit)) continue;
    for (let i = 0; i < count; i++) {
      const x = xs[i];
      if (!inside(x)) continue;
      const y = ys[i];
      const t = exact(x);
      if (y === Math.fround(t) || (y !== y && t !== t)) continue;
      const error = y !== y || !(Math.abs(t) < overflow) ? Infinity : Math.abs(y - t) / ulp(t);
      if (error > worst) [worst, at] = [error, x];
    }
  }
  return { error: worst, x: at };
}

/**
 * Smaller than this in size, sine, tangent and the like are x, and cosine and e^(x/2¹⁶) are 1, to a hundredth of an
 * ulp.
 */
export const tiny = 2 ** -16;

/** Expects the error to stay below a bound; a run over all floats says what it is. */
export function expectError(
  name: string,
  bound: number,
  fn: VectorFunction,
  exact: (x: number) => number,
  where?: Where,
): void {
  const { error, x } = worstError(fn, exact, where);
  if (long) console.log(`${name}: at most ${error.toFixed(3)} ulp, at ${x}, over all floats`);
  expect(error).toBeLessThan(bound);
}
