/**
 * GGUF files that are written here: read again, the model is the same, and what GGUF cannot say is rejected.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random, tensor } from '../../../engine/index.ts';
import { readModel, type LanguageModel } from '../../../models/checkpoint.ts';
import { float16ToFloat32, bfloat16ToFloat32, float32ToBfloat16, float32ToFloat16 } from '../../../models/float16.ts';
import { familyNames, type FamilyName } from '../../../models/families.ts';
import { exportedModel, parseGguf } from '../../../models/gguf/index.ts';
import { f32, u32, type WrittenMetadata } from '../../../models/gguf/values.ts';
import { encodeHeader } from '../../../models/gguf/write.ts';
import { saveModel } from '../../../models/node/checkpoint.ts';
import { exportModel } from '../../../models/node/export.ts';
import { trainBPE } from '../../../models/tokenizer/index.ts';
import { rotaryWidth, type TransformerConfig } from '../../../models/transformer-config.ts';
import { parameters } from '../../../models/weights.ts';
import { configsOf } from '../../arbitraries/models.ts';
import { refusal, temporaryDirectory } from '../temporary.ts';
import { directoryOf, exportedBytes, openBytes, randomModel } from './exported.ts';

const directory = temporaryDirectory();
const tokenizer = trainBPE(['MKVLAAGMKVLAAGIVGLCAKVLA', 'MKKLAAGIVKVLAAG'], { vocabSize: 24, alphabet: 'seen' });

/** The configurations of a family that GGUF can hold. */
const expressible = (family: FamilyName): fc.Arbitrary<TransformerConfig> =>
  fc.tuple(configsOf([family]), fc.nat(3)).map(([{ headWidth, window, ...c }, padding]) => {
    const ownHeads = ['llama', 'mistral', 'qwen3'].includes(family);
    const stretched = c.rotaryScaling?.kind === 'llama3';
    const D = headWidth ?? c.width / c.heads;
    return {
      ...c,
      activation: undefined,
      windowFrom: undefined,
      vocabSize: tokenizer.vocabSize + padding,
      ...(headWidth !== undefined && (ownHeads ? { headWidth } : { width: c.heads * headWidth })),
      ...(family === 'mistral' && window !== undefined && { window }),
      ...(family === 'olmo' && { normEps: 1e-5 }),
      ...(stretched && {
        rotaryScaling:
          family === 'llama' || family === 'mistral'
            ? { ...c.rotaryScaling, originalContext: D === 2 ? 6 : 16 }
            : undefined,
        rotaryBase: 500_000,
      }),
    } as TransformerConfig;
  });

/** What the configuration is when it is read again: the same arithmetic. */
function readAgain({ rotaryScaling, ...c }: TransformerConfig): TransformerConfig {
  return {
    ...c,
    ...(rotaryScaling && { rotaryScaling }),
    ...(c.family === 'mistral' && c.window === undefined && { family: 'llama' }),
    ...((c.family === 'olmo2' || c.family === 'gpt_neox') && { tied: false }),
    ...(c.rotaryShare !== undefined && { rotaryShare: rotaryWidth(c) / (c.width / c.heads) }),
  };
}

const valuesOf = async (model: LanguageModel): Promise<Record<string, Float32Array>> => {
  const values: Record<string, Float32Array> = {};
  for (const [name, weight] of Object.entries(parameters(model.model)))
    values[name] = (await weight.data()) as Float32Array;
  return values;
};

const rounded = {
  F32: (values: Float32Array) => values,
  F16: (values: Float32Array) => float16ToFloat32(float32ToFloat16(values)),
  BF16: (values: Float32Array) => bfloat16ToFloat32(float32ToBfloat16(values)),
};

describe.each(familyNames)('%s', family => {
  test('exported and read again it has the same configuration, weights and tokenizer', async () => {
    await fc.assert(
      fc.asyncProperty(
        expressible(family),
        fc.constantFrom('F32', 'F16', 'BF16'),
        fc.nat(),
        async (config, dtype, seed) => {
          const model = randomModel(config, new Random(seed));
          const files = await directoryOf({ model, tokenizer });
          const here = await readModel(files);
          const there = await readModel(await openBytes(await exportedBytes(files, dtype)));
          expect(there.model.config).toEqual(readAgain(here.model.config));
          expect(rotaryWidth(there.model.config)).toBe(rotaryWidth(config));
          const [own, read] = [await valuesOf(here), await valuesOf(there)];
          for (const [name, values] of Object.entries(own)) {
            const stays = parameters(model)[name].shape.length === 1 || name === 'positions';
            expect([name, read[name]]).toEqual([name, stays ? values : rounded[dtype](values)]);
          }
          if (config.tied && !there.model.config.tied) expect(read.head).toEqual(rounded[dtype](own.embedding));
          expect(there.tokenizer.specialTokens).toEqual(tokenizer.specialTokens);
          for (const text of ['MKVLAAG', 'GIVK', 'AKVLAMK', 'M?K'])
            expect([...there.tokenizer.encode(text)]).toEqual([...tokenizer.encode(text)]);
        },
      ),
      { numRuns: 30 },
    );
  });
});

