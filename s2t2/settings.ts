/** Everything that fixes an adaptation, in one typed record; with the data and the source model it names a run. */
import type { Budget } from '../models/batches.ts';
import type { LoraOptions } from '../models/lora.ts';
import type { TransformerConfig } from '../models/transformer-config.ts';
import type { PlanSettings } from './plan.ts';

/** What finetuning changes: all weights, the ends alone, or the ends and low-rank updates. */
export const trainModes = ['all', 'ends', 'lora'] as const;
/** One of `trainModes`. */
export type TrainMode = (typeof trainModes)[number];

/** What finetuning changes, and how. */
export interface TrainSettings {
  readonly seed: number;
  /** Missing: all. */
  readonly train?: TrainMode;
  /** Of `lora`; missing: its defaults. */
  readonly lora?: LoraOptions;
}

/** Everything that fixes an adaptation but its data and models. */
export interface Settings extends PlanSettings, Rates, TrainSettings {
  readonly seed: number;
  /** Target vocabulary, special tokens included; u in the paper, 512. */
  readonly vocabSize: number;
  /** Documents are cut into pieces of at most this many bytes, the same for every tokenizer. */
  readonly maxBytes: number;
  /** What every method may train on in all; learning a plan counts. */
  readonly budget: Budget;
  /**
   * Smaller budgets that the run was finished with before, in order, in the same unit: each is a cycle of finetuning
   * with its own schedule (warm restarts, Loshchilov & Hutter 2017), and the plan has its share of the first.
   * Missing: none.
   */
  readonly continuedFrom?: readonly number[];
  /** Steps of finetuning between two looks at the validation texts; missing: there are none. */
  readonly evalEvery?: number;
  /** The part of the budget on which the plan is learned. */
  readonly planShare: number;
  /** Padded tokens in a batch. */
  readonly batchTokens: number;
  /** The part of all steps with a rising learning rate. */
  readonly warmupShare: number;
  /**
   * ε: how far the prior coupling is mixed with the uniform one (`prior.ts`); at 1 the text of a token counts for
   * nothing.
   */
  readonly smoothing: number;
  /** Deviation of the initial cost Ĉ: breaks the tie between target tokens. */
  readonly noise: number;
  /** What finetuning starts from: the translated rows, or rows drawn about them at the source's scale (`spread.ts`). */
  readonly spread: 'none' | 'isotropic';
  /** Whether a start gives the head the log frequencies of the target's tokens (`frequencies.ts`). */
  readonly headBias: 'none' | 'frequencies';
  /**
   * Scale of the head's rows, in units of the source's, where they are spread or know frequencies: a head that is half
   * noise had better say less.
   */
  readonly headScale: number;
}

/** The settings of a run as it was at each of its budgets, the first one first and the settings themselves last. */
export function cyclesOf({ continuedFrom = [], ...settings }: Settings): [Settings, ...Settings[]] {
  const { unit, amount } = settings.budget;
  return [...continuedFrom, amount].map((budget, i) => ({
    ...settings,
    budget: { unit, amount: budget },
    ...(i > 0 && { continuedFrom: continuedFrom.slice(0, i) }),
  })) as [Settings, ...Settings[]];
}

/** The width of the models that rates and forms are given for: the bundled one's. */
export const ratedWidth = 160;

/** Peak learning rates. */
export interface Rates {
  /** Of finetuning, or of training from scratch, for a model of the bundled one's width (`rateOf` in `trained.ts`). */
  readonly rate: number;
  /** Of the plan's cost. */
  readonly planRate: number;
  /** Of finetuning for what lies between the ends, in units of `rate`. */
  readonly bodyRate: number;
}

/** The rates of settings, alone. */
export const ratesOf = ({ rate, planRate, bodyRate }: Rates): Rates => ({ rate, planRate, bodyRate });

/** What all rows of a run share: each has rates of its own. */
export function withoutRates(settings: Settings): Omit<Settings, keyof Rates> {
  const rates = Object.keys(ratesOf(settings));
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !rates.includes(name))) as Settings;
}

/** α̂ = 1/v, so that row logits X/μ are −Ĉ: of order one. It depends on the source vocabulary. */
export const defaultAlpha = (sourceTokens: number): number => 1 / sourceTokens;

/** What the form of the method is made of. */
export type Form = Pick<Settings, 'smoothing' | 'rowNormalisation' | 'headNormalisation' | 'spread' | 'headBias'>;

/**
 * Ours, and the paper's as we read it: uniform marginals, a start from noise, E' = diag(1/μ) P E and L' = P diag(1/ν)
 * L.
 */
export const presets = {
  default: {
    smoothing: 0.25,
    rowNormalisation: 'actual',
    headNormalisation: 'rows',
    spread: 'isotropic',
    headBias: 'frequencies',
  },
  paper: {
    smoothing: 1,
    rowNormalisation: 'nominal',
    headNormalisation: 'columns',
    spread: 'none',
    headBias: 'none',
  },
} as const satisfies Readonly<Record<string, Form>>;

/**
 * The form of a preset for a source model of this width. Models like the bundled one gain from rows that are spread; a
 * wider, published one, as far as it was measured, can read its own rows and had better keep them (README.md,
 * SmolLM2).
 */
export const formOf = (preset: keyof typeof presets, { width }: Pick<TransformerConfig, 'width'>): Form => ({
  ...presets[preset],
  ...(width > ratedWidth && { spread: 'none' }),
});

/** Chosen on validation data, for models of the bundled one's width: data/results.md has the figures. */
export const defaults: Omit<Settings, 'alpha'> = {
  seed: 0,
  vocabSize: 512,
  maxBytes: 512,
  budget: { unit: 'tokens', amount: 150_000 },
  planShare: 0.05,
  batchTokens: 512,
  rate: 4e-3,
  planRate: 3e-2,
  bodyRate: 0.5,
  warmupShare: 0.1,
  noise: 0.01,
  headScale: 0.25,
  variant: 'dual',
  iterations: 3,
  ...presets.default,
};
