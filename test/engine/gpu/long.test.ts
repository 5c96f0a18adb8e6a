/**
 * Kernels on lines longer than the table's samples: sums in several passes, lines in several parts, matrices with
 * ragged ends.
 */
import { expect, test } from 'vitest';
import {
  attention,
  concat,
  createReferenceBackend,
  crossEntropy,
  embedding,
  grad,
  layerNorm,
  matmul,
  amax,
  mul,
  permute,
  Random,
  rmsNorm,
  scatterAdd,
  scope,
  simplexProjection,
  softmax,
  sum,
  tensor,
  type Backend,
  type Shape,
  type Tensor,
} from '../../../engine/index.ts';
import { sizeOf } from '../../../engine/shape.ts';
import { gpuForTests } from './support.ts';

const { describeGpu, gpu } = await gpuForTests();

const random = new Random(7);
const reference = createReferenceBackend();
const unit = 2 ** -24;

interface Given {
  readonly shape: Shape;
  readonly values: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
}
const normals = (...shape: number[]): Given => ({
  shape,
  values: new Float32Array(sizeOf(shape)).map(() => random.normal()),
});
const indices = (size: number, n: number): Given => ({
  shape: [size],
  values: Int32Array.from({ length: size }, () => random.integer(n)),
});

/** Value and gradients of Σ w f(inputs) on a backend, w given; the reference computes in double precision. */
async function results(
  backend: Backend,
  inputs: readonly Given[],
  weights: (size: number) => Float32Array<ArrayBuffer>,
  f: (...xs: Tensor[]) => Tensor,
): Promise<number[][]> {
  const dtype = backend === reference ? 'float64' : 'float32';
  const tensors = scope(() => {
    const xs = inputs.map(({ shape, values }) =>
      values instanceof Int32Array
        ? tensor(values, { shape, backend })
        : tensor(values, { shape, backend, dtype, requiresGrad: true }),
    );
    const y = f(...xs);
    const w = tensor(weights(y.size), { shape: y.shape, backend, dtype });
    return [
      y,
      ...grad(
        sum(mul(y, w)),
        xs.filter(x => x.requiresGrad),
      ),
    ];
  });
  const values = await Promise.all(tensors.map(async t => Array.from(await t.data())));
  tensors.forEach(t => t.dispose());
  return values;
}

/** Each result within `units` roundoffs of its largest element. */
async function expectSame(inputs: readonly Given[], units: number, f: (...xs: Tensor[]) => Tensor): Promise<void> {
  const drawn: number[] = [];
  const weights = (size: number) => {
    while (drawn.length < size) drawn.push(random.normal());
    return Float32Array.from(drawn.slice(0, size));
  };
  const [actual, exact] = [await results(gpu, inputs, weights, f), await results(reference, inputs, weights, f)];
  exact.forEach((values, k) => {
    const largest = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const worst = values.reduce((most, v, i) => Math.max(most, Math.abs(v - actual[k][i])), 0);
    expect(actual[k].length).toBe(values.length);
    expect(worst, `result ${k}`).toBeLessThanOrEqual(units * unit * largest);
  });
}

describeGpu('long lines', () => {
  // A sum of n terms of order 1 is of order √n, its roundings in blocks of 32 and several passes are fewer than that.
  test('the sum of a hundred thousand, and along each dim of a matrix', async () => {
    await expectSame([normals(100_003)], 64, x => sum(x));
    await expectSame([normals(700, 300)], 64, x => sum(x, 0));
    await expectSame([normals(300, 700)], 64, x => sum(x, 1));
    await expectSame([normals(5, 1100, 3)], 64, x => sum(x, 1));
  });
  test('the maximum is exact', async () => {
    await expectSame([normals(50_021)], 0.5, x => amax(x));
    await expectSame([normals(3, 2049)], 0.5, x => amax(x, 1));
  });
  test('softmax, norms and cross-entropy', async () => {
    await expectSame([normals(7, 2051)], 256, x => softmax(x));
    await expectSame([normals(1111, 3)], 256, x => softmax(x, 0));
    await expectSame([normals(5, 1537)], 256, x => layerNorm(x));
    await expectSame([normals(5, 1537)], 256, x => rmsNorm(x));
    await expectSame(
      [normals(9, 2051), { shape: [9], values: Int32Array.of(0, 2050, -100, 7, 2047, 1, -1, 1024, 300) }],
      256,
      crossEntropy,
    );
  });
  test('a projection of rows and of columns', async () => {
    const mass = (...shape: number[]): Given => ({
      shape,
      values: new Float32Array(sizeOf(shape)).map(() => Math.exp(random.normal())),
    });
    await expectSame([normals(40, 517), mass(40, 1)], 256, (x, m) => simplexProjection(x, m, 1));
    await expectSame([normals(517, 40), mass(1, 40)], 256, (x, m) => simplexProjection(x, m, 0));
  });
  test('attention with fewer queries than keys and grouped heads', async () => {
    await expectSame([normals(2, 37, 6, 8), normals(2, 70, 2, 8), normals(2, 70, 2, 8)], 256, attention);
  });
  test('matrix products with every operand transposed and sizes that are not multiples of four', async () => {
    for (const [transposeA, transposeB] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ]) {
      await expectSame(
        [normals(...(transposeA ? [61, 30] : [30, 61])), normals(...(transposeB ? [41, 61] : [61, 41]))],
        64,
        (a, b) => matmul(a, b, { transposeA, transposeB }),
      );
    }
  });
  test('rows by index, joined and permuted', async () => {
    const index = indices(3000, 11);
    await expectSame([index, normals(11, 17)], 256, embedding);
    await expectSame([normals(3000, 5), index], 256, (rows, i) => scatterAdd(rows, i, 11));
    await expectSame([normals(3, 40, 7), normals(3, 9, 7), normals(3, 1, 7)], 1, (a, b, c) =>
      permute(concat([a, b, c], 1), [2, 0, 1]),
    );
  });
});
