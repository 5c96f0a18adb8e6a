/**
 * Learning from an n-gram model (knowledge distillation, Hinton et al. 2015, arXiv 1503.02531): where text is scarce
 * and steps are few, the distribution that all of the text gives for a context says more than the one token that
 * happens to follow. The teacher leaves out what it is asked about, or it would only repeat the answer.
 */
import { tensor, type Shape, type Tensor } from '../engine/index.ts';
import { batchTensors, type Batch } from './batches.ts';
import type { KneserNey } from './ngram.ts';
import { forward } from './transformer.ts';
import type { Transformer } from './weights.ts';

/**
 * (1 − λ) CE(token) + λ CE(teacher), the mean over a batch in nats per scored token; a scalar. Written as
 * CE(token) + λ Σ_w (1[w = token] − p(w)) · logit(w), for both cross-entropies hold the same log-sum-exp.
 */
export function taughtLoss(model: Transformer, batch: Batch, teacher: KneserNey, share: number): Tensor {
  const lessons = (shape: Shape) => tensor(lesson(batch, teacher, share, model.config.vocabSize), { shape });
  return lossWith(model, batch, share === 0 ? null : lessons);
}

/** The same loss with λ (1[w = token] − p(w)) given, (B·T, V); a rehearsal has no teacher. */
export function lossWith(model: Transformer, batch: Batch, lessons: ((shape: Shape) => Tensor) | null): Tensor {
  const { ids, targets } = batchTensors(batch);
  const logits = forward(model, ids).logits.reshape([targets.size, -1]); // (B·T, V)
  const loss = logits.crossEntropy(targets).sum();
  if (lessons === null) return loss.div(batch.tokens);
  return loss.add(logits.mul(lessons(logits.shape)).sum()).div(batch.tokens);
}

/** λ (1[w = token] − p(w)) of every scored token, 0 where there is none: (B·T, V). */
function lesson(
  { inputs, targets, shape: [B, T] }: Batch,
  teacher: KneserNey,
  share: number,
  vocabSize: number,
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(B * T * vocabSize);
  const sequence = new Int32Array(T + 1);
  for (let row = 0; row < B; row++) {
    sequence.set(inputs.subarray(row * T, (row + 1) * T));
    for (let t = 0; t < T; t++) {
      const target = targets[row * T + t];
      if (target < 0) continue;
      sequence[t + 1] = target;
      const offset = (row * T + t) * vocabSize;
      teacher.leaveOneOut(sequence, t + 1, out, offset, -share);
      out[offset + target] += share;
    }
  }
  return out;
}
