/** Model directories: what is written reads back the same, is what Hugging Face's files look like, and what does not fit is refused. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { beforeAll, describe, expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { formatConfig, loadModel, parseConfig, saveModel, type LanguageModel } from '../../models/checkpoint.ts';
import { UserError } from '../../models/files.ts';
import { score } from '../../models/score.ts';
import { trainBPE } from '../../models/tokenizer/index.ts';
import { initTransformer, type TransformerConfig } from '../../models/transformer.ts';
import { refusal, temporaryDirectory } from './temporary.ts';

const directory = temporaryDirectory();
const tokenizer = trainBPE(['to be or not to be that is the question'], { vocabSize: 40, alphabet: 'seen' });
const config: TransformerConfig = { family: 'llama', vocabSize: 48, width: 16, layers: 1, heads: 4, keyValueHeads: 2, feedForward: 24, context: 64, rotaryBase: 10000, normEps: 1e-6, tied: false };
const original: LanguageModel = { model: initTransformer(config, new Random(3)), tokenizer };
const sequence = { ids: Int32Array.from([0, ...tokenizer.encode('to be that'), 1]), bytes: 10 };

describe.each(['olmo', 'llama'] as const)('%s', family => {
  test.each(['F32', 'F16', 'BF16'] as const)('%s: written and read it predicts the same, to the precision of its floats', async dtype => {
    const model = { model: initTransformer({ ...config, family, normEps: family === 'olmo' ? 1e-5 : 1e-6, tied: family === 'olmo' }, new Random(4)), tokenizer };
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
    expect(new HuggingFace(files, settings).encode('to be', { add_special_tokens: false }).ids).toEqual([...tokenizer.encode('to be')]);
  });
});

describe('config.json', () => {
  const json = formatConfig(config, tokenizer, 'F32');
  test('round trip; a missing number of key/value heads is that of heads', () => {
    expect(parseConfig(json, 'config.json')).toEqual(config);
    expect(parseConfig({ ...json, num_key_value_heads: undefined }, 'config.json').keyValueHeads).toBe(4);
    expect([json.bos_token_id, json.eos_token_id, json.pad_token_id]).toEqual([0, 1, 2]);
  });

  test.each([
    [{ model_type: 'bert' }, 'model_type is "bert"; supported are "olmo" and "llama"'],
    [{ hidden_size: '16' }, 'hidden_size is "16"; it must be a number'],
    [{ hidden_act: 'gelu' }, 'hidden_act is "gelu"; only "silu" is supported'],
    [{ rope_scaling: { factor: 2 } }, 'rope_scaling is {"factor":2}; only null is supported'],
    [{ num_attention_heads: 5 }, 'width 16 over 5 heads gives no even head width'],
    [{ num_key_value_heads: 3 }, '4 heads are not a multiple of 3 key/value heads'],
    [{ num_hidden_layers: -1 }, 'layers is -1'],
  ])('%o is refused', (change, message) => {
    expect(() => parseConfig({ ...json, ...change }, 'config.json')).toThrow(new UserError(`config.json: ${message.startsWith('width') || /^\d|^layers/.test(message) ? 'transformer: ' : ''}${message}`).message);
  });
  test('something else than an object is refused', () => { expect(() => parseConfig([], 'config.json')).toThrow('config.json: is not a JSON object'); });
});

describe('directories that do not fit together', () => {
  const path = join(directory, 'broken');
  beforeAll(() => saveModel(path, original));
  const change = async (fields: object) => {
    const file = join(path, 'config.json');
    await writeFile(file, JSON.stringify({ ...formatConfig(config, tokenizer, 'F32'), ...fields }));
    return refusal(loadModel(path));
  };
  test('a weight is missing', async () => { expect(await change({ num_hidden_layers: 2 })).toContain('has no tensor "model.layers.1.self_attn.q_proj.weight"'); });
  test('a weight has another shape', async () => { expect(await change({ intermediate_size: 32 })).toContain('has shape [24, 16], and config.json asks for [32, 16]'); });
  test('the tokenizer has more tokens than the model rows; fewer are padding', async () => {
    expect(await change({ vocab_size: tokenizer.vocabSize - 1 })).toContain(`has ${tokenizer.vocabSize} tokens and the model ${tokenizer.vocabSize - 1} rows; it does not belong to this model`);
    await writeFile(join(path, 'config.json'), JSON.stringify(formatConfig(config, tokenizer, 'F32')));
    expect((await loadModel(path)).model.config.vocabSize).toBe(48);
  });
});
