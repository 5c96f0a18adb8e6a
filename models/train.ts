/**
 * The training loop: one for pretraining, for learning a plan and for finetuning. It changes a record of parameters
 * by the gradients of a loss over planned batches, and can be stopped and killed: its whole state is a set of tensors,
 * kept in a store every so often, and a resumed run goes through the same numbers as one never stopped.
 */
import { grad, scope, type Tensor } from '../engine/index.ts';
import { AdamW, linearSchedule, type Optimizer } from './adamw.ts';
import { makeBatch, type Batch, type Batches } from './batches.ts';
import {
  expectedSaveRate,
  restoreState,
  saveInterval,
  saveState,
  stateBytes,
  type History,
  type Progress,
  type StateStore,
  type ValidationPoint,
} from './state.ts';
import { UserError } from './errors.ts';
import { nextTurn } from './turn.ts';

/** What is learned, from what, and how fast. */
export interface Training {
  readonly parameters: Readonly<Record<string, Tensor>>;
  readonly batches: Batches;
  /** The mean loss of a batch in nats per scored token, a scalar; `done` is the share of the steps behind it. */
  readonly loss: (batch: Batch, done: number) => Tensor;
  /** The peak learning rate. */
  readonly rate: number;
  /** Steps of linear warm-up; the rate falls to zero at the end. */
  readonly warmup: number;
  /** AdamW with its defaults, if missing. */
  readonly optimizer?: (parameters: Readonly<Record<string, Tensor>>) => Optimizer;
  /** Judges the parameters now and then; those that do best are what the run ends with. */
  readonly validation?: Validation;
}

/** How parameters are judged in the course of training, on data that no step sees. */
export interface Validation {
  /** Steps from one judgement to the next; the start and the end of the run are judged as well. */
  readonly every: number;
  /** Of the parameters as they are, a finite number, the lower the better. */
  readonly score: () => Promise<number>;
}

export type { Progress, StateStore, ValidationPoint } from './state.ts';

/** How a run is kept, stopped and followed. */
export interface TrainingOptions {
  /** Where the state is kept; missing: nowhere. */
  readonly state?: StateStore;
  /** Where the parameters that did best on validation data are kept; needed where there is validation. */
  readonly best?: StateStore;
  /** Names what the run depends on (configuration, data, backend): a state of another run is rejected. */
  readonly fingerprint?: string;
  /**
   * The least time between saves, 20 if missing; a state that takes long to save is saved less often (`saveInterval`).
   * 0 saves after every step.
   */
  readonly saveEverySeconds?: number;
  /** Stops the run after the current step; the state is saved and `Interrupted` thrown. */
  readonly signal?: AbortSignal;
  /** Called after every step; training waits for what it returns, if that is a promise. */
  readonly onStep?: (progress: Progress) => unknown;
}

/** A finished run. */
export interface TrainingResult extends Progress {
  /** The loss of every batch. */
  readonly losses: Float32Array;
  /** `seconds` after every batch. */
  readonly times: Float32Array;
  /** The step whose parameters the run ends with, where validation chose it. */
  readonly best?: ValidationPoint;
}

/** A run was stopped on request, with everything saved. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/**
 * Runs all steps, from a kept state where there is one. Throws `Interrupted` where the signal stops it, and a
 * `UserError` where a loss is not finite or the state is another run's or damaged.
 *
 * What validation finds is a function of the step, so a run that was killed after it had kept better parameters than
 * its last state knows of comes to the same judgement again and keeps the same ones.
 */
