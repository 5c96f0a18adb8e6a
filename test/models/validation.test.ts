/** Validation in the course of training: what is kept, and that a stop at any moment changes nothing. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tensor } from '../../engine/index.ts';
import { safetensorsFromBytes } from '../../models/safetensors/source.ts';
import { safetensorsBytes } from '../../models/safetensors/write.ts';
import type { StateStore } from '../../models/state.ts';
import { train, type Training, type TrainingOptions } from '../../models/train.ts';

const inMemory = (name: string) => {
  const store: StateStore & { bytes: Uint8Array<ArrayBuffer> | null } = {
    name,
    bytes: null,
    read: async () => store.bytes && safetensorsFromBytes(store.bytes, name),
    async write(tensors, metadata) {
      store.bytes = await safetensorsBytes(tensors, metadata);
    },
  };
  return store;
};

const steps = 12;
/** A point that swings about its minimum, so that the best step is rarely the last; `seen` are its places by step. */
function swinging(every: number, start: number, seen: number[] = []) {
  const x = tensor([start], { requiresGrad: true });
  const training: Training = {
    parameters: { x },
    batches: Array.from({ length: steps }, () => [{ ids: Int32Array.of(0, 1), bytes: 1 }]),
    loss: () => x.square().sum(),
    rate: 0.4,
    warmup: 1,
    validation: { every, score: async () => Math.abs((await x.data())[0]) },
  };
  const note = async (p: { step: number }) => void (seen[p.step] = (await x.data())[0]);
  return { x, training, note };
}

const inputs = {
  every: fc.integer({ min: 1, max: steps + 2 }),
  start: fc.double({ min: -2, max: 2, noNaN: true }).map(Math.fround),
};

test('a run ends with the parameters of the best step that was scored, start and end included', async () => {
  await fc.assert(
    fc.asyncProperty(fc.record(inputs), async ({ every, start }) => {
      const seen = [start];
      const { x, training, note } = swinging(every, start, seen);
      const result = await train(training, { best: inMemory('best'), onStep: note });
      const looked = seen.map((_, step) => step).filter(step => step % every === 0 || step === steps);
      expect(result.validations!.map(p => [p.step, p.value])).toEqual(looked.map(s => [s, Math.abs(seen[s])]));
      expect(Math.abs(x.dataSync()[0])).toBe(Math.min(...looked.map(s => Math.abs(seen[s]))));
      expect(result.best!.value).toBe(Math.abs(x.dataSync()[0]));
    }),
    { numRuns: 15 },
  );
});

test('killed after any step, with any state kept, it comes to the same end', async () => {
  const moments = fc.record({ ...inputs, saved: fc.integer({ min: 0, max: steps }), killed: fc.nat(steps) });
  await fc.assert(
    fc.asyncProperty(moments, async ({ every, start, saved, killed }) => {
      const straight = swinging(every, start);
      const { validations } = await train(straight.training, { best: inMemory('best') });
      const untimed = (list: typeof validations) => list!.map(({ step, value }) => [step, value]);
      const [state, best] = [inMemory('state'), inMemory('best')];
      /** Ends without a word after step `at`, having kept the states up to `keep`. */
      const dying = (keep: number, at: number): TrainingOptions => ({
        best,
        saveEverySeconds: 0,
        state: { ...state, write: async (...args) => (done <= keep ? state.write(...args) : undefined) },
        onStep: ({ step }) => {
          done = step;
          if (step > at) throw new Error('killed');
        },
      });
      let done = 0;
      await train(swinging(every, start).training, dying(Math.min(saved, killed), killed)).catch((error: unknown) => {
        expect(String(error)).toContain('killed');
      });
      const second = swinging(every, start);
      const result = await train(second.training, { state, best });
      expect(untimed(result.validations)).toEqual(untimed(validations));
      expect(second.x.dataSync()).toEqual(straight.x.dataSync());
      const third = swinging(every, start); // of a finished run everything is read back
      await train(third.training, { state, best });
      expect(third.x.dataSync()).toEqual(straight.x.dataSync());
    }),
    { numRuns: 15 },
  );
});

test('stopped while it scores, a run keeps the step before; without the best parameters it is an error', async () => {
  const [state, best, stop] = [inMemory('state'), inMemory('best'), new AbortController()];
  const { training } = swinging(3, 1);
  const score = async () => {
    if (state.bytes === null && looks++ === 2) {
      stop.abort(new Error('stopped'));
      stop.signal.throwIfAborted();
    }
    return -looks;
  };
  let looks = 0;
  const options = { state, best, signal: stop.signal, saveEverySeconds: 1e6 };
  await expect(train({ ...training, validation: { every: 3, score } }, options)).rejects.toThrow('stopped');
  expect(JSON.parse((await state.read())!.metadata.get('progress')!)).toMatchObject({
    step: 6,
    validations: [{ step: 0 }, { step: 3 }],
  });
  const again = swinging(3, 1);
  // The start is the best of all, and its parameters are gone.
  const validation = { every: 3, score: async () => 1 };
  await expect(
    train({ ...again.training, validation }, { state, best: { ...best, read: async () => null } }),
  ).rejects.toThrow('best: is missing, and state needs it; delete that one to train this part again');
  await expect(train(swinging(3, 1).training)).rejects.toThrow('validation needs a store');
});
