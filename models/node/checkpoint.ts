/**
 * A checkpoint is a Hugging Face model directory: `config.json`, `model.safetensors` (one file or shards),
 * `tokenizer.json`. Directories of the families OLMo-1 (model_type "olmo"), LLaMA ("llama") and GPT-2 ("gpt2") load as
 * they are, and what is written here loads there.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { tensor, type Tensor } from '../../engine/index.ts';
import { readJson, readText, writeDirectoryAtomic, writeFileAtomic } from './files.ts';
import { show, UserError } from '../errors.ts';
import { openCheckpoint, writeSafetensors, type TensorData, type TensorSource } from './safetensors.ts';
import { parseTokenizerJson, Tokenizer, tokenizerToJson } from '../tokenizer/index.ts';
import {
  checkConfig,
  families,
  weightShapes,
  type Family,
  type RotaryScaling,
  type Transformer,
  type TransformerConfig,
  type Weights,
} from '../transformer.ts';

export type Fields = Readonly<Record<string, unknown>>;

export interface LanguageModel {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
}

/** Reads a model directory. Every weight the configuration asks for must be there, in its shape. */
export async function loadModel(directory: string): Promise<LanguageModel> {
  const configFile = join(directory, 'config.json');
  const config = parseConfig(await readFields(configFile), configFile);
  const tokenizer = await loadTokenizer(directory);
  checkTokenizer(directory, tokenizer, config.vocabSize);
  const source = await openCheckpoint(directory);
  const weights: Weights = {};
  for (const [name, shape] of Object.entries(weightShapes(config)))
    weights[name] = await readWeight(source, storedName(source, name), shape);
  return { model: { config, weights }, tokenizer };
}

/** Of a directory, or a `tokenizer.json` itself, beside which `tokenizer_config.json` may lie. */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const file = path.endsWith('.json') ? path : join(path, 'tokenizer.json');
  const tokenizer = parseTokenizerJson(await readText(file), file);
  const configFile = join(dirname(file), 'tokenizer_config.json');
  return existsSync(configFile) ? withRoles(tokenizer, await readFields(configFile)) : tokenizer;
}

/** A tokenizer whose special tokens play the parts that `tokenizer_config.json` names; the file itself only lists them. */
function withRoles(tokenizer: Tokenizer, fields: Fields): Tokenizer {
  const roles = { ...tokenizer.specialTokens };
  for (const role of ['bos', 'eos', 'pad', 'unk'] as const) {
    const token = fields[`${role}_token`] as { content?: unknown } | string | null | undefined;
    const name = typeof token === 'string' ? token : token?.content;
    const id = typeof name === 'string' ? tokenizer.parts.special.get(name) : undefined;
    if (id !== undefined) roles[role] = id;
  }
  roles.bos ??= roles.eos;
  roles.eos ??= roles.bos;
  const same = (Object.keys(roles) as (keyof typeof roles)[]).every(
    role => roles[role] === tokenizer.specialTokens[role],
  );
  return same ? tokenizer : new Tokenizer({ ...tokenizer.parts, roles });
}

/** A JSON file that must hold an object. */
export async function readFields(path: string): Promise<Fields> {
  const json = await readJson(path);
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new UserError(`${path}: is not a JSON object`);
  return json as Fields;
}

/** A model may have more rows than its tokenizer has tokens (padding), never fewer. */
export function checkTokenizer(directory: string, tokenizer: Tokenizer, rows: number): void {
  if (tokenizer.vocabSize > rows) {
    throw new UserError(
      `${join(directory, 'tokenizer.json')}: has ${tokenizer.vocabSize} tokens and the model ${rows} rows; it does not belong to this model`,
    );
  }
}

/** A checkpoint of the bare transformer, such as GPT-2's own, lacks the first part of every name. */
export function storedName({ tensors }: TensorSource, name: string): string {
  const bare = name.replace(/^(model|transformer)\./, '');
  return !tensors.has(name) && tensors.has(bare) ? bare : name;
}

async function readWeight(source: TensorSource, name: string, shape: readonly number[]): Promise<Tensor> {
  const entry = source.tensors.get(name);
  if (entry !== undefined && entry.shape.join() !== shape.join()) {
    throw new UserError(
      `${source.path}: tensor "${name}" has shape [${entry.shape.join(', ')}], and config.json asks for [${shape.join(', ')}]`,
    );
  }
  return tensor(await source.readFloats(name), { shape, requiresGrad: true });
}

