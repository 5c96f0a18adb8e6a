/**
 * A vocabulary that is kept and extended: the model's logits of old tokens stay, bit for bit; new rows are the plan's.
 * Where Python has Hugging Face's libraries, they read the directory that such a run writes, and train on from it.
 */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { noGrad, Random, scope, tensor } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { initTransformer } from '../../models/init.ts';
import { loadModel, saveModel } from '../../models/node/checkpoint.ts';
import { extendBPE, gpt2Pattern, trainBPE, type Tokenizer } from '../../models/tokenizer/index.ts';
import { train } from '../../models/train.ts';
import { forward } from '../../models/transformer.ts';
import type { Transformer } from '../../models/weights.ts';
import { adapt } from '../../s2t2/app/adapt.ts';
import { loadPlan, savePlan } from '../../s2t2/app/plan-file.ts';
import { toSequences } from '../../s2t2/app/prepare.ts';
import { translateCheckpoint } from '../../s2t2/app/translate/checkpoint.ts';
import { methods, modelFromPlan } from '../../s2t2/methods.ts';
import { expand } from '../../s2t2/plan.ts';
import { defaults } from '../../s2t2/settings.ts';
import { temporaryDirectory } from '../models/temporary.ts';
import { oraclePython } from '../oracles/huggingface.ts';

const directory = temporaryDirectory();
const english = ['the model reads a text', 'and says what THE MODEL expects'];
const proteins = ['MKVLAAGIVGLCAK', 'VLAAGMKKLA', 'MKKLAAGIVKVLA', 'AGMKVLAAGIVGIV', 'GLCAMKVKVLAAG'];
const tokenizer = trainBPE(english, { vocabSize: 270, alphabet: 'bytes', pattern: gpt2Pattern });
/** Rows beyond the tokenizer's tokens are padding, as models have it. */
const vocabSize = tokenizer.vocabSize + 2;
const llama = {
  family: 'llama',
  vocabSize,
  width: 16,
  layers: 1,
  heads: 2,
  keyValueHeads: 1,
  feedForward: 24,
} as const;
const sourceOf = (tied: boolean): LanguageModel => ({
  tokenizer,
  model: initTransformer({ ...llama, context: 64, rotaryBase: 10000, normEps: 1e-5, tied }, new Random(1)),
});
let target: Tokenizer;
beforeAll(async () => {
  target = await extendBPE(tokenizer, proteins, { tokens: 10, keep: english });
});

const settings = {
  ...defaults,
  alpha: 1 / 267,
  vocabSize: 10,
  batchTokens: 32,
  budget: { unit: 'tokens' as const, amount: 60 },
};
const contextOf = (source: LanguageModel) => ({
  source,
  target,
  settings: { ...settings, planShare: 1 },
  train: { source: toSequences(proteins, tokenizer, 64), target: toSequences(proteins, target, 64) },
  runStage: (_: string, training: Parameters<typeof train>[0]) => train(training),
  log: () => {},
});

/** The logits of the source's tokens, after each of its tokens in turn. */
function logitsOf(model: Transformer): Float32Array {
  const ids = Int32Array.from({ length: 40 }, (_, i) => (i * 41) % tokenizer.vocabSize);
  const all = noGrad(() => scope(() => forward(model, tensor(ids, { shape: [1, 40] })).logits.dataSync()));
  const rows = all.length / 40;
  return Float32Array.from({ length: 40 * tokenizer.vocabSize }, (_, e) => {
    return all[Math.floor(e / tokenizer.vocabSize) * rows + (e % tokenizer.vocabSize)];
  });
}

test.each([true, false])('tied %s: every start but scratch says of old tokens what the source says', async tied => {
  const source = sourceOf(tied);
  const before = logitsOf(source.model);
  for (const name of ['fvt-spread', ...(tied ? [] : ['truncated', 'random', 'fvt', 's2t2'])]) {
    const { model, finetuned = model } = await methods[name].start(contextOf(source));
    for (const started of [model, finetuned]) {
      expect(logitsOf(started), name).toEqual(before);
      expect(started.embedding.shape).toEqual([target.vocabSize, 16]);
    }
  }
});

