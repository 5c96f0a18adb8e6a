/**
 * Model directories: what is written reads back the same, is what Hugging Face's files look like, and what does not fit
 * is rejected.
 */
import { existsSync, truncateSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { memory, Parking, Random, tensor } from '../../../engine/index.ts';
import {
  modelTensors,
  modelTensorsInTurn,
  readModel,
  withRows,
  type LanguageModel,
  type ModelFiles,
} from '../../../models/checkpoint.ts';
import { configText, formatConfig, parseConfig } from '../../../models/config.ts';
import { loadModel, loadTokenizer, openModel, saveModel } from '../../../models/node/checkpoint.ts';
import { score } from '../../../models/score.ts';
import { importModel } from '../../../models/node/import.ts';
import { readSafetensors, writeSafetensors } from '../../../models/node/safetensors.ts';
import type { TensorData } from '../../../models/safetensors/write.ts';
import { storedTensors } from '../../../models/stored.ts';
import { Tokenizer, trainBPE } from '../../../models/tokenizer/index.ts';
import { familyNames } from '../../../models/families.ts';
import { initTransformer } from '../../../models/init.ts';
import type { TransformerConfig } from '../../../models/transformer-config.ts';
import { parameters } from '../../../models/weights.ts';
import { configs } from '../../arbitraries/models.ts';
import { refusal, temporaryDirectory } from '../temporary.ts';

const directory = temporaryDirectory();
const tokenizer = trainBPE(['to be or not to be that is the question'], { vocabSize: 40, alphabet: 'seen' });
const config: TransformerConfig = {
  family: 'llama',
  vocabSize: 48,
  width: 16,
  layers: 1,
  heads: 4,
  keyValueHeads: 2,
  feedForward: 24,
  context: 64,
  rotaryBase: 10000,
  normEps: 1e-6,
  tied: false,
};
const original: LanguageModel = { model: initTransformer(config, new Random(3)), tokenizer };
const sequence = { ids: Int32Array.from([0, ...tokenizer.encode('to be that'), 1]), bytes: 10 };

test('weights beyond float16: one line names the directory and what helps, and nothing is written', async () => {
  const model = initTransformer(config, new Random(3));
  const [weight] = Object.values(parameters(model));
  weight.assign(tensor(new Float32Array(weight.size).fill(1e5), { shape: weight.shape }));
  const path = join(directory, 'grown');
  const grown = `${path}: weights have grown beyond what float16 holds (tensor "model.embed_tokens.weight"); `;
  expect(await refusal(saveModel(path, { model, tokenizer }, 'F16'))).toBe(
    `${grown}lower --rate, or give --dtype float32`,
  );
  expect(await refusal(saveModel(path, { model, tokenizer }, 'F16', { remedy: 'lower --rate' }))).toBe(
    `${grown}lower --rate`,
  );
  expect(existsSync(path)).toBe(false);
  await saveModel(path, { model, tokenizer }, 'BF16');
});

describe.each(familyNames)('%s', family => {
  const own: TransformerConfig = {
    ...config,
    family,
    keyValueHeads: family === 'gpt2' || family === 'gpt_neox' ? 4 : 2,
    normEps: family === 'olmo' ? 1e-5 : 1e-6,
    tied: family !== 'llama',
  };
  test.each(['F32', 'F16', 'BF16'] as const)(
    '%s: written and read it predicts the same, to the precision of its floats',
    async dtype => {
      const model = { model: initTransformer(own, new Random(4)), tokenizer };
      const path = join(directory, `${family}-${dtype}`);
      await saveModel(path, model, dtype);
      const again = await loadModel(path);
      expect(again.model.config).toEqual(model.model.config);
      expect(again.tokenizer.hash).toBe(tokenizer.hash);
      const [[a], [b]] = [await score(model.model, [sequence]), await score(again.model, [sequence])];
      // Relative precision of the weights, times a logit's scale; float32 is exact.
      const unit = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 }[dtype];
      expect(Math.abs(a.nats - b.nats) / a.tokens).toBeLessThanOrEqual(4 * unit);
      const files = JSON.parse(await readFile(join(path, 'tokenizer.json'), 'utf8')) as object;
      const settings = JSON.parse(await readFile(join(path, 'tokenizer_config.json'), 'utf8')) as object;
      const named = Object.entries(tokenizer.specialTokens).map(([role, id]) => [
        `${role}_token`,
        id === undefined ? null : tokenizer.token(id),
      ]);
      expect(settings).toMatchObject(Object.fromEntries(named));
      expect(new HuggingFace(files, settings).encode('to be', { add_special_tokens: false }).ids).toEqual([
        ...tokenizer.encode('to be'),
      ]);
    },
  );

  test.each([
    ['F32', 4],
    ['BF16', 2],
    ['F16', 2],
  ] as const)('of %s it says that its weights wait in %i bytes each', async (dtype, bytes) => {
    const path = join(directory, `${family}-${dtype}-parked`);
    const model = initTransformer(own, new Random(6));
    await saveModel(path, { model, tokenizer }, dtype);
    const weights = Object.values(parameters(model)).reduce((n, w) => n + w.size, 0);
    expect((await loadModel(path, { parking: () => new Parking() })).parkedBytes).toBe(bytes * weights);
    expect((await loadModel(path)).parkedBytes).toBe(0);
  });

  test('weights are read one tensor at a time where each is written in its turn', async () => {
    const model = initTransformer(own, new Random(5));
    const tensors = Object.entries(await modelTensors(model, 'BF16'));
    const inTurn = modelTensorsInTurn(model, 'BF16');
    const reads = Object.values(parameters(model)).map(w => vi.spyOn(w, 'data'));
    expect(Object.keys(inTurn)).toEqual(tensors.map(([name]) => name));
    const done = () => reads.reduce((n, read) => n + read.mock.calls.length, 0);
    expect(done()).toBe(0);
    for (const [name, { data, ...rest }] of tensors) {
      const before = done();
      const { data: chunks, ...restInTurn } = inTurn[name];
      const parts: Float32Array[] = [];
      for await (const part of (chunks as () => AsyncIterable<Float32Array>)()) parts.push(part);
      expect([restInTurn, parts], name).toEqual([rest, [data]]);
      expect(done() - before).toBe(storedTensors(own).find(stored => stored.name === name)!.parts.length);
    }
  });

  test('names without their first part are read too', async () => {
    const model = initTransformer(own, new Random(4));
    const path = join(directory, `${family}-bare`);
    await saveModel(path, { model, tokenizer });
    const named = Object.entries(await modelTensors(model, 'F32')).map(([name, data]) => [
      name.replace(/^(model|transformer|gpt_neox)\./, ''),
      data,
    ]);
    await writeSafetensors(join(path, 'model.safetensors'), Object.fromEntries(named) as Record<string, TensorData>);
    const again = parameters((await loadModel(path)).model);
    for (const [name, w] of Object.entries(parameters(model)))
      expect(again[name].dataSync(), name).toEqual(w.dataSync());
  });
});

