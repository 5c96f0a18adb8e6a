/** Fused operations of neural networks: normalisation, cross-entropy, rotary embedding, attention, AdamW. */
import { rotaryInvFreq, type AdamwStepAttributes, type RotaryAttributes } from '../attributes.ts';
import type { Shape } from '../backend.ts';
import { addMethods, type Methods } from '../methods.ts';
import { apply, defineOp, type Op } from '../op.ts';
import type { Random } from '../random.ts';
import { show, sizeOf } from '../shape.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { mul, sumTo, where } from './elementwise.ts';
import { concat } from './layout.ts';

type None = Record<string, never>;

interface NormAttributes {
  /** Added to the variance or mean square. */
  readonly eps: number;
}

type Norm = (x: Tensor, eps?: number) => Tensor;

/** y = (x − shift) / scale over the last dim, where shift and scale are statistics of the line. */
function normalisation(name: string, flops: number, centre: boolean): Norm {
  const centred = (x: Tensor) => (centre ? x.sub(x.mean(-1, { keepdim: true })) : x);
  const scale = (c: Tensor, eps: number) => c.square().mean(-1, { keepdim: true }).add(eps).sqrt();
  const op = defineOp<NormAttributes>({
    name,
    shape: ([x]) => x,
    definition: ([x], { eps }) => {
      const c = centred(x);
      return c.div(scale(c, eps));
    },
    // The line loses its component along y, and along 1 if centred, and shrinks by the scale.
    vjp: (g, [x], y, { eps }) => [
      () => centred(g.sub(y.mul(g.mul(y).mean(-1, { keepdim: true })))).div(scale(centred(x), eps)),
    ],
    flops: (_, __, out) => flops * sizeOf(out),
  });
  return (x, eps = 1e-5) => apply(op, [x], { eps });
}

/** (x − mean) / √(var + eps) over the last dim, biased variance (Ba et al. 2016). Scale and shift are the caller's. */
export const layerNorm: Norm = normalisation('layerNorm', 7, true);

/** x / √(mean(x²) + eps) over the last dim (Zhang & Sennrich 2019). The scale is the caller's. */
export const rmsNorm: Norm = normalisation('rmsNorm', 4, false);

const crossEntropyOp = defineOp<None>({
  name: 'crossEntropy',
  shape: ([logits, targets]) => {
    if (logits.length !== 2 || targets.length !== 1 || logits[0] !== targets[0])
      throw new Error(`crossEntropy: needs logits (N, V) and targets (N), got ${show(logits)} and ${show(targets)}`);
    return targets;
  },
  definition: ([logits, targets]) => {
    const hit = targets.oneHot(logits.shape[1], logits.dtype); // (N, V)
    return where(hit, logits.logSoftmax(), 0).sum(-1).neg();
  },
  // d/dx −log softmax(x)_t = softmax(x) − 1_t, and nothing where the target is ignored.
  vjp: (g, [logits, targets]) => [
    () => {
      const hit = targets.oneHot(logits.shape[1], logits.dtype);
      const counted = hit.sum(-1, { keepdim: true }); // (N, 1)
      return g.reshape([-1, 1]).mul(counted).mul(logits.softmax().sub(hit));
    },
    null,
  ],
  flops: ([logits]) => 5 * sizeOf(logits),
});

/**
 * −log softmax(logits)[target] in nats for each position: logits (N, V), targets (N) int32 → (N). A negative target,
 * such as PyTorch's −100, is ignored: 0, and no gradient.
 */
export const crossEntropy = (logits: Tensor, targets: Tensor): Tensor => apply(crossEntropyOp, [logits, targets], {});

