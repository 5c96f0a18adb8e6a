/** A rehearsal needs what the run needs, to the byte. */
import { describe, expect, test } from 'vitest';
import {
  createWasmBackend,
  getBackend,
  matmul,
  memory,
  Parking,
  peakBytes,
  Random,
  rehearse,
  scope,
  setBackend,
  tensor,
  zeros,
} from '../../engine/index.ts';
import { AdamW } from '../../models/adamw.ts';
import { makeBatch } from '../../models/batches.ts';
import { initTransformer } from '../../models/init.ts';
import { batchLoss } from '../../models/score.ts';
import { trainStep } from '../../models/train.ts';
import { assemble, parameters } from '../../models/weights.ts';

const config = {
  vocabSize: 300,
  width: 64,
  layers: 3,
  heads: 4,
  keyValueHeads: 4,
  feedForward: 96,
  context: 64,
  rotaryBase: 10000,
  normEps: 1e-5,
} as const;

describe('a rehearsal', () => {
  test.each([
    ['llama', false, false],
    ['olmo', true, false],
    ['gpt2', true, true],
  ] as const)('of training %s, tied %s, recomputed %s, takes what the steps take', (family, tied, recompute) => {
    const random = new Random(1);
    const batch = makeBatch(
      Array.from({ length: 3 }, () => ({
        ids: Int32Array.from({ length: 65 }, () => random.integer(300)),
        bytes: 0,
      })),
    );
    const steps = () =>
      scope(() => {
        const model = initTransformer({ ...config, family, tied }, new Random(2));
        const weights = parameters(model);
        const optimizer = new AdamW(weights);
        for (let i = 0; i < 2; i++)
          trainStep(() => batchLoss(model, batch, model, recompute), Object.values(weights), optimizer, 1e-3).dispose();
        optimizer.dispose();
      });
    const before = getBackend();
    const backend = createWasmBackend({ threads: 1 });
    setBackend(backend);
    try {
      const start = memory();
      const need = rehearse(1, steps);
      expect(memory()).toEqual(start);
      expect(getBackend()).toBe(backend);
      peakBytes();
      steps();
      expect(peakBytes() - start.bytes).toBe(need.tensors);
      expect(need.memory).toBeGreaterThan(need.tensors);
      // Exactly that much memory, in whole pages, is enough.
      setBackend(createWasmBackend({ threads: 1, memoryLimit: Math.ceil(need.memory / 65536) * 65536 }));
      steps();
    } finally {
      setBackend(before);
    }
  });

  test('exceeds any memory, and counts parked tensors while they are resident', () => {
    const wide = 2 ** 14; // 1 GiB a matrix
    const need = rehearse(2, () =>
      scope(() => {
        const parking = new Parking(2 ** 30);
        const weights = Array.from({ length: 9 }, () => parking.park(() => {}, [wide, wide]));
        weights.reduce((x, w) => scope(() => matmul(x, w)), zeros([1, wide]));
      }),
    );
    expect(need.tensors / 2 ** 30).toBeGreaterThan(4);
    expect(need.tensors / 2 ** 30).toBeLessThan(4.01);
  });

  test('an error in it leaves counts and backend as they were', () => {
    const [start, backend] = [memory(), getBackend()];
    expect(() =>
      rehearse(1, () => {
        tensor([1, 2]);
        throw new Error('no');
      }),
    ).toThrow('no');
    expect([memory(), getBackend()]).toEqual([start, backend]);
  });

  test('moves blocks together as the backend does: gaps take an eighth at most', () => {
    const mebi = 2 ** 20;
    const { tensors, memory: bytes } = rehearse(1, () => {
      const blocks = Array.from({ length: 40 }, () => zeros([(10 * mebi) / 4]));
      const rest = blocks.filter((block, i) => (i % 2 === 0 ? (block.dispose(), false) : true));
      const larger = Array.from({ length: 10 }, () => zeros([(20 * mebi) / 4]));
      [...rest, ...larger].forEach(block => block.dispose());
    });
    expect(tensors).toBe(400 * mebi);
    // Blocks of 40 tensors, a class of 64 KiB each above them, and the data before the first.
    expect(bytes).toBeLessThanOrEqual((9 / 8) * (tensors + 40 * 2 ** 16) + mebi);
  });

  test('of batches of changing shape takes no more as steps go on: an eighth above the tensors at most', () => {
    const large = {
      ...config,
      context: 512,
      family: 'llama',
      tied: true,
      vocabSize: 20_000,
      width: 512,
      feedForward: 1024,
    } as const;
    const { tensors, memory: bytes } = rehearse(2, () =>
      scope(() => {
        const random = new Random(1);
        const model = { config: large, ...assemble(large, (_, shape) => zeros(shape, { requiresGrad: true })) };
        const weights = parameters(model);
        const optimizer = new AdamW(weights);
        for (let i = 0; i < 60; i++) {
          const length = 65 + random.integer(193);
          const rows = Array.from({ length: Math.floor(512 / length) }, () => new Int32Array(length));
          const batch = makeBatch(rows.map(ids => ({ ids, bytes: 0 })));
          trainStep(() => batchLoss(model, batch, model), Object.values(weights), optimizer, 1e-3).dispose();
        }
        optimizer.dispose();
      }),
    );
    // Beside tensors there is the largest operand of a product, packed, and what classes of blocks round up by.
    const packed = 4 * large.vocabSize * large.width;
    expect(bytes).toBeLessThanOrEqual((9 / 8) * (tensors + packed));
  });
});
