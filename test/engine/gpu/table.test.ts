/** Every row of the operation table on `gpu` against float64 on the reference: values, and gradients along a random direction. */
import { expect, test } from 'vitest';
import { apply, createReferenceBackend, grad, Random, scope, table, tensor, type Backend, type Row, type Sample, type Tensor, type TypedArray } from '../../../engine/index.ts';
import { sizeOf } from '../../../engine/shape.ts';
import { describeGpu, gpu } from './support.ts';

const reference = createReferenceBackend() as unknown as Backend;
const random = new Random(5);

/** Values and gradients of a row on a backend, from inputs given in float32. */
async function run(op: Row, backend: Backend, inputs: readonly Sample[], attributes: unknown, weights: Float32Array): Promise<TypedArray[]> {
  const dtype = backend.floats.includes('float64') ? 'float64' : 'float32';
  const results = scope(() => {
    const xs = inputs.map((x, i) => x.values instanceof Int32Array
      ? tensor(x.values, { shape: x.shape, backend })
      : tensor(x.values, { shape: x.shape, backend, dtype, requiresGrad: !op.masks?.includes(i) }));
    const own = attributes !== null && typeof attributes === 'object' && 'dtype' in attributes ? { ...attributes, dtype } : attributes;
    const y = apply(op, xs, own);
    const differentiable = y.requiresGrad && (op.vjp !== undefined || !op.name.startsWith('adamw'));
    const gradients: Tensor[] = differentiable ? grad(y, xs.filter(x => x.requiresGrad), { outputGrad: tensor(Float32Array.from(weights), { shape: y.shape, backend, dtype }) }) : [];
    return [y, ...gradients];
  });
  const values = await Promise.all(results.map(t => t.data()));
  results.forEach(t => t.dispose());
  return values;
}

const rounded = (x: Sample): Sample => (x.values instanceof Float64Array ? { ...x, values: Float64Array.from(Float32Array.from(x.values)) } : x);
const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 1);

/**
 * Bounds of value and gradient in units of 2⁻²⁴ of the largest number of the result, or of 1. Moves are exact; sums and
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
  reshape: exact, permute: exact, slice: exact, concat: exact, max: exact, equal: exact, less: exact, toFloat: exact, oneHot: exact, relu: exact,
  broadcastTo: moved, maximum: moved, where: moved, gather: moved,
  add: rounding, sub: rounding, mul: rounding,
  sum: summing, scatterAdd: summing, matmul: summing, sparseMatmul: summing, sampledMatmul: summing,
  div: dividing, sqrt: dividing,
  exp: transcendental, log: transcendental, tanh: transcendental, sin: transcendental, cos: transcendental, erf: transcendental, pow: transcendental,
  sigmoid: transcendental, silu: transcendental, gelu: transcendental, swiglu: transcendental,
  logsumexp: composed, softmax: composed, logSoftmax: composed, layerNorm: composed, rmsNorm: composed, crossEntropy: composed, rotary: composed, attention: composed,
  adamwMean: dividing, adamwVariance: dividing, adamwStep: composed,
  simplexThreshold: composed, simplexGradient: composed, simplexProjection: composed, sparsemax: composed,
};

describeGpu('rows of the table', () => {
  test.each(table.map(op => [op.name, op] as const))('%s', async (name, op) => {
    const bound = bounds[name];
    if (!bound) expect.fail(`${name} is in the table and has no bound here`);
    for (const size of [1, 2, 3, 5, 8, 17, 33]) {
      for (let trial = 0; trial < 2; trial++) {
        const sample = op.sample(random, size);
        if ((op.kinks?.(sample.inputs, sample.attributes) ?? 1) < 1e-3) continue; // float32 may fall on the other side
        const inputs = sample.inputs.map(rounded);
        const weights = new Float32Array(sizeOf(op.shape(inputs.map(x => x.shape), sample.attributes))).map(() => random.normal());
        const actual = await run(op, gpu as unknown as Backend, inputs, sample.attributes, weights);
        const should = await run(op, reference, inputs, sample.attributes, weights);
        expect(actual.map(a => a.length)).toEqual(should.map(e => e.length));
        should.forEach((values, k) => {
          const allowed = bound[Math.min(k, 1)];
          const unit = 2 ** -24 * largest(values);
          values.forEach((v, i) => {
            const off = Math.abs(actual[k][i] - v) / unit;
            // Half a unit more: the reference's number has no float32.
            if (!(off <= allowed + 0.5)) expect.fail(`${k === 0 ? 'value' : `gradient ${k - 1}`} at size ${size}, element ${i}: ${actual[k][i]}, should be ${v}; off by ${off} units where ${allowed} are allowed`);
          });
        });
      }
    }
  });
});

describeGpu('the device', () => {
  test('kernels ran in the mode asked for', () => {
    expect(gpu.mode).toBe('webgpu');
    expect(gpu.describe()).toMatch(/^gpu: gpu\.js in mode webgpu on \S.*, float32, no fallback$/);
  });
});
