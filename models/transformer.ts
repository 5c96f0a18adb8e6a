/**
 * The forward pass of a decoder-only transformer, for every row of the table of families. A model is a configuration
 * and its weights; the functions below are all there is. Embedding and head are an argument, since a token translation
 * replaces exactly these two.
 *
 * B sequences of T tokens, width C, H query heads and G key/value heads of width D, feed-forward width F, vocabulary V.
 */
import { checkpoint, concat, isRecording, scope, type Tensor } from '../engine/index.ts';
import { families } from './families.ts';
import {
  headWidth,
  longestSequence,
  rotaryWidth,
  scaledInvFreq,
  type TransformerConfig,
} from './transformer-config.ts';
import {
  mapTensors,
  type Attention,
  type Ends,
  type FeedForward,
  type Layer,
  type Linear,
  type Norm,
  type Transformer,
} from './weights.ts';

/** Keys and values of the positions seen so far, a pair a layer: (B, S, G, D). */
export type Cache = readonly { readonly k: Tensor; readonly v: Tensor }[];

/** What a forward pass gives. */
export interface ForwardResult {
  /** (B, T, V) */
  readonly logits: Tensor;
  /** Keys and values with this call's positions appended. */
  readonly cache: Cache;
}

/**
 * Logits of the next token at every position: ids (B, T) int32 → (B, T, V). `ends` stand in for the model's own;
 * `cache` holds the positions before, and T may be 1 then. With `recompute` a backward pass computes the values inside
 * a layer again and keeps its output only: a third more time, a fraction of the memory, the same bits; there is no
 * cache then.
 */
export function forward(
  model: Transformer,
  ids: Tensor,
  ends: Ends = model,
  cache?: Cache,
  recompute = false,
): ForwardResult {
  const { config: c } = model;
  const past = cache?.[0].k.shape[1] ?? 0;
  const [, T] = ids.shape;
  checkLength(c, past + T);
  let x = ids.embedding(ends.embedding); // (B, T, C)
  if (model.positions) x = x.add(model.positions.slice(0, past, past + T));
  const grown: { k: Tensor; v: Tensor }[] = [];
  model.layers.forEach((layer, i) => {
    if (recompute && isRecording()) {
      x = recomputed(c, layer, x);
      return;
    }
    // Without a backward pass nothing of a layer is needed but what it returns.
    const within = isRecording() ? <R>(fn: () => R): R => fn() : scope;
    const { y, k, v } = within(() => block(c, layer, x, past, cache?.[i]));
    grown.push({ k, v });
    x = y; // (B, T, C)
  });
  const h = normalise(c, model.norm, x); // (B, T, C)
  return { logits: h.matmul(ends.head, { transposeB: true }), cache: grown }; // (B, T, V)
}

function checkLength(c: TransformerConfig, positions: number): void {
  if (positions <= longestSequence(c)) return;
  const limit =
    positions > c.context
      ? `the context of ${c.context}`
      : `the attention window of ${c.window}, which is not computed`;
  throw new Error(`transformer: ${positions} positions exceed ${limit}; cut the sequence`);
}

/** A block: attention, then feed-forward, each added to the residual stream x (B, T, C). */
function block(
  c: TransformerConfig,
  layer: Layer,
  x: Tensor,
  past: number,
  cached?: Cache[number],
): { y: Tensor; k: Tensor; v: Tensor } {
  const { normAt } = families[c.family];
  const before = (norm: Norm, input: Tensor) => (normAt === 'input' ? normalise(c, norm, input) : input);
  const after = (norm: Norm, output: Tensor) => (normAt === 'output' ? normalise(c, norm, output) : output);
  const attended = attend(c, layer.attention, before(layer.attentionNorm, x), past, cached);
  const y = x.add(after(layer.attentionNorm, attended.y)); // (B, T, C)
  const fed = feedForward(c, layer.feedForward, before(layer.feedForwardNorm, c.parallel ? x : y));
  return { ...attended, y: y.add(after(layer.feedForwardNorm, fed)) }; // (B, T, C)
}

/** A block whose inner values are not kept, of x (B, T, C) from the first position on. */
function recomputed(c: TransformerConfig, layer: Layer, x: Tensor): Tensor {
  const weights: Tensor[] = [];
  mapTensors(layer, weight => {
    weights.push(weight);
    return weight;
  });
  return checkpoint(
    ([input, ...own]) => {
      let next = 0;
      return block(
        c,
        mapTensors(layer, () => own[next++]),
        input,
        0,
      ).y;
    },
    [x, ...weights],
  );
}

/** Lines along the last dim, scaled and shifted where the norm says so. */
function normalise({ family, normEps }: TransformerConfig, { weight, bias }: Norm, x: Tensor): Tensor {
  let y = families[family].norm === 'rms' ? x.rmsNorm(normEps) : x.layerNorm(normEps);
  if (weight) y = y.mul(weight);
  return bias ? y.add(bias) : y;
}

/** x (B, T, in) → (B, T, out). */
function linear({ weight, bias, lora }: Linear, x: Tensor): Tensor {
  let y = x.matmul(weight, { transposeB: true });
  if (bias) y = y.add(bias);
  if (!lora) return y;
  const low = x.matmul(lora.a, { transposeB: true }); // (B, T, r)
  return y.add(low.matmul(lora.b, { transposeB: true }).mul(lora.scale));
}

/** Self-attention of x (B, T, C) to itself and the positions before it: y (B, T, C), k and v (B, S, G, D). */
function attend(
  c: TransformerConfig,
  w: Attention,
  x: Tensor,
  past: number,
  cached?: Cache[number],
): { y: Tensor; k: Tensor; v: Tensor } {
  const [B, T] = x.shape;
  const D = headWidth(c);
  const project = (weights: Linear, norm?: Norm) => {
    let y = linear(weights, x); // (B, T, heads D)
    if (c.clip !== undefined) y = y.clamp({ min: -c.clip, max: c.clip });
    // One head is a line, or all of them: what the scale is as long as.
    if (norm?.weight) y = normalise(c, norm, y.reshape([B, T, -1, norm.weight.size]));
    return y.reshape([B, T, -1, D]); // (B, T, heads, D)
  };
  const q = place(c, project(w.q, w.qNorm), past); // (B, T, H, D)
  let k = place(c, project(w.k, w.kNorm), past); // (B, T, G, D)
  let v = project(w.v); // (B, T, G, D)
  if (cached) [k, v] = [concat([cached.k, k], 1), concat([cached.v, v], 1)]; // (B, S, G, D)
  return { y: linear(w.o, q.attention(k, v).reshape([B, T, c.heads * D])), k, v };
}

/** Turns heads (B, T, heads, D) by their positions, where these are rotary. */
function place(c: TransformerConfig, x: Tensor, past: number): Tensor {
  if (families[c.family].positions !== 'rotary') return x;
  const position = { base: c.rotaryBase, invFreq: scaledInvFreq(c), offset: past };
  const R = rotaryWidth(c);
  if (R === headWidth(c)) return x.rotary(position);
  return concat([x.slice(-1, 0, R).rotary(position), x.slice(-1, R)], -1);
}

/** x (B, T, C) → (B, T, C), through (B, T, F). */
function feedForward(c: TransformerConfig, { gate, up, down }: FeedForward, x: Tensor): Tensor {
  if (gate) return linear(down, linear(gate, x).swiglu(linear(up, x)));
  const approximate = (c.activation ?? families[c.family].activation) === 'geluTanh' ? 'tanh' : 'none';
  return linear(down, linear(up, x).gelu({ approximate }));
}
