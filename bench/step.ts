/**
 * A training step under the clock, wherever it runs: forward, backward and AdamW of a transformer. Nothing here needs
 * Node.
 */
import { Random, setBackend, type Backend, type Tensor } from '../engine/index.ts';
import { AdamW } from '../models/adamw.ts';
import { makeBatch } from '../models/batches.ts';
import { batchLoss } from '../models/score.ts';
import { trainStep } from '../models/train.ts';
import { initTransformer } from '../models/init.ts';
import { forwardFlops, type TransformerConfig } from '../models/transformer-config.ts';
import { parameters } from '../models/weights.ts';

/** The step that peers are measured on too: 8 × 256 tokens. */
export const stepConfig: TransformerConfig = {
  family: 'olmo',
  vocabSize: 2048,
  width: 192,
  layers: 4,
  heads: 6,
  keyValueHeads: 6,
  feedForward: 512,
  context: 256,
  rotaryBase: 10000,
  normEps: 1e-5,
  tied: false,
};
export const stepBatch = { rows: 8, length: 256 };

export interface TrainingStep {
  readonly tokens: number;
  readonly flops: number;
  /** The loss before the update; the caller frees it. */
  run(): Tensor;
  dispose(): void;
}

/** Steps on one batch of random tokens; `backend` becomes the default one. */
export function trainingStep(
  backend: Backend,
  config: TransformerConfig,
  { rows, length }: { rows: number; length: number },
): TrainingStep {
  setBackend(backend);
  const random = new Random(3);
  const model = initTransformer(config, random);
  const optimizer = new AdamW(parameters(model));
  const weights = Object.values(parameters(model));
  const batch = makeBatch(
    Array.from({ length: rows }, () => ({
      ids: Int32Array.from({ length: length + 1 }, () => random.integer(config.vocabSize)),
      bytes: 0,
    })),
  );
  return {
    tokens: batch.tokens,
    flops: 3 * batch.tokens * forwardFlops(config, length / 2),
    run: () => trainStep(() => batchLoss(model, batch), weights, optimizer, 1e-3),
    dispose: () => {
      optimizer.dispose();
      weights.forEach(w => w.dispose());
    },
  };
}