/**
 * What a field must say where this transformer knows one way only; null also stands for a missing field. Fields that
 * change nothing in what is computed here (dropout, how weights were initialised) are not read.
 */
const onlyWay: Readonly<Record<Family, Fields>> = {
  olmo: { attention_bias: false, clip_qkv: null, hidden_act: 'silu' },
  llama: { attention_bias: false, mlp_bias: false, hidden_act: 'silu' },
  gpt2: {
    activation_function: 'gelu_new',
    scale_attn_weights: true,
    scale_attn_by_inverse_layer_idx: false,
    add_cross_attention: false,
  },
};

/** Reads the fields of `config.json` that this transformer has, and refuses what it does not have rather than ignore it. */
export function parseConfig(fields: Fields, file: string): TransformerConfig {
  const family = families.find(f => f === fields.model_type);
  if (family === undefined)
    throw new UserError(
      `${file}: model_type is ${show(fields.model_type)}; supported are ${families.map(f => `"${f}"`).join(', ')}`,
    );
  for (const [key, value] of Object.entries(onlyWay[family])) {
    if ((fields[key] ?? value) !== value)
      throw new UserError(`${file}: ${key} is ${show(fields[key])}; only ${JSON.stringify(value)} is supported`);
  }
  const config = family === 'gpt2' ? parseGpt2(fields, file) : parseRotary(family, fields, file);
  try {
    checkConfig(config);
  } catch (error) {
    throw new UserError(`${file}: ${(error as Error).message}`);
  }
  return config;
}

function numberIn(fields: Fields, key: string, file: string, fallback?: number): number {
  const value = fields[key] ?? fallback;
  if (typeof value !== 'number') throw new UserError(`${file}: ${key} is ${show(fields[key])}; it must be a number`);
  return value;
}

function parseGpt2(fields: Fields, file: string): TransformerConfig {
  const number = (key: string, fallback?: number) => numberIn(fields, key, file, fallback);
  const [width, heads] = [number('n_embd'), number('n_head')];
  return {
    family: 'gpt2',
    vocabSize: number('vocab_size'),
    width,
    layers: number('n_layer'),
    heads,
    keyValueHeads: heads,
    feedForward: number('n_inner', 4 * width),
    context: number('n_positions', 1024),
    rotaryBase: 10000,
    normEps: number('layer_norm_epsilon', 1e-5),
    tied: fields.tie_word_embeddings !== false,
  };
}

function parseRotary(family: 'olmo' | 'llama', fields: Fields, file: string): TransformerConfig {
  const number = (key: string, fallback?: number) => numberIn(fields, key, file, fallback);
  const [width, heads] = [number('hidden_size'), number('num_attention_heads')];
  const D = number('head_dim', width / heads);
  return {
    family,
    vocabSize: number('vocab_size'),
    width,
    layers: number('num_hidden_layers'),
    heads,
    keyValueHeads: number('num_key_value_heads', heads),
    ...(D !== width / heads && { headWidth: D }),
    feedForward: number('intermediate_size'),
    context: number('max_position_embeddings', 2048),
    ...parsePositions(fields, file),
    normEps: family === 'olmo' ? 1e-5 : number('rms_norm_eps', 1e-6),
    tied: fields.tie_word_embeddings === true,
  };
}

/** Rotary positions: θ, and how they are scaled. transformers 5 writes both into `rope_parameters`, earlier versions into `rope_scaling` and beside it. */
function parsePositions(fields: Fields, file: string): Pick<TransformerConfig, 'rotaryBase' | 'rotaryScaling'> {
  const parameters = Object(fields.rope_parameters ?? {}) as Fields;
  const rotaryBase = numberIn('rope_theta' in parameters ? parameters : fields, 'rope_theta', file, 10000);
  const [key, scaling] =
    fields.rope_scaling == null ? ['rope_parameters', parameters] : ['rope_scaling', fields.rope_scaling as Fields];
  const type = scaling.rope_type ?? scaling.type ?? (key === 'rope_scaling' ? undefined : 'default');
  if ((type !== 'default' && type !== 'llama3') || (scaling.partial_rotary_factor ?? 1) !== 1)
    throw new UserError(`${file}: ${key} is ${show(fields[key])}; supported are the types "default" and "llama3"`);
  if (type === 'default') return { rotaryBase };
  const number = (name: string) => numberIn(scaling, name, `${file}: ${key}`);
  return {
    rotaryBase,
    rotaryScaling: {
      factor: number('factor'),
      lowFrequency: number('low_freq_factor'),
      highFrequency: number('high_freq_factor'),
      originalContext: number('original_max_position_embeddings'),
    },
  };
}

