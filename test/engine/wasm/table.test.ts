/**
 * Every row of the operation table on `wasm` against float64 on the reference: values, and gradients along a random
 * direction. Sizes are around the width of a vector, a cache line and a tile.
 */
import { describe, expect, test } from 'vitest';
import { apply, grad, scope, ops, tensor, type Backend, type TableOp, type Tensor } from '../../../engine/index.ts';
import { distanceFromKink, hasGradient, type Sample } from '../../../engine/ops/samples.ts';
import { sizeOf } from '../../../engine/shape.ts';
import { drawInputs } from '../../arbitraries/rows.ts';
import { randomOfTests } from '../../random.ts';
import { centring, extent } from '../extent.ts';
import { expectClose, reference, wasm } from './support.ts';

const random = randomOfTests('table');

/** Values and gradients of a row on a backend, from inputs given in float32. */
function run(op: TableOp, backend: Backend, inputs: readonly Sample[], attributes: unknown, weights: Float32Array) {
  const float = backend.floats.includes('float64') ? 'float64' : 'float32';
  return scope(() => {
    const xs = inputs.map((x, i) =>
      x.values instanceof Int32Array
        ? tensor(x.values, { shape: x.shape, backend })
        : tensor(x.values, { shape: x.shape, backend, dtype: float, requiresGrad: hasGradient(op, x, i) }),
    );
    const own =
      attributes !== null && typeof attributes === 'object' && 'dtype' in attributes
        ? { ...attributes, dtype: float }
        : attributes;
    const y = apply(op, xs, own);
    const wanted = xs.filter(x => x.requiresGrad);
    const gradients: Tensor[] = y.requiresGrad
      ? grad(y, wanted, { outputGrad: tensor(Float32Array.from(weights), { shape: y.shape, backend, dtype: float }) })
      : [];
    return { y: y.dataSync(), gradients: gradients.map(g => g.dataSync()) };
  });
}

const rounded = (x: Sample): Sample =>
  x.values instanceof Float64Array ? { ...x, values: Float64Array.from(Float32Array.from(x.values)) } : x;

/** Along the last dim. */
const linesOf = ({ values, shape }: Sample) =>
  Array.from({ length: values.length / shape.at(-1)! }, (_, i) =>
    values.slice(i * shape.at(-1)!, (i + 1) * shape.at(-1)!),
  );

describe('rows of the table', () => {
  test.each(ops.map(op => [op.name, op] as const))('%s', (_, op) => {
    for (const size of [1, 2, 3, 4, 5, 8, 15, 17, 33]) {
      for (let trial = 0; trial < 3; trial++) {
        const sample = drawInputs(op, random, size);
        // float32 may fall on the other side
        if (distanceFromKink(op, sample.inputs, sample.attributes) < 1e-3) continue;
        const inputs = sample.inputs.map(rounded);
        const out = op.shape(
          inputs.map(x => x.shape),
          sample.attributes,
        );
        const weights = new Float32Array(sizeOf(out)).map(() => random.normal());
        const actual = run(op, wasm, inputs, sample.attributes, weights);
        const exact = run(op, reference, inputs, sample.attributes, weights);
        // An element of a result is a sum of at most a few products of numbers of the size of the largest one.
        const tolerance = 16 + 8 * Math.sqrt(size);
        const onTheWay = extent(op, inputs, sample.attributes, weights);
        const centred =
          op.name === 'layerNorm'
            ? Math.max(...linesOf(inputs[0]).map(line => centring(line, (sample.attributes as { eps: number }).eps)))
            : 0;
        expectClose(actual.y, exact.y, tolerance, () => Math.max(1, centred, ...Array.from(exact.y, Math.abs)));
        expect(actual.gradients.length).toBe(exact.gradients.length);
        exact.gradients.forEach((g, i) => expectClose(actual.gradients[i], g, 4 * tolerance, () => onTheWay));
      }
    }
  });
});
