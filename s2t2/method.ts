/**
 * What a method is: a way to start a model in a new domain. It gives a model for the target or the source vocabulary,
 * made from the pretrained one, and says what it has spent of the training budget.
 */
import type { LanguageModel } from '../models/checkpoint.ts';
import type { Sequences } from '../models/sequences.ts';
import type { Tokenizer } from '../models/tokenizer/index.ts';
import type { Training, TrainingResult } from '../models/train.ts';
import type { Transformer } from '../models/weights.ts';
import type { Plan } from './plan.ts';
import type { Settings } from './settings.ts';

/** What a method may use. */
export interface Context {
  readonly settings: Settings;
  readonly source: LanguageModel;
  readonly target: Tokenizer;
  /** Whether training computes layers again in the backward pass, to save memory; it changes no bit. */
  readonly recompute?: boolean;
  /** Training sequences in either vocabulary. */
  readonly train: Readonly<Record<Vocabulary, Sequences>>;
  /** Runs a training stage, resumably, with its progress shown; `learner` is what learns. */
  readonly runStage: (stage: string, training: Training, learner?: Learner) => Promise<TrainingResult>;
  /** Takes a line for the person who watches. */
  readonly log: (line: string) => void;
}

/** What learns in a stage, to be looked at between two steps. */
export interface Learner {
  /** The plan, where one is learned; its duality gap takes long and is null. */
  readonly plan?: () => Promise<Plan>;
  /** The model, where its weights are learned. */
  readonly model?: Transformer;
}

/** Which tokenizer cuts the texts. */
export type Vocabulary = 'source' | 'target';

/** An amount of training text. */
export interface Amount {
  readonly tokens: number;
  readonly bytes: number;
}

/** No text. */
export const nothing: Amount = { tokens: 0, bytes: 0 };

/** Two amounts together. */
export const plus = (a: Amount, b: Amount): Amount => ({ tokens: a.tokens + b.tokens, bytes: a.bytes + b.bytes });

/** What a method starts finetuning from, and what it has spent of the budget. */
export interface Start {
  /** What is evaluated before finetuning. */
  readonly model: Transformer;
  /** What finetuning starts from, where that is another. */
  readonly finetuned?: Transformer;
  readonly plan?: Plan;
  /** Of the budget: text that was learned from, or read. */
  readonly spent: Amount;
}

/** A way to start a model in a new domain. */
export interface Method {
  readonly name: string;
  readonly vocabulary: Vocabulary;
  /** Whether there is a phase 1, at `planRate`. */
  readonly learnsPlan: boolean;
  /** Whether the start itself says something, so that it is evaluated before finetuning. */
  readonly before: boolean;
  start(context: Context): Promise<Start>;
}
