/** Whole pieces of work under the clock: a training step in tokens a second, the tokenizer in megabytes a second. */
import { grad, Random, scope, setBackend, type Backend } from '../engine/index.ts';
import { AdamW } from '../models/adamw.ts';
import { makeBatch } from '../models/batches.ts';
import { batchLoss } from '../models/score.ts';
import { gpt2Pattern, trainBPE } from '../models/tokenizer/index.ts';
import { forwardFlops, initTransformer, type TransformerConfig } from '../models/transformer.ts';
import { timed } from './operations.ts';
import type { Peak } from './peak.ts';
import type { Measurement } from './report.ts';

/** The step that peers are measured on too. */
export const stepConfig: TransformerConfig = {
  family: 'olmo', vocabSize: 2048, width: 192, layers: 4, heads: 6, keyValueHeads: 6, feedForward: 512, context: 256, rotaryBase: 10000, normEps: 1e-5, tied: false,
};
export const stepBatch = { rows: 8, length: 256 };

/** Forward, backward and AdamW on a batch of 8 × 256 tokens. */
export async function measureStep(backend: Backend, peak: Peak): Promise<Measurement> {
  setBackend(backend);
  const random = new Random(3);
  const model = initTransformer(stepConfig, random);
  const optimizer = new AdamW(model.weights);
  const weights = Object.values(model.weights);
  const batch = makeBatch(Array.from({ length: stepBatch.rows }, () =>
    ({ ids: Int32Array.from({ length: stepBatch.length + 1 }, () => random.integer(stepConfig.vocabSize)), bytes: 0 })));
  const timing = await timed('training step', () => scope(() => {
    optimizer.update(grad(batchLoss(model, batch), weights), 1e-3);
  }), 4000);
  optimizer.dispose();
  weights.forEach(w => w.dispose());
  const flops = 3 * batch.tokens * forwardFlops(stepConfig, stepBatch.length / 2);
  return {
    op: 'training step', size: batch.tokens, backend: backend.name, ...timing, gflops: flops / timing.seconds / 1e9, gbps: 0,
    shareOfPeak: flops / timing.seconds / 1e9 / (peak.relaxed ?? peak.plain), rate: { unit: 'tokens/s', value: batch.tokens / timing.seconds },
  };
}

/** English-like text with a Zipf distribution of words, the same for everyone. */
export function syntheticText(bytes: number): string {
  const random = new Random(4);
  const letters = 'etaoinshrdlcumwfgypbvk';
  const words = Array.from({ length: 5000 }, () => Array.from({ length: 2 + random.integer(8) }, () => letters[Math.floor(letters.length * random.uniform() ** 2)]).join(''));
  let text = '';
  while (text.length < bytes) text += `${words[Math.floor(words.length ** random.uniform()) - 1]} `;
  return text;
}

export async function measureTokenizer(): Promise<Measurement[]> {
  const text = syntheticText(2_000_000);
  const documents = text.match(/.{1,2000}/g)!;
  const tokenizer = trainBPE(documents, { vocabSize: 2048, pattern: gpt2Pattern });
  const row = async (op: string, run: () => unknown): Promise<Measurement> => {
    const timing = await timed(op, run, 1000);
    return { op, size: text.length, backend: 'typescript', ...timing, gflops: 0, gbps: 0, shareOfPeak: 0, rate: { unit: 'MB/s', value: text.length / 1e6 / timing.seconds } };
  };
  return [
    await row('BPE training', () => trainBPE(documents, { vocabSize: 2048, pattern: gpt2Pattern })),
    await row('BPE encoding', () => { for (const d of documents) tokenizer.encode(d); }),
  ];
}
