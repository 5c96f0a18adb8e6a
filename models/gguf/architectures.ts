/**
 * llama.cpp's architectures, for both directions: what it calls each tensor of Hugging Face's checkpoints and how rows
 * lie there (layout.ts), and what `config.json` its keys stand for, read and written. Keys and tensors are those of
 * llama.cpp's converter (`conversion/`, `gguf-py/gguf/constants.py`) and of the code that reads them (`src/models/`).
 */
import type { Fields } from '../config.ts';
import type { FamilyName } from '../families.ts';
import { headWidth, rotaryWidth, type TransformerConfig } from '../transformer-config.ts';
import type { Keys } from './keys.ts';
import { fusedRows, pairedRows, transposedLinear, type LayoutOf } from './layout.ts';
import { ropeConfig, ropeKeys } from './rope.ts';
import { f32, u32, type WrittenMetadata } from './values.ts';

/** A row of the table. */
export interface Architecture {
  readonly families: readonly FamilyName[];
  /** llama.cpp's names, without `.weight` and `.bias`, and Hugging Face's; {} is the number of a layer. */
  readonly names: Readonly<Record<string, string>>;
  readonly layout?: LayoutOf;
  /** What llama.cpp has for it and not for all: a width of heads, LLaMA 3.1's factors, a window of attention. */
  readonly computes?: readonly ('headWidth' | 'factors' | 'window')[];
  /** Whether llama.cpp asks for a head where Hugging Face's files leave a tied one out. */
  readonly needsHead?: true;
  /** Reads every key of the architecture that matters. */
  readonly config: (keys: Keys) => Fields;
  /** The same keys, without the architecture's name, for a configuration that they can hold (`expressible`). */
  readonly keys: (config: TransformerConfig) => WrittenMetadata;
}

const at = 'model.layers.{}';
const rotaryNames = {
  token_embd: 'model.embed_tokens',
  output: 'lm_head',
  'blk.{}.attn_q': `${at}.self_attn.q_proj`,
  'blk.{}.attn_k': `${at}.self_attn.k_proj`,
  'blk.{}.attn_v': `${at}.self_attn.v_proj`,
  'blk.{}.attn_output': `${at}.self_attn.o_proj`,
  'blk.{}.ffn_gate': `${at}.mlp.gate_proj`,
  'blk.{}.ffn_up': `${at}.mlp.up_proj`,
  'blk.{}.ffn_down': `${at}.mlp.down_proj`,
};
const norms = {
  'blk.{}.attn_norm': `${at}.input_layernorm`,
  'blk.{}.ffn_norm': `${at}.post_attention_layernorm`,
  output_norm: 'model.norm',
};
const headNorms = {
  'blk.{}.attn_q_norm': `${at}.self_attn.q_norm`,
  'blk.{}.attn_k_norm': `${at}.self_attn.k_norm`,
};

