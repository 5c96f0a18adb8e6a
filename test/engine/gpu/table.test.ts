/** Every row of the operation table on `gpu` against float64 on the reference: values, and gradients along a random direction. */
import { expect, test } from 'vitest';
import { table, type Backend } from '../../../engine/index.ts';
import { parity } from '../parity.ts';
import { boundsOf } from './bounds.ts';
import { describeGpu, gpu } from './support.ts';

describeGpu('rows of the table', () => {
  test.each(table.map(op => [op.name, op] as const))('%s', async (name, op) => {
    const { values, gradients } = await parity(op, gpu as unknown as Backend, [1, 2, 3, 5, 8, 17, 33, 1, 2, 3, 5, 8, 17, 33]);
    const [value, gradient] = boundsOf(name);
    expect(values).toBeLessThanOrEqual(value);
    expect(gradients).toBeLessThanOrEqual(gradient);
  });
});
