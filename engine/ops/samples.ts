/**
 * What tests and benchmarks need of an operation besides its formula: example inputs, and where they may not fall.
 * Keyed by the operation's name. Values are of order 1 and come from the engine's own generator.
 */
import type { Dim } from '../attributes.ts';
import type { Shape, TypedArray } from '../backend.ts';
import type { TableOp } from '../op.ts';
import type { Random } from '../random.ts';
import { aroundDim, sizeOf } from '../shape.ts';
import { sparseShare } from './linear.ts';

/** One example input. */
export interface Sample {
  readonly shape: Shape;
  readonly values: TypedArray;
}

/** How inputs of one operation are drawn, and where they may not fall. */
export interface Sampling {
  /** Valid inputs with dims of about `size`. */
  draw(random: Random, size: number): { inputs: Sample[]; attributes: unknown };
  /** Distance of the inputs from the nearest point where the derivative jumps; missing: smooth everywhere. */
  kinks?(inputs: readonly Sample[], attributes: unknown): number;
  /** For each input the interval of values on which the operation is defined; missing: all numbers. */
  readonly domain?: readonly (readonly [number, number])[];
  /** Float inputs without a gradient. */
  readonly masks?: readonly number[];
}

type Inputs = (random: Random, size: number) => Sample[];

const sample = (shape: Shape, value: () => number): Sample => ({
  shape,
  values: Float64Array.from({ length: sizeOf(shape) }, value),
});
const normals = (random: Random, shape: Shape): Sample => sample(shape, () => random.normal());
const positives = (random: Random, shape: Shape): Sample => sample(shape, () => 0.5 + 2 * random.uniform());
/** Mostly negative numbers. */
const sparse = (random: Random, shape: Shape): Sample =>
  sample(shape, () => (random.uniform() < sparseShare ? 1 : -1) * (0.5 + random.uniform()));
/** Numbers 0 and 1. */
const masks = (random: Random, shape: Shape): Sample => sample(shape, () => random.integer(2));
const indices = (random: Random, shape: Shape, n: number): Sample => ({
  shape,
  values: Int32Array.from({ length: sizeOf(shape) }, () => random.integer(n)),
});

const anywhere = [-Infinity, Infinity] as const;
const aboveZero = [0, Infinity] as const;

/** The smallest absolute value: the distance from a kink at zero. */
function fromZero([x]: readonly Sample[]): number {
  let least = Infinity;
  for (const v of x.values) least = Math.min(least, Math.abs(v));
  return least;
}

/** The distance between two broadcast inputs: a kink where they meet. */
function fromEachOther([a, b]: readonly Sample[]): number {
  let least = Infinity;
  for (let i = 0; i < a.values.length; i++)
    least = Math.min(least, Math.abs(a.values[i] - b.values[i % b.values.length]));
  return least;
}

/** Every line of x along `dim`, with its number. */
function* linesOf(x: Sample, dim: number): Generator<[line: number[], index: number]> {
  const { outer, n, inner } = aroundDim(x.shape, dim);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++)
      yield [Array.from({ length: n }, (_, j) => x.values[(o * n + j) * inner + i]), o * inner + i];
  }
}

/** The smallest gap between the largest values of a line: the distance from a tie. */
function gapOfLargest([x]: readonly Sample[], { dim }: Dim): number {
  let least = Infinity;
  for (const [line] of linesOf(x, dim)) {
    const [first = Infinity, second = -Infinity] = line.sort((a, b) => b - a);
    least = Math.min(least, first - second);
  }
  return least;
}

/** τ of one line, by sorting: with z₁ ≥ z₂ ≥ …, the support is the largest k with k z_k > Σ_{j ≤ k} z_j − m. */
function thresholdBySort(line: readonly number[], mass: number): number {
  let [total, tau] = [0, -Infinity];
  [...line]
    .sort((a, b) => b - a)
    .forEach((z, i) => {
      total += z;
      if ((i + 1) * z > total - mass) tau = (total - mass) / (i + 1);
    });
  return tau;
}