/** By `general.architecture`. */
export const architectures: Readonly<Record<string, Architecture>> = {
  llama: {
    families: ['llama', 'mistral'],
    computes: ['headWidth', 'factors', 'window'],
    names: { ...rotaryNames, ...norms },
    layout: pairedRows,
    config: keys => {
      const window = keys.optional('attention.sliding_window');
      return {
        ...(window
          ? { model_type: 'mistral', architectures: ['MistralForCausalLM'], sliding_window: window }
          : { model_type: 'llama', architectures: ['LlamaForCausalLM'] }),
        ...rotaryConfig(keys),
        rms_norm_eps: keys.single('attention.layer_norm_rms_epsilon'),
        attention_bias: keys.hasTensor('blk.0.attn_q.bias'),
        mlp_bias: keys.hasTensor('blk.0.ffn_up.bias'),
      };
    },
    keys: c => ({
      ...rmsKeys(c),
      ...(c.window !== undefined && { 'attention.sliding_window': u32(c.window) }),
    }),
  },
  qwen2: {
    families: ['qwen2'],
    names: { ...rotaryNames, ...norms },
    config: keys => ({
      model_type: 'qwen2',
      architectures: ['Qwen2ForCausalLM'],
      ...rotaryConfig(keys),
      rms_norm_eps: keys.single('attention.layer_norm_rms_epsilon'),
      use_sliding_window: false,
    }),
    keys: c => rmsKeys(c),
  },
  qwen3: {
    families: ['qwen3'],
    computes: ['headWidth'],
    names: { ...rotaryNames, ...norms, ...headNorms },
    config: keys => ({
      model_type: 'qwen3',
      architectures: ['Qwen3ForCausalLM'],
      ...rotaryConfig(keys),
      rms_norm_eps: keys.single('attention.layer_norm_rms_epsilon'),
      attention_bias: keys.hasTensor('blk.0.attn_q.bias'),
      use_sliding_window: false,
    }),
    keys: c => rmsKeys(c),
  },
  olmo: {
    families: ['olmo'],
    names: rotaryNames,
    layout: pairedRows,
    config: keys => {
      keys.must('attention.layer_norm_epsilon', Math.fround(1e-5));
      return {
        model_type: 'olmo',
        architectures: ['OlmoForCausalLM'],
        ...rotaryConfig(keys),
        clip_qkv: keys.optionalSingle('attention.clamp_kqv') ?? null,
        attention_bias: false,
      };
    },
    keys: c => ({
      ...rotaryKeys(c),
      'attention.layer_norm_epsilon': f32(c.normEps),
      ...(c.clip !== undefined && { 'attention.clamp_kqv': f32(c.clip) }),
    }),
  },
  olmo2: {
    families: ['olmo2'],
    needsHead: true,
    names: {
      ...rotaryNames,
      ...headNorms,
      'blk.{}.post_attention_norm': `${at}.post_attention_layernorm`,
      'blk.{}.post_ffw_norm': `${at}.post_feedforward_layernorm`,
      output_norm: 'model.norm',
    },
    config: keys => ({
      model_type: 'olmo2',
      architectures: ['Olmo2ForCausalLM'],
      ...rotaryConfig(keys),
      rms_norm_eps: keys.single('attention.layer_norm_rms_epsilon'),
      attention_bias: false,
    }),
    keys: c => rmsKeys(c),
  },
  gpt2: {
    families: ['gpt2'],
    names: {
      token_embd: 'transformer.wte',
      position_embd: 'transformer.wpe',
      'blk.{}.attn_norm': 'transformer.h.{}.ln_1',
      'blk.{}.attn_qkv': 'transformer.h.{}.attn.c_attn',
      'blk.{}.attn_output': 'transformer.h.{}.attn.c_proj',
      'blk.{}.ffn_norm': 'transformer.h.{}.ln_2',
      'blk.{}.ffn_up': 'transformer.h.{}.mlp.c_fc',
      'blk.{}.ffn_down': 'transformer.h.{}.mlp.c_proj',
      output_norm: 'transformer.ln_f',
      output: 'lm_head',
    },
    layout: transposedLinear,
    config: keys => ({
      model_type: 'gpt2',
      architectures: ['GPT2LMHeadModel'],
      vocab_size: keys.vocabulary,
      n_embd: keys.number('embedding_length'),
      n_inner: keys.number('feed_forward_length'),
      n_layer: keys.number('block_count'),
      n_head: keys.heads,
      n_positions: keys.number('context_length'),
      layer_norm_epsilon: keys.single('attention.layer_norm_epsilon'),
      activation_function: 'gelu_new',
      tie_word_embeddings: keys.tied,
    }),
    keys: c => ({ ...sizeKeys(c), 'attention.layer_norm_epsilon': f32(c.normEps) }),
  },
  gptneox: {
    families: ['gpt_neox'],
    needsHead: true,
    names: {
      token_embd: 'gpt_neox.embed_in',
      'blk.{}.attn_norm': 'gpt_neox.layers.{}.input_layernorm',
      'blk.{}.attn_qkv': 'gpt_neox.layers.{}.attention.query_key_value',
      'blk.{}.attn_output': 'gpt_neox.layers.{}.attention.dense',
      'blk.{}.ffn_norm': 'gpt_neox.layers.{}.post_attention_layernorm',
      'blk.{}.ffn_up': 'gpt_neox.layers.{}.mlp.dense_h_to_4h',
      'blk.{}.ffn_down': 'gpt_neox.layers.{}.mlp.dense_4h_to_h',
      output_norm: 'gpt_neox.final_layer_norm',
      output: 'embed_out',
    },
    layout: fusedRows,
    config: keys => ({
      model_type: 'gpt_neox',
      architectures: ['GPTNeoXForCausalLM'],
      vocab_size: keys.vocabulary,
      hidden_size: keys.number('embedding_length'),
      intermediate_size: keys.number('feed_forward_length'),
      num_hidden_layers: keys.number('block_count'),
      num_attention_heads: keys.heads,
      max_position_embeddings: keys.number('context_length'),
      rotary_pct: shareOf(keys.number('rope.dimension_count'), keys.number('embedding_length') / keys.heads),
      rotary_emb_base: keys.optionalSingle('rope.freq_base') ?? 10000,
      ...ropeConfig(keys),
      use_parallel_residual: keys.flag('use_parallel_residual', true),
      layer_norm_eps: keys.single('attention.layer_norm_epsilon'),
      hidden_act: 'gelu',
      attention_bias: true,
      tie_word_embeddings: keys.tied,
    }),
    keys: c => ({
      ...sizeKeys(c),
      'rope.dimension_count': u32(rotaryWidth(c)),
      'rope.freq_base': f32(c.rotaryBase),
      ...ropeKeys(c),
      use_parallel_residual: c.parallel === true,
      'attention.layer_norm_epsilon': f32(c.normEps),
    }),
  },
};