/** The `config.json` of a model, with what Hugging Face's libraries want to find there. */
export function formatConfig(
  config: TransformerConfig,
  tokenizer: Tokenizer,
  dtype: FloatDType,
): Record<string, unknown> {
  const { bos, eos, pad } = tokenizer.specialTokens;
  return {
    ...(config.family === 'gpt2' ? formatGpt2(config) : formatRotary(config)),
    tie_word_embeddings: config.tied,
    bos_token_id: bos ?? null,
    eos_token_id: eos ?? null,
    pad_token_id: pad ?? null,
    use_cache: true,
    torch_dtype: dtype === 'F32' ? 'float32' : dtype === 'F16' ? 'float16' : 'bfloat16',
  };
}

const formatGpt2 = (c: TransformerConfig) => ({
  architectures: ['GPT2LMHeadModel'],
  model_type: 'gpt2',
  vocab_size: c.vocabSize,
  n_embd: c.width,
  n_inner: c.feedForward,
  n_layer: c.layers,
  n_head: c.heads,
  n_positions: c.context,
  layer_norm_epsilon: c.normEps,
  activation_function: 'gelu_new',
});

const formatScaling = ({ factor, lowFrequency, highFrequency, originalContext }: RotaryScaling) => ({
  rope_type: 'llama3',
  factor,
  low_freq_factor: lowFrequency,
  high_freq_factor: highFrequency,
  original_max_position_embeddings: originalContext,
});

const formatRotary = (c: TransformerConfig) => ({
  architectures: [c.family === 'olmo' ? 'OlmoForCausalLM' : 'LlamaForCausalLM'],
  model_type: c.family,
  vocab_size: c.vocabSize,
  hidden_size: c.width,
  intermediate_size: c.feedForward,
  num_hidden_layers: c.layers,
  num_attention_heads: c.heads,
  num_key_value_heads: c.keyValueHeads,
  ...(c.headWidth !== undefined && { head_dim: c.headWidth }),
  max_position_embeddings: c.context,
  rope_theta: c.rotaryBase,
  ...(c.rotaryScaling && { rope_scaling: formatScaling(c.rotaryScaling) }),
  hidden_act: 'silu',
  attention_bias: false,
  ...(c.family === 'olmo' ? { clip_qkv: null } : { rms_norm_eps: c.normEps, mlp_bias: false }),
});

/** The `tokenizer_config.json` by which Hugging Face's AutoTokenizer knows the class and the special tokens. */
function formatTokenizerConfig(tokenizer: Tokenizer): Record<string, unknown> {
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  const name = (id?: number) => (id === undefined ? null : tokenizer.token(id));
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: name(bos),
    eos_token: name(eos),
    pad_token: name(pad),
    unk_token: name(unk),
    clean_up_tokenization_spaces: false,
  };
}

export async function saveTokenizer(directory: string, tokenizer: Tokenizer): Promise<void> {
  await writeFileAtomic(join(directory, 'tokenizer.json'), tokenizerToJson(tokenizer));
  await writeFileAtomic(
    join(directory, 'tokenizer_config.json'),
    `${JSON.stringify(formatTokenizerConfig(tokenizer), null, 2)}\n`,
  );
}

export type FloatDType = 'F32' | 'F16' | 'BF16';

/** Writes a model directory whole or not at all. `extra` files (a record, a licence) go in beside. */
export async function saveModel(
  directory: string,
  { model, tokenizer }: LanguageModel,
  dtype: FloatDType = 'F32',
  extra: Readonly<Record<string, string>> = {},
): Promise<void> {
  const tensors: Record<string, TensorData> = {};
  for (const [name, shape] of Object.entries(weightShapes(model.config))) {
    tensors[name] = { dtype, shape, data: (await model.weights[name].data()) as Float32Array };
  }
  await writeDirectoryAtomic(directory, async temporary => {
    await writeSafetensors(join(temporary, 'model.safetensors'), tensors, { format: 'pt' });
    await writeFileAtomic(
      join(temporary, 'config.json'),
      `${JSON.stringify(formatConfig(model.config, tokenizer, dtype), null, 2)}\n`,
    );
    await saveTokenizer(temporary, tokenizer);
    for (const [name, text] of Object.entries(extra)) await writeFileAtomic(join(temporary, name), text);
  });
}