/** The distance from a change of the support: min |x − τ|. */
function fromSupportChange([x, mass]: readonly Sample[], { dim }: Dim): number {
  let least = Infinity;
  for (const [line, i] of linesOf(x, dim)) {
    const tau = thresholdBySort(line, mass ? mass.values[i % mass.values.length] : 1);
    least = Math.min(least, ...line.map(z => Math.abs(z - tau)));
  }
  return least;
}

const one: Inputs = (random, n) => [normals(random, [n, n])];
const onePositive: Inputs = (random, n) => [positives(random, [n, n])];
const two: Inputs = (random, n) => [normals(random, [n, n]), normals(random, [n, n])];
/** The second one broadcasts along the first dim, as most uses are. */
const broadcast: Inputs = (random, n) => [normals(random, [n, n]), normals(random, [n])];
const lines: Inputs = (random, n) => [normals(random, [n, n + 1])];

/** Inputs with attributes that do not depend on them. */
const given = (inputs: Inputs, attributes: object = {}): Pick<Sampling, 'draw'> => ({
  draw: (random, size) => ({ inputs: inputs(random, size), attributes: { ...attributes } }),
});

const projection: Sampling = {
  draw: (random, n) => {
    const dim = random.integer(2);
    const x = normals(random, [n, n + 1]);
    return { inputs: [x, positives(random, dim === 0 ? [1, n + 1] : [n, 1])], attributes: { dim } };
  },
  domain: [anywhere, aboveZero],
  kinks: fromSupportChange,
};

