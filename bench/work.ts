/** Whole pieces of work under the clock: a training step in tokens a second, the tokenizer in megabytes a second. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Random, type Backend } from '../engine/index.ts';
import { gpt2Pattern, trainBPE, type Tokenizer } from '../models/tokenizer/index.ts';
import { timed, type Timing } from './clock.ts';
import type { Peak } from './peak.ts';
import type { Measurement } from './report.ts';
import { stepBatch, stepConfig, trainingStep, type TrainingStep } from './step.ts';

/** A step of the benchmark's transformer as a row; `peer` did the same work. */
export function stepRow(
  { tokens, flops }: Pick<TrainingStep, 'tokens' | 'flops'>,
  backend: string,
  timing: Timing,
  peak: Peak,
  peer?: string,
): Measurement {
  const gflops = flops / timing.seconds / 1e9;
  return {
    op: 'training step',
    size: tokens,
    backend,
    ...(peer ? { peer } : {}),
    ...timing,
    gflops,
    gbps: 0,
    shareOfPeak: gflops / (peak.relaxed ?? peak.plain),
    rate: { unit: 'tokens/s', value: tokens / timing.seconds },
  };
}

export async function measureStep(backend: Backend, peak: Peak): Promise<Measurement> {
  const step = trainingStep(backend, stepConfig, stepBatch);
  const timing = await timed('training step', () => step.run().dispose(), 4000);
  step.dispose();
  return stepRow(step, backend.name, timing, peak);
}

/** The same with relaxed SIMD where that needs a flag of V8, and so a separate process. */
export async function measureRelaxedStep(threads: number): Promise<Measurement> {
  const child = fork(fileURLToPath(new URL('./relaxed.js', import.meta.url)), [String(threads)], {
    execArgv: ['--experimental-wasm-relaxed-simd'],
  });
  return new Promise((resolve, reject) => {
    child.once('message', message => resolve(message as Measurement));
    child.once('exit', code => reject(new Error(`bench: the process with relaxed SIMD ended with code ${code}`)));
  });
}

/** English-like text with a Zipf distribution of words, the same for everyone. */
function syntheticText(bytes: number): string {
  const random = new Random(4);
  const letters = 'etaoinshrdlcumwfgypbvk';
  const words = Array.from({ length: 5000 }, () =>
    Array.from(
      { length: 2 + random.integer(8) },
      () => letters[Math.floor(letters.length * random.uniform() ** 2)],
    ).join(''),
  );
  let text = '';
  while (text.length < bytes) text += `${words[Math.floor(words.length ** random.uniform()) - 1]} `;
  return text;
}

export interface TokenizerWork {
  readonly bytes: number;
  readonly documents: readonly string[];
  /** Trained on the documents. */
  readonly tokenizer: Tokenizer;
  train(): void;
  encode(): void;
}

export function tokenizerWork(): TokenizerWork {
  const text = syntheticText(2_000_000);
  const documents = text.match(/.{1,2000}/g)!;
  const train = () => trainBPE(documents, { vocabSize: 2048, pattern: gpt2Pattern, alphabet: 'bytes' });
  const tokenizer = train();
  return {
    bytes: text.length,
    documents,
    tokenizer,
    train,
    encode: () => {
      for (const d of documents) tokenizer.encode(d);
    },
  };
}

/** A tokenizer's work as a row. */
export const tokenizerRow = (op: string, bytes: number, timing: Timing, peer?: string): Measurement => ({
  op,
  size: bytes,
  backend: 'typescript',
  ...(peer ? { peer } : {}),
  ...timing,
  gflops: 0,
  gbps: 0,
  shareOfPeak: 0,
  rate: { unit: 'MB/s', value: bytes / 1e6 / timing.seconds },
});

export async function measureTokenizer(): Promise<Measurement[]> {
  const { bytes, train, encode } = tokenizerWork();
  return [
    tokenizerRow('BPE training', bytes, await timed('BPE training', train, 1000)),
    tokenizerRow('BPE encoding', bytes, await timed('BPE encoding', encode, 1000)),
  ];
}
