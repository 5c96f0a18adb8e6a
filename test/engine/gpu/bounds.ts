/**
 * How far a device may be from float64 for each row of the table. Moves are exact; sums and
 * products of up to 33 terms round each; WGSL allows a division 2.5 units in the last place (two of ours each), e^x
 * 3 + 2|x|, a logarithm 3, and a power what exp2 and log2 make of it.
 */
const exact = [0, 0] as const;
const moved = [0, 33] as const; // the gradient sums what was moved
const rounding = [1, 33] as const;
const summing = [33, 33] as const;
const dividing = [5, 40] as const;
const transcendental = [24, 48] as const;
const composed = [48, 96] as const;
const bounds: Readonly<Record<string, readonly [value: number, gradient: number]>> = {
  reshape: exact,
  permute: exact,
  slice: exact,
  concat: exact,
  amax: exact,
  eq: exact,
  lt: exact,
  toFloat: exact,
  oneHot: exact,
  relu: exact,
  broadcastTo: moved,
  maximum: moved,
  where: moved,
  embedding: moved,
  add: rounding,
  sub: rounding,
  mul: rounding,
  sum: summing,
  scatterAdd: summing,
  matmul: summing,
  sparseMatmul: summing,
  sampledMatmul: summing,
  div: dividing,
  sqrt: dividing,
  exp: transcendental,
  log: transcendental,
  tanh: transcendental,
  sin: transcendental,
  cos: transcendental,
  erf: transcendental,
  pow: transcendental,
  sigmoid: transcendental,
  silu: transcendental,
  gelu: transcendental,
  swiglu: transcendental,
  logsumexp: composed,
  softmax: composed,
  logSoftmax: composed,
  layerNorm: composed,
  rmsNorm: composed,
  crossEntropy: composed,
  rotary: composed,
  attention: composed,
  adamwMean: dividing,
  adamwVariance: dividing,
  adamwStep: composed,
  simplexThreshold: composed,
  simplexGradient: composed,
  simplexProjection: composed,
  sparsemax: composed,
};

/** Of a row's values and gradients, in units of 2⁻²⁴ of the largest number of the result, or of 1. */
export function boundsOf(op: string): readonly [value: number, gradient: number] {
  const bound = bounds[op];
  if (!bound) throw new Error(`${op} is in the table and has no bounds here`);
  return bound;
}
