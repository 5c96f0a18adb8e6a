/** Training does not depend on the number of threads: the weights after some steps are the same bit for bit. */
import { afterAll, expect, test } from 'vitest';
import { createWasmBackend, getBackend, grad, Random, scope, setBackend } from '../../engine/index.ts';
import { AdamW } from '../../models/adamw.ts';
import { makeBatch } from '../../models/batches.ts';
import { batchLoss } from '../../models/score.ts';
import { initTransformer } from '../../models/init.ts';
import { parameters } from '../../models/weights.ts';

const before = getBackend();
afterAll(() => setBackend(before));

/**
 * Large enough that every kind of kernel is shared: products, attention, norms, cross-entropy over a vocabulary, the
 * update.
 */
const config = {
  family: 'llama',
  vocabSize: 700,
  width: 96,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  feedForward: 250,
  context: 128,
  rotaryBase: 10000,
  normEps: 1e-5,
  tied: false,
} as const;

function trained(threads: number): Uint8Array {
  const backend = createWasmBackend({ threads });
  expect(backend.describe()).toContain(threads === 1 ? 'one thread' : `${threads} threads`);
  setBackend(backend);
  const random = new Random(5);
  const model = initTransformer(config, random);
  const weights = Object.values(parameters(model));
  const optimizer = new AdamW(parameters(model));
  const batch = makeBatch(
    [128, 90, 127, 61].map(length => ({
      ids: Int32Array.from({ length }, () => random.integer(config.vocabSize)),
      bytes: 0,
    })),
  );
  for (let step = 0; step < 3; step++)
    scope(() => {
      optimizer.update(grad(batchLoss(model, batch), weights), 1e-2);
    });
  return Buffer.concat(weights.map(w => Buffer.from(w.dataSync().buffer)));
}

test('on one, two and three threads', () => {
  const one = trained(1);
  expect(new Float32Array(one.slice().buffer).every(Number.isFinite)).toBe(true);
  for (const threads of [2, 3, 2]) expect(Buffer.compare(trained(threads), one)).toBe(0);
});
