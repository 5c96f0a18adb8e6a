/**
 * A checkpoint is a Hugging Face model directory: `config.json`, `model.safetensors` (one file or shards),
 * `tokenizer.json`. Directories of the families OLMo-1 (model_type "olmo") and LLaMA ("llama") load as they are, and
 * what is written here loads there.
 */
import { join } from 'node:path';
import { tensor, type Tensor } from '../engine/index.ts';
import { readJson, readText, UserError, writeDirectoryAtomic, writeFileAtomic } from './files.ts';
import { openCheckpoint, writeSafetensors, type TensorData, type TensorSource } from './safetensors.ts';
import { parseTokenizerJson, tokenizerToJson, type Tokenizer } from './tokenizer/index.ts';
import { checkConfig, weightShapes, type Transformer, type TransformerConfig, type Weights } from './transformer.ts';

export interface LanguageModel {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
}

/** Reads a model directory. Every weight the configuration asks for must be there, in its shape. */
export async function loadModel(directory: string): Promise<LanguageModel> {
  const configFile = join(directory, 'config.json');
  const config = parseConfig(await readJson(configFile), configFile);
  const tokenizer = await loadTokenizer(directory);
  checkTokenizer(directory, tokenizer, config);
  const source = await openCheckpoint(directory);
  const weights: Weights = {};
  for (const [name, shape] of Object.entries(weightShapes(config))) weights[name] = await readWeight(source, name, shape);
  return { model: { config, weights }, tokenizer };
}

export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const file = join(directory, 'tokenizer.json');
  return parseTokenizerJson(await readText(file), file);
}

/** A model may have more rows than its tokenizer has tokens (padding), never fewer. */
function checkTokenizer(directory: string, tokenizer: Tokenizer, config: TransformerConfig): void {
  if (tokenizer.vocabSize > config.vocabSize) {
    throw new UserError(`${join(directory, 'tokenizer.json')}: has ${tokenizer.vocabSize} tokens and the model ${config.vocabSize} rows; it does not belong to this model`);
  }
}

async function readWeight(source: TensorSource, name: string, shape: readonly number[]): Promise<Tensor> {
  const entry = source.tensors.get(name);
  if (entry !== undefined && entry.shape.join() !== shape.join()) {
    throw new UserError(`${source.path}: tensor "${name}" has shape [${entry.shape.join(', ')}], and config.json asks for [${shape.join(', ')}]`);
  }
  return tensor(await source.readFloats(name), { shape, requiresGrad: true });
}

/** Reads the fields of `config.json` that this transformer has, and refuses what it does not have rather than ignore it. */
export function parseConfig(json: unknown, file: string): TransformerConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new UserError(`${file}: is not a JSON object`);
  const fields = json as Record<string, unknown>;
  const family = fields.model_type;
  if (family !== 'olmo' && family !== 'llama') throw new UserError(`${file}: model_type is ${JSON.stringify(family)}; supported are "olmo" and "llama"`);
  const number = (key: string, fallback?: number): number => {
    const value = fields[key] ?? fallback;
    if (typeof value !== 'number') throw new UserError(`${file}: ${key} is ${JSON.stringify(fields[key])}; it must be a number`);
    return value;
  };
  const unsupported: [string, unknown][] = [['attention_bias', false], ['mlp_bias', false], ['clip_qkv', null], ['rope_scaling', null], ['hidden_act', 'silu']];
  for (const [key, neutral] of unsupported) {
    if ((fields[key] ?? neutral) !== neutral) throw new UserError(`${file}: ${key} is ${JSON.stringify(fields[key])}; only ${JSON.stringify(neutral)} is supported`);
  }
  const config: TransformerConfig = {
    family,
    vocabSize: number('vocab_size'),
    width: number('hidden_size'),
    layers: number('num_hidden_layers'),
    heads: number('num_attention_heads'),
    keyValueHeads: number('num_key_value_heads', number('num_attention_heads')),
    feedForward: number('intermediate_size'),
    context: number('max_position_embeddings', 2048),
    rotaryBase: number('rope_theta', 10000),
    normEps: family === 'olmo' ? 1e-5 : number('rms_norm_eps', 1e-6),
    tied: fields.tie_word_embeddings === true,
  };
  try {
    checkConfig(config);
  } catch (error) {
    throw new UserError(`${file}: ${(error as Error).message}`);
  }
  return config;
}

/** The `config.json` of a model, with what Hugging Face's libraries want to find there. */
export function formatConfig(config: TransformerConfig, tokenizer: Tokenizer, dtype: FloatDType): Record<string, unknown> {
  const { bos, eos, pad } = tokenizer.specialTokens;
  return {
    architectures: [config.family === 'olmo' ? 'OlmoForCausalLM' : 'LlamaForCausalLM'],
    model_type: config.family,
    vocab_size: config.vocabSize,
    hidden_size: config.width,
    intermediate_size: config.feedForward,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    max_position_embeddings: config.context,
    rope_theta: config.rotaryBase,
    hidden_act: 'silu',
    attention_bias: false,
    ...(config.family === 'olmo' ? { clip_qkv: null } : { rms_norm_eps: config.normEps, mlp_bias: false }),
    tie_word_embeddings: config.tied,
    bos_token_id: bos ?? null,
    eos_token_id: eos ?? null,
    pad_token_id: pad ?? null,
    use_cache: true,
    torch_dtype: dtype === 'F32' ? 'float32' : dtype === 'F16' ? 'float16' : 'bfloat16',
  };
}

/** The `tokenizer_config.json` by which Hugging Face's AutoTokenizer knows the class and the special tokens. */
function formatTokenizerConfig(tokenizer: Tokenizer): Record<string, unknown> {
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  const name = (id?: number) => (id === undefined ? null : tokenizer.token(id));
  return { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: name(bos), eos_token: name(eos), pad_token: name(pad), unk_token: name(unk), clean_up_tokenization_spaces: false };
}

export type FloatDType = 'F32' | 'F16' | 'BF16';

/** Writes a model directory whole or not at all. `extra` files (a record, a licence) go in beside. */
export async function saveModel(directory: string, { model, tokenizer }: LanguageModel, dtype: FloatDType = 'F32', extra: Readonly<Record<string, string>> = {}): Promise<void> {
  const tensors: Record<string, TensorData> = {};
  for (const [name, shape] of Object.entries(weightShapes(model.config))) {
    tensors[name] = { dtype, shape, data: (await model.weights[name].data()) as Float32Array };
  }
  await writeDirectoryAtomic(directory, async temporary => {
    await writeSafetensors(join(temporary, 'model.safetensors'), tensors, { format: 'pt' });
    await writeFileAtomic(join(temporary, 'config.json'), `${JSON.stringify(formatConfig(model.config, tokenizer, dtype), null, 2)}\n`);
    await writeFileAtomic(join(temporary, 'tokenizer.json'), tokenizerToJson(tokenizer));
    await writeFileAtomic(join(temporary, 'tokenizer_config.json'), `${JSON.stringify(formatTokenizerConfig(tokenizer), null, 2)}\n`);
    for (const [name, text] of Object.entries(extra)) await writeFileAtomic(join(temporary, name), text);
  });
}
