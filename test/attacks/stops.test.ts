/**
 * Every stage that saves its state obeys a request to stop: between two units of its work the host gets a turn, in
 * which signals arrive. Where a stage looks at a clock, the test controls it.
 */
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { Random } from '../../engine/index.ts';
import { planBatches } from '../../models/batches.ts';
import { generate } from '../../models/generate.ts';
import { initTransformer } from '../../models/init.ts';
import { batchLoss, score } from '../../models/score.ts';
import { trainBPE, trainBPEAsync, type Tokenizer } from '../../models/tokenizer/index.ts';
import { Interrupted, train } from '../../models/train.ts';
import { parameters, type Transformer } from '../../models/weights.ts';
import { encodeTexts, toSequences } from '../../s2t2/corpus/sequences.ts';

const texts = Array.from({ length: 40 }, (_, i) => `a text of a few words, the number ${i * i}`);
let tokenizer: Tokenizer;
let model: Transformer;
beforeAll(() => {
  tokenizer = trainBPE(texts, { vocabSize: 280, alphabet: 'bytes' });
  const config = {
    family: 'olmo' as const,
    vocabSize: tokenizer.vocabSize,
    width: 4,
    layers: 1,
    heads: 1,
    keyValueHeads: 1,
    feedForward: 4,
    context: 64,
    rotaryBase: 10000,
    normEps: 1e-5,
    tied: true,
  };
  model = initTransformer(config, new Random(1));
});
afterEach(() => void vi.restoreAllMocks());

/** As a signal's handler does, it aborts in the host's next turn after the first unit of work; counts the units. */
class Watch {
  units = 0;
  readonly stop = new AbortController();

  /** A unit of work is done. */
  readonly unit = (): void => {
    if (this.units++ === 0) setImmediate(() => this.stop.abort(new Interrupted('stopped')));
  };

  /** Items that count as a unit once the stage asks for the next. */
  *counted<T>(items: Iterable<T>): Generator<T> {
    for (const item of items) {
      yield item;
      this.unit();
    }
  }
}

/** Each reading of the clock is a second later, so a stage that reads it after each unit gives a turn after each. */
const holdClock = () => {
  let now = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 1000));
};

const sequences = () => toSequences(texts, tokenizer, 64);
/** Each stage counts its units in `watch` and is given its signal. */
const stages: Readonly<Record<string, (watch: Watch) => Promise<unknown>>> = {
  'counting words for a tokenizer': watch =>
    trainBPEAsync([watch.counted(texts)], { vocabSize: 300, signal: watch.stop.signal }),
  'merging the pairs of a tokenizer': watch =>
    trainBPEAsync([texts], { vocabSize: 300, signal: watch.stop.signal, onProgress: watch.unit }),
  encoding: watch => encodeTexts([...texts], watched(tokenizer, watch), 64, watch.stop.signal),
  'learning a plan, finetuning': watch =>
    train(
      {
        parameters: parameters(model),
        batches: planBatches(sequences(), 64, { unit: 'tokens', amount: Number.MAX_SAFE_INTEGER }, new Random(1)),
        loss: batch => batchLoss(model, batch),
        rate: 1e-3,
        warmup: 2,
      },
      { signal: watch.stop.signal, onStep: watch.unit },
    ),
  evaluating: watch =>
    score(model, sequences(), { batchTokens: 64, signal: watch.stop.signal, onProgress: watch.unit }),
  generating: async ({ unit, stop }) => {
    const options = { maxTokens: 40, random: new Random(1) };
    for await (const _ of generate(model, Int32Array.of(0), options)) {
      unit();
      stop.signal.throwIfAborted();
    }
  },
};

/** The same tokenizer; each text it encodes is a unit. */
const watched = (inner: Tokenizer, watch: Watch): Tokenizer =>
  new Proxy(inner, {
    get(target, key) {
      if (key !== 'append') return Reflect.get(target, key) as unknown;
      return (...args: Parameters<Tokenizer['append']>) => {
        watch.unit();
        return target.append(...args);
      };
    },
  });

describe('after the first unit of work no more than one is done', () => {
  test.each(Object.entries(stages))('%s', async (_, stage) => {
    holdClock();
    const watch = new Watch();
    await expect(stage(watch)).rejects.toBeInstanceOf(Interrupted);
    expect(watch.units).toBeLessThanOrEqual(2);
  });
});
