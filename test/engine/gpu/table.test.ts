/** Every row of the operation table on `gpu` against float64 on the reference: values, and gradients along a random direction. */
import { describe, expect, test } from 'vitest';
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
const largest = (values: ArrayLike<number>) => Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 1);
const worst: Record<string, number> = {};
describeGpu('rows of the table', () => {
  test.each(table.map(op => [op.name, op] as const))('%s', async (_, op) => {
    for (const size of [1, 2, 3, 5, 8, 17, 33]) {
      for (let trial = 0; trial < 2; trial++) {
        const sample = op.sample(random, size);
        if ((op.kinks?.(sample.inputs, sample.attributes) ?? 1) < 1e-3) continue; // float32 may fall on the other side
        const inputs = sample.inputs.map(rounded);
        const weights = new Float32Array(sizeOf(op.shape(inputs.map(x => x.shape), sample.attributes))).map(() => random.normal());
        const actual = await run(op, gpu as unknown as Backend, inputs, sample.attributes, weights);
        const exact = await run(op, reference, inputs, sample.attributes, weights);
        expect(actual.map(a => a.length)).toEqual(exact.map(e => e.length));
        exact.forEach((e, k) => {
          const scale = largest(e);
          for (let i = 0; i < e.length; i++) {
            const key = `${op.name} ${k}`;
            worst[key] = Math.max(worst[key] ?? 0, Math.abs(actual[k][i] - e[i]) / (2 ** -24 * scale));
            if (Number.isNaN(actual[k][i])) expect.fail(`NaN ${key} size ${size} at ${i} want ${e[i]}`);
          }
        });
      }
    }
    console.log(op.name, Object.entries(worst).filter(([k]) => k.startsWith(`${op.name} `)).map(([,v]) => v.toFixed(1)).join(' '));
  });
});
