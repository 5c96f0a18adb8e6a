/**
 * What a GGUF file's model is called in Hugging Face's checkpoints: `config.json` from the metadata, and for every
 * tensor its name there and how its rows lie. llama.cpp renames all tensors, and stores three kinds in another order:
 *
 *     llama, olmo    rows of the query and key projections come in the pairs that rotary positions turn: row 2i + j of
 *                    a head is row i + jD/2 here (`LlamaModel.permute` of llama.cpp's converter)
 *     gptneox        query_key_value lists all queries, then all keys, then all values; here head by head
 *     gpt2           a linear layer's weight is (out, in); here (in, out)
 *
 * A key of the architecture that is not read here, or a tensor that is not in the tables, is an error: it may change
 * what the model computes.
 */
import { show, UserError } from '../errors.ts';
import type { GgufHeader, GgufTensor } from './header.ts';
import { Metadata } from './metadata.ts';

/**
 * How a stored tensor becomes Hugging Face's: `stored(i)` is the stored row that row `i` is; rows are a multiple of
 * `unit`.
 */
export type Layout =
  | { readonly kind: 'same' }
  | { readonly kind: 'rows'; readonly unit: number; readonly stored: (i: number) => number }
  | { readonly kind: 'transposed' };

/** A tensor of the file, and how its elements lie in Hugging Face's. */
export interface PlacedTensor {
  readonly tensor: GgufTensor;
  readonly layout: Layout;
}

type Fields = Readonly<Record<string, unknown>>;

/** A GGUF file's model in Hugging Face's terms. */
export interface GgufModel {
  /** The fields of `config.json`. */
  readonly config: Fields;
  /** By Hugging Face's name. */
  readonly tensors: ReadonlyMap<string, PlacedTensor>;
}

interface Architecture {
  /** llama.cpp's names, without `.weight` and `.bias`, and Hugging Face's; {} is the number of a layer. */
  readonly names: Readonly<Record<string, string>>;
  /** Reads every key of the architecture that matters. */
  readonly config: (keys: Keys) => Fields;
  readonly layout?: (name: string, shape: Shape) => Layout;
}

/** What layouts depend on. */
interface Shape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly rows: number;
}

const same: Layout = { kind: 'same' };

/** The stored row of each row where every head's rows (D/2, 2) become (2, D/2). */
const unpaired = (heads: number, rows: number): Layout => {
  const D = rows / heads;
  return {
    kind: 'rows',
    unit: 2 * heads,
    stored: i => i - (i % D) + 2 * ((i % D) % (D / 2)) + Math.floor((i % D) / (D / 2)),
  };
};

/** Rows (3, H, D) become (H, 3, D). */
const byHead = (heads: number, rows: number): Layout => {
  const D = rows / heads / 3;
  return {
    kind: 'rows',
    unit: 3 * heads,
    stored: i => (Math.floor(i / D) % 3) * heads * D + Math.floor(i / (3 * D)) * D + (i % D),
  };
};

const pairedRows = (name: string, { heads, keyValueHeads, rows }: Shape): Layout =>
  name.endsWith('attn_q') ? unpaired(heads, rows) : name.endsWith('attn_k') ? unpaired(keyValueHeads, rows) : same;

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