const rotaryOp: Op<RotaryAttributes> = defineOp<RotaryAttributes>({
  name: 'rotary',
  shape: ([x], { invFreq }) => {
    if (x.length !== 4 || x[3] % 2 !== 0)
      throw new Error(`rotary: needs (batch, time, heads, even width), got ${show(x)}`);
    if (invFreq && invFreq.length !== x[3] / 2)
      throw new Error(`rotary: ${invFreq.length} invFreq do not match the ${x[3] / 2} pairs of ${show(x)}`);
    return x;
  },
  definition: ([x], { offset, inverse, ...turning }) => {
    const [, T, , D] = x.shape;
    const invFreq = rotaryInvFreq(D, turning);
    const angles = Float64Array.from(
      { length: (T * D) / 2 },
      (_, i) => (offset + Math.floor(i / (D / 2))) * invFreq[i % (D / 2)],
    );
    const constant = (f: (a: number) => number) =>
      tensor(angles.map(f), { shape: [T, 1, D / 2], dtype: x.dtype, backend: x.backend });
    const [cos, sin] = [constant(Math.cos), constant(a => Math.sin(inverse ? -a : a))];
    const [a, b] = [x.slice(-1, 0, D / 2), x.slice(-1, D / 2)]; // (B, T, H, D/2)
    return concat([a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))], -1);
  },
  vjp: (g, _, __, attributes) => [() => apply(rotaryOp, [g], { ...attributes, inverse: !attributes.inverse })],
  flops: (_, __, out) => 3 * sizeOf(out),
});

/**
 * Rotary position embedding (Su et al. 2021) of x (B, T, H, D): the pair (i, i + D/2) of the row at position p turns by
 * p · base^(−2i/D), or by p · invFreq[i]. The pairing is that of Hugging Face's LLaMA and OLMo.
 */
export const rotary = (
  x: Tensor,
  { base = 10000, invFreq, offset = 0 }: Partial<Omit<RotaryAttributes, 'inverse'>> = {},
): Tensor => apply(rotaryOp, [x], { base, invFreq, offset, inverse: false });

/** Heads in front: (B, T, H, D) → (B, G, H/G, T, D), so that G key/value heads broadcast over their H/G query heads. */
function headsFirst(x: Tensor, G: number): Tensor {
  const [B, T, H, D] = x.shape;
  return x.reshape([B, T, G, H / G, D]).permute([0, 2, 3, 1, 4]);
}

/** The inverse of `headsFirst`. */
function headsLast(x: Tensor): Tensor {
  const [B, G, R, T, D] = x.shape;
  return x.permute([0, 3, 1, 2, 4]).reshape([B, T, G * R, D]);
}

/** softmax(q kᵀ/√D + mask) of heads in front: q (B, G, R, T, D), k (B, G, 1, S, D) → (B, G, R, T, S). */
function attentionWeights(q: Tensor, k: Tensor): Tensor {
  const [T, S, D] = [q.shape[3], k.shape[3], q.shape[4]];
  const hidden = Float64Array.from({ length: T * S }, (_, i) => (i % S > Math.floor(i / S) + S - T ? -Infinity : 0));
  const mask = tensor(hidden, { shape: [T, S], dtype: q.dtype, backend: q.backend });
  const scores = q.matmul(k, { transposeB: true }).mul(1 / Math.sqrt(D));
  return scores.add(mask).softmax();
}

const attentionOp = defineOp<None>({
  name: 'attention',
  shape: ([q, k, v]) => {
    const fits =
      q.length === 4 &&
      k.length === 4 &&
      v.join() === k.join() &&
      q[0] === k[0] &&
      q[3] === k[3] &&
      q[2] % k[2] === 0 &&
      q[1] <= k[1];
    if (!fits)
      throw new Error(
        'attention: needs q (B, T, H, D) and k, v (B, S, G, D) with H a multiple of G and T ≤ S, got ' +
          `${[q, k, v].map(show).join(', ')}`,
      );
    return q;
  },
  definition: ([q, k, v]) => {
    const G = k.shape[2];
    return headsLast(attentionWeights(headsFirst(q, G), headsFirst(k, G)).matmul(headsFirst(v, G)));
  },
  vjp: (g, [q, k, v]) => {
    const G = k.shape[2];
    const [Q, K, V, O] = [q, k, v, g].map(x => headsFirst(x, G));
    const P = attentionWeights(Q, K); // (B, G, R, T, S)
    const dP = O.matmul(V, { transposeB: true });
    const dS = P.mul(dP.sub(P.mul(dP).sum(-1, { keepdim: true }))).mul(1 / Math.sqrt(q.shape[3]));
    const back = (x: Tensor, like: Tensor) => headsLast(sumTo(x, like.shape));
    return [
      () => back(dS.matmul(K), Q),
      () => back(dS.matmul(Q, { transposeA: true }), K),
      () => back(P.matmul(O, { transposeA: true }), V),
    ];
  },
  // Two products over the visible half.
  flops: ([q, k]) => 2 * sizeOf(q) * k[1],
});

