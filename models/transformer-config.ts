/**
 * The configuration of a model: its family, sizes, and whatever else varies between the models of a family. What it
 * must satisfy, and what follows from it by arithmetic alone.
 */
import { rotaryInvFreq } from '../engine/index.ts';
import { UserError } from './errors.ts';
import { families, type Activation, type FamilyName } from './families.ts';

/** What a model of a family looks like. */
export interface TransformerConfig {
  readonly family: FamilyName;
  /** Rows of embedding and head, V; at least the tokenizer's, more where a checkpoint is padded. */
  readonly vocabSize: number;
  /** Width of the residual stream, C. */
  readonly width: number;
  readonly layers: number;
  /** Query heads, H. */
  readonly heads: number;
  /** Key/value heads, G; H is a multiple of them. */
  readonly keyValueHeads: number;
  /** Width of a head, D; C/H if missing. */
  readonly headWidth?: number;
  /** Width of the feed-forward layer, F. */
  readonly feedForward: number;
  /** The longest sequence that positions are defined for; `longestSequence` also takes the window into account. */
  readonly context: number;
  /** θ of rotary positions; unused where positions are learned. */
  readonly rotaryBase: number;
  /** How rotary positions are stretched beyond the context that the model was first trained on. */
  readonly rotaryScaling?: RotaryScaling;
  /** The share of a head's width that turns with the position (GPT-NeoX); all of it if missing. */
  readonly rotaryShare?: number;
  /** Beside the variance or the mean square, under the root. */
  readonly normEps: number;
  /** Whether the head is the embedding itself. */
  readonly tied: boolean;
  /** The family's if missing. */
  readonly activation?: Activation;
  /** Whether attention and feed-forward both read the block's input and their outputs are added (GPT-NeoX). */
  readonly parallel?: boolean;
  /** Queries, keys and values are clipped to ± this (OLMo). */
  readonly clip?: number;
  /** How many positions a query sees, itself included (Mistral); all before it if missing. */
  readonly window?: number;
  /** The first layer with the window (Qwen 2 and 3); the first of all if missing. */
  readonly windowFrom?: number;
}

/** Linear: all pairs turn more slowly by a factor (Chen et al. 2023). LLaMA 3: the slower a pair, the more so. */
export type RotaryScaling =
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'llama3';
      /** By how much the slowest pairs are slowed down. */
      readonly factor: number;
      /** Pairs that turn less often than this in the original context are slowed down wholly, … */
      readonly lowFrequency: number;
      /** … those that turn more often than this not at all, and those in between in part. */
      readonly highFrequency: number;
      readonly originalContext: number;
    };

/** D: the width of a head. */
export const headWidth = (c: TransformerConfig): number => c.headWidth ?? c.width / c.heads;

/** R ≤ D: how much of a head's width turns with the position. */
export const rotaryWidth = (c: TransformerConfig): number => Math.floor(headWidth(c) * (c.rotaryShare ?? 1));

/**
 * Positions in the longest sequence that can be computed. Within its window a model with sliding attention is one with
 * full attention; beyond it is not computed.
 */
export const longestSequence = (c: TransformerConfig): number => Math.min(c.context, c.window ?? Infinity);

/** A configuration with more is an error: its names alone would fill memory before a missing weight is found. */
const mostLayers = 10_000;

