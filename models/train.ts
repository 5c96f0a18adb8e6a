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
}

export type { Progress, StateStore } from './state.ts';

/** How a run is kept, stopped and followed. */
export interface TrainingOptions {
  /** Where the state is kept; missing: nowhere. */
  readonly state?: StateStore;
  /** Names what the run depends on (configuration, data, backend): a state of another run is refused. */
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
}

/** A run was stopped on request, with everything saved. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/**
 * Runs all steps, from a kept state where there is one. Throws `Interrupted` where the signal stops it, and a
 * `UserError` where a loss is not finite or the state is another run's or damaged.
 */
export async function train(training: Training, options: TrainingOptions = {}): Promise<TrainingResult> {
  const { parameters, batches, rate, warmup } = training;
  const { state, fingerprint = '', saveEverySeconds = 20 } = options;
  const optimizer = training.optimizer?.(parameters) ?? new AdamW(parameters);
  const list = Object.values(parameters);
  const history: History = { losses: [], times: [] };
  let progress: Progress = { step: 0, steps: batches.length, loss: Number.NaN, tokens: 0, bytes: 0, seconds: 0 };
  try {
    if (state) progress = (await restoreState(state, fingerprint, optimizer, history, batches.length)) ?? progress;
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
        step: step + 1,
        steps: batches.length,
        loss: value,
        tokens: progress.tokens + batch.tokens,
        bytes: progress.bytes + batch.bytes,
        seconds: progress.seconds + (performance.now() - start) / 1000,
      };
      history.losses.push(value);
      history.times.push(progress.seconds);
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
    return { ...progress, losses: Float32Array.from(history.losses), times: Float32Array.from(history.times) };
  } finally {
    optimizer.dispose();
  }
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