/**
 * Causal attention with grouped key/value heads: q (B, T, H, D), k and v (B, S, G, D) → (B, T, H, D). The T queries are
 * the last of the S positions: query t sees keys up to t + S − T. Head h reads key/value head ⌊h G / H⌋.
 */
export const attention = (q: Tensor, k: Tensor, v: Tensor): Tensor => apply(attentionOp, [q, k, v], {});

/**
 * x with each value dropped with probability p and the others divided by 1 − p (Srivastava et al. 2014). Evaluation
 * leaves it out. `random` decides, so a run is fixed by its seed.
 */
export function dropout(x: Tensor, p: number, random: Random): Tensor {
  if (!(p >= 0 && p < 1)) throw new Error(`dropout: p must be in [0, 1); got ${p}`);
  if (p === 0) return x;
  const mask = Float64Array.from({ length: x.size }, () => (random.uniform() < p ? 0 : 1 / (1 - p)));
  return x.mul(tensor(mask, { shape: x.shape, dtype: x.dtype, backend: x.backend }));
}

/** Operations of AdamW (Loshchilov & Hutter 2019), one output each; they have no gradient. */
const sameShapes = (shapes: readonly Shape[]): Shape => {
  if (!shapes.every(s => s.join() === shapes[0].join()))
    throw new Error(`adamw: shapes differ: ${shapes.map(show).join(', ')}`);
  return shapes[0];
};

const adamwMeanOp = defineOp<{ beta: number }>({
  name: 'adamwMean',
  shape: sameShapes,
  definition: ([m, g], { beta }) => m.mul(beta).add(g.mul(1 - beta)),
  flops: (_, __, out) => 3 * sizeOf(out),
});
/** The running mean of gradients: β m + (1 − β) g. */
export const adamwMean = (m: Tensor, g: Tensor, beta: number): Tensor => apply(adamwMeanOp, [m, g], { beta });

const adamwVarianceOp = defineOp<{ beta: number }>({
  name: 'adamwVariance',
  shape: sameShapes,
  definition: ([v, g], { beta }) => v.mul(beta).add(g.square().mul(1 - beta)),
  flops: (_, __, out) => 4 * sizeOf(out),
});
/** The running mean of squared gradients: β v + (1 − β) g². */
export const adamwVariance = (v: Tensor, g: Tensor, beta: number): Tensor => apply(adamwVarianceOp, [v, g], { beta });

const adamwStepOp = defineOp<AdamwStepAttributes>({
  name: 'adamwStep',
  shape: sameShapes,
  definition: ([p, m, v], { lr, weightDecay, eps, correction1, correction2 }) =>
    p.mul(1 - lr * weightDecay).sub(mul(lr, m.div(correction1).div(v.div(correction2).sqrt().add(eps)))),
  flops: (_, __, out) => 7 * sizeOf(out),
});
/** p (1 − lr · weightDecay) − lr · m̂ / (√v̂ + eps). */
export const adamwStep = (p: Tensor, m: Tensor, v: Tensor, attributes: AdamwStepAttributes): Tensor =>
  apply(adamwStepOp, [p, m, v], attributes);

const methods = { layerNorm, rmsNorm, crossEntropy, rotary, attention, dropout };
declare module '../tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
