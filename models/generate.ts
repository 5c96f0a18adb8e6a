/** Sampling from a model with a key/value cache: temperature and nucleus (top-p) sampling (Holtzman et al. 2020). */
import { noGrad, scope, tensor, type Random } from '../engine/index.ts';
import { longestSequence } from './transformer-config.ts';
import { forward, type Cache } from './transformer.ts';
import type { Transformer } from './weights.ts';

export interface GenerateOptions {
  readonly maxTokens: number;
  /** Divides the logits; 0 always takes the likeliest token. */
  readonly temperature?: number;
  /** Samples among the likeliest tokens that together hold this probability. */
  readonly topP?: number;
  /** Ends the generation; it is not part of the result. */
  readonly stop?: number;
  readonly random: Random;
}

/** The tokens that follow `prompt` (at least one id), one by one as they are drawn. */
export async function* generate(
  model: Transformer,
  prompt: Int32Array<ArrayBuffer>,
  { maxTokens, temperature = 1, topP = 1, stop, random }: GenerateOptions,
): AsyncGenerator<number> {
  if (prompt.length === 0) throw new Error('generate: the prompt is empty; give at least the begin token');
  let cache: Cache | undefined;
  let next = prompt;
  try {
    for (let made = 0; made < maxTokens && prompt.length + made <= longestSequence(model.config); made++) {
      const step = noGrad(() =>
        scope(() => {
          const result = forward(model, tensor(next, { shape: [1, next.length] }), model, cache);
          return { logits: result.logits.slice(1, next.length - 1), cache: result.cache }; // (1, 1, V)
        }),
      );
      free(cache);
      cache = step.cache;
      const logits = await step.logits.data();
      step.logits.dispose();
      const id = sample(logits, temperature, topP, random);
      if (id === stop) return;
      yield id;
      next = Int32Array.of(id);
    }
  } finally {
    free(cache);
  }
}

const free = (cache?: Cache): void => cache?.forEach(({ k, v }) => [k, v].forEach(t => t.dispose()));

/** Draws an index from logits. */
export function sample(logits: ArrayLike<number>, temperature: number, topP: number, random: Random): number {
  if (temperature === 0) return likeliest(logits);
  const order = Array.from({ length: logits.length }, (_, i) => i).sort((a, b) => logits[b] - logits[a]);
  const top = logits[order[0]];
  const weights = order.map(i => Math.exp((logits[i] - top) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  let nucleus = 0;
  let mass = 0;
  while (nucleus < weights.length && mass < topP * total) mass += weights[nucleus++];
  nucleus = Math.max(1, nucleus);
  let left = random.uniform() * Math.max(mass, weights[0]);
  for (let i = 0; i < nucleus; i++) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[nucleus - 1];
}

function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
