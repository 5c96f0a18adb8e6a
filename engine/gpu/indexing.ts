/** Arithmetic of indices inside kernels, and the shapes that it covers. */
import type { Shape } from '../backend.ts';
import { sizeOf } from '../shape.ts';

/**
 * ⌊i / n⌋. A quotient of floats is a guess, good to 2⁻²² of itself; what is left gives a better one, and that is off by
 * one at most.
 */
export function divide(i: number, n: number): number {
  let q = 0;
  q++; // gpu.js keeps a local whole that is counted up somewhere, and takes a shift for a whole number
  q += (Math.floor(i / n) >> 0) - 1;
  q += Math.floor((i - q * n) / n) >> 0;
  if (i - q * n < 0) return q - 1;
  if (i - q * n >= n) return q + 1;
  return q;
}

/** i modulo n. */
export function remainder(i: number, n: number): number {
  return i - n * divide(i, n);
}

/** The place of a column in a row of `width`. */
export function placeOf(row: number, width: number, column: number): number {
  return row * width + column;
}

/**
 * Where element i of an output finds its value in an operand that repeats each value `step` times and itself after
 * `size` values; size 0: at i.
 */
export function position(i: number, step: number, size: number): number {
  if (size === 0) return i;
  return divide(i, step) - size * divide(divide(i, step), size);
}

/**
 * Functions of whole numbers that kernels call; gpu.js must be told the types of their arguments and results. A
 * function that calls another is called by kernels only, since WebGL2 does not accept the order in which gpu.js would
 * write a deeper chain.
 */
export const helpers = [divide, remainder, placeOf, position];

/** How an operand is read by `position`. */
export interface Pattern {
  readonly step: number;
  readonly size: number;
}

/**
 * The pattern by which `shape` broadcasts to `out`; null where its dims are stretched in more than one place inside.
 */
export function patternOf(shape: Shape, out: Shape): Pattern | null {
  const pad = out.length - shape.length;
  const kept = out.map((n, d) => d >= pad && shape[d - pad] === n);
  const stretched = out.map((n, d) => n !== 1 && !kept[d]);
  if (!stretched.includes(true)) return { step: 1, size: 0 };
  const own = out.flatMap((n, d) => (n !== 1 && kept[d] ? [d] : []));
  if (own.length === 0) return { step: 1, size: 1 };
  const [first, last] = [own[0], own.at(-1)!];
  if (stretched.slice(first, last).includes(true)) return null;
  return { step: sizeOf(out.slice(last + 1)), size: sizeOf(out.slice(first, last + 1)) };
}
