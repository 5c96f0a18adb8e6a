/**
 * A decoder-only transformer: OLMo-1 (non-parametric layer norm) and LLaMA (RMS norm with a scale), which share
 * everything else: rotary positions, grouped key/value heads, SwiGLU, pre-normalisation, no biases.
 *
 * It is not a framework. A model is a configuration and a record of weights under the names that Hugging Face's
 * checkpoints give them; the functions below are the whole forward pass. Embedding and head are arguments, since a
 * token translation replaces exactly these two.
 */
import { add, attention, concat, gather, layerNorm, matmul, mul, ones, type Random, reshape, rmsNorm, rotary, swiglu, tensor, type Tensor } from '../engine/index.ts';

export interface TransformerConfig {
  readonly family: 'olmo' | 'llama';
  /** Rows of embedding and head; at least the tokenizer's, more where a checkpoint is padded. */
  readonly vocabSize: number;
  /** Width of the residual stream, C. */
  readonly width: number;
  readonly layers: number;
  /** Query heads, H; the width is a multiple of them. */
  readonly heads: number;
  /** Key/value heads, G; H is a multiple of them. */
  readonly keyValueHeads: number;
  /** Width of the feed-forward layer, F. */
  readonly feedForward: number;
  /** The longest sequence. */
  readonly context: number;
  readonly rotaryBase: number;
  readonly normEps: number;
  /** Whether the head is the embedding itself. */
  readonly tied: boolean;
}

/** Weights by their names in a Hugging Face checkpoint; a linear layer is (out, in). */
export type Weights = Record<string, Tensor>;

export interface Transformer {
  readonly config: TransformerConfig;
  readonly weights: Weights;
}

export const embeddingName = 'model.embed_tokens.weight';
export const headName = 'lm_head.weight';

/** Keys and values of the positions seen so far, a pair a layer: (B, S, G, D). */
export type Cache = readonly { readonly k: Tensor; readonly v: Tensor }[];

/** The shape of every weight, in the order of a checkpoint. */
export function weightShapes(c: TransformerConfig): Record<string, number[]> {
  const D = c.width / c.heads;
  const shapes: Record<string, number[]> = { [embeddingName]: [c.vocabSize, c.width] };
  for (let i = 0; i < c.layers; i++) {
    const at = `model.layers.${i}`;
    shapes[`${at}.self_attn.q_proj.weight`] = [c.width, c.width];
    shapes[`${at}.self_attn.k_proj.weight`] = [c.keyValueHeads * D, c.width];
    shapes[`${at}.self_attn.v_proj.weight`] = [c.keyValueHeads * D, c.width];
    shapes[`${at}.self_attn.o_proj.weight`] = [c.width, c.width];
    shapes[`${at}.mlp.gate_proj.weight`] = [c.feedForward, c.width];
    shapes[`${at}.mlp.up_proj.weight`] = [c.feedForward, c.width];
    shapes[`${at}.mlp.down_proj.weight`] = [c.width, c.feedForward];
    if (c.family === 'llama') {
      shapes[`${at}.input_layernorm.weight`] = [c.width];
      shapes[`${at}.post_attention_layernorm.weight`] = [c.width];
    }
  }
  if (c.family === 'llama') shapes['model.norm.weight'] = [c.width];
  if (!c.tied) shapes[headName] = [c.vocabSize, c.width];
  return shapes;
}

/** Throws where a configuration makes no model. */
export function checkConfig(c: TransformerConfig): void {
  for (const key of ['vocabSize', 'width', 'layers', 'heads', 'keyValueHeads', 'feedForward', 'context'] as const) {
    if (!Number.isSafeInteger(c[key]) || c[key] < 1) throw new Error(`transformer: ${key} is ${c[key]}; it must be a whole number of 1 or more`);
  }
  if (c.width % c.heads !== 0 || (c.width / c.heads) % 2 !== 0) throw new Error(`transformer: width ${c.width} over ${c.heads} heads gives no even head width`);
  if (c.heads % c.keyValueHeads !== 0) throw new Error(`transformer: ${c.heads} heads are not a multiple of ${c.keyValueHeads} key/value heads`);
  if (!(c.normEps > 0) || !(c.rotaryBase > 1)) throw new Error(`transformer: normEps ${c.normEps} must be positive and rotaryBase ${c.rotaryBase} above 1`);
}

