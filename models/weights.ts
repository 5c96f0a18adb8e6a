/**
 * The weights of a model, reached by structure: `model.layers[0].attention.q.weight`. One function, `assemble`, says
 * which weights a configuration has, under which names and in which shapes; everything that walks over all of them
 * (loading, saving, initialising, training) is made of it.
 */
import { Tensor } from '../engine/index.ts';
import { families, type LinearName } from './families.ts';
import { headWidth, type TransformerConfig } from './transformer-config.ts';

/** y = x weightᵀ + bias: weight (out, in), bias (out). */
export interface Linear<T = Tensor> {
  readonly weight: T;
  readonly bias?: T;
  /** What learns beside a frozen weight (`lora.ts`); no part of a checkpoint. */
  readonly lora?: Lora<T>;
}

/** Adds scale · x aᵀ bᵀ: a (r, in), b (out, r). */
export interface Lora<T = Tensor> {
  readonly a: T;
  readonly b: T;
  readonly scale: number;
}

/** Scale and shift of normalised lines of the residual stream, (C) each; OLMo-1 has neither. */
export interface Norm<T = Tensor> {
  readonly weight?: T;
  readonly bias?: T;
}

/** Self-attention with H query heads and G key/value heads of width D. */
export interface Attention<T = Tensor> {
  /** Queries: C → H·D. */
  readonly q: Linear<T>;
  /** Keys: C → G·D. */
  readonly k: Linear<T>;
  /** Values: C → G·D. */
  readonly v: Linear<T>;
  /** Output: H·D → C. */
  readonly o: Linear<T>;
  /** Of queries and keys, (D) where heads are normalised one by one, else (H·D) and (G·D). */
  readonly qNorm?: Norm<T>;
  readonly kNorm?: Norm<T>;
}

/** The feed-forward layer of a block. */
export interface FeedForward<T = Tensor> {
  /** C → F; SwiGLU only. */
  readonly gate?: Linear<T>;
  /** C → F. */
  readonly up: Linear<T>;
  /** F → C. */
  readonly down: Linear<T>;
}

/** A block. Its norms are applied to inputs or to outputs of attention and feed-forward, as the family says. */
export interface Layer<T = Tensor> {
  readonly attention: Attention<T>;
  readonly feedForward: FeedForward<T>;
  readonly attentionNorm: Norm<T>;
  readonly feedForwardNorm: Norm<T>;
}

/** The two ends of a model: embedding (V, C) and head (V, C). A token translation replaces exactly these. */
export interface Ends<T = Tensor> {
  readonly embedding: T;
  /** The embedding itself where the ends are tied. */
  readonly head: T;
}

/** All weights of a model. */
export interface Weights<T = Tensor> extends Ends<T> {
  /** A vector a position, (context, C), where positions are learned. */
  readonly positions?: T;
  readonly layers: readonly Layer<T>[];
  /** Before the head. */
  readonly norm: Norm<T>;
}

/** A model: what it computes, and with what. */
export interface Transformer extends Weights {
  readonly config: TransformerConfig;
}

/**
 * The weights of a configuration, each made by `make` from its name (`layers.0.attention.q.weight`) and shape, in one
 * fixed order. A tied head is the embedding and is not made.
 */
export function assemble<T>(c: TransformerConfig, make: (name: string, shape: number[]) => T): Weights<T> {
  const { normParameters, queryKeyNorm, positions, activation, biases } = families[c.family];
  const [C, F, D] = [c.width, c.feedForward, headWidth(c)];
  const [queries, keys] = [c.heads * D, c.keyValueHeads * D];
  const linear = (at: string, name: LinearName, from: number, to: number): Linear<T> => ({
    weight: make(`${at}.${name}.weight`, [to, from]),
    ...(biases.includes(name) && { bias: make(`${at}.${name}.bias`, [to]) }),
  });
  const norm = (at: string, width = C): Norm<T> =>
    Object.fromEntries(normParameters.map(part => [part, make(`${at}.${part}`, [width])]));
  const attention = (at: string): Attention<T> => ({
    q: linear(at, 'q', C, queries),
    k: linear(at, 'k', C, keys),
    v: linear(at, 'v', C, keys),
    o: linear(at, 'o', queries, C),
    ...(queryKeyNorm && {
      qNorm: norm(`${at}.qNorm`, queryKeyNorm === 'each' ? D : queries),
      kNorm: norm(`${at}.kNorm`, queryKeyNorm === 'each' ? D : keys),
    }),
  });
  const feedForward = (at: string): FeedForward<T> => ({
    ...(activation === 'swiglu' && { gate: linear(at, 'gate', C, F) }),
    up: linear(at, 'up', C, F),
    down: linear(at, 'down', F, C),
  });
  const layer = (at: string): Layer<T> => ({
    attention: attention(`${at}.attention`),
    feedForward: feedForward(`${at}.feedForward`),
    attentionNorm: norm(`${at}.attentionNorm`),
    feedForwardNorm: norm(`${at}.feedForwardNorm`),
  });
  const embedding = make('embedding', [c.vocabSize, C]);
  return {
    embedding,
    ...(positions === 'learned' && { positions: make('positions', [c.context, C]) }),
    layers: Array.from({ length: c.layers }, (_, i) => layer(`layers.${i}`)),
    norm: norm('norm'),
    head: c.tied ? embedding : make('head', [c.vocabSize, C]),
  };
}

/** The shape of every weight by name, in the order of `parameters`. */
export function parameterShapes(config: TransformerConfig): Record<string, number[]> {
  const shapes: Record<string, number[]> = {};
  assemble(config, (name, shape) => {
    shapes[name] = shape;
  });
  return shapes;
}

/** A part of a model's structure with each of its tensors, in one fixed order, replaced. */
export function mapTensors<T extends object>(part: T, replace: (weight: Tensor) => Tensor): T {
  const map = (value: unknown): unknown =>
    value instanceof Tensor
      ? replace(value)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, map(inner)]))
        : value;
  return map(part) as T;
}

/** The weights of a model as a flat record, for optimisers and gradients. A tied head is not in it twice. */
export function parameters(model: Transformer): Record<string, Tensor> {
  const { config, ...weights } = model;
  const found: Record<string, Tensor> = {};
  const walk = (node: object, prefix: string) => {
    for (const [key, value] of Object.entries(node) as [string, object][]) {
      if (value instanceof Tensor) found[prefix + key] = value;
      else walk(value, `${prefix}${key}.`);
    }
  };
  walk(weights, '');
  return Object.fromEntries(Object.keys(parameterShapes(config)).map(name => [name, found[name]]));
}

/** The inverse of `parameters`: a model of a configuration from its weights by name. */
export function fromParameters(config: TransformerConfig, weights: Readonly<Record<string, Tensor>>): Transformer {
  const weight = (name: string): Tensor => {
    if (!(name in weights)) throw new Error(`transformer: no weight named "${name}"`);
    return weights[name];
  };
  return { config, ...assemble(config, weight) };
}

/** Frees all weights of a model. */
export const disposeModel = (model: Transformer): void =>
  Object.values(parameters(model)).forEach(weight => weight.dispose());