/** The sampling of every operation, by its name. */
export const samples: Readonly<Record<string, Sampling>> = {
  exp: given(one),
  log: { ...given(onePositive), domain: [aboveZero] },
  sqrt: { ...given(onePositive), domain: [aboveZero] },
  tanh: given(one),
  sin: given(one),
  cos: given(one),
  erf: given(one),
  add: given(broadcast),
  sub: given(broadcast),
  mul: given(broadcast),
  div: {
    ...given((random, n) => [normals(random, [n, n]), positives(random, [n])]),
    domain: [anywhere, aboveZero],
  },
  pow: {
    ...given((random, n) => [positives(random, [n, n]), normals(random, [n])]),
    domain: [aboveZero, anywhere],
  },
  maximum: { ...given(broadcast), kinks: fromEachOther },
  eq: given(broadcast),
  lt: given(broadcast),
  where: {
    ...given((random, n) => [masks(random, [n, n]), normals(random, [n, n]), normals(random, [n])]),
    masks: [0],
  },
  toFloat: given(
    (random, n) => [{ shape: [n], values: Int32Array.from({ length: n }, () => random.integer(2001) - 1000) }],
    { dtype: 'float32' },
  ),
  sigmoid: given(one),
  relu: { ...given(one), kinks: fromZero },
  silu: given(one),
  gelu: given(one, { approximate: 'none' }),
  swiglu: given(two),

  reshape: {
    draw: (random, n) => ({ inputs: [normals(random, [n, 2 * n])], attributes: { shape: [2, n, n] } }),
  },
  permute: given((random, n) => [normals(random, [2, n, n])], { dims: [1, 2, 0] }),
  slice: {
    draw: (random, n) => ({ inputs: [normals(random, [n, n + 2])], attributes: { dim: 1, start: 1, end: n + 1 } }),
  },
  concat: given((random, n) => [normals(random, [2, n]), normals(random, [3, n])], { dim: 0 }),
  broadcastTo: {
    draw: (random, n) => ({ inputs: [normals(random, [n, 1])], attributes: { shape: [2, n, n] } }),
  },

  matmul: {
    draw: (random, n) => {
      const attributes = { transposeA: random.integer(2) === 1, transposeB: random.integer(2) === 1 };
      const a = attributes.transposeA ? [n + 1, n] : [n, n + 1];
      const b = attributes.transposeB ? [n + 2, n + 1] : [n + 1, n + 2];
      // Small matrices come in batches, large ones (benchmarks) alone.
      const inputs = n < 16 ? [normals(random, [2, 1, ...a]), normals(random, [3, ...b])] : two(random, n);
      return { inputs, attributes };
    },
  },
  sparseMatmul: {
    ...given((random, n) => [sparse(random, [n, n + 1]), normals(random, [n + 1, n + 2])]),
    kinks: fromZero,
  },
  sampledMatmul: {
    ...given((random, n) => [normals(random, [n, n + 2]), normals(random, [n + 1, n + 2]), sparse(random, [n, n + 1])]),
    masks: [2],
  },
  embedding: given((random, n) => [indices(random, [2, n], n), normals(random, [n, n])]),
  scatterAdd: {
    draw: (random, n) => ({
      inputs: [normals(random, [2, n, n]), indices(random, [2, n], n)],
      attributes: { n },
    }),
  },
  oneHot: {
    draw: (random, n) => ({ inputs: [indices(random, [2, n], n)], attributes: { n, dtype: 'float32' } }),
  },

  sum: given(lines, { dim: 0 }),
  amax: { ...given(lines, { dim: 0 }), kinks: gapOfLargest },
  logsumexp: given(lines, { dim: 1 }),
  softmax: given(lines, { dim: 1 }),
  logSoftmax: given(lines, { dim: 1 }),

  layerNorm: given(lines, { eps: 1e-5 }),
  rmsNorm: given(lines, { eps: 1e-5 }),
  crossEntropy: given((random, n) => {
    const targets = indices(random, [n], n + 1);
    targets.values[0] = -100;
    return [normals(random, [n, n + 1]), targets];
  }),
  rotary: given((random, n) => [normals(random, [2, n, 3, 4])], { base: 10000, offset: 1, inverse: false }),
  attention: given((random, n) => [
    normals(random, [2, n, 4, 4]),
    normals(random, [2, n + 1, 2, 4]),
    normals(random, [2, n + 1, 2, 4]),
  ]),
  adamwMean: given(two, { beta: 0.9 }),
  adamwVariance: given((random, n) => [positives(random, [n, n]), normals(random, [n, n])], { beta: 0.99 }),
  adamwStep: {
    ...given((random, n) => [normals(random, [n, n]), normals(random, [n, n]), positives(random, [n, n])], {
      lr: 0.01,
      weightDecay: 0.1,
      eps: 1e-8,
      correction1: 0.1,
      correction2: 0.01,
    }),
    domain: [anywhere, anywhere, aboveZero],
  },

  simplexThreshold: projection,
  simplexProjection: projection,
  simplexGradient: {
    draw: (random, n) => {
      const y = positives(random, [n, n + 1]);
      for (let i = 1; i < n; i++) for (let j = 1; j <= n; j++) if ((i + j) % 2 === 1) y.values[i * (n + 1) + j] = 0;
      return { inputs: [normals(random, y.shape), y], attributes: { dim: random.integer(2) } };
    },
    masks: [1],
  },
  sparsemax: {
    draw: (random, n) => ({ inputs: lines(random, n), attributes: { dim: random.integer(2) } }),
    kinks: fromSupportChange,
  },
};

/** How inputs of an operation are drawn. Every operation of the table has an entry. */
export function samplingOf({ name }: Pick<TableOp, 'name'>): Sampling {
  const sampling = samples[name];
  if (!sampling) throw new Error(`operation '${name}' has no sample inputs: add it to engine/ops/samples.ts`);
  return sampling;
}

/** Distance of inputs from the nearest point where the operation's derivative jumps; Infinity where it is smooth. */
export const distanceFromKink = (op: TableOp, inputs: readonly Sample[], attributes: unknown): number =>
  samplingOf(op).kinks?.(inputs, attributes) ?? Infinity;

/** Whether input i, x, has a gradient: it is a float and no mask. */
export const hasGradient = (op: TableOp, x: Sample, i: number): boolean =>
  !(x.values instanceof Int32Array) && !samplingOf(op).masks?.includes(i);
