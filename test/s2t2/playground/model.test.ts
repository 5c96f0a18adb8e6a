/** A dropped model directory: one file of weights or several read the same, and a wrong one is told in one line. */
import fc from 'fast-check';
import { beforeAll, expect, test, vi } from 'vitest';
import { createWasmBackend, setBackend } from '../../../engine/index.ts';
import { modelTensors, modelTexts } from '../../../models/checkpoint.ts';
import { safetensorsBytes, type TensorData } from '../../../models/safetensors/write.ts';
import { parameters, type Transformer } from '../../../models/weights.ts';
import { openModel } from '../../../s2t2/playground/lab/model.ts';
import { tinyModel } from '../fixture.ts';

vi.hoisted(() => vi.stubGlobal('location', { href: 'http://localhost/' }));

const index = 'model.safetensors.index.json';
let texts: Record<string, string>;
let tensors: (readonly [string, TensorData])[];

beforeAll(async () => {
  setBackend(createWasmBackend({ threads: 1 }));
  const tiny = await tinyModel();
  texts = modelTexts(tiny, 'F32');
  const named = await modelTensors(tiny.model, 'F32');
  tensors = named instanceof Map ? [...named] : Object.entries(named);
});

/** The directory with its weights in the files that `fileOf` says, tensor by tensor. */
async function directory(fileOf: (i: number) => string): Promise<Record<string, BlobPart>> {
  const files: Record<string, BlobPart> = { ...texts };
  const weightMap = Object.fromEntries(tensors.map(([name], i) => [name, fileOf(i)]));
  for (const file of new Set(Object.values(weightMap)))
    files[file] = await safetensorsBytes(new Map(tensors.filter(([name]) => weightMap[name] === file)));
  if (!('model.safetensors' in files)) files[index] = JSON.stringify({ metadata: {}, weight_map: weightMap });
  return files;
}

const open = (files: Record<string, BlobPart>) =>
  openModel(Object.entries(files).map(([name, part]) => ({ name: `/tiny/${name}`, file: new Blob([part]) })));

async function weights(model: Transformer): Promise<Record<string, readonly number[]>> {
  const read = Object.entries(parameters(model)).map(async ([name, t]) => [name, [...(await t.data())]] as const);
  return Object.fromEntries(await Promise.all(read));
}

const sharded = (shard: number) => `model-0000${shard + 1}-of-00004.safetensors`;

test('any split of the tensors over files reads as the one file', async () => {
  const whole = await weights((await open(await directory(() => 'model.safetensors'))).model);
  expect(Object.keys(whole).length).toBeGreaterThan(3);
  const shards = fc.array(fc.nat(3), { minLength: tensors.length, maxLength: tensors.length });
  await fc.assert(
    fc.asyncProperty(shards, async of => {
      const { model } = await open(await directory(i => sharded(of[i])));
      expect(await weights(model)).toEqual(whole);
    }),
    { numRuns: 5 },
  );
});

test('what is missing or wrong in a directory is told in one line', async () => {
  const whole = await directory(() => 'model.safetensors');
  const { [sharded(1)]: _, ...lacking } = await directory(i => sharded(i % 2));
  const { 'model.safetensors': __, ...none } = whole;
  const cases: [Record<string, BlobPart>, RegExp][] = [
    [none, /^the files hold no model\.safetensors; drop the whole model directory$/],
    [lacking, /^the files hold no model-00002-of-00004\.safetensors; drop the whole model directory$/],
    [
      { ...none, [index]: '{"weight_map": ' },
      /^model\.safetensors\.index\.json: not valid JSON \(.*\); is it complete\?$/,
    ],
    [{ ...none, [index]: '{}' }, /^model\.safetensors\.index\.json: lacks "weight_map"/],
    [{ ...none, [index]: '{"weight_map": {"a": "../b.safetensors"}}' }, /weight_map\."a" is not the name of a/],
  ];
  for (const [files, line] of cases) await expect(open(files)).rejects.toThrow(line);
});
