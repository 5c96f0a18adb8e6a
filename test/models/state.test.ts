/** Training states: what comes back, what a damaged byte does, and how often one is saved. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { add, square, sum, tensor, type Tensor } from '../../engine/index.ts';
import { AdamW } from '../../models/adamw.ts';
import { UserError } from '../../models/errors.ts';
import { safetensorsFromBytes } from '../../models/safetensors/source.ts';
import { safetensorsBytes } from '../../models/safetensors/write.ts';
import { checksum, restoreState, saveInterval, saveState, type StateStore } from '../../models/state.ts';
import { Interrupted, train, type Training } from '../../models/train.ts';
import { randomOfTests } from '../random.ts';
import { refusal } from './temporary.ts';

/** A store of bytes that a test can look at and damage. */
interface MemoryStore extends StateStore {
  bytes: Uint8Array<ArrayBuffer> | null;
  writes: number;
}
const inMemory = (): MemoryStore => {
  const store: MemoryStore = {
    name: 'memory',
    bytes: null,
    writes: 0,
    read: async () => store.bytes && safetensorsFromBytes(store.bytes, 'memory'),
    async write(tensors, metadata) {
      store.bytes = await safetensorsBytes(tensors, metadata);
      store.writes++;
    },
  };
  return store;
};

const random = randomOfTests('state');
const fresh = (): Record<string, Tensor> => ({
  matrix: tensor(
    Float32Array.from({ length: 12 }, () => random.normal()),
    { shape: [4, 3], requiresGrad: true },
  ),
  vector: tensor([1, -2, 3], { requiresGrad: true }),
});
const valuesOf = (parameters: Record<string, Tensor>) => Object.values(parameters).map(t => Array.from(t.dataSync()));
const training = (parameters: Record<string, Tensor>, steps = 6): Training => ({
  parameters,
  batches: Array.from({ length: steps }, () => [{ ids: Int32Array.of(0, 1), bytes: 1 }]),
  loss: () =>
    Object.values(parameters)
      .map(p => sum(square(p)))
      .reduce((a, b) => add(a, b)),
  rate: 0.1,
  warmup: 1,
});

/** A state in the middle of a run, or at its end. */
async function stored(stopAfter: number, steps = 6) {
  const [store, parameters, stop] = [inMemory(), fresh(), new AbortController()];
  await train(training(parameters, steps), {
    state: store,
    signal: stop.signal,
    onStep: p => p.step === stopAfter && stop.abort(),
  }).catch((error: unknown) => expect(error).toBeInstanceOf(Interrupted));
  return { store, parameters };
}

const restored = (store: StateStore, steps = 6) => {
  const parameters = fresh();
  const optimizer = new AdamW(parameters);
  const history = { losses: [], times: [] };
  return restoreState(store, '', optimizer, history, steps).then(progress => ({
    progress,
    parameters,
    optimizer,
    history,
  }));
};

