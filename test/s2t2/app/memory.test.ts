/** The forecast of memory: what a run takes, and what is said where a run does not fit. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createWasmBackend, getBackend, memory, peakBytes, setBackend } from '../../../engine/index.ts';
import { adapt } from '../../../s2t2/app/adapt.ts';
import { describeForecast, fitMemory, forecast, fullest, parkingFor, processNeed } from '../../../s2t2/app/memory.ts';
import { defaults, type Settings } from '../../../s2t2/settings.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import { fromParameters, parameters } from '../../../models/weights.ts';
import { randomOfTests } from '../../random.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { tinyModel } from '../fixture.ts';

const before = getBackend();
beforeAll(() => setBackend(createWasmBackend({ threads: 1 })));
afterAll(() => setBackend(before));

/** SmolLM2-135M, and OLMo-1B. */
const large = {
  family: 'llama',
  vocabSize: 49152,
  width: 576,
  layers: 30,
  heads: 9,
  keyValueHeads: 3,
  feedForward: 1536,
  context: 2048,
  rotaryBase: 1e5,
  normEps: 1e-5,
  tied: true,
} as const;
const larger = {
  ...large,
  family: 'olmo',
  vocabSize: 50304,
  width: 2048,
  layers: 16,
  heads: 16,
  keyValueHeads: 16,
  feedForward: 8192,
} as const;
const settings: Settings = { ...defaults, alpha: 1 / 49149 };
const shape = (config: typeof large | typeof larger, train?: 'lora' | 'ends') => ({
  config,
  settings: { ...settings, ...(train && { train }) },
  methods: ['source', 's2t2'],
  u: 509,
  v: config.vocabSize - 3,
});
const limit = 65535 * 65536;

describe('the forecast', () => {
  const directory = temporaryDirectory();
  // Texts of one length and no structure, so that batches are as full as they get.
  const random = randomOfTests('memory');
  const text = () => Array.from({ length: 60 }, () => 'ACDEFGHIKLMNPQRSTVWY'[random.integer(20)]).join('');
  const domain = { train: Array.from({ length: 80 }, text), test: [text(), text()] };

  /** The source model as the command line has it: outside the backend. */
  async function parkedModel(): Promise<LanguageModel> {
    const { model, tokenizer } = await tinyModel();
    const parking = parkingFor(model.config);
    const parked = Object.entries(parameters(model)).map(([name, w]) => {
      const values = w.dataSync() as Float32Array;
      w.dispose();
      return [name, parking.park(to => to.set(values), w.shape)] as const;
    });
    return { model: fromParameters(model.config, Object.fromEntries(parked)), tokenizer };
  }

  test.each([
    ['source', undefined, 128],
    ['fvt', undefined, 128],
    ['fvt', undefined, 512],
    ['fvt', 'ends', 128],
    ['fvt', 'lora', 128],
    ['s2t2', undefined, 128],
    ['s2t2', 'lora', 512],
  ] as const)(
    '%s, training %s, batches of %d tokens: within 15 percent of what a run takes',
    async (name, train, tokens) => {
      const source = await parkedModel();
      const own: Settings = {
        ...settings,
        alpha: 1 / 317,
        vocabSize: 40,
        maxBytes: 60,
        batchTokens: tokens,
        budget: { unit: 'tokens', amount: 1000 },
        ...(train && { train }),
      };
      const start = memory().bytes;
      const v = source.tokenizer.ordinaryIds().length;
      const { need } = fullest(
        forecast({ config: source.model.config, settings: own, methods: [name], u: 37, v, testTokens: 122 }, false),
      );
      peakBytes();
      await adapt({
        source,
        domain,
        settings: own,
        methods: [name],
        out: `${directory}/${name}-${train}-${tokens}`,
        log: () => {},
      });
      const taken = peakBytes() - start;
      expect(need.tensors / taken, `${need.tensors} bytes forecast, ${taken} taken`).toBeGreaterThan(0.85);
      expect(need.tensors / taken, `${need.tensors} bytes forecast, ${taken} taken`).toBeLessThan(1.15);
    },
  );

  test('is the same every time, and more layers, tokens or rows need more', () => {
    const bytes = (change: object, more: object = {}) =>
      fullest(
        forecast(
          {
            ...shape(large),
            config: { ...large, layers: 2, ...change },
            settings: { ...settings, ...more },
          },
          false,
        ),
      ).need.memory;
    const base = bytes({});
    expect(bytes({})).toBe(base);
    for (const change of [{ layers: 3 }, { vocabSize: 60000 }, { feedForward: 3000 }])
      expect(bytes(change)).toBeGreaterThan(base);
    expect(bytes({}, { batchTokens: 2048 })).toBeGreaterThan(base);
  });
});

