/**
 * How well a model predicts given sequences: nats, one figure per sequence, so that methods can be compared sequence
 * by sequence. Every token after the begin token is scored in its full context; the end token, which stands for no
 * bytes, is kept apart.
 */
import { noGrad, scope, type Tensor } from '../engine/index.ts';
import { batchTensors, groupByLength, makeBatch, type Batch } from './batches.ts';
import { UserError } from './errors.ts';
import { scoredTokens, type Sequence, type Sequences } from './sequences.ts';
import { nextTurn } from './turn.ts';
import { forward } from './transformer.ts';
import type { Ends, Transformer } from './weights.ts';

/** How well a model predicts a sequence. */
export interface Score {
  /** −log p of the scored tokens before the end token. */
  readonly nats: number;
  readonly endNats: number;
  /** Tokens scored, the end token not among them. */
  readonly tokens: number;
  readonly bytes: number;
}

/** Padded tokens in one forward pass, unless the caller says otherwise. */
export const evaluationTokens = 2048;

/** With which ends sequences are scored, and how many at once. */
export interface ScoreOptions {
  readonly ends?: Ends;
  /** Whether the last id of each sequence is an end token. */
  readonly endToken?: boolean;
  /** Padded tokens in one forward pass. */
  readonly batchTokens?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (tokens: number) => void;
}

/** Mean nats per scored token of a batch: the training loss, a scalar. `recompute`: see `forward`. */
export function batchLoss(model: Transformer, batch: Batch, ends: Ends = model, recompute = false): Tensor {
  return tokenLosses(model, batch, ends, recompute).sum().div(batch.tokens);
}

/** −log p of every target, 0 where there is none: (B·T). */
function tokenLosses(model: Transformer, batch: Batch, ends: Ends, recompute = false): Tensor {
  const { ids, targets } = batchTensors(batch);
  const { logits } = forward(model, ids, ends, undefined, recompute); // (B, T, V)
  return logits.reshape([targets.size, -1]).crossEntropy(targets);
}

/**
 * The scores of sequences, in their order. Throws a `UserError` where a loss is not finite, and the signal's reason
 * where it is aborted.
 */
export async function score(model: Transformer, sequences: Sequences, options: ScoreOptions = {}): Promise<Score[]> {
  const { ends = model, endToken = true, batchTokens = evaluationTokens } = options;
  const all = [...sequences];
  const scores = new Map<Sequence, Score>();
  for (const group of groupByLength(all, batchTokens)) {
    await nextTurn();
    options.signal?.throwIfAborted();
    const batch = makeBatch(group);
    const losses = noGrad(() => scope(() => tokenLosses(model, batch, ends))); // (B·T)
    const values = await losses.data();
    losses.dispose();
    group.forEach((s, row) => {
      const own = values.subarray(row * batch.shape[1], row * batch.shape[1] + s.ids.length - 1);
      const end = endToken ? own[own.length - 1] : 0;
      const nats = total(own) - end;
      if (!Number.isFinite(nats + end))
        throw new UserError(
          `score: the loss of a sequence of ${s.ids.length} tokens is ${nats + end}; are the model's weights damaged?`,
        );
      scores.set(s, { nats, endNats: end, tokens: scoredTokens(s) - (endToken ? 1 : 0), bytes: s.bytes });
    });
    options.onProgress?.(batch.tokens);
  }
  return all.map(s => scores.get(s)!);
}

function total(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum;
}