test("new rows are the plan's; the plan is read back, and does the same to a directory", async () => {
  const source = sourceOf(false);
  const { plan } = await methods.s2t2.start(contextOf(source));
  const model = await modelFromPlan(source.model, plan!);
  expect([...plan!.targetIds]).toEqual(Array.from({ length: 10 }, (_, i) => tokenizer.vocabSize + i));
  const dense = expand(plan!);
  const v = plan!.sourceIds.length;
  for (const end of ['embedding', 'head'] as const) {
    const [from, to] = [source.model[end].dataSync(), model[end].dataSync()];
    expect(to.slice(0, tokenizer.vocabSize * 16)).toEqual(from.slice(0, tokenizer.vocabSize * 16));
    plan!.targetIds.forEach((id, i) => {
      const row = dense.slice(i * v, (i + 1) * v);
      const total = row.reduce((a, b) => a + b, 0);
      for (let c = 0; c < 16; c++) {
        const expected = row.reduce((sum, p, j) => sum + p * from[plan!.sourceIds[j] * 16 + c], 0) / total;
        expect(Math.abs(to[id * 16 + c] - expected)).toBeLessThan(v * 2 ** -24);
      }
    });
  }
  const at = (name: string) => join(directory, name);
  await savePlan(at('plan.safetensors'), plan!);
  expect(await loadPlan(at('plan.safetensors'), { targetSize: target.vocabSize })).toEqual(plan);
  await saveModel(at('source'), source);
  await saveModel(at('target'), { model, tokenizer: target });
  const paths = { plan: at('plan.safetensors'), target: at('target') };
  await translateCheckpoint({ model: at('source'), ...paths, out: at('out') });
  const translated = await loadModel(at('out'));
  expect(logitsOf(translated.model)).toEqual(logitsOf(source.model));
  expect(translated.model.head.dataSync()).toEqual(model.head.dataSync());
  expect(translated.tokenizer.hash).toBe(target.hash);
  const tokens = async (name: string) => {
    const config = JSON.parse(await readFile(join(at(name), 'config.json'), 'utf8')) as Record<string, unknown>;
    return [config.bos_token_id, config.eos_token_id, config.pad_token_id];
  };
  expect(await tokens('out')).toEqual(await tokens('source'));
});

test.skipIf(oraclePython === undefined)(
  "there: Hugging Face's tokenizers cut alike; a step of finetuning by accelerate, in two processes",
  { timeout: 600_000 },
  async () => {
    const path = join(directory, 'there');
    await saveModel(path, sourceOf(true));
    const out = join(directory, 'run');
    await adapt({
      source: await loadModel(path),
      domain: { train: proteins.slice(0, 4), test: proteins.slice(4) },
      settings,
      extend: { keep: english },
      methods: ['s2t2'],
      origin: { model: path },
      out,
      log: () => {},
    });
    const python = (args: string[], input = '') =>
      execFileSync(oraclePython!, args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] });
    const texts = [...english, ...proteins, 'MKVL AAG é\n the MKVLAAG', 'WHEN THE TEXT IS STRANGE'];
    const cut = `import json, sys; from tokenizers import Tokenizer; t = Tokenizer.from_file(sys.argv[1])
print(json.dumps([t.encode(x, add_special_tokens=False).ids for x in json.load(sys.stdin)]))`;
    const there: unknown = JSON.parse(python(['-c', cut, join(out, 'model', 'tokenizer.json')], JSON.stringify(texts)));
    const written = (await loadModel(join(out, 'model'))).tokenizer;
    expect(there).toEqual(texts.map(text => [...written.encode(text)]));
    for (const text of english) expect([...written.encode(text)]).toEqual([...tokenizer.encode(text)]);

    const script = new URL('../oracles/finetune.py', import.meta.url).pathname;
    const launch = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', script];
    const step = JSON.parse(python([...launch, join(out, 'model'), proteins[0], proteins[1]])) as {
      readonly processes: number;
      readonly losses: number[];
      readonly change: number;
      readonly same: boolean;
    };
    expect([step.processes, step.losses.length, step.same]).toEqual([2, 2, true]);
    for (const loss of step.losses) expect(loss > 0 && Number.isFinite(loss)).toBe(true);
    // AdamW's first step is the rate, 0.01, but for its epsilon and the decay.
    expect(step.change).toBeGreaterThan(0.009);
    expect(step.change).toBeLessThan(0.02);
  },
);
