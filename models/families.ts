/**
 * The families of decoder-only transformers that this package computes. A row of the table says what is different in
 * the forward pass and where Hugging Face's checkpoints keep each weight; nothing else in the package asks which
 * family a model is of. What varies between the models of one family (activation, parallel residual, clipping,
 * positions) is in their configuration, `TransformerConfig`; which fields of `config.json` say so is in `config.ts`.
 *
 * To add a family, add a row here and one in `config.ts`, and a case in `test/oracles/huggingface.py`.
 */

/** The linear layers of a block: queries, keys, values and output of attention; gate, up and down of the rest. */
export const linearNames = ['q', 'k', 'v', 'o', 'gate', 'up', 'down'] as const;
/** The name of a linear layer of a transformer. */
export type LinearName = (typeof linearNames)[number];

/** What the feed-forward layer computes between its products: silu(gate) · up, or a GELU, exact or by tanh. */
export type Activation = 'swiglu' | 'gelu' | 'geluTanh';

/** The modules of a model by their paths in `Transformer`; those of a block are below its layer. */
export type ModuleName =
  | 'embedding'
  | 'positions'
  | 'norm'
  | 'head'
  | `attention.${'q' | 'k' | 'v' | 'o' | 'qNorm' | 'kNorm'}`
  | `feedForward.${'gate' | 'up' | 'down'}`
  | 'attentionNorm'
  | 'feedForwardNorm';

/**
 * Where a checkpoint keeps the modules. Modules of one name share a tensor (queries, keys and values of GPT-2 and
 * GPT-NeoX); a module that the family does not have has no name.
 */
export interface CheckpointNames extends Readonly<Partial<Record<ModuleName, string>>> {
  readonly embedding: string;
  readonly head: string;
  /** The list of blocks: the names of a block's modules follow after its number. */
  readonly layers: string;
}

/** A row of the table. */
export interface Family {
  /** The class in transformers, `architectures` of `config.json`. */
  readonly architecture: string;
  /** Layer norm (Ba et al. 2016) or RMS norm (Zhang & Sennrich 2019). */
  readonly norm: 'layer' | 'rms';
  /** What a norm learns: a scale, a shift. */
  readonly normParameters: readonly ('weight' | 'bias')[];
  /** Whether a block's norms are applied to the input of attention and feed-forward, or to their output (OLMo-2). */
  readonly normAt: 'input' | 'output';
  /** RMS norm of queries and keys: of each head by itself (Qwen3), or of all heads together (OLMo-2). */
  readonly queryKeyNorm?: 'each' | 'all';
  /** Rotary (Su et al. 2021), or a learned vector a position. */
  readonly positions: 'rotary' | 'learned';
  /** Unless the configuration says otherwise. */
  readonly activation: Activation;
  /** The linear layers with a bias. */
  readonly biases: readonly LinearName[];
  readonly names: CheckpointNames;
  /** Whether the matrices of linear layers are stored (in, out), as GPT-2's `Conv1D` does, and not (out, in). */
  readonly transposed?: true;
  /** Whether queries, keys and values that share a tensor alternate by head (GPT-NeoX). */
  readonly interleaved?: true;
}

/** LLaMA's names, which most families have taken over. */
const llamaNames = {
  embedding: 'model.embed_tokens',
  layers: 'model.layers',
  'attention.q': 'self_attn.q_proj',
  'attention.k': 'self_attn.k_proj',
  'attention.v': 'self_attn.v_proj',
  'attention.o': 'self_attn.o_proj',
  'feedForward.gate': 'mlp.gate_proj',
  'feedForward.up': 'mlp.up_proj',
  'feedForward.down': 'mlp.down_proj',
  attentionNorm: 'input_layernorm',
  feedForwardNorm: 'post_attention_layernorm',
  norm: 'model.norm',
  head: 'lm_head',
} satisfies CheckpointNames;

const queryKeyNormNames = { 'attention.qNorm': 'self_attn.q_norm', 'attention.kNorm': 'self_attn.k_norm' };