describe('config.json', () => {
  const json = formatConfig(config, tokenizer, 'F32');
  const llama3 = {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  test('round trip; a missing number of key/value heads is that of heads', () => {
    expect(parseConfig(json, 'config.json')).toEqual(config);
    expect(parseConfig({ ...json, num_key_value_heads: undefined }, 'config.json').keyValueHeads).toBe(4);
    expect([json.bos_token_id, json.eos_token_id, json.pad_token_id]).toEqual([0, 1, 2]);
  });

  test('any configuration of any family is read as it was written', () => {
    fc.assert(
      fc.property(configs, own => {
        const again = parseConfig(formatConfig(own, tokenizer, 'F32'), 'config.json');
        const { headWidth, ...rest } = own;
        expect(again).toEqual({
          ...rest,
          ...(headWidth !== undefined && headWidth !== own.width / own.heads && { headWidth }),
          // No field: OLMo's norm has a number of its own, GPT-2 has no rotary positions.
          ...(own.family === 'olmo' && { normEps: 1e-5 }),
          ...(own.family === 'gpt2' && { rotaryBase: 10000 }),
        });
      }),
    );
  });

  test('a whole number has a point where transformers asks for a float', () => {
    const text = configText(formatConfig({ ...config, family: 'olmo', clip: 8 }, tokenizer, 'F32'));
    expect(text).toContain('\n  "clip_qkv": 8.0,\n');
    expect(configText({ clip_qkv: 0.5, vocab_size: 8 })).toBe('{\n  "clip_qkv": 0.5,\n  "vocab_size": 8\n}\n');
    expect(configText({ rms_norm_eps: 1 })).toBe('{\n  "rms_norm_eps": 1.0\n}\n');
    expect(configText({ rms_norm_eps: 1e-6 })).toBe('{\n  "rms_norm_eps": 0.000001\n}\n');
  });

  test('missing fields get the defaults of transformers', () => {
    const least = {
      vocab_size: 9,
      hidden_size: 256,
      num_hidden_layers: 1,
      num_attention_heads: 32,
      intermediate_size: 12,
    };
    const read = (model_type: string, more = {}) => parseConfig({ model_type, ...least, ...more }, 'config.json');
    expect(read('mistral')).toMatchObject({ keyValueHeads: 8, context: 131_072, window: 4096 });
    expect(read('mistral', { sliding_window: null })).not.toHaveProperty('window');
    expect(read('qwen2')).toMatchObject({ keyValueHeads: 32, context: 32_768, tied: false });
    expect(read('qwen2')).not.toHaveProperty('window');
    expect(read('qwen2', { use_sliding_window: true, max_window_layers: 0 })).toMatchObject({ window: 4096 });
    expect(read('qwen2', { use_sliding_window: true })).not.toHaveProperty('window'); // from layer 28 on
    expect(read('qwen3')).toMatchObject({ headWidth: 128 });
    expect(read('gpt_neox')).toMatchObject({ rotaryShare: 0.25, parallel: true, normEps: 1e-5 });
    expect(read('olmo2')).toMatchObject({ normEps: 1e-5 });
    expect(
      read('llama', { rope_scaling: { type: 'linear', factor: 2, rope_theta: 5e5 }, rope_theta: 7 }),
    ).toMatchObject({
      rotaryBase: 5e5,
      rotaryScaling: { kind: 'linear', factor: 2 },
    });
  });

  test('of GPT-2: its own names; missing fields get the values of GPT-2', () => {
    const own: TransformerConfig = { ...config, family: 'gpt2', keyValueHeads: 4, normEps: 1e-5, tied: true };
    expect(parseConfig(formatConfig(own, tokenizer, 'F32'), 'config.json')).toEqual(own);
    expect(
      parseConfig(
        { model_type: 'gpt2', vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_inner: null },
        'config.json',
      ),
    ).toEqual({
      family: 'gpt2',
      vocabSize: 50257,
      width: 768,
      layers: 12,
      heads: 12,
      keyValueHeads: 12,
      feedForward: 3072,
      context: 1024,
      rotaryBase: 10000,
      normEps: 1e-5,
      tied: true,
    });
  });

  test('of LLaMA: missing fields get the defaults of transformers', () => {
    expect(
      parseConfig(
        {
          model_type: 'llama',
          vocab_size: 9,
          hidden_size: 8,
          num_hidden_layers: 1,
          num_attention_heads: 2,
          intermediate_size: 12,
        },
        'config.json',
      ),
    ).toEqual({
      family: 'llama',
      vocabSize: 9,
      width: 8,
      layers: 1,
      heads: 2,
      keyValueHeads: 2,
      feedForward: 12,
      context: 2048,
      rotaryBase: 10000,
      normEps: 1e-6,
      tied: false,
    });
  });

  test('of LLaMA: a separate head width; the rotary base where transformers 5 puts it', () => {
    expect(parseConfig({ ...json, head_dim: 4 }, 'config.json')).toEqual(config);
    const wide = { ...config, headWidth: 6 };
    expect(parseConfig(formatConfig(wide, tokenizer, 'F32'), 'config.json')).toEqual(wide);
    expect(
      parseConfig(
        { ...json, rope_theta: undefined, rope_parameters: { rope_type: 'default', rope_theta: 500000 } },
        'config.json',
      ).rotaryBase,
    ).toBe(500000);
    const scaled = {
      ...config,
      rotaryScaling: { kind: 'llama3' as const, factor: 8, lowFrequency: 1, highFrequency: 4, originalContext: 8192 },
    };
    expect(formatConfig(scaled, tokenizer, 'F32').rope_scaling).toEqual(llama3);
    expect(parseConfig(formatConfig(scaled, tokenizer, 'F32'), 'config.json')).toEqual(scaled);
    expect(parseConfig({ ...json, rope_parameters: { ...llama3, rope_theta: 10000 } }, 'config.json')).toEqual(scaled);
    const { rope_type: type, ...older } = llama3;
    expect(parseConfig({ ...json, rope_scaling: { ...older, type } }, 'config.json')).toEqual(scaled);
  });

  const neox = { model_type: 'gpt_neox', attention_bias: true, hidden_act: 'gelu' };
  const positions = 'supported are the types "default", "linear" and "llama3"';
  test.each([
    [
      { model_type: 'gpt2', activation_function: 'relu' },
      'activation_function is "relu"; supported are "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast"',
    ],
    [
      { model_type: 'gpt2', scale_attn_by_inverse_layer_idx: true },
      'scale_attn_by_inverse_layer_idx is true; only false is supported',
    ],
    [{ attention_bias: true }, 'attention_bias is true; only false is supported'],
    [{ model_type: 'gpt_neox', attention_bias: false }, 'attention_bias is false; only true is supported'],
    [
      { rope_parameters: { rope_type: 'yarn', rope_theta: 5e5 } },
      `rope_parameters is {"rope_type":"yarn","rope_theta":500000}; ${positions}`,
    ],
    [
      { rope_parameters: { full_attention: { rope_type: 'default' } } },
      `rope_parameters is {"full_attention":{"rope_type":"default"}}; ${positions}`,
    ],
    [
      { rope_scaling: { rope_type: 'llama3', factor: 8 } },
      'rope_scaling: low_freq_factor is nothing; it must be a number',
    ],
    [{ rope_scaling: { type: 'linear', factor: -1 } }, 'rotaryScaling {"kind":"linear","factor":-1} must be positive'],
    [{ rope_scaling: { ...llama3, high_freq_factor: 1 } }, 'rotaryScaling {"kind":"llama3","factor":8'],
    [{ partial_rotary_factor: 0.5 }, 'partial_rotary_factor is 0.5; only 1 is supported'],
    [{ head_dim: 5 }, 'a head is 5 wide'],
    [{ model_type: 'bert' }, 'model_type is "bert"; supported are "olmo", "llama", "gpt2"'],
    [{ model_type: 'bloom' }, 'model_type is "bloom" with ALiBi positions; supported are "olmo"'],
    [
      { model_type: 'gemma2', final_logit_softcapping: 30 },
      'final_logit_softcapping is 30; this package does not support soft caps on logits',
    ],
    [
      { model_type: 'mixtral', num_local_experts: 8 },
      'num_local_experts is 8; this package does not support mixtures of experts',
    ],
    [{ alibi: true }, 'alibi is true; this package does not support ALiBi positions'],
    [
      { quantization_config: { bits: 4 } },
      'quantization_config is {"bits":4}; this package does not support quantised',
    ],
    [{ layer_types: ['full_attention', 'linear_attention'] }, 'layer_types has "linear_attention"; only'],
    [{ model_type: 'qwen2', layer_types: ['sliding_attention'] }, 'layer_types has "sliding_attention"; only'],
    [{ model_type: 'mistral', sliding_window: 0 }, 'window is 0; it must be a whole number of 1 or more'],
    [{ model_type: 'olmo', clip_qkv: -8 }, 'clip is -8; it must be positive'],
    [{ ...neox, rotary_pct: 0.1 }, '0 of the 4 elements of a head turn'],
    [{ hidden_size: '16' }, 'hidden_size is "16"; it must be a number'],
    [{ hidden_act: 'gelu' }, 'hidden_act is "gelu"; supported are "silu", "swish"'],
    [{ rope_scaling: { factor: 2 } }, `rope_scaling is {"factor":2}; ${positions}`],
    [{ rope_scaling: 'linear' }, `rope_scaling is "linear"; ${positions}`],
    [{ num_attention_heads: 5 }, 'width 16 is not a multiple of 5 heads'],
    [{ num_key_value_heads: 3 }, '4 heads are not a multiple of 3 key/value heads'],
    [{ num_hidden_layers: -1 }, 'layers is -1'],
    [{ num_hidden_layers: 20_000 }, '20000 layers are more than any model has; the limit is 10000'],
  ])('%o is rejected', (change, message) => {
    expect(() => parseConfig({ ...json, ...change }, 'config.json')).toThrow(
      new RegExp(`^config\\.json: (transformer: )?${message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`),
    );
  });
});

test('tokenizer_config.json gives the role of each special token; names give the rest', async () => {
  const path = join(directory, 'roles');
  await saveModel(path, original);
  const roles = async (fields: object) => {
    await writeFile(join(path, 'tokenizer_config.json'), JSON.stringify(fields));
    const loaded = await loadTokenizer(path);
    expect(loaded.hash).toBe(tokenizer.hash);
    return loaded.specialTokens;
  };
  expect(await roles({})).toEqual({ bos: 0, eos: 1, pad: 2, unk: 3 });
  expect(
    await roles({ bos_token: '<pad>', eos_token: { content: '<s>', lstrip: false }, pad_token: null, unk_token: 'to' }),
  ).toEqual({ bos: 2, eos: 0, pad: 2, unk: 3 });
  expect((await loadTokenizer(join(path, 'tokenizer.json'))).specialTokens).toEqual({ bos: 2, eos: 0, pad: 2, unk: 3 });
});

describe('a tokenizer in its older form is told with the command that converts it', () => {
  test.each([
    [['vocab.json', 'merges.txt'], 'vocab.json and merges.txt'],
    [['tokenizer.model', 'tokenizer_config.json'], 'tokenizer.model'],
    [['spiece.model'], 'spiece.model'],
    [['vocab.json'], undefined],
    [['tokenizer_config.json'], undefined],
  ])('%j', async (names, older) => {
    const path = join(directory, `older-${names.join('-').replaceAll('.', '-')}`);
    await saveModel(path, original);
    await rm(join(path, 'tokenizer.json'));
    for (const name of names) await writeFile(join(path, name), name.endsWith('.json') ? '{}' : Uint8Array.of(255, 0));
    const missing = `${path}/tokenizer.json: no such file`;
    const convert = `AutoTokenizer.from_pretrained("${path}").save_pretrained("${path}")`;
    const message =
      older === undefined
        ? `${missing} or directory; check the path`
        : `${missing}, and the older form of a tokenizer (${older}) is not read; convert it with ` +
          `python -c 'from transformers import AutoTokenizer; ${convert}'`;
    expect(await refusal(loadModel(path))).toBe(message);
    expect(await refusal(loadTokenizer(path))).toBe(message);
  });

  test('not where tokenizer.json is there too, or another file was named', async () => {
    const path = join(directory, 'both-forms');
    await saveModel(path, original);
    await writeFile(join(path, 'tokenizer.model'), Uint8Array.of(255, 0));
    expect((await loadModel(path)).tokenizer.hash).toBe(tokenizer.hash);
    expect(await refusal(loadTokenizer(join(path, 'other.json')))).toBe(
      `${join(path, 'other.json')}: no such file or directory; check the path`,
    );
  });
});

describe('directories that do not fit together', () => {
  const path = join(directory, 'broken');
  beforeAll(() => saveModel(path, original));
  const change = async (fields: object) => {
    const file = join(path, 'config.json');
    await writeFile(file, JSON.stringify({ ...formatConfig(config, tokenizer, 'F32'), ...fields }));
    return refusal(loadModel(path));
  };
  test('a configuration that is not an object', async () => {
    await writeFile(join(path, 'config.json'), '[]');
    expect(await refusal(loadModel(path))).toContain('config.json: is not a JSON object');
  });
  test('a weight is missing', async () => {
    expect(await change({ num_hidden_layers: 2 })).toContain('has no tensor "model.layers.1.self_attn.q_proj.weight"');
  });
  test('a weight has another shape', async () => {
    expect(await change({ intermediate_size: 32 })).toContain('has shape [24, 16], and config.json asks for [32, 16]');
  });
  test('the tokenizer has more tokens than the model rows; fewer are padding', async () => {
    expect(await change({ vocab_size: tokenizer.vocabSize - 1 })).toContain(
      `has ${tokenizer.vocabSize} tokens and the model ${tokenizer.vocabSize - 1} rows; it does not belong to ` +
        'this model',
    );
    expect(withRows(path, tokenizer, tokenizer.vocabSize)).toBe(tokenizer);
    // Added tokens may lie beyond the rows, as CodeLlama's do.
    const id = tokenizer.vocabSize;
    const more = new Tokenizer({
      ...tokenizer.parts,
      added: [...tokenizer.parts.added, { ...tokenizer.parts.added[0], content: '<fill>', id }],
    });
    const used = withRows(path, more, id);
    expect(used.encode('to be')).toEqual(tokenizer.encode('to be'));
    expect(used.hash).toBe(more.hash);
    expect(() => used.encode('<fill>', { allowSpecial: true })).toThrow(
      `the text has the token "<fill>" (id ${id}), for which the model has no row: it has ${id}`,
    );
    await writeFile(join(path, 'config.json'), JSON.stringify(formatConfig(config, tokenizer, 'F32')));
    expect((await loadModel(path)).model.config.vocabSize).toBe(48);
  });
});

/** A model directory whose tensor `name` is another one. */
async function withTensor(path: string, name: string, data: TensorData): Promise<string> {
  await saveModel(path, original, data.dtype as 'F32');
  const whole = await readSafetensors(join(path, 'model.safetensors'));
  const tensors = new Map<string, TensorData>();
  for (const [each, { dtype, shape }] of whole.tensors)
    tensors.set(each, { dtype, shape, data: () => whole.blocks(each) });
  expect(tensors.has(name)).toBe(true);
  await writeSafetensors(join(path, 'other.safetensors'), tensors.set(name, data));
  await rename(join(path, 'other.safetensors'), join(path, 'model.safetensors'));
  return path;
}

describe('import rejects a tensor that is not finite', () => {
  test.each([
    ['F32', 'model.embed_tokens.weight', [48, 16], NaN, undefined],
    ['F32', 'lm_head.weight', [48, 16], Infinity, 'F16'],
    ['BF16', 'model.norm.weight', [16], -Infinity, 'F32'],
    ['F16', 'lm_head.weight', [48, 16], NaN, undefined],
  ] as const)('%s %s', async (dtype, name, shape, value, to) => {
    const values = new Float32Array(shape.reduce<number>((a, b) => a * b, 1));
    values[5] = value;
    const path = await withTensor(join(directory, `not-finite-${dtype}-${name}`), name, {
      dtype,
      shape: [...shape],
      data: values,
    });
    const out = `${path}-imported`;
    expect(await refusal(importModel(path, { out, dtype: to }))).toBe(
      `${path}/model.safetensors: tensor "${name}" holds a value that is NaN or infinite; ` +
        'download or convert the model again',
    );
    expect(existsSync(out)).toBe(false);
  });
});

describe('a model that is rejected leaves no tensor in memory', () => {
  test('where a later tensor has another shape', async () => {
    const path = await withTensor(join(directory, 'another-shape'), 'lm_head.weight', {
      dtype: 'F32',
      shape: [48, 15],
      data: new Float32Array(48 * 15),
    });
    const before = memory();
    expect(await refusal(loadModel(path))).toContain('lm_head.weight');
    expect(memory()).toEqual(before);
  });

  test('where a later tensor is no float', async () => {
    const path = await withTensor(join(directory, 'no-float'), 'lm_head.weight', {
      dtype: 'F32',
      shape: [48, 16],
      data: new Float32Array(48 * 16),
    });
    const file = join(path, 'model.safetensors');
    const bytes = await readFile(file);
    const at = bytes.indexOf('F32', bytes.indexOf('"lm_head.weight"'));
    await writeFile(file, Buffer.concat([bytes.subarray(0, at), Buffer.from('I32'), bytes.subarray(at + 3)]));
    const before = memory();
    expect(await refusal(loadModel(path))).toContain('lm_head.weight');
    expect(memory()).toEqual(before);
  });

  test('where a file ends while it is read', async () => {
    const path = join(directory, 'cut-while-read');
    await saveModel(path, original);
    const before = memory();
    const files = await openModel(path);
    let alive = 0;
    const cut: ModelFiles = {
      ...files,
      async tensors() {
        const source = await files.tensors();
        return {
          ...source,
          readFloats(name) {
            if (name === 'lm_head.weight') {
              alive = memory().tensors - before.tensors;
              truncateSync(join(path, 'model.safetensors'), 4096);
            }
            return source.readFloats(name);
          },
        };
      },
    };
    expect(await refusal(readModel(cut))).toContain('model.safetensors');
    expect(alive).toBeGreaterThan(1);
    expect(memory()).toEqual(before);
  });
});
