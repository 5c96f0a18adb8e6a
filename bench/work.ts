/** Whole pieces of work under the clock: a training step in tokens a second, the tokenizer in megabytes a second. */
import { Random, type Backend } from '../engine/index.ts';
import { gpt2Pattern, trainBPE } from '../models/tokenizer/index.ts';
import { timed } from './operations.ts';
import type { Peak } from './peak.ts';
import type { Measurement } from './report.ts';
import { stepBatch, stepConfig, trainingStep } from './step.ts';

export async function measureStep(backend: Backend, peak: Peak): Promise<Measurement> {
  const step = trainingStep(backend, stepConfig, stepBatch);
  const { tokens, flops } = step;
  const timing = await timed('training step', () => step.run().dispose(), 4000);
  step.dispose();
  return {
    op: 'training step', size: tokens, backend: backend.name, ...timing, gflops: flops / timing.seconds / 1e9, gbps: 0,
    shareOfPeak: flops / timing.seconds / 1e9 / (peak.relaxed ?? peak.plain), rate: { unit: 'tokens/s', value: tokens / timing.seconds },
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