/** LLaMA (Touvron et al. 2023), to version 3.3. */
const llama: Family = {
  architecture: 'LlamaForCausalLM',
  norm: 'rms',
  normParameters: ['weight'],
  normAt: 'input',
  positions: 'rotary',
  activation: 'swiglu',
  biases: [],
  names: llamaNames,
};

/** Each by its `model_type` in `config.json`. */
const table = {
  /** OLMo (Groeneveld et al. 2024): a layer norm that learns nothing. */
  olmo: { ...llama, architecture: 'OlmoForCausalLM', norm: 'layer', normParameters: [] },
  llama,
  /** GPT-2 (Radford et al. 2019). */
  gpt2: {
    architecture: 'GPT2LMHeadModel',
    norm: 'layer',
    normParameters: ['weight', 'bias'],
    normAt: 'input',
    positions: 'learned',
    activation: 'geluTanh',
    biases: ['q', 'k', 'v', 'o', 'up', 'down'],
    transposed: true,
    names: {
      embedding: 'transformer.wte',
      positions: 'transformer.wpe',
      layers: 'transformer.h',
      'attention.q': 'attn.c_attn',
      'attention.k': 'attn.c_attn',
      'attention.v': 'attn.c_attn',
      'attention.o': 'attn.c_proj',
      'feedForward.up': 'mlp.c_fc',
      'feedForward.down': 'mlp.c_proj',
      attentionNorm: 'ln_1',
      feedForwardNorm: 'ln_2',
      norm: 'transformer.ln_f',
      head: 'lm_head',
    },
  },
  /** OLMo 2 (OLMo team 2024, arXiv 2501.00656): normalised outputs, queries and keys. */
  olmo2: {
    ...llama,
    architecture: 'Olmo2ForCausalLM',
    normAt: 'output',
    queryKeyNorm: 'all',
    names: {
      ...llamaNames,
      ...queryKeyNormNames,
      attentionNorm: 'post_attention_layernorm',
      feedForwardNorm: 'post_feedforward_layernorm',
    },
  },
  /** Mistral (Jiang et al. 2023), for sequences within its attention window. */
  mistral: { ...llama, architecture: 'MistralForCausalLM' },
  /** Qwen 2 and 2.5 (Yang et al. 2024): queries, keys and values with a bias. */
  qwen2: { ...llama, architecture: 'Qwen2ForCausalLM', biases: ['q', 'k', 'v'] },
  /** Qwen 3 (Yang et al. 2025): heads of queries and keys are normalised. */
  qwen3: {
    ...llama,
    architecture: 'Qwen3ForCausalLM',
    queryKeyNorm: 'each',
    names: { ...llamaNames, ...queryKeyNormNames },
  },
  /** GPT-NeoX (Black et al. 2022), of which Pythia is. */
  gpt_neox: {
    architecture: 'GPTNeoXForCausalLM',
    norm: 'layer',
    normParameters: ['weight', 'bias'],
    normAt: 'input',
    positions: 'rotary',
    activation: 'gelu',
    biases: ['q', 'k', 'v', 'o', 'up', 'down'],
    interleaved: true,
    names: {
      embedding: 'gpt_neox.embed_in',
      layers: 'gpt_neox.layers',
      'attention.q': 'attention.query_key_value',
      'attention.k': 'attention.query_key_value',
      'attention.v': 'attention.query_key_value',
      'attention.o': 'attention.dense',
      'feedForward.up': 'mlp.dense_h_to_4h',
      'feedForward.down': 'mlp.dense_4h_to_h',
      attentionNorm: 'input_layernorm',
      feedForwardNorm: 'post_attention_layernorm',
      norm: 'gpt_neox.final_layer_norm',
      head: 'embed_out',
    },
  },
} as const satisfies Readonly<Record<string, Family>>;

/** The `model_type` of a family. */
export type FamilyName = keyof typeof table;

/** The table of families, by `model_type`. */
export const families: Readonly<Record<FamilyName, Family>> = table;

/** The keys of the table. */
export const familyNames = Object.keys(table) as FamilyName[];
