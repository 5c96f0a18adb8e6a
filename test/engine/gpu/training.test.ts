/**
 * Training on the device: the same losses as on the reference and on wasm, flat memory, no kernel compiled after the
 * first steps.
 */
import { expect, test } from 'vitest';
import { createWasmBackend, memory } from '../../../engine/index.ts';
import { trainingStep } from '../../../bench/step.ts';
import { lossCurve, reference } from '../parity.ts';
import { gpuForTests } from './support.ts';

const { describeGpu, gpu } = await gpuForTests();

const backend = gpu;

describeGpu('training a small transformer', () => {
  test('gives the same losses as the reference and wasm', async () => {
    const steps = 8;
    const wasm = createWasmBackend({ threads: 1 });
    const [expected, ...others] = [
      await lossCurve(reference, steps),
      await lossCurve(wasm, steps),
      await lossCurve(backend, steps),
    ];
    expect(expected[steps - 1]).toBeLessThan(expected[0] - 0.01);
    // Each update passes on the roundoff of the one before: a handful of units of float32 for each step so far.
    for (const curve of others)
      curve.forEach((loss, i) =>
        expect(Math.abs(loss - expected[i]), `step ${i}`).toBeLessThanOrEqual(32 * (i + 1) * 2 ** -24 * expected[i]),
      );
  });

  test('has as many buffers and kernels after twenty steps as after three', async () => {
    const work = trainingStep(
      backend,
      {
        family: 'llama',
        vocabSize: 11,
        width: 8,
        layers: 1,
        heads: 2,
        keyValueHeads: 1,
        feedForward: 8,
        context: 8,
        rotaryBase: 10000,
        normEps: 1e-5,
        tied: true,
      },
      { rows: 2, length: 6 },
    );
    const steps = async (n: number) => {
      for (let i = 0; i < n; i++) {
        const loss = work.run();
        expect(Number.isFinite(await loss.item())).toBe(true);
        loss.dispose();
      }
      return { ...(await gpu.counts()), tensors: memory().tensors };
    };
    const early = await steps(3);
    expect(await steps(20)).toEqual(early);
    work.dispose();
    expect((await gpu.counts()).buffers).toBeLessThan(early.buffers);
  });
});