/** Throws a `UserError` where a configuration makes no model. */
export function checkConfig(c: TransformerConfig): void {
  const reject = (what: string): never => {
    throw new UserError(`transformer: ${what}`);
  };
  for (const key of ['vocabSize', 'width', 'layers', 'heads', 'keyValueHeads', 'feedForward', 'context'] as const) {
    if (!Number.isSafeInteger(c[key]) || c[key] < 1)
      reject(`${key} is ${c[key]}; it must be a whole number of 1 or more`);
  }
  if (c.layers > mostLayers) reject(`${c.layers} layers are more than any model has; the limit is ${mostLayers}`);
  const { positions, activation: ofFamily, names } = families[c.family];
  const D = headWidth(c);
  if (!Number.isSafeInteger(D) || D < 1)
    reject(
      c.headWidth === undefined
        ? `width ${c.width} is not a multiple of ${c.heads} heads`
        : `headWidth is ${D}; it must be a whole number of 1 or more`,
    );
  if (c.heads % c.keyValueHeads !== 0)
    reject(`${c.heads} heads are not a multiple of ${c.keyValueHeads} key/value heads`);
  // Queries, keys and values in one tensor have the same shape.
  if (names['attention.q'] === names['attention.k'] && (c.keyValueHeads !== c.heads || D * c.heads !== c.width))
    reject(`${c.family} supports neither grouped key/value heads nor a separate head width`);
  if (positions === 'rotary' && (rotaryWidth(c) < 2 || rotaryWidth(c) % 2 !== 0 || rotaryWidth(c) > D))
    reject(
      c.rotaryShare === undefined
        ? `a head is ${D} wide; rotary positions need an even width`
        : `${rotaryWidth(c)} of the ${D} elements of a head turn; rotary positions need an even number`,
    );
  if (positions === 'learned' && (c.rotaryScaling !== undefined || c.rotaryShare !== undefined))
    reject(`${c.family} has learned positions, which cannot be scaled`);
  if (!isScaling(c.rotaryScaling))
    reject(`rotaryScaling ${JSON.stringify(c.rotaryScaling)} must be positive, highFrequency above lowFrequency`);
  if ((c.activation === 'swiglu') !== (ofFamily === 'swiglu') && c.activation !== undefined)
    reject(`${c.family} has no activation ${c.activation}`);
  if (!(c.normEps > 0) || !(c.rotaryBase > 1))
    reject(`normEps ${c.normEps} must be positive and rotaryBase ${c.rotaryBase} above 1`);
  if (!((c.clip ?? 1) > 0)) reject(`clip is ${c.clip}; it must be positive`);
  if (!Number.isSafeInteger(c.window ?? 1) || (c.window ?? 1) < 1)
    reject(`window is ${c.window}; it must be a whole number of 1 or more`);
}

function isScaling(scaling: RotaryScaling | undefined): boolean {
  if (scaling === undefined) return true;
  if (!(scaling.factor > 0)) return false;
  if (scaling.kind === 'linear') return true;
  const { lowFrequency, highFrequency, originalContext } = scaling;
  return lowFrequency > 0 && highFrequency > lowFrequency && originalContext > 0;
}

/**
 * Radians that each of the R/2 pairs turns by from one position to the next, where positions are scaled (transformers:
 * `_compute_linear_scaling_rope_parameters`, `_compute_llama3_parameters`); undefined where they are not.
 */
export function scaledInvFreq(c: TransformerConfig): number[] | undefined {
  const scaling = c.rotaryScaling;
  if (scaling === undefined) return undefined;
  return rotaryInvFreq(rotaryWidth(c), { base: c.rotaryBase }).map(freq => {
    if (scaling.kind === 'linear') return freq / scaling.factor;
    const { factor, lowFrequency, highFrequency, originalContext } = scaling;
    const turns = (originalContext * freq) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - lowFrequency) / (highFrequency - lowFrequency)));
    return freq * (kept + (1 - kept) / factor);
  });
}

/**
 * Multiplications and additions of a forward pass, counted in matrix products only, of a token that attends to T
 * positions.
 */
export function forwardFlops(c: TransformerConfig, T: number): number {
  const D = headWidth(c);
  const matrices = families[c.family].activation === 'swiglu' ? 3 : 2;
  const layer = 2 * c.width * D * (c.heads + c.keyValueHeads) + matrices * c.width * c.feedForward;
  return 2 * (c.layers * layer + c.vocabSize * c.width) + 4 * c.layers * T * c.heads * D;
}
