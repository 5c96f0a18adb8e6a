/** What an adaptation will need at its fullest moment, so that it is refused before it starts and not after an hour. */
import { UserError } from '../../models/errors.ts';
import type { TransformerConfig } from '../../models/transformer-config.ts';
import { parameterShapes } from '../../models/weights.ts';
import type { Settings } from '../settings.ts';

/** Bytes of float32 tensors alive at once, for a plan of u target and v source tokens. Errs on the high side. */
export function estimateBytes(config: TransformerConfig, settings: Settings, u: number, v: number): number {
  const shapes = Object.values(parameterShapes({ ...config, tied: false, vocabSize: Math.max(u, 1) }));
  const adapted = shapes.reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const source = 2 * config.vocabSize * config.width + adapted;
  // A padded batch may hold one sequence that is longer than the batch.
  const tokens = Math.max(settings.batchTokens, settings.maxBytes);
  const activations =
    tokens * (config.layers * (16 * config.width + 5 * config.feedForward) + 4 * Math.max(u, config.vocabSize));
  // Weights, two moments, gradients, clipped gradients, what an update makes before it is taken over.
  const finetuning = 6 * Math.max(adapted, source) + activations;
  // The cost with the same, X, the projections of every round, and half a dozen values in between.
  const learning = u * v * (10 + 2 * settings.iterations) + 4 * (u + v) * config.width + activations;
  return 4 * (source + Math.max(finetuning, learning));
}

/** Throws where a backend's limit is below the need. */
export function checkMemory(need: number, limit: number | undefined): void {
  if (limit === undefined || need <= limit) return;
  const gigabytes = (bytes: number) => (bytes / 2 ** 30).toFixed(1);
  throw new UserError(
    `this adaptation needs about ${gigabytes(need)} GiB and the backend has ${gigabytes(limit)} GiB; ` +
      `lower --batch-tokens, --vocab-size or --iterations, or take a smaller model`,
  );
}
