/**
 * Learning from an n-gram model: the loss is the mixture of two cross-entropies that it says it is, whatever the share.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { noGrad, Random, scope } from '../../engine/index.ts';
import { batchTensors, makeBatch } from '../../models/batches.ts';
import { KneserNey } from '../../models/ngram.ts';
import { batchLoss } from '../../models/score.ts';
import { taughtLoss } from '../../models/teacher.ts';
import { initTransformer } from '../../models/init.ts';
import { forward } from '../../models/transformer.ts';
import type { TransformerConfig } from '../../models/transformer-config.ts';
import { disposeModel } from '../../models/weights.ts';

const V = 11;
const config: TransformerConfig = {
  family: 'olmo',
  vocabSize: V,
  width: 8,
  layers: 1,
  heads: 2,
  keyValueHeads: 2,
  feedForward: 16,
  context: 32,
  rotaryBase: 10000,
  normEps: 1e-5,
  tied: true,
};
const text = fc
  .array(fc.integer({ min: 0, max: V - 1 }), { minLength: 2, maxLength: 20 })
  .map(ids => Int32Array.from(ids));

test('the loss is (1 − λ) CE(token) + λ CE(teacher) over the scored tokens, padding aside', () => {
  fc.assert(
    fc.property(
      fc.array(text, { minLength: 1, maxLength: 4 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat(99),
      (texts, share, seed) => {
        const model = initTransformer(config, new Random(seed));
        const teacher = new KneserNey(texts, { order: 3, vocabSize: V });
        const batch = makeBatch(texts.map(ids => ({ ids, bytes: ids.length })));
        const [taught, plain, logits] = scope(() =>
          noGrad(() => [
            taughtLoss(model, batch, teacher, share).dataSync()[0],
            batchLoss(model, batch).dataSync()[0],
            forward(model, batchTensors(batch).ids).logits.dataSync(),
          ]),
        ) as [number, number, Float32Array];
        let expected = 0;
        texts.forEach((ids, row) => {
          for (let t = 1; t < ids.length; t++) {
            const at = (row * batch.shape[1] + t - 1) * V;
            const own = Array.from(logits.subarray(at, at + V));
            const logSum = Math.log(own.reduce((sum, x) => sum + Math.exp(x), 0));
            const p = new Float32Array(V);
            teacher.leaveOneOut(ids, t, p, 0, 1);
            expected += own.reduce(
              (sum, x, w) => sum + (logSum - x) * ((1 - share) * (w === ids[t] ? 1 : 0) + share * p[w]),
              0,
            );
          }
        });
        expected /= batch.tokens;
        // Sums of at most 80 × 11 float32 products of order one, divided by their number.
        expect(Math.abs(taught - expected)).toBeLessThan(1e-5 * (1 + Math.abs(expected)));
        if (share === 0) expect(taught).toBe(plain);
        disposeModel(model);
      },
    ),
  );
});
