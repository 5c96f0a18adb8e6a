/**
 * The whole job on model directories that Hugging Face's libraries wrote (`oracles/huggingface.py`): every family,
 * sharded, in half precision, padded, with LLaMA's kind of tokenizer.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel } from '../../models/node/checkpoint.ts';
import { adapt } from '../../s2t2/app/adapt.ts';
import { methods, modelFromPlan } from '../../s2t2/methods.ts';
import { defaults } from '../../s2t2/settings.ts';
import { translateCheckpoint } from '../../s2t2/app/translate/checkpoint.ts';
import { distance, someDirectories, huggingFace, logitsOf } from '../oracles/families.ts';
import { oraclePython, readThere } from '../oracles/huggingface.ts';
import { temporaryDirectory } from '../models/temporary.ts';

const directory = temporaryDirectory();
const proteins = [
  'MKVLAAGIVG',
  'GLCAKVLAAG',
  'MKKLAAGIVK',
  'VLAAGMKVLA',
  'AGIVGIVGLC',
  'AMKVKVLAAG',
  'LCAMKKLAAA',
  'GIVGLCAMKV',
];

test.each(someDirectories)('%s: adapted; the plan then translates the directory it was learned on', async name => {
  const path = join(huggingFace, name);
  const out = join(directory, name);
  const source = await loadModel(path);
  const settings = {
    ...defaults,
    vocabSize: 20,
    maxBytes: 16,
    batchTokens: 64,
    alpha: 1 / source.tokenizer.ordinaryIds().length,
    budget: { unit: 'tokens' as const, amount: 400 },
  };
  const { results, plan, target } = await adapt({
    source,
    domain: { train: proteins.slice(0, 6), test: proteins.slice(6) },
    settings,
    // How a start is made does not depend on the family: one of them meets every method.
    methods: name === 'llama' ? Object.keys(methods) : ['source', 'fvt', 's2t2'],
    out,
    log: () => {},
  });
  for (const row of results.methods) expect(row.after.bitsPerByte, row.name).toBeGreaterThan(0);
  const row = (name: string) => results.methods.find(m => m.name === name)!;
  expect(row('fvt').after.bitsPerByte).toBeLessThan(row('fvt').before!.bitsPerByte);

  const adapted = await loadModel(join(out, 'model'));
  expect(adapted.model.config).toEqual({ ...source.model.config, vocabSize: target.vocabSize, tied: false });

  await translateCheckpoint({
    model: path,
    plan: join(out, 'plan.safetensors'),
    target: join(out, 'model'),
    out: join(directory, `${name}-translated`),
  });
  const translated = await loadModel(join(directory, `${name}-translated`));
  const expected = await modelFromPlan(source.model, plan!);
  const { dtype } = JSON.parse(await readFile(join(path, 'config.json'), 'utf8')) as { dtype: string };
  const unit = { float32: 0, float16: 2 ** -11, bfloat16: 2 ** -8 }[dtype]!;
  for (const end of ['embedding', 'head'] as const) {
    const values = translated.model[end].dataSync();
    expected[end]
      .dataSync()
      .forEach((x, i) => expect(Math.abs(x - values[i])).toBeLessThanOrEqual(unit * Math.abs(x) + 2 ** -25));
  }
  if (oraclePython === undefined) return;
  const ids = Int32Array.from([target.specialTokens.bos!, ...target.encode('MKVLAAG')]);
  // Float32 against double precision in two layers of width 16 or 32: some hundred roundings.
  for (const [model, written] of [
    [adapted, join(out, 'model')],
    [translated, join(directory, `${name}-translated`)],
  ] as const)
    expect(distance(logitsOf(model, ids), readThere(written, ids).logits)).toBeLessThan(256 * 2 ** -24);
});
