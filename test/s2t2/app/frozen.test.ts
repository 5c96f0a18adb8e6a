/** Models larger than the backend's memory are evaluated, continue a prompt and get a head with frequencies. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { createWasmBackend, getBackend, memory, peakBytes, Random, setBackend } from '../../../engine/index.ts';
import { initTransformer } from '../../../models/init.ts';
import { saveModel, saveTokenizer } from '../../../models/node/checkpoint.ts';
import { trainBPE } from '../../../models/tokenizer/index.ts';
import { disposeModel } from '../../../models/weights.ts';
import { loadFrozen } from '../../../s2t2/app/frozen.ts';
import { savePlan } from '../../../s2t2/app/plan-file.ts';
import { headWithFrequencies } from '../../../s2t2/app/translate/head.ts';
import { compress } from '../../../s2t2/plan.ts';
import { tokenMap } from '../../../s2t2/translate.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { command } from './command.ts';

const directory = temporaryDirectory();
const at = (name: string) => join(directory, name);
const before = getBackend();
afterEach(() => setBackend(before));

/** 18 MiB of weights, and a backend of 12 MiB. */
const memoryLimit = 12 * 2 ** 20;
const tokenizer = trainBPE(['to be or not to be that is the question'], { vocabSize: 44, alphabet: 'seen' });
const dtypes = ['F32', 'F16', 'BF16'] as const;
const model = initTransformer(
  {
    family: 'llama',
    vocabSize: tokenizer.vocabSize,
    width: 256,
    layers: 6,
    heads: 4,
    keyValueHeads: 4,
    feedForward: 704,
    context: 64,
    rotaryBase: 10000,
    normEps: 1e-6,
    tied: false,
  },
  new Random(5),
);
const saved = Promise.all([
  ...dtypes.map(dtype => saveModel(at(dtype), { model, tokenizer }, dtype)),
  writeFile(at('texts.txt'), 'to be\n\nor not to be\n\nthat is the question\n'),
]);
afterAll(() => disposeModel(model));

test.each(dtypes)('%s: evaluate and generate give the same bits within less memory than the weights', async dtype => {
  await saved;
  const file = at(`${dtype}.jsonl`);
  const runs = [
    ['evaluate', '--model', at(dtype), '--data', at('texts.txt'), '--per-text', file],
    ['generate', '--model', at(dtype), '--prompt', 'to be', '--max-tokens', '12', '--json'],
  ];
  const figures = async (options?: { memoryLimit: number }) => {
    const [evaluated, generated] = [await command(runs[0], options), await command(runs[1], options)];
    expect([evaluated.code, generated.code], evaluated.stderr + generated.stderr).toEqual([0, 0]);
    return [await readFile(file, 'utf8'), generated.stdout];
  };
  expect(await figures({ memoryLimit })).toEqual(await figures());
});

test('weights in the backend stay within half of its memory, whatever is read', async () => {
  await saved;
  setBackend(createWasmBackend({ threads: 1, memoryLimit }));
  const start = memory().bytes;
  peakBytes();
  const { model: parked } = await loadFrozen(at('BF16'));
  expect(memory().bytes).toBe(start);
  for (const { attention } of parked.layers) (await attention.q.weight.add(1).data()).fill(0);
  disposeModel(parked);
  expect(peakBytes() - start).toBeLessThan(memoryLimit / 2);
});

describe('a head with frequencies', () => {
  const target = trainBPE(['MKVLAAGIVGLCAKVLAAGMKKLA'], { vocabSize: 24, alphabet: 'seen' });
  const map = tokenMap(tokenizer, target);
  const [u, v] = [map.targetIds.length, map.sourceIds.length];
  const plan = {
    ...compress(new Float32Array(u * v).fill(1 / (u * v)), u, v),
    mu: new Float32Array(u).fill(1 / u),
    nu: new Float32Array(v).fill(1 / v),
    ...map,
    target: target.hash,
    source: tokenizer.hash,
    settings: {
      variant: 'dual',
      iterations: 3,
      alpha: 1,
      rowNormalisation: 'actual',
      headNormalisation: 'columns',
    } as const,
    gap: null,
  };

  // Beside the weights the sample of 256 tokens takes some 16 MiB.
  test('has the same bits within less memory than weights and sample take', async () => {
    await saved;
    await savePlan(at('plan.safetensors'), plan);
    await mkdir(at('target'), { recursive: true });
    await saveTokenizer(at('target'), target);
    const head = () =>
      headWithFrequencies({ model: at('F32'), plan: at('plan.safetensors'), target: at('target') }, ['MKVLAAGIVG']);
    setBackend(createWasmBackend({ threads: 1, relaxedSimd: false }));
    const whole = await head();
    setBackend(createWasmBackend({ threads: 1, relaxedSimd: false, memoryLimit: 2 * memoryLimit }));
    expect(await head()).toEqual(whole);
  });
});

test.each([
  [
    ['evaluate', '--model', at('F32'), '--data', at('texts.txt')],
    'make --max-bytes smaller, or make --batch-tokens smaller, or take a smaller model',
  ],
  [
    ['generate', '--model', at('F32'), '--prompt', 'to be or not to be'],
    'shorten --prompt, or make --max-tokens smaller, or take a smaller model',
  ],
])('%s: memory that runs out is one line and exit code 2', async (args, remedies) => {
  await saved;
  const { code, stdout, stderr } = await command([...args, '--quiet'], { memoryLimit: 2 ** 17 });
  expect([code, stdout]).toEqual([2, '']);
  const size = String.raw`[\d.]+ MiB`;
  const line = `the backend is out of memory: it has 0\\.1 MiB, ${size} are in use, and a tensor of ${size}`;
  expect(stderr).toMatch(new RegExp(`^s2t2: ${args[0]}: ${line} does not fit; ${remedies}\n$`));
});

test('evaluate fits with smaller batches where the usual ones do not, and finds the same', async () => {
  await saved;
  await writeFile(at('many.txt'), 'that is the question\n\n'.repeat(60));
  const evaluate = ['evaluate', '--model', at('F32'), '--data', at('many.txt'), '--quiet', '--json'];
  const whole = await command(evaluate);
  const full = await command(evaluate, { memoryLimit });
  const small = await command([...evaluate, '--batch-tokens', '64'], { memoryLimit });
  expect([whole.code, full.code, small.code], small.stderr).toEqual([0, 2, 0]);
  const bits = ({ stdout }: typeof whole) => (JSON.parse(stdout) as { bitsPerByte: number }).bitsPerByte;
  expect(bits(small)).toBeCloseTo(bits(whole), 6);
});
