/** Arithmetic of shapes: sizes, strides and NumPy's broadcasting. Errors name the operation that asked. */
import type { Shape } from './backend.ts';

/** The number of elements. */
export const sizeOf = (shape: Shape): number => shape.reduce((size, n) => size * n, 1);

/** A shape as messages show it: [2, 3]. */
export const show = (shape: Shape): string => `[${shape.join(', ')}]`;

/** Whether two shapes have the same lengths. */
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((n, i) => n === b[i]);

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  for (let i = shape.length - 1, stride = 1; i >= 0; stride *= shape[i--]) strides[i] = stride;
  return strides;
}

/** NumPy's rule: align at the right; a length of 1 stretches. */
export function broadcastShapes(op: string, ...shapes: Shape[]): Shape {
  const rank = Math.max(0, ...shapes.map(s => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    const pad = rank - shape.length;
    shape.forEach((n, i) => {
      if (n === 1) return;
      if (out[pad + i] !== 1 && out[pad + i] !== n) {
        throw new Error(
          `${op}: shapes ${shapes.map(show).join(' and ')} do not broadcast: dim ${pad + i} is ${out[pad + i]} ` +
            `and ${n}`,
        );
      }
      out[pad + i] = n;
    });
  }
  return out;
}

/** Strides that read `shape` as if it had been broadcast to `out`: 0 where a dim is stretched or missing. */
export function broadcastStrides(shape: Shape, out: Shape): number[] {
  const strides = stridesOf(shape);
  const pad = out.length - shape.length;
  return out.map((n, i) => (i < pad || (shape[i - pad] === 1 && n !== 1) ? 0 : strides[i - pad]));
}

/** Resolves a possibly negative dim. */
export function normalizeDim(op: string, dim: number, rank: number): number {
  const d = dim < 0 ? dim + rank : dim;
  if (!Number.isInteger(dim) || d < 0 || d >= rank)
    throw new Error(`${op}: dim ${dim} is out of range for a tensor of rank ${rank}`);
  return d;
}

/** A shape around one dim: how many lines there are before it, its length, how many after. */
export function aroundDim(shape: Shape, dim: number): { outer: number; n: number; inner: number } {
  return { outer: sizeOf(shape.slice(0, dim)), n: shape[dim], inner: sizeOf(shape.slice(dim + 1)) };
}

/** Throws, naming `op`, if a length is not a whole number of 0 or more. */
export function checkShape(op: string, shape: Shape): void {
  if (!shape.every(n => Number.isInteger(n) && n >= 0))
    throw new Error(`${op}: ${show(shape)} is not a shape: lengths are integers of 0 or more`);
}
