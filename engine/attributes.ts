/** What operations say to the kernels that backends have for them, beside their inputs: both sides import it. */

/** Attributes of operations that work along one dim; it is resolved, so not negative. */
export interface Dim {
  readonly dim: number;
}

/** Which of its two formulas `gelu` computes. */
export interface GeluAttributes {
  /** 'none': x Φ(x); 'tanh': the approximation of Hendrycks & Gimpel 2016 that GPT-2 uses. */
  readonly approximate: 'none' | 'tanh';
}

/** How `rotary` turns the pairs of a vector. */
export interface RotaryAttributes {
  /** θ: the pair i turns by base^(−2i/D) a position. 10,000 as a rule. */
  readonly base: number;
  /** What each of the D/2 pairs turns by instead, where positions are scaled. */
  readonly invFreq?: readonly number[];
  /** Position of the first row, for generation with a cache. */
  readonly offset: number;
  /** Turn backwards: the adjoint. */
  readonly inverse: boolean;
}

/** Radians that each of the D/2 pairs turns by from one position to the next. */
export const rotaryInvFreq = (
  D: number,
  { base, invFreq }: Pick<RotaryAttributes, 'base' | 'invFreq'>,
): readonly number[] => invFreq ?? Array.from({ length: D / 2 }, (_, i) => base ** ((-2 * i) / D));

/** An update of AdamW (Loshchilov & Hutter 2019, algorithm 2). */
export interface AdamwStepAttributes {
  /** The learning rate. */
  readonly lr: number;
  /** Decoupled: multiplied by the learning rate. */
  readonly weightDecay: number;
  /** Beside √v̂, so in units of a gradient. */
  readonly eps: number;
  /** 1 − β₁ᵗ and 1 − β₂ᵗ. */
  readonly correction1: number;
  readonly correction2: number;
}
