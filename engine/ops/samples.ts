/** Valid example inputs for rows of the table: values of order 1, from the engine's own generator. */
import type { Shape } from '../backend.ts';
import type { Sample } from '../op.ts';
import type { Random } from '../random.ts';
import { sizeOf } from '../shape.ts';

const sample = (shape: Shape, value: () => number): Sample => ({
  shape,
  values: Float64Array.from({ length: sizeOf(shape) }, value),
});

export const normals = (random: Random, shape: Shape): Sample => sample(shape, () => random.normal());

export const positives = (random: Random, shape: Shape): Sample => sample(shape, () => 0.5 + 2 * random.uniform());

export const indices = (random: Random, shape: Shape, n: number): Sample => ({
  shape,
  values: Int32Array.from({ length: sizeOf(shape) }, () => random.integer(n)),
});

/** The share of positive numbers in `sparse`. */
export const sparseShare = 1 / 8;

/** Mostly negative numbers. */
export const sparse = (random: Random, shape: Shape): Sample =>
  sample(shape, () => (random.uniform() < sparseShare ? 1 : -1) * (0.5 + random.uniform()));

/** Numbers 0 and 1. */
export const masks = (random: Random, shape: Shape): Sample => sample(shape, () => random.integer(2));

/** The smallest absolute value: the distance from a kink at zero. */
export function fromZero([x]: readonly Sample[]): number {
  let least = Infinity;
  for (const v of x.values) least = Math.min(least, Math.abs(v));
  return least;
}