test('a header is read as it was written', () => {
  const scalar = fc.oneof(
    fc.string({ unit: 'binary' }).map(text => text.replace(/\p{Cs}/gu, '?')),
    fc.boolean(),
    fc.nat(2 ** 32 - 1).map(u32),
    fc.float({ noNaN: true }).map(f32),
    fc.array(fc.string({ unit: 'grapheme' })),
    fc.int32Array(),
    fc.float32Array({ noNaN: true }),
  );
  const key = fc.string({ unit: 'grapheme', minLength: 1 }).filter(name => !/^(split|general)\./.test(name));
  const shape = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
  const tensor = fc.record({ dtype: fc.constantFrom('F32', 'F16', 'BF16'), shape });
  fc.assert(
    fc.property(fc.dictionary(key, scalar), fc.dictionary(key, tensor), (metadata, tensors) => {
      const header = encodeHeader(metadata as WrittenMetadata, new Map(Object.entries(tensors)));
      const read = parseGguf(header, 2 ** 20, 'm.gguf')!;
      const plain = Object.entries(metadata).map(([name, value]) => [name, valueOf(value)]);
      expect([...read.metadata]).toEqual(plain);
      let end = Math.ceil(header.length / 32) * 32;
      for (const [name, { dtype, shape: dimensions }] of Object.entries(tensors)) {
        const there = read.tensors.get(name)!;
        expect([there.type.name, there.shape, there.begin]).toEqual([dtype, dimensions, end]);
        end = Math.ceil(there.end / 32) * 32;
      }
      expect(read.tensors.size).toBe(Object.keys(tensors).length);
    }),
  );
});

const valueOf = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'value' in value ? value.value : value;

const llama: TransformerConfig = {
  family: 'llama',
  vocabSize: tokenizer.vocabSize,
  width: 8,
  layers: 1,
  heads: 2,
  keyValueHeads: 1,
  feedForward: 4,
  context: 16,
  rotaryBase: 10000,
  normEps: 1e-6,
  tied: false,
};
const modelOf = (changes: Partial<TransformerConfig>): LanguageModel => ({
  model: randomModel({ ...llama, keyValueHeads: 2, ...changes }, new Random(0)),
  tokenizer,
});
const scaling = { kind: 'llama3', factor: 8, lowFrequency: 1, highFrequency: 4, originalContext: 16 } as const;

test.each<[string, Partial<TransformerConfig>, string]>([
  ['GPT-2', { family: 'gpt2', activation: 'gelu' }, "the activation is not gpt2's own"],
  ['GPT-NeoX', { family: 'gpt_neox', activation: 'geluTanh' }, "the activation is not gpt_neox's own"],
  ['a head of its own width', { family: 'qwen2', headWidth: 2 }, 'head_dim is 2; llama.cpp takes hidden_size'],
  ['a head of its own width', { family: 'olmo', headWidth: 2, normEps: 1e-5 }, 'head_dim is 2; llama.cpp takes'],
  ['a head of its own width', { family: 'olmo2', headWidth: 2 }, 'head_dim is 2; llama.cpp takes hidden_size'],
  ['a window', { family: 'qwen3', window: 4, windowFrom: 0 }, 'use_sliding_window is true, which llama.cpp does not'],
  ['factors', { family: 'qwen2', rotaryScaling: scaling }, 'the rope_scaling "llama3" is not what llama.cpp computes'],
  ['other ends', { rotaryScaling: { ...scaling, highFrequency: 3 } }, '"llama3" has low_freq_factor 1 and high_freq_'],
  ['no slow pair', { rotaryScaling: { ...scaling, originalContext: 8192 } }, '"llama3" has the factor 8; no pair'],
])('%s that GGUF does not have is rejected: %j', async (_, changes, message) => {
  const files = await directoryOf(modelOf(changes));
  expect(await refusal(exportedModel(files, 'm'))).toContain(`m/config.json: `);
  expect(await refusal(exportedModel(files, 'm'))).toContain(message);
});

test('vectors and learned positions are float32, and what a file is made of is told', async () => {
  const files = await directoryOf(modelOf({ family: 'gpt2', tied: true }));
  const { metadata, tensors, unknownBytes } = await exportedModel(files, 'm', 'F16');
  expect(metadata).toMatchObject({
    'general.architecture': 'gpt2',
    'general.name': 'm',
    'general.file_type': u32(1),
    'gpt2.context_length': u32(16),
  });
  for (const [name, { dtype, shape }] of tensors)
    expect([name, dtype]).toEqual([name, shape.length === 1 || name === 'position_embd.weight' ? 'F32' : 'F16']);
  expect(tensors.has('output.weight')).toBe(false);
  expect(unknownBytes).toBe(256 - 8);
});

test('weights that do not fit and a request to stop leave nothing, or what was there before', async () => {
  const [from, out] = [join(directory, 'm'), join(directory, 'm.gguf')];
  const { model } = modelOf({});
  model.head.assign(tensor(new Float32Array(model.head.size).fill(1e5), { shape: model.head.shape }));
  await saveModel(from, { model, tokenizer });
  const message = `${from}/model.safetensors: tensor "lm_head.weight" holds a value beyond F16; give --dtype float32`;
  expect(await refusal(exportModel(from, { out, dtype: 'F16' }))).toBe(message);
  expect(await readdir(directory)).toEqual(['m']);
  const done: number[] = [];
  const { bytes } = await exportModel(from, { out, onProgress: n => done.push(n) });
  expect(done.at(-1)).toBe(bytes);
  const before = await readFile(out);
  const stop = new AbortController();
  const onProgress = () => stop.abort(new Error('stopped'));
  await expect(exportModel(from, { out, signal: stop.signal, onProgress })).rejects.toThrow('stopped');
  expect(await readdir(directory)).toEqual(['m', 'm.gguf']);
  expect(await readFile(out)).toEqual(before);
});
