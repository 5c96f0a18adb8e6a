/**
 * A decoder-only transformer with pre-normalisation, in three families:
 *
 *             normalisation                   positions   feed-forward   biases   a linear layer's weight
 *     olmo    layer norm without parameters   rotary      SwiGLU         no       (out, in)    OLMo-1
 *     llama   RMS norm with a scale           rotary      SwiGLU         no       (out, in)
 *     gpt2    layer norm, scale and shift     learned     GELU (tanh)    yes      (in, out)
 *
 * It is not a framework. A model is a configuration and a record of weights under the names and in the shapes that
 * Hugging Face's checkpoints give them; the functions below are the whole forward pass. Embedding and head are
 * arguments, since a token translation replaces exactly these two.
 */
import {
  add,
  attention,
  concat,
  gelu,
  layerNorm,
  matmul,
  mul,
  ones,
  type Random,
  reshape,
  rmsNorm,
  rotary,
  rotaryInvFreq,
  slice,
  swiglu,
  tensor,
  type Tensor,
  zeros,
} from '../engine/index.ts';

export const families = ['olmo', 'llama', 'gpt2'] as const;
export type Family = (typeof families)[number];

export interface TransformerConfig {
  readonly family: Family;
  /** Rows of embedding and head; at least the tokenizer's, more where a checkpoint is padded. */
  readonly vocabSize: number;
  /** Width of the residual stream, C. */
  readonly width: number;
  readonly layers: number;
  /** Query heads, H. */
  readonly heads: number;
  /** Key/value heads, G; H is a multiple of them, and equal for gpt2. */
  readonly keyValueHeads: number;
  /** Width of a head, D; C/H where it is missing. */
  readonly headWidth?: number;
  /** Width of the feed-forward layer, F. */
  readonly feedForward: number;
  /** The longest sequence. */
  readonly context: number;
  /** θ of rotary positions; without meaning for gpt2. */
  readonly rotaryBase: number;
  /** How LLaMA 3.1 and its successors stretch positions beyond the context they were first trained on. */
  readonly rotaryScaling?: RotaryScaling;
  readonly normEps: number;
  /** Whether the head is the embedding itself. */
  readonly tied: boolean;
}

export interface RotaryScaling {
  /** By how much the slowest pairs are slowed down. */
  readonly factor: number;
  /** Pairs that turn less often than this in the original context are slowed down wholly, … */
  readonly lowFrequency: number;
  /** … those that turn more often than this not at all, and those in between in part. */
  readonly highFrequency: number;
  readonly originalContext: number;
}

/** Weights by their names in a Hugging Face checkpoint. */
export type Weights = Record<string, Tensor>;

export interface Transformer {
  readonly config: TransformerConfig;
  readonly weights: Weights;
}

export const embeddingName = ({ family }: Pick<TransformerConfig, 'family'>): string =>
  family === 'gpt2' ? 'transformer.wte.weight' : 'model.embed_tokens.weight';
export const headName = 'lm_head.weight';
const positionsName = 'transformer.wpe.weight';

/** Keys and values of the positions seen so far, a pair a layer: (B, S, G, D). */
export type Cache = readonly { readonly k: Tensor; readonly v: Tensor }[];

export const headWidth = (c: TransformerConfig): number => c.headWidth ?? c.width / c.heads;

/** The shape of every weight, in the order of a checkpoint. */
export function weightShapes(c: TransformerConfig): Record<string, number[]> {
  const shapes: Record<string, number[]> = { [embeddingName(c)]: [c.vocabSize, c.width] };
  if (c.family === 'gpt2') shapes[positionsName] = [c.context, c.width];
  for (let i = 0; i < c.layers; i++) Object.assign(shapes, layerShapes(c, i));
  Object.assign(shapes, normShapes(c, names(c).lastNorm));
  if (!c.tied) shapes[headName] = [c.vocabSize, c.width];
  return shapes;
}

/** Where the parts of layer i lie among the weights. */
function names({ family }: TransformerConfig, i = 0) {
  return family === 'gpt2'
    ? {
        norm: `transformer.h.${i}.ln_1`,
        attention: `transformer.h.${i}.attn`,
        nextNorm: `transformer.h.${i}.ln_2`,
        feedForward: `transformer.h.${i}.mlp`,
        lastNorm: 'transformer.ln_f',
      }
    : {
        norm: `model.layers.${i}.input_layernorm`,
        attention: `model.layers.${i}.self_attn`,
        nextNorm: `model.layers.${i}.post_attention_layernorm`,
        feedForward: `model.layers.${i}.mlp`,
        lastNorm: 'model.norm',
      };
}

function normShapes({ family, width }: TransformerConfig, at: string): Record<string, number[]> {
  if (family === 'olmo') return {};
  return { [`${at}.weight`]: [width], ...(family === 'gpt2' && { [`${at}.bias`]: [width] }) };
}