export async function train(training: Training, options: TrainingOptions = {}): Promise<TrainingResult> {
  const { parameters, batches, rate, warmup } = training;
  const { state, fingerprint = '', saveEverySeconds = 20 } = options;
  const optimizer = training.optimizer?.(parameters) ?? new AdamW(parameters);
  const list = Object.values(parameters);
  const history: History = { losses: [], times: [] };
  let progress: Progress = { step: 0, steps: batches.length, loss: Number.NaN, tokens: 0, bytes: 0, seconds: 0 };
  const bestKept = keeper(training, options, optimizer);
  try {
    if (state) progress = (await restoreState(state, fingerprint, optimizer, history, batches.length)) ?? progress;
    progress = await bestKept.judge(progress);
    let saved = performance.now();
    let secondsOfSave = stateBytes(optimizer) / expectedSaveRate;
    while (progress.step < batches.length) {
      const { step } = progress;
      const start = performance.now();
      const batch = makeBatch(batches.at(step)!);
      const loss = trainStep(
        () => training.loss(batch, step / batches.length),
        list,
        optimizer,
        rate * linearSchedule(step, batches.length, warmup),
      );
      const value = await loss.item();
      loss.dispose();
      if (!Number.isFinite(value))
        throw new UserError(
          `train: the loss is ${value} at step ${step}; ` +
            `lower the learning rate (${rate}) or lengthen the warm-up (${warmup} steps)`,
        );
      progress = {
        ...progress,
        step: step + 1,
        steps: batches.length,
        loss: value,
        tokens: progress.tokens + batch.tokens,
        bytes: progress.bytes + batch.bytes,
        seconds: progress.seconds + (performance.now() - start) / 1000,
      };
      history.losses.push(value);
      history.times.push(progress.seconds);
      const taken = progress;
      progress = await bestKept.judge(taken).catch(async (error: unknown) => {
        if (state && options.signal?.aborted) await saveState(state, fingerprint, optimizer, history, taken);
        throw error;
      });
      await options.onStep?.(progress);
      await nextTurn(); // signals arrive here
      const stop = options.signal?.aborted === true && progress.step < batches.length;
      const due = performance.now() - saved >= 1000 * saveInterval(saveEverySeconds, secondsOfSave);
      if (state && (stop || due || progress.step === batches.length)) {
        const begun = performance.now();
        await saveState(state, fingerprint, optimizer, history, progress);
        saved = performance.now();
        secondsOfSave = (saved - begun) / 1000;
      }
      if (stop) throw new Interrupted(`stopped after step ${progress.step} of ${progress.steps}`);
    }
    const best = await bestKept.restore(progress);
    const [losses, times] = [Float32Array.from(history.losses), Float32Array.from(history.times)];
    return { ...progress, losses, times, ...(best && { best }) };
  } finally {
    optimizer.dispose();
  }
}

/** Judges the parameters of a run where that is due, keeps the best so far and brings them back at the end. */
function keeper({ validation, batches }: Training, options: TrainingOptions, optimizer: Optimizer) {
  const { best: store, state, fingerprint = '' } = options;
  if (validation === undefined)
    return { judge: async (progress: Progress) => progress, restore: async () => undefined };
  if (store === undefined) throw new Error('train: validation needs a store for the best parameters');
  // Parameters alone, as at the end of a run: kept as the state of a run of one step.
  const named = (step: number) => `${fingerprint} best ${step}`;
  const asEnd = { step: 1, steps: 1 };
  return {
    async judge(progress: Progress): Promise<Progress> {
      const { step, tokens, bytes, seconds, validations = [] } = progress;
      const due = step % validation.every === 0 || step === batches.length;
      if (!due || validations.at(-1)?.step === step) return progress;
      const value = await validation.score();
      if (validations.every(point => value < point.value))
        await saveState(store, named(step), optimizer, {}, { loss: 0, tokens, bytes, seconds, ...asEnd });
      return { ...progress, validations: [...validations, { step, tokens, bytes, seconds, value }] };
    },
    async restore({ step, validations = [] }: Progress): Promise<ValidationPoint> {
      const best = validations.reduce((a, b) => (b.value < a.value ? b : a));
      if (best.step < step && (await restoreState(store, named(best.step), optimizer, {}, asEnd.steps)) === null)
        throw new UserError(
          `${store.name}: is missing, and ${state?.name ?? 'the state'} needs it; delete that one to train this part ` +
            'again',
        );
      return best;
    },
  };
}

/**
 * One step: the loss, its gradients and the update; gives the loss before it, which the caller frees. Activations are
 * gone before the update begins, and gradients before it ends.
 */
export function trainStep(
  loss: () => Tensor,
  parameters: readonly Tensor[],
  optimizer: Optimizer,
  rate: number,
): Tensor {
  return scope(() => {
    const { value, gradients } = scope(() => {
      const mean = loss();
      return { value: mean.detach(), gradients: grad(mean, parameters, { freeGraph: true }) };
    });
    optimizer.update(gradients, rate);
    return value;
  });
}
