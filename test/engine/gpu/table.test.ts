/**
 * Every row of the operation table on `gpu` against float64 on the reference: values, and gradients along a random
 * direction.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { ops, type TableOp } from '../../../engine/index.ts';
import { openGpuBackend } from '../../../engine/gpu/open.ts';
import type { GpuBackend } from '../../../engine/gpu/index.ts';
import { parity } from '../parity.ts';
import { boundsOf } from './bounds.ts';
import { gpuForTests } from './support.ts';

const { describeGpu, gpu } = await gpuForTests();

const names = ops.map(op => [op.name, op] as const);

async function expectParity(op: TableOp, backend: GpuBackend, sizes: readonly number[]): Promise<void> {
  const { values, gradients } = await parity(op, backend, sizes);
  const [value, gradient] = boundsOf(op.name);
  expect(values).toBeLessThanOrEqual(value);
  expect(gradients).toBeLessThanOrEqual(gradient);
}

describeGpu('rows of the table', () => {
  test.each(names)('%s', (_, op) => expectParity(op, gpu, [1, 2, 3, 5, 8, 17, 33, 1, 2, 3, 5, 8, 17, 33]));

  test('every fused row has a kernel, but for the sparse products', () => {
    const fused = ops.filter(op => op.definition).map(op => op.name);
    expect(fused.filter(name => !(name in gpu.kernels))).toEqual(['sparseMatmul', 'sampledMatmul']);
  });
});

describe.each(['webasm', 'cpu'] as const)('without a device, rows of the table in mode %s', mode => {
  const opened = openGpuBackend(mode);
  afterAll(async () => (await opened).close?.());
  test.each(names)('%s', async (_, op) => expectParity(op, await opened, [1, 3, 5, 17]));
});
