/** Lines with infinities on `gpu`, where they give on the reference what PyTorch gives. */
import { afterAll, describe, expect, test } from 'vitest';
import { createReferenceBackend, full, grad, scope, tensor, type Tensor } from '../../../engine/index.ts';
import type { Backend } from '../../../engine/backend.ts';
import { openGpuBackend } from '../../../engine/gpu/open.ts';
import { gpuForTests } from './support.ts';

const { describeGpu, gpu } = await gpuForTests();

const lines = [
  [-Infinity, -Infinity],
  [0, -Infinity],
  [1, Infinity],
  [Infinity, -Infinity],
  [Infinity, Infinity],
  [3e38, -3e38],
];
const operations: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  logsumexp: x => x.logsumexp(1),
  softmax: x => x.softmax(1),
  logSoftmax: x => x.logSoftmax(1),
};

/** Values and gradients; −0 and 0 are one number. */
async function results(name: string, backend: Backend): Promise<number[][]> {
  const made = scope(() => {
    const x = tensor(lines, { backend, requiresGrad: true });
    const y = operations[name](x);
    return [y, ...grad(y, [x], { outputGrad: full(y.shape, 1, { backend }) })];
  });
  const values = await Promise.all(made.map(async t => Array.from(await t.data(), v => v + 0)));
  made.forEach(t => t.dispose());
  return values;
}

const reference = createReferenceBackend();
const names = Object.keys(operations);

// WGSL allows any gradient where the formula has ∞ − ∞, and any softmax.
describeGpu('on a device', () => {
  test('logsumexp', async () =>
    expect((await results('logsumexp', gpu))[0]).toEqual((await results('logsumexp', reference))[0]));
});

describe.each(['webasm', 'cpu'] as const)('in mode %s', mode => {
  const opened = openGpuBackend(mode);
  afterAll(async () => (await opened).close?.());
  test.each(names)('%s', async name =>
    expect(await results(name, await opened)).toEqual(await results(name, reference)),
  );
});

test('the reference: log Σ e^x of a line of −∞ is −∞, with ∞ it is ∞', async () => {
  const [values] = await results('logsumexp', reference);
  expect(values.slice(0, 5)).toEqual([-Infinity, 0, Infinity, Infinity, Infinity]);
});