/** The share of a head's width D that is R, also when its product with D is rounded down (`rotaryWidth`). */
function shareOf(R: number, D: number): number {
  const share = R / D;
  return Math.floor(D * share) < R ? share * (1 + 2 ** -52) : share;
}

/** Fields that all rotary families with SwiGLU share. */
function rotaryConfig(keys: Keys): Fields {
  const [width, heads] = [keys.number('embedding_length'), keys.heads];
  const D = keys.optional('attention.key_length') ?? width / heads;
  keys.must('attention.value_length', D);
  keys.must('rope.dimension_count', D);
  return {
    vocab_size: keys.vocabulary,
    hidden_size: width,
    intermediate_size: keys.number('feed_forward_length'),
    num_hidden_layers: keys.number('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: keys.keyValueHeads,
    head_dim: D, // Qwen 3's is 128 where it is missing
    max_position_embeddings: keys.number('context_length'),
    rope_theta: keys.optionalSingle('rope.freq_base') ?? 10000,
    ...ropeConfig(keys),
    hidden_act: 'silu',
    tie_word_embeddings: keys.tied,
  };
}

/** The keys that `rotaryConfig` reads. */
const rotaryKeys = (c: TransformerConfig): WrittenMetadata => ({
  ...sizeKeys(c),
  'attention.head_count_kv': u32(c.keyValueHeads),
  'attention.key_length': u32(headWidth(c)),
  'attention.value_length': u32(headWidth(c)),
  'rope.dimension_count': u32(headWidth(c)),
  'rope.freq_base': f32(c.rotaryBase),
  ...ropeKeys(c),
});

/** The same with the number beside the mean square. */
const rmsKeys = (c: TransformerConfig): WrittenMetadata => ({
  ...rotaryKeys(c),
  'attention.layer_norm_rms_epsilon': f32(c.normEps),
});

/** The keys that all have. */
const sizeKeys = (c: TransformerConfig): WrittenMetadata => ({
  vocab_size: u32(c.vocabSize),
  context_length: u32(c.context),
  embedding_length: u32(c.width),
  block_count: u32(c.layers),
  feed_forward_length: u32(c.feedForward),
  'attention.head_count': u32(c.heads),
});
