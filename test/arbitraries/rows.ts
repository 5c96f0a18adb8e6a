/** Inputs for a row of the operation table: its own sample, with attributes that vary and lines along any dim. */
import type { Random, TableOp } from '../../engine/index.ts';
import { type Sample, samplingOf } from '../../engine/ops/samples.ts';

type Attributes = Record<string, unknown>;

/** Other values of an attribute, by its name; whatever row has it. */
const others: Readonly<Record<string, (random: Random, sampled: never) => unknown>> = {
  approximate: random => (random.integer(2) === 0 ? 'none' : 'tanh'),
  inverse: random => random.integer(2) === 0,
  offset: random => random.integer(40),
  base: random => (random.integer(2) === 0 ? 100 : 10_000),
  dims: (random, sampled: readonly number[]) => random.shuffle(sampled.map((_, d) => d)),
  eps: random => (random.integer(2) === 0 ? 1e-5 : 0.1),
};

/** Valid inputs with dims of about `size`. */
export function drawInputs(op: TableOp, random: Random, size: number): { inputs: Sample[]; attributes: unknown } {
  const { inputs, attributes } = samplingOf(op).draw(random, size);
  if (attributes === null || typeof attributes !== 'object') return { inputs, attributes };
  const varied: Attributes = { ...attributes };
  for (const [name, sampled] of Object.entries(attributes))
    if (name in others) varied[name] = others[name](random, sampled as never);
  // One input with lines: of rank 1 to 3, along any dim.
  if ('dim' in attributes && inputs.length === 1 && !('start' in attributes)) {
    const shape = [[size + 1], [size, size + 1], [2, size, 3]][random.integer(3)];
    inputs[0] = {
      shape,
      values: Float64Array.from({ length: shape.reduce((n, m) => n * m, 1) }, () => random.normal()),
    };
    varied.dim = random.integer(shape.length);
  }
  return { inputs, attributes: varied };
}
