/** Everything that fixes an adaptation, in one typed record; with the data and the source model it names a run. */
import type { Budget } from '../models/batches.ts';
import type { PlanSettings } from './plan.ts';

export interface Settings extends PlanSettings {
  readonly seed: number;
  /** Target vocabulary, special tokens included; u in the paper, 512. */
  readonly vocabSize: number;
  /** Documents are cut into pieces of at most this many bytes, the same for every tokenizer. */
  readonly maxBytes: number;
  /** What every method may train on in all; learning a plan counts. */
  readonly budget: Budget;
  /** The part of the budget on which the plan is learned. */
  readonly planShare: number;
  /** Padded tokens in a batch. */
  readonly batchTokens: number;
  /** Peak learning rates of finetuning, of the plan's cost, and of training from scratch. */
  readonly rate: number;
  readonly planRate: number;
  readonly scratchRate: number;
  /** Learning rate of finetuning for what lies between the ends, in units of `rate`. */
  readonly bodyRate: number;
  /** Which ends a plan makes before finetuning; the other is drawn at random, to tell what each is worth. */
  readonly planEnds: 'both' | 'embedding' | 'head';
  /** The part of all steps with a rising learning rate. */
  readonly warmupShare: number;
  /** Deviation of the initial cost Ĉ: breaks the tie between target tokens. */
  readonly noise: number;
  /** Where Ĉ starts: noise alone, or half of each row's mass on the source tokens of its text. */
  readonly init: 'noise' | 'pieces';
  /** Marginals of the plan: uniform, or smoothed token frequencies in the training text. */
  readonly marginals: 'uniform' | 'frequency';
}

/** α̂ = 1/v, so that row logits X/μ are −Ĉ: of order one. It depends on the source vocabulary. */
export const defaultAlpha = (sourceTokens: number): number => 1 / sourceTokens;

/**
 * Chosen on the validation proteins, rates for s2t2 and for scratch; the plan of `dual` is ten times sparser than Dykstra's
 * at the same bits per byte.
 */
export const defaults: Omit<Settings, 'alpha'> = {
  seed: 0,
  vocabSize: 512,
  maxBytes: 512,
  budget: { unit: 'tokens', amount: 150_000 },
  planShare: 0.1,
  batchTokens: 512,
  rate: 4e-3,
  planRate: 1e-3,
  scratchRate: 1e-3,
  bodyRate: 0.5,
  planEnds: 'both',
  warmupShare: 0.1,
  noise: 0.01,
  init: 'noise',
  marginals: 'uniform',
  variant: 'dual',
  iterations: 3,
  rowNormalisation: 'actual',
};
