/**
 * `config.json` of a Hugging Face model directory, read and written. What changes the arithmetic is understood or
 * rejected, never ignored.
 */
import { show, UserError } from './errors.ts';
import type { Tokenizer } from './tokenizer/index.ts';
import { checkConfig, families, type Family, type RotaryScaling, type TransformerConfig } from './transformer.ts';

export type Fields = Readonly<Record<string, unknown>>;
export type FloatDType = 'F32' | 'F16' | 'BF16';

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

/**
 * Reads the fields of `config.json` that this transformer has, and refuses what it does not have rather than ignore it.
 */
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

/**
 * Rotary positions: θ, and how they are scaled. transformers 5 writes both into `rope_parameters`, earlier versions
 * into `rope_scaling` and beside it.
 */
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