describe('a state', () => {
  test('brings back parameters, moments, steps and history', async () => {
    const { store, parameters } = await stored(4);
    const back = await restored(store);
    expect(valuesOf(back.parameters)).toEqual(valuesOf(parameters));
    expect([back.progress?.step, back.optimizer.steps, back.history.losses.length]).toEqual([4, 4, 4]);
    const again = inMemory();
    await saveState(again, '', back.optimizer, back.history, back.progress!);
    expect(again.bytes).toEqual(store.bytes);
  });

  test('of another run is refused with what differs', async () => {
    const { store } = await stored(4);
    const another = (settings?: Record<string, number>) =>
      refusal(train(training(fresh()), { state: { ...store, settings }, fingerprint: 'another' }));
    const refused = (what: string) =>
      `memory: belongs to a run with other settings${what}; delete it to train this part again`;
    const unknown = refused(', learning rates, data or backend');
    expect(await another()).toBe(unknown);
    expect(await another({ rate: 0.1 })).toBe(unknown);
    await train(training(fresh()), { state: Object.assign(store, { bytes: null, settings: { rate: 0.1, share: 1 } }) });
    expect(await another({ rate: 0.1, share: 1 })).toBe(unknown);
    expect(await another({ rate: 0.2, share: 1 })).toBe(refused(': rate was 0.1, is 0.2'));
    expect(await another({ rate: 0.2, share: 0.5 })).toBe(refused(': rate was 0.1, is 0.2, share was 1, is 0.5'));
  });

  test('of another version, or of none, is resumed, and says so', async () => {
    const { store } = await stored(4);
    const versions: string[] = [];
    const resume = (version?: string) =>
      restored({ ...store, version, onOtherVersion: found => versions.push(found) }).then(back => back.progress?.step);
    expect([await resume(), await resume('2'), versions]).toEqual([4, 4, ['that recorded none']]);
    const { progress, optimizer, history } = await restored(store);
    await saveState(Object.assign(store, { version: '1' }), '', optimizer, history, progress!);
    versions.length = 0;
    expect([await resume('1'), await resume('2'), versions]).toEqual([4, 4, ['1']]);
  });

  test('at the end of a run holds no moments', async () => {
    const names = async (stopAfter: number) => [...(await (await stored(stopAfter)).store.read())!.tensors.keys()];
    expect(await names(6)).toEqual(['losses', 'times', 'parameter/matrix', 'parameter/vector', 'checksums']);
    expect(await names(5)).toContain('variance/matrix');
    const { store, parameters } = await stored(6);
    expect(valuesOf((await restored(store)).parameters)).toEqual(valuesOf(parameters));
  });

  test('with any bit of its data or its progress flipped is an error in one line', async () => {
    const { store } = await stored(4);
    const whole = store.bytes!;
    const header = 8 + Number(new DataView(whole.buffer).getBigUint64(0, true));
    const text = new TextDecoder().decode(whole.subarray(0, header));
    const progress = text.indexOf('"progress"') + '"progress":"'.length;
    const end = text.indexOf('}"', progress);
    const bit = fc.oneof(
      fc.integer({ min: 8 * header, max: 8 * whole.length - 1 }),
      fc.integer({ min: 8 * progress, max: 8 * end + 7 }),
    );
    await fc.assert(
      fc.asyncProperty(bit, async at => {
        const bytes = whole.slice();
        bytes[at >> 3] ^= 1 << (at & 7);
        const error = await restored({ ...store, read: async () => safetensorsFromBytes(bytes, 'memory') }).catch(
          (e: unknown) => e,
        );
        expect(error).toBeInstanceOf(UserError);
        expect((error as Error).message).not.toContain('\n');
      }),
      { numRuns: 300 },
    );
  });

  test('without checksums, as earlier versions wrote it, is an error that says what to do', async () => {
    const { store } = await stored(4);
    const file = (await store.read())!;
    const tensors: Record<string, { dtype: 'F32'; shape: readonly number[]; data: Float32Array }> = {};
    for (const [name, { shape }] of file.tensors)
      if (name !== 'checksums') tensors[name] = { dtype: 'F32', shape, data: await file.readFloats(name) };
    await store.write(tensors, Object.fromEntries(file.metadata));
    await expect(restored(store)).rejects.toThrow(
      'memory: is damaged: it has no checksums; delete it to train this part again',
    );
  });
});

describe('how often it saves', () => {
  test('0 seconds: after every step', async () => {
    const store = inMemory();
    await train(training(fresh()), { state: store, saveEverySeconds: 0 });
    expect(store.writes).toBe(6);
  });

  test('only at the end where the interval is longer than the run', async () => {
    const store = inMemory();
    await train(training(fresh()), { state: store, saveEverySeconds: 1e6 });
    expect(store.writes).toBe(1);
  });

  test('saving takes at most 3 % of the time, and never happens more often than asked', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 1e4, noNaN: true }),
        fc.double({ min: 0, max: 1e4, noNaN: true }),
        (every, cost) => {
          const between = saveInterval(every, cost);
          expect(between).toBeGreaterThanOrEqual(every);
          expect(cost / (cost + between)).toBeLessThanOrEqual(0.03);
        },
      ),
    );
    expect([saveInterval(20, 0.1), saveInterval(0, 99)]).toEqual([20, 0]);
  });
});

describe('checksum', () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 70 });

  test('is the length, the sum of words and the sum of these sums, a byte at a time beyond the last word', () => {
    fc.assert(
      fc.property(bytes, data => {
        const view = new DataView(data.buffer, data.byteOffset);
        const whole = data.length - (data.length % 4);
        const terms = [
          ...Array.from({ length: whole / 4 }, (_, i) => BigInt(view.getInt32(4 * i, true))),
          ...Array.from(data.subarray(whole), BigInt),
        ];
        let [sum, sums] = [BigInt(data.length), 0n];
        for (const term of terms) [sum, sums] = [sum + term, sums + sum + term];
        expect(checksum(data)).toEqual([sum, sums].map(x => Number(BigInt.asIntN(32, x))));
      }),
    );
  });

  test('changes with every bit', () => {
    fc.assert(
      fc.property(bytes, fc.nat(), (data, at) => {
        const other = data.slice();
        other[(at >> 3) % data.length] ^= 1 << (at & 7);
        expect(checksum(other)).not.toEqual(checksum(data));
      }),
    );
  });

  test('changes when two neighbouring words change places, and does not depend on where the bytes lie', () => {
    fc.assert(
      fc.property(fc.int32Array({ minLength: 2, maxLength: 20 }), fc.nat(), (words, i) => {
        const a = i % (words.length - 1);
        const b = a + 1;
        const swapped = words.slice();
        [swapped[a], swapped[b]] = [words[b], words[a]];
        const of = (w: Int32Array, shift: number) => {
          const room = new Uint8Array(4 * w.length + shift);
          room.set(new Uint8Array(w.buffer), shift);
          return checksum(room.subarray(shift));
        };
        expect(of(words, 1)).toEqual(of(words, 0));
        if (words[a] !== words[b]) expect(of(swapped, 0)).not.toEqual(of(words, 0));
      }),
    );
  });
});