function layerShapes(c: TransformerConfig, i: number): Record<string, number[]> {
  const linear = (name: string, from: number, to: number) =>
    c.family === 'gpt2'
      ? { [`${name}.weight`]: [from, to], [`${name}.bias`]: [to] }
      : { [`${name}.weight`]: [to, from] };
  const { norm, attention, nextNorm, feedForward } = names(c, i);
  const [C, F, all, shared] = [c.width, c.feedForward, c.heads * headWidth(c), c.keyValueHeads * headWidth(c)];
  if (c.family === 'gpt2') {
    return {
      ...normShapes(c, norm),
      ...linear(`${attention}.c_attn`, C, 3 * all), // queries, keys and values side by side
      ...linear(`${attention}.c_proj`, all, C),
      ...normShapes(c, nextNorm),
      ...linear(`${feedForward}.c_fc`, C, F),
      ...linear(`${feedForward}.c_proj`, F, C),
    };
  }
  return {
    ...linear(`${attention}.q_proj`, C, all),
    ...linear(`${attention}.k_proj`, C, shared),
    ...linear(`${attention}.v_proj`, C, shared),
    ...linear(`${attention}.o_proj`, all, C),
    ...linear(`${feedForward}.gate_proj`, C, F),
    ...linear(`${feedForward}.up_proj`, C, F),
    ...linear(`${feedForward}.down_proj`, F, C),
    ...normShapes(c, norm),
    ...normShapes(c, nextNorm),
  };
}

/** A lie about this number would fill memory with names before any weight is missed. */
const mostLayers = 10_000;

/** Throws where a configuration makes no model. */
export function checkConfig(c: TransformerConfig): void {
  for (const key of ['vocabSize', 'width', 'layers', 'heads', 'keyValueHeads', 'feedForward', 'context'] as const) {
    if (!Number.isSafeInteger(c[key]) || c[key] < 1)
      throw new Error(`transformer: ${key} is ${c[key]}; it must be a whole number of 1 or more`);
  }
  if (c.layers > mostLayers) throw new Error(`transformer: ${c.layers} layers are more than any model has`);
  const D = headWidth(c);
  if (!Number.isSafeInteger(D) || D < 1)
    throw new Error(
      c.headWidth === undefined
        ? `transformer: width ${c.width} is not a multiple of ${c.heads} heads`
        : `transformer: headWidth is ${D}; it must be a whole number of 1 or more`,
    );
  if (c.family !== 'gpt2' && D % 2 !== 0)
    throw new Error(`transformer: a head is ${D} wide; rotary positions need an even width`);
  if (c.heads % c.keyValueHeads !== 0)
    throw new Error(`transformer: ${c.heads} heads are not a multiple of ${c.keyValueHeads} key/value heads`);
  if (c.family === 'gpt2' && (c.keyValueHeads !== c.heads || D * c.heads !== c.width))
    throw new Error('transformer: gpt2 has neither grouped key/value heads nor a head width of its own');
  const { factor = 1, lowFrequency = 1, highFrequency = 2, originalContext = 1 } = c.rotaryScaling ?? {};
  if (!(factor > 0 && lowFrequency > 0 && highFrequency > lowFrequency && originalContext > 0))
    throw new Error(
      `transformer: rotaryScaling ${JSON.stringify(c.rotaryScaling)} must be positive, highFrequency above lowFrequency`,
    );
  if (!(c.normEps > 0) || !(c.rotaryBase > 1))
    throw new Error(`transformer: normEps ${c.normEps} must be positive and rotaryBase ${c.rotaryBase} above 1`);
}

/**
 * A fresh model: normal weights of deviation 0.02, smaller by √(2 layers) where they write into the residual stream
 * (GPT-2).
 */
export function initTransformer(config: TransformerConfig, random: Random): Transformer {
  checkConfig(config);
  const weights: Weights = {};
  for (const [name, shape] of Object.entries(weightShapes(config))) {
    if (shape.length === 1) {
      weights[name] = (name.endsWith('.bias') ? zeros : ones)(shape, { requiresGrad: true });
      continue;
    }
    const deviation = /\.(o_proj|down_proj|c_proj)\.weight$/.test(name) ? 0.02 / Math.sqrt(2 * config.layers) : 0.02;
    const own = random.split(name);
    const values = new Float32Array(shape[0] * shape[1]).map(() => deviation * own.normal());
    weights[name] = tensor(values, { shape, requiresGrad: true });
  }
  return { config, weights };
}

/** The two ends of a model: embedding (V, C) and head (V, C). */
export interface Ends {
  readonly embedding: Tensor;
  readonly head: Tensor;
}

export const endsOf = ({ config, weights }: Transformer): Ends => ({
  embedding: weights[embeddingName(config)],
  head: weights[config.tied ? embeddingName(config) : headName],
});

export interface ForwardResult {
  /** (B, T, V) */
  readonly logits: Tensor;
  /** Keys and values with this call's positions appended. */
  readonly cache: Cache;
}

