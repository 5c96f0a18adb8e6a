/** Sampling from a model with a key/value cache: temperature and nucleus (top-p) sampling (Holtzman et al. 2020). */
import { noGrad, scope, tensor, type Random } from '../engine/index.ts';
import { UserError } from './errors.ts';
import { decodeUtf8 } from './tokenizer/alphabet.ts';
import type { Tokenizer } from './tokenizer/index.ts';
import { longestSequence } from './transformer-config.ts';
import { forward, type Cache } from './transformer.ts';
import type { Transformer } from './weights.ts';
import { nextTurn } from './turn.ts';

/** How tokens are drawn, and when to stop. */
export interface GenerateOptions {
  readonly maxTokens: number;
  /** Divides the logits; 0 always takes the likeliest token. */
  readonly temperature?: number;
  /** Samples among the likeliest tokens that together hold this probability. */
  readonly topP?: number;
  /** Tokens that end the generation; they are not part of the result. */
  readonly stop?: number | readonly number[];
  readonly random: Random;
  /** The ids that may be drawn; missing: all. */
  readonly ids?: Int32Array;
}

/**
 * The tokens that follow `prompt` (at least one id), one by one as they are drawn, until `maxTokens`, the stop token or
 * the longest sequence of the model. Throws a `UserError` where the prompt alone is longer, and where logits are not
 * finite.
 */
export async function* generate(
  model: Transformer,
  prompt: Int32Array<ArrayBuffer>,
  { maxTokens, temperature = 1, topP = 1, stop, random, ids }: GenerateOptions,
): AsyncGenerator<number> {
  const longest = longestSequence(model.config);
  if (prompt.length === 0) throw new UserError('generate: the prompt is empty; give at least the begin token');
  if (prompt.length > longest)
    throw new UserError(
      `generate: the prompt has ${prompt.length} tokens, more than the model's context of ${longest}; shorten it`,
    );
  const ends: readonly (number | undefined)[] = typeof stop === 'object' ? stop : [stop];
  let cache: Cache | undefined;
  let next = prompt;
  try {
    for (let made = 0; made < maxTokens && prompt.length + made <= longest; made++) {
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
      if (!logits.every(Number.isFinite))
        throw new UserError(
          `generate: the logits after ${prompt.length + made} tokens are not finite; are the model's weights damaged?`,
        );
      const drawable = ids ? Float32Array.from(ids, i => logits[i]) : logits;
      const drawn = sample(drawable, temperature, topP, random);
      const id = ids ? ids[drawn] : drawn;
      if (ends.includes(id)) return;
      await nextTurn(); // signals arrive here
      yield id;
      next = Int32Array.of(id);
    }
  } finally {
    free(cache);
  }
}

/**
 * The ids of a prompt after the begin token. Special tokens in the text are themselves, as in Hugging Face's libraries;
 * a begin token that the text has of its own is not repeated.
 */
export function encodePrompt(tokenizer: Tokenizer, text: string): Int32Array<ArrayBuffer> {
  const { bos } = tokenizer.specialTokens;
  const ids = tokenizer.encode(text, { allowSpecial: true });
  return bos === undefined || ids[0] === bos ? ids : Int32Array.of(bos, ...ids);
}

/**
 * The rows of a model that stand for a token; undefined where all do. Models often have more rows than tokens, up to a
 * multiple of 64 or 128, and what has no text is no continuation.
 */
export function rowsOfTokens(tokenizer: Tokenizer, rows: number): Int32Array | undefined {
  const { tokens, added } = tokenizer.parts;
  const others = new Set(added.map(({ id }) => id));
  const ids = Int32Array.from({ length: rows }, (_, id) => id).filter(id => tokens[id] !== undefined || others.has(id));
  return ids.length < rows ? ids : undefined;
}

/**
 * The text of ids that follow a prompt's. They are decoded together, since some decoders treat what begins a text apart
 * (LLaMA's strips a space there).
 */
export function continuationText(tokenizer: Tokenizer, prompt: ArrayLike<number>, ids: ArrayLike<number>): string {
  const before = tokenizer.decodeBytes(prompt).length;
  return decodeUtf8(tokenizer.decodeBytes([...Array.from(prompt), ...Array.from(ids)]).subarray(before));
}

const free = (cache?: Cache): void => cache?.forEach(({ k, v }) => [k, v].forEach(t => t.dispose()));

/** Draws an index by softmax(logits / temperature) among the likeliest that hold `topP`; logits must be finite. */
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
