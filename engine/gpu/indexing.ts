/** Arithmetic of indices inside kernels, and the shapes that it covers. */
import type { Shape } from '../backend.ts';
import { sizeOf } from '../shape.ts';

/** ⌊i / n⌋ for whole i < 2²⁴: a device may round a quotient either way by a few units, the remainder tells. */
export function divide(i: number, n: number): number {
  const quotient = Math.floor(i / n);
  const rest = i - quotient * n;
  if (rest < 0) return quotient - 1;
  if (rest >= n) return quotient + 1;
  return quotient;
}

/** Where element i of an output finds its value in an operand that repeats each value `step` times and itself after `size` values; size 0: at i. */
export function position(i: number, step: number, size: number): number {
  if (size === 0) return i;
  const block = divide(i, step);
  return block - size * divide(block, size);
}

/** Functions that kernels call. */
export const helpers = [divide, position];

/** How an operand is read by `position`. */
export interface Pattern {
  readonly step: number;
  readonly size: number;
}

/** The pattern by which `shape` broadcasts to `out`; null where its dims are stretched in more than one place inside. */
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
