/**
 * The fields of `config.json` that are read of each family, what transformers takes for those that are missing, and
 * fields of other architectures that are rejected. Other fields (dropout, how weights were initialised) change nothing
 * in what is computed here and are not read. `config.ts` reads and writes by these tables.
 */
import type { Activation, FamilyName } from './families.ts';

/** The fields of a JSON object. */
export type Fields = Readonly<Record<string, unknown>>;

/** The numbers of `TransformerConfig` that are fields of their own. */
export type NumberKey =
  | 'vocabSize'
  | 'width'
  | 'layers'
  | 'heads'
  | 'keyValueHeads'
  | 'headWidth'
  | 'feedForward'
  | 'context'
  | 'normEps'
  | 'clip'
  | 'window'
  | 'windowFrom';

/** A field, and what transformers takes where it is missing: undefined is an error, null is "none". */
type NumberField = readonly [field: string, missing?: number | null];

/** What is read of a family. */
export interface FamilyFields {
  readonly numbers: Readonly<Partial<Record<NumberKey, NumberField>>>;
  readonly activation: string;
  /** `tie_word_embeddings` where it is missing. */
  readonly tied: boolean;
  /** Beside a dictionary that says it: θ of rotary positions, and the share of a head that turns. */
  readonly rotary?: { readonly base: string; readonly share?: NumberField };
  /** A window counts only where this field is true. */
  readonly windowIf?: string;
  /** Whether the residual branches are parallel. */
  readonly parallel?: readonly [field: string, missing: boolean];
  /** What a field must say where only one way is computed; null and a missing field say the same. */
  readonly only: Fields;
}

/** LLaMA's names, which most families have taken over. */
const sizes: FamilyFields['numbers'] = {
  vocabSize: ['vocab_size'],
  width: ['hidden_size'],
  layers: ['num_hidden_layers'],
  heads: ['num_attention_heads'],
  keyValueHeads: ['num_key_value_heads', null],
  headWidth: ['head_dim', null],
  feedForward: ['intermediate_size'],
  context: ['max_position_embeddings', 2048],
};

const llama: FamilyFields = {
  numbers: { ...sizes, normEps: ['rms_norm_eps', 1e-6] },
  activation: 'hidden_act',
  tied: false,
  rotary: { base: 'rope_theta' },
  only: { attention_bias: false, mlp_bias: false },
};

const qwen: FamilyFields = {
  ...llama,
  numbers: {
    ...llama.numbers,
    keyValueHeads: ['num_key_value_heads', 32],
    context: ['max_position_embeddings', 32768],
    window: ['sliding_window', 4096],
    windowFrom: ['max_window_layers', 28],
  },
  windowIf: 'use_sliding_window',
  only: { attention_bias: false },
};

/** The fields that are read of each family, and what transformers takes for those that are missing. */
export const fieldTable: Readonly<Record<FamilyName, FamilyFields>> = {
  olmo: {
    ...llama,
    numbers: { ...sizes, clip: ['clip_qkv', null] },
    only: { attention_bias: false },
  },
  llama,
  gpt2: {
    numbers: {
      vocabSize: ['vocab_size'],
      width: ['n_embd'],
      layers: ['n_layer'],
      heads: ['n_head'],
      feedForward: ['n_inner', null],
      context: ['n_positions', 1024],
      normEps: ['layer_norm_epsilon', 1e-5],
    },
    activation: 'activation_function',
    tied: true,
    only: { scale_attn_weights: true, scale_attn_by_inverse_layer_idx: false, add_cross_attention: false },
  },
  olmo2: {
    ...llama,
    numbers: { ...sizes, normEps: ['rms_norm_eps', 1e-5] },
    only: { attention_bias: false },
  },
  mistral: {
    ...llama,
    numbers: {
      ...llama.numbers,
      keyValueHeads: ['num_key_value_heads', 8],
      context: ['max_position_embeddings', 131072],
      window: ['sliding_window', 4096],
    },
    only: {},
  },
  qwen2: qwen,
  qwen3: { ...qwen, numbers: { ...qwen.numbers, headWidth: ['head_dim', 128] } },
  gpt_neox: {
    numbers: {
      vocabSize: ['vocab_size'],
      width: ['hidden_size'],
      layers: ['num_hidden_layers'],
      heads: ['num_attention_heads'],
      feedForward: ['intermediate_size'],
      context: ['max_position_embeddings', 2048],
      normEps: ['layer_norm_eps', 1e-5],
    },
    activation: 'hidden_act',
    tied: false,
    rotary: { base: 'rotary_emb_base', share: ['rotary_pct', 0.25] },
    parallel: ['use_parallel_residual', true],
    only: { attention_bias: true },
  },
};

/**
 * Fields of other architectures that change the arithmetic, whatever the family says it is. Null, false, 0 and 1 leave
 * a feature out: no cap, no experts, a factor of 1.
 */
export const notComputed: Readonly<Record<string, string>> = {
  final_logit_softcapping: 'soft caps on logits',
  attn_logit_softcapping: 'soft caps on attention',
  num_local_experts: 'mixtures of experts',
  num_experts: 'mixtures of experts',
  n_routed_experts: 'mixtures of experts',
  moe_intermediate_size: 'mixtures of experts',
  alibi: 'ALiBi positions',
  use_alibi: 'ALiBi positions',
  logit_scale: 'scaled logits',
  logits_scaling: 'scaled logits',
  attention_multiplier: 'scaled attention',
  query_pre_attn_scalar: 'scaled attention',
  residual_multiplier: 'scaled residuals',
  embedding_multiplier: 'scaled embeddings',
  scale_emb: 'scaled embeddings',
  scale_depth: 'scaled residuals',
  hidden_size_per_layer_input: 'embeddings of each layer',
  no_rope_layers: 'layers without positions',
  attention_chunk_size: 'attention in chunks',
  use_qk_norm: 'query/key norms of this family',
  qk_layernorm: 'query/key norms of this family',
  kv_lora_rank: 'latent attention',
  quantization_config: 'quantised weights',
};

/**
 * Fields that transformers takes as floats only: it rejects a whole number, and JavaScript writes 8.0 as 8.
 */
export const floatFields = ['clip_qkv', 'initializer_range', 'rms_norm_eps', 'layer_norm_eps', 'layer_norm_epsilon'];

/** Why models of some other types are not supported, where no field says so. */
export const otherTypes: Readonly<Record<string, string>> = {
  bloom: 'ALiBi positions',
  mpt: 'ALiBi positions',
  gemma: 'scaled embeddings',
  gemma2: 'scaled embeddings and soft caps',
  gemma3: 'scaled embeddings and local attention',
  gemma3_text: 'scaled embeddings and local attention',
  gptj: 'interleaved rotary positions',
  mixtral: 'mixtures of experts',
};

/** Activations by their names in transformers. */
export const activations: Readonly<Record<string, Activation>> = {
  silu: 'swiglu',
  swish: 'swiglu',
  gelu: 'gelu',
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_fast: 'geluTanh',
};