const architectures: Readonly<Record<string, Architecture>> = {
  llama: {
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
  },
  qwen2: {
    names: { ...rotaryNames, ...norms },
    config: keys => ({
      model_type: 'qwen2',
      architectures: ['Qwen2ForCausalLM'],
      ...rotaryConfig(keys),
      rms_norm_eps: keys.single('attention.layer_norm_rms_epsilon'),
      use_sliding_window: false,
    }),
  },
  qwen3: {
    names: { ...rotaryNames, ...norms, ...headNorms },
    config: keys => ({
      model_type: 'qwen3',
      architectures: ['Qwen3ForCausalLM'],
      ...rotaryConfig(keys),
      rms_norm_eps: keys.single('attention.layer_norm_rms_epsilon'),
      attention_bias: keys.hasTensor('blk.0.attn_q.bias'),
      use_sliding_window: false,
    }),
  },
  olmo: {
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
  },
  olmo2: {
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
  },
  gpt2: {
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
    layout: name => (/(attn_qkv|attn_output|ffn_up|ffn_down)$/.test(name) ? { kind: 'transposed' } : same),
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
  },
  gptneox: {
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
    layout: (name, { heads, rows }) => (name.endsWith('attn_qkv') ? byHead(heads, rows) : same),
    config: keys => ({
      model_type: 'gpt_neox',
      architectures: ['GPTNeoXForCausalLM'],
      vocab_size: keys.vocabulary,
      hidden_size: keys.number('embedding_length'),
      intermediate_size: keys.number('feed_forward_length'),
      num_hidden_layers: keys.number('block_count'),
      num_attention_heads: keys.heads,
      max_position_embeddings: keys.number('context_length'),
      rotary_pct: keys.number('rope.dimension_count') / (keys.number('embedding_length') / keys.heads),
      rotary_emb_base: keys.optionalSingle('rope.freq_base') ?? 10000,
      use_parallel_residual: keys.flag('use_parallel_residual', true),
      layer_norm_eps: keys.single('attention.layer_norm_epsilon'),
      hidden_act: 'gelu',
      attention_bias: true,
      tie_word_embeddings: keys.tied,
    }),
  },
};

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
    ...(D !== width / heads && { head_dim: D }),
    max_position_embeddings: keys.number('context_length'),
    rope_theta: keys.optionalSingle('rope.freq_base') ?? 10000,
    ...ropeScaling(keys),
    hidden_act: 'silu',
    tie_word_embeddings: keys.tied,
  };
}

/** `none`, or a kind with its factor: what is not supported is the configuration's reader to say. */
function ropeScaling(keys: Keys): Fields {
  const factor = keys.optionalSingle('rope.scaling.factor') ?? keys.optionalSingle('rope.scale_linear') ?? 0;
  const type = keys.optionalText('rope.scaling.type') ?? (factor === 0 || factor === 1 ? 'none' : 'linear');
  const originalContext = keys.optional('rope.scaling.original_context_length');
  keys.ignore('rope.scaling.finetuned');
  if (keys.ropeFactors !== undefined) {
    if (type !== 'none') keys.refuse('rope.scaling.type', 'rope_freqs.weight scales positions already');
    return { rope_scaling: llama3Scaling(keys, keys.ropeFactors, originalContext) };
  }
  return type === 'none' ? {} : { rope_scaling: { rope_type: type, factor } };
}

/**
 * LLaMA 3.1's scaling from the factors by which llama.cpp's converter says that each pair is slowed down. Known are
 * those of the published models, low 1 and high 4; the original context is 8,192 where the file does not say.
 */
function llama3Scaling(keys: Keys, factors: Float32Array, originalContext = 8192): Fields {
  const factor = factors.reduce((most, f) => Math.max(most, f), 1);
  const theta = keys.optionalSingle('rope.freq_base') ?? 10000;
  const expected = Array.from(factors, (_, i) => {
    const turns = (originalContext * theta ** (-i / factors.length)) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - 1) / (4 - 1)));
    return 1 / (kept + (1 - kept) / factor);
  });
  // The converter computes in float32, whose roundings are multiplied by `turns` of up to 4 between the two ends.
  if (!expected.every((f, i) => Math.abs(f - factors[i]) <= 2 ** -18 * f))
    throw new UserError(
      `${keys.path}: rope_freqs.weight is not the scaling of LLaMA 3.1 (low 1, high 4, original context ` +
        `${originalContext}), the only one supported`,
    );
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: originalContext,
  };
}

/** The metadata of an architecture, its name left out of the keys, and what tensors tell. */
class Keys {
  readonly path: string;
  readonly ropeFactors: Float32Array | undefined;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly #metadata: Metadata;
  readonly #prefix: string;
  readonly #tensors: GgufHeader['tensors'];

  constructor(metadata: Metadata, prefix: string, tensors: GgufHeader['tensors'], ropeFactors?: Float32Array) {
    this.#metadata = metadata;
    this.#prefix = prefix;
    this.#tensors = tensors;
    this.path = metadata.path;
    this.ropeFactors = ropeFactors;
    this.heads = this.number('attention.head_count');
    this.keyValueHeads = this.optional('attention.head_count_kv') ?? this.heads;
    for (const key of ['heads', 'keyValueHeads'] as const)
      if (!(Number.isSafeInteger(this[key]) && this[key] > 0))
        this.refuse(`attention.head_count${key === 'heads' ? '' : '_kv'}`, 'it must be 1 or more');
  }

