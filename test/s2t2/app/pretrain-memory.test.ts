/** The forecast of the memory that pretraining takes, and what is said where it does not fit. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createWasmBackend, getBackend, memory, peakBytes, Random, setBackend } from '../../../engine/index.ts';
import { AdamW } from '../../../models/adamw.ts';
import { Muon } from '../../../models/muon.ts';
import { checkPretrain, pretrain, pretrainDefaults, type PretrainOptions } from '../../../s2t2/app/pretrain.ts';
import { fitsPretraining, pretrainingNeed, type PretrainingRun } from '../../../s2t2/app/pretrain-memory.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { command } from './command.ts';

const directory = temporaryDirectory();
const before = getBackend();
beforeAll(() => setBackend(createWasmBackend({ threads: 1 })));
afterAll(() => setBackend(before));

const run: PretrainingRun = {
  config: {
    family: 'olmo',
    vocabSize: 280,
    width: 16,
    layers: 2,
    heads: 2,
    keyValueHeads: 2,
    feedForward: 64,
    context: 1024,
    rotaryBase: 10000,
    normEps: 1e-5,
    tied: true,
  },
  window: 32,
  batchTokens: 128,
  teacher: true,
  optimizer: members => new AdamW(members),
};

describe('the forecast', () => {
  test.each([
    ['adamw', 1, 128, 2],
    ['adamw', 0, 128, 2],
    ['muon', 1, 512, 1],
    ['muon', 1, 16, 4],
  ] as const)(
    '%s, teacher %d, batches of %d tokens, %d layers: within 15 percent of what a run takes',
    async (optimizer, teacher, batchTokens, layers) => {
      const need = pretrainingNeed({
        ...run,
        config: { ...run.config, layers },
        batchTokens,
        teacher: teacher > 0,
        ...(optimizer === 'muon' && { optimizer: members => new Muon(members, name => name.startsWith('layers.')) }),
      });
      const random = new Random(1);
      const text = () => Array.from({ length: 3000 }, () => 'abcdefghijklmnop    '[random.integer(20)]).join('');
      const start = memory().bytes;
      peakBytes();
      await pretrain({
        ...pretrainDefaults,
        vocabSize: 280,
        width: 16,
        heads: 2,
        window: 32,
        tokens: 2000,
        text: 1,
        optimizer,
        teacher,
        batchTokens,
        layers,
        english: { train: [text(), text()], validation: [], test: [text()], sources: [] },
        out: join(directory, `${optimizer}-${teacher}-${batchTokens}`, 'model'),
        work: join(directory, `${optimizer}-${teacher}-${batchTokens}`),
        log: () => {},
      });
      const taken = peakBytes() - start;
      expect(need.tensors / taken, `${need.tensors} bytes forecast, ${taken} taken`).toBeGreaterThan(0.85);
      expect(need.tensors / taken, `${need.tensors} bytes forecast, ${taken} taken`).toBeLessThan(1.15);
    },
  );

  test('many layers take what a few do, so many times', () => {
    const many = { ...run, config: { ...run.config, layers: 20 } };
    const [each, some] = [pretrainingNeed(many), pretrainingNeed(many, 8)];
    expect(some.tensors).toBe(each.tensors);
    expect(Math.abs(some.memory / each.memory - 1)).toBeLessThan(0.15);
  });
});

describe('sizes that do not fit', () => {
  const options = (sizes: Partial<PretrainOptions>): PretrainOptions => ({
    ...pretrainDefaults,
    english: { train: ['never read'], validation: [], test: [], sources: [] },
    out: join(directory, 'none', 'model'),
    work: join(directory, 'none'),
    log: () => {},
    ...sizes,
  });

  test.each<[Partial<PretrainOptions>, string]>([
    [{ width: 100_000 }, '--width 1560'],
    [{ layers: 5000 }, '--layers 156'],
    [{ vocabSize: 1e9 }, '--vocab-size 122070'],
    [{ batchTokens: 2 ** 24 }, '--batch-tokens 32768'],
    [{ window: 1e8 }, '--window 1024'],
    [{ family: 'gpt2', window: 1e8 }, '--window 24414'],
  ])('%j: one line, before anything is made; with what it names it fits', async (sizes, remedy) => {
    const message = await refusal(pretrain(options(sizes)));
    expect(message).toMatch(
      new RegExp(`^pretraining needs [\\d.]+ GiB or more and the backend has 4\\.0 GiB; it fits with ${remedy}$`),
    );
    expect(existsSync(join(directory, 'none'))).toBe(false);
    const [flag, value] = remedy.split(' ');
    const key = flag.replace(/^--/, '').replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    expect(() => checkPretrain(options({ ...sizes, [key]: Number(value) }))).not.toThrow();
  });

  test('where no one size helps, all are named', async () => {
    expect(await refusal(pretrain(options({ width: 100_000, batchTokens: 2 ** 24 })))).toMatch(
      /the backend has 4\.0 GiB; lower --width, --layers, --vocab-size and --batch-tokens$/,
    );
  });

  test('on the command line: one line and exit code 2, before texts are fetched', async () => {
    const args = ['pretrain', '--width', '100000', '--work', join(directory, 'work'), '--out', join(directory, 'out')];
    const { code, stdout, stderr } = await command(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^s2t2: pretraining needs .*; it fits with --width 1560\n$/);
    expect(existsSync(join(directory, 'work', 'english'))).toBe(false);
  });

  test("the limit is the backend's", () => {
    const { memory: bytes } = pretrainingNeed(run);
    expect([bytes, bytes - 1].map(limit => fitsPretraining(run, limit))).toEqual([true, false]);
  });
});