describe('the process', () => {
  const found = {
    recompute: false,
    stages: [
      { stage: 'a', need: { tensors: 900, memory: 1000 } },
      { stage: 'b', need: { tensors: 500, memory: 600 } },
    ],
  };
  const host = { baseline: 7, arrays: 30 };
  const run = { config: large, methods: ['source', 'fvt'], u: 500, v: 49149 };
  const embedding = 4 * 49152 * 576;

  test('has the fullest stage, what it holds beside it, and two copies of the largest weight', () => {
    expect(processNeed(found, run, host)).toBe(1000 + 7 + 30 + 2 * embedding);
    expect(processNeed(found, run, { ...host, arrays: 31 })).toBe(1000 + 7 + 31 + 2 * embedding);
  });

  test('has three matrices of the size of a plan where one is learned, if they are larger', () => {
    const withPlan = { ...run, methods: ['source', 's2t2'] };
    expect(processNeed(found, withPlan, host)).toBe(1037 + 3 * 4 * 500 * 49149);
    expect(processNeed(found, { ...withPlan, u: 5 }, host)).toBe(1037 + 2 * embedding);
    expect(processNeed(found, { ...run, methods: ['unknown'] }, host)).toBe(1037 + 2 * embedding);
  });

  test('is named where it is known', () => {
    const backend = 'memory of the backend: at most 1 MiB, 1 MiB of it tensors, while a';
    expect(describeForecast(found)).toBe(backend);
    expect(describeForecast(found, 3 * 2 ** 30)).toBe(`${backend}; of the whole process: about 3.0 GiB`);
  });
});

describe('what fits', () => {
  test('SmolLM2-135M learns as a whole below 4 GiB, the ends of its source included', () => {
    const found = fitMemory(shape(large), limit)!;
    expect(found.recompute).toBe(false);
    expect(fullest(found).need.memory).toBeLessThan(3.5 * 2 ** 30);
    expect(describeForecast(found)).toMatch(
      /^memory of the backend: at most [23]\.\d GiB, [23]\.\d GiB of it tensors, while finetuning in/,
    );
  });

  test('with less memory its layers are computed again, which is said', () => {
    const found = fitMemory(shape(large), 2.7 * 2 ** 30)!;
    expect(found.recompute).toBe(true);
    expect(describeForecast(found)).toContain('layers are computed again in the backward pass to fit');
  });

  test('OLMo-1B learns a plan, its ends or adapters below 4 GiB', () => {
    for (const train of ['ends', 'lora'] as const)
      expect(fullest(fitMemory(shape(larger, train), limit)!).need.memory).toBeLessThan(limit);
  });

  test('one that does not fit is rejected in one line with the options that do', () => {
    const need = 'finetuning in the source vocabulary needs 1\\d\\.\\d GiB and the backend has 4\\.0 GiB';
    const advice = 'it fits with --train lora, or --train ends';
    expect(() => fitMemory(shape(larger), limit)).toThrow(new RegExp(`^${need}; ${advice}$`));
    expect(() => fitMemory(shape(larger), 2 ** 28)).toThrow(/take a smaller model$/);
    expect(fitMemory(shape(larger), undefined)).toBeNull();
  });

  test('a small model stays in the backend, a large one comes in by layers', () => {
    expect(parkingFor(large, limit).residentBytes).toBe(Infinity);
    expect(parkingFor(larger, limit).residentBytes).toBe(limit / 8);
  });
});