  /** Rows of the embedding; the key, where there is one, must not say otherwise. */
  get vocabulary(): number {
    const rows = this.#tensors.get('token_embd.weight')?.shape[0];
    if (rows === undefined)
      throw new UserError(`${this.path}: has no tensor "token_embd.weight"; is it a whole model?`);
    this.must('vocab_size', rows);
    return rows;
  }

  /** Whether the head is the embedding. */
  get tied(): boolean {
    return !this.hasTensor('output.weight');
  }

  hasTensor(name: string): boolean {
    return this.#tensors.has(name);
  }

  number(key: string): number {
    return this.#metadata.number(this.#prefix + key);
  }

  optional(key: string): number | undefined {
    return this.#metadata.optionalNumber(this.#prefix + key);
  }

  /** A number that was written as float32: the shortest decimal fraction that it is. */
  single(key: string): number {
    return shortest(this.number(key));
  }

  optionalSingle(key: string): number | undefined {
    const value = this.optional(key);
    return value === undefined ? undefined : shortest(value);
  }

  optionalText(key: string): string | undefined {
    return this.#metadata.optionalText(this.#prefix + key);
  }

  flag(key: string, fallback: boolean): boolean {
    return this.#metadata.flag(this.#prefix + key, fallback);
  }

  /** A key that may be missing and may have this value only. */
  must(key: string, value: number): void {
    if ((this.optional(key) ?? value) !== value) this.refuse(key, `only ${value} is supported`);
  }

  /** A key that changes nothing in what is computed. */
  ignore(key: string): void {
    this.flag(key, false);
  }

  refuse(key: string, what: string): never {
    return this.#metadata.refuse(this.#prefix + key, what);
  }
}

function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}

/** The tensor of LLaMA 3.1's factors, which is a part of the configuration. */
export const ropeFactorsName = 'rope_freqs.weight';

/** Reads metadata and tensor table; `ropeFactors` are the values of `rope_freqs.weight` where the file has it. */
export function describeModel(header: GgufHeader, path: string, ropeFactors?: Float32Array): GgufModel {
  const metadata = new Metadata(header.metadata, path);
  const name = metadata.text('general.architecture');
  if (!Object.hasOwn(architectures, name))
    return metadata.refuse('general.architecture', `supported are ${Object.keys(architectures).join(', ')}`);
  const architecture = architectures[name];
  const keys = new Keys(metadata, `${name}.`, header.tensors, ropeFactors);
  for (const key of ['expert_count', 'expert_used_count']) keys.must(key, 0);
  const config = architecture.config(keys);
  const [unread] = metadata.unread(`${name}.`);
  if (unread !== undefined) metadata.refuse(unread, 'this key is not supported, and it may change what is computed');

  const tensors = new Map<string, PlacedTensor>();
  for (const [stored, tensor] of header.tensors) {
    if (stored === ropeFactorsName && ropeFactors !== undefined) continue;
    const [, base, part] = /^(.*)\.(weight|bias)$/.exec(stored) ?? ['', stored, ''];
    const layer = /^blk\.(\d+)\./.exec(base)?.[1];
    const pattern = base.replace(/^blk\.\d+\./, 'blk.{}.');
    if (!Object.hasOwn(architecture.names, pattern) || part === '')
      throw new UserError(
        `${path}: has a tensor ${show(stored)}, which a model of the architecture ${show(name)} does not have`,
      );
    const { shape } = tensor;
    const sizes = { heads: keys.heads, keyValueHeads: keys.keyValueHeads, rows: shape[0] };
    const layout = architecture.layout?.(pattern, sizes) ?? same;
    if (layout.kind === 'rows' && shape[0] % layout.unit !== 0)
      throw new UserError(
        `${path}: tensor ${show(stored)} has ${shape[0]} rows, which are not divided evenly among ${keys.heads} heads`,
      );
    tensors.set(`${architecture.names[pattern].replace('{}', layer ?? '')}.${part}`, {
      tensor,
      layout: layout.kind === 'transposed' && shape.length !== 2 ? same : layout,
    });
  }
  return { config, tensors };
}