/** A fresh model: normal weights of deviation 0.02, smaller by √(2 layers) where they write into the residual stream (GPT-2). */
export function initTransformer(config: TransformerConfig, random: Random): Transformer {
  checkConfig(config);
  const weights: Weights = {};
  for (const [name, shape] of Object.entries(weightShapes(config))) {
    if (shape.length === 1) {
      weights[name] = ones(shape, { requiresGrad: true });
      continue;
    }
    const deviation = /(o_proj|down_proj)\.weight$/.test(name) ? 0.02 / Math.sqrt(2 * config.layers) : 0.02;
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

export const endsOf = ({ config, weights }: Transformer): Ends =>
  ({ embedding: weights[embeddingName], head: weights[config.tied ? embeddingName : headName] });

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
  if (past + T > c.context) throw new Error(`transformer: ${past + T} positions exceed the context of ${c.context}; cut the sequence`);
  let x = gather(ends.embedding, ids); // (B, T, C)
  const grown: { k: Tensor; v: Tensor }[] = [];
  for (let i = 0; i < c.layers; i++) {
    const at = `model.layers.${i}`;
    const { y, k, v } = selfAttention(c, w, `${at}.self_attn`, normalise(c, x, w[`${at}.input_layernorm.weight`]), past, cache?.[i]);
    grown.push({ k, v });
    x = add(x, y);
    x = add(x, feedForward(w, `${at}.mlp`, normalise(c, x, w[`${at}.post_attention_layernorm.weight`])));
  }
  const h = normalise(c, x, w['model.norm.weight']); // (B, T, C)
  return { logits: matmul(h, ends.head, { transposeB: true }), cache: grown }; // (B, T, V)
}

function normalise(c: TransformerConfig, x: Tensor, scale: Tensor | undefined): Tensor {
  return c.family === 'olmo' ? layerNorm(x, c.normEps) : mul(rmsNorm(x, c.normEps), scale!);
}

function selfAttention(c: TransformerConfig, w: Weights, at: string, x: Tensor, past: number, cached?: Cache[number]): { y: Tensor; k: Tensor; v: Tensor } {
  const [B, T, C] = x.shape;
  const D = C / c.heads;
  const heads = (name: string, n: number) => reshape(matmul(x, w[`${at}.${name}.weight`], { transposeB: true }), [B, T, n, D]); // (B, T, n, D)
  const position = { base: c.rotaryBase, offset: past };
  const q = rotary(heads('q_proj', c.heads), position); // (B, T, H, D)
  let k = rotary(heads('k_proj', c.keyValueHeads), position); // (B, T, G, D)
  let v = heads('v_proj', c.keyValueHeads);
  if (cached) [k, v] = [concat([cached.k, k], 1), concat([cached.v, v], 1)]; // (B, S, G, D)
  const mixed = reshape(attention(q, k, v), [B, T, C]); // (B, T, C)
  return { y: matmul(mixed, w[`${at}.o_proj.weight`], { transposeB: true }), k, v };
}

function feedForward(w: Weights, at: string, x: Tensor): Tensor {
  const [gate, up] = ['gate_proj', 'up_proj'].map(name => matmul(x, w[`${at}.${name}.weight`], { transposeB: true })); // (B, T, F)
  return matmul(swiglu(gate, up), w[`${at}.down_proj.weight`], { transposeB: true }); // (B, T, C)
}

/** Multiplications and additions of a forward pass, counted in products only, per token at context length T. */
export function forwardFlops(c: TransformerConfig, T: number, headRows = c.vocabSize): number {
  const D = c.width / c.heads;
  const layer = c.width * c.width * 2 + 2 * c.keyValueHeads * D * c.width + 3 * c.width * c.feedForward;
  return 2 * (c.layers * layer + headRows * c.width) + 2 * c.layers * T * c.width;
}
