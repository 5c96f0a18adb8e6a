/** A tiny adaptation, the plan learned and the model finetuned, has the same loss curves on reference, wasm and gpu. */
import { expect, test } from 'vitest';
import { createReferenceBackend, createWasmBackend, Random, setBackend, type Backend } from '../../../engine/index.ts';
import { gpt2Pattern, trainBPE } from '../../../models/tokenizer/index.ts';
import { planBatches } from '../../../models/batches.ts';
import { batchLoss } from '../../../models/score.ts';
import { train } from '../../../models/train.ts';
import { initTransformer } from '../../../models/init.ts';
import { methods } from '../../../s2t2/methods.ts';
import { toSequences } from '../../../s2t2/app/prepare.ts';
import { defaults } from '../../../s2t2/settings.ts';
import { gpuForTests } from './support.ts';
import { parameters } from '../../../models/weights.ts';

const { describeGpu, gpu } = await gpuForTests();

const english =
  'The translation of a sentence is a path from one language to another, and a model says what it expects next.';
const proteins = [
  'MKVLAAGIVGLCAKVLAAGMKKLA',
  'MKKLAAGIVKVLAAGMKVLAAGIV',
  'GIVGLCAMKVKVLAAGLCAMKKLA',
  'AAGIVGLCAMKVLAAGKKLAMKVL',
];

/** Losses of learning the plan, then of finetuning the translated model. */
async function curves(backend: Backend): Promise<number[]> {
  setBackend(backend);
  const tokenizer = trainBPE([english], { vocabSize: 270, pattern: gpt2Pattern, alphabet: 'bytes' });
  const target = trainBPE(proteins, { vocabSize: 24, alphabet: 'seen' });
  const model = initTransformer(
    {
      family: 'olmo',
      vocabSize: 270,
      width: 16,
      layers: 1,
      heads: 2,
      keyValueHeads: 2,
      feedForward: 32,
      context: 64,
      rotaryBase: 10000,
      normEps: 1e-5,
      tied: true,
    },
    new Random(1),
  );
  const losses: number[] = [];
  const { model: adapted } = await methods.s2t2.start({
    source: { model, tokenizer },
    target,
    settings: {
      ...defaults,
      alpha: 1 / 270,
      budget: { unit: 'tokens', amount: 400 },
      planShare: 1,
      // Adam's first step takes the sign of a gradient. At the default scale one of 1,298 is roundoff here, and its
      // sign differs between backends; at this scale none does.
      headScale: 1,
      planRate: 0.05,
      batchTokens: 64,
    },
    train: { source: toSequences(proteins, tokenizer, 64), target: toSequences(proteins, target, 64) },
    log: () => {},
    runStage: async (_, training) => {
      const result = await train(training);
      losses.push(...result.losses);
      return result;
    },
  });
  const batches = planBatches(toSequences(proteins, target, 64), 64, { unit: 'tokens', amount: 400 }, new Random(2));
  losses.push(
    ...(
      await train({ parameters: parameters(adapted), batches, loss: b => batchLoss(adapted, b), rate: 3e-3, warmup: 2 })
    ).losses,
  );
  return losses;
}

describeGpu('a tiny adaptation', () => {
  test('has the same losses on every backend', async () => {
    const expected = await curves(createReferenceBackend());
    expect(expected.length).toBeGreaterThan(10);
    expect(expected.at(-1)).toBeLessThan(expected[0] - 0.3);
    for (const backend of [createWasmBackend({ threads: 1 }), gpu]) {
      const losses = await curves(backend);
      expect(losses.length).toBe(expected.length);
      // Each update passes on the roundoff of the one before: a handful of units of float32 for each step so far.
      losses.forEach((loss, i) =>
        expect(Math.abs(loss - expected[i]), `${backend.name}, step ${i}`).toBeLessThanOrEqual(
          32 * (i + 1) * 2 ** -24 * expected[i],
        ),
      );
    }
  });
});