/** Logits of the next token at every position: ids (B, T) int32 → (B, T, V). */
export function forward(model: Transformer, ids: Tensor, ends: Ends = endsOf(model), cache?: Cache): ForwardResult {
  const { config: c, weights: w } = model;
  const past = cache?.[0].k.shape[1] ?? 0;
  const [, T] = ids.shape;
  if (past + T > c.context)
    throw new Error(`transformer: ${past + T} positions exceed the context of ${c.context}; cut the sequence`);
  let x = ids.embedding(ends.embedding); // (B, T, C)
  if (c.family === 'gpt2') x = add(x, slice(w[positionsName], 0, past, past + T));
  const grown: { k: Tensor; v: Tensor }[] = [];
  for (let i = 0; i < c.layers; i++) {
    const at = names(c, i);
    const { y, k, v } = selfAttention(c, w, at.attention, normalise(c, w, at.norm, x), past, cache?.[i]);
    grown.push({ k, v });
    x = add(x, y);
    x = add(x, feedForward(c, w, at.feedForward, normalise(c, w, at.nextNorm, x)));
  }
  const h = normalise(c, w, names(c).lastNorm, x); // (B, T, C)
  return { logits: matmul(h, ends.head, { transposeB: true }), cache: grown }; // (B, T, V)
}

function normalise({ family, normEps }: TransformerConfig, w: Weights, at: string, x: Tensor): Tensor {
  if (family === 'olmo') return layerNorm(x, normEps);
  if (family === 'llama') return mul(rmsNorm(x, normEps), w[`${at}.weight`]);
  return add(mul(layerNorm(x, normEps), w[`${at}.weight`]), w[`${at}.bias`]);
}

/** x (B, T, in) → (B, T, out). */
function linear({ family }: TransformerConfig, w: Weights, at: string, x: Tensor): Tensor {
  const weight = w[`${at}.weight`];
  return family === 'gpt2' ? add(matmul(x, weight), w[`${at}.bias`]) : matmul(x, weight, { transposeB: true });
}

function selfAttention(
  c: TransformerConfig,
  w: Weights,
  at: string,
  x: Tensor,
  past: number,
  cached?: Cache[number],
): { y: Tensor; k: Tensor; v: Tensor } {
  const [B, T] = x.shape;
  const D = headWidth(c);
  let [q, k, v] = queriesKeysValues(c, w, at, x, past); // (B, T, H, D), (B, T, G, D) twice
  if (cached) [k, v] = [concat([cached.k, k], 1), concat([cached.v, v], 1)]; // (B, S, G, D)
  const mixed = reshape(attention(q, k, v), [B, T, c.heads * D]);
  return { y: linear(c, w, `${at}.${c.family === 'gpt2' ? 'c_proj' : 'o_proj'}`, mixed), k, v }; // y (B, T, C)
}

function queriesKeysValues(c: TransformerConfig, w: Weights, at: string, x: Tensor, past: number): Tensor[] {
  const [B, T] = x.shape;
  const D = headWidth(c);
  const inHeads = (y: Tensor, heads: number) => reshape(y, [B, T, heads, D]);
  if (c.family === 'gpt2') {
    const all = linear(c, w, `${at}.c_attn`, x); // (B, T, 3 C)
    return [0, 1, 2].map(part => inHeads(slice(all, -1, part * c.width, (part + 1) * c.width), c.heads));
  }
  const project = (name: string, heads: number) => inHeads(linear(c, w, `${at}.${name}`, x), heads);
  const position = { base: c.rotaryBase, invFreq: rotaryInvFreqOf(c), offset: past };
  return [
    rotary(project('q_proj', c.heads), position),
    rotary(project('k_proj', c.keyValueHeads), position),
    project('v_proj', c.keyValueHeads),
  ];
}

/**
 * Radians a position of each of the D/2 pairs where positions are scaled (`_compute_llama3_parameters` of
 * transformers).
 */
function rotaryInvFreqOf(c: TransformerConfig): number[] | undefined {
  if (c.rotaryScaling === undefined) return undefined;
  const { factor, lowFrequency, highFrequency, originalContext } = c.rotaryScaling;
  return rotaryInvFreq(headWidth(c), { base: c.rotaryBase }).map(speed => {
    const turns = (originalContext * speed) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - lowFrequency) / (highFrequency - lowFrequency)));
    return speed * (kept + (1 - kept) / factor);
  });
}

function feedForward(c: TransformerConfig, w: Weights, at: string, x: Tensor): Tensor {
  const project = (name: string, y: Tensor) => linear(c, w, `${at}.${name}`, y);
  // (B, T, F) → (B, T, C)
  if (c.family === 'gpt2') return project('c_proj', gelu(project('c_fc', x), { approximate: 'tanh' }));
  return project('down_proj', swiglu(project('gate_proj', x), project('up_proj', x))); // (B, T, F) → (B, T, C)
}

/**
 * Multiplications and additions of a forward pass, counted in matrix products only, of a token that attends to T
 * positions.
 */
export function forwardFlops(c: TransformerConfig, T: number): number {
  const D = headWidth(c);
  const layer = 2 * c.width * D * (c.heads + c.keyValueHeads) + (c.family === 'gpt2' ? 2 : 3) * c.width * c.feedForward;
  return 2 * (c.layers * layer + c.vocabSize * c.width) + 4 * c.layers * T * c.heads * D;
}
