/**
 * A cell on disk: its states and evaluations are files and its progress is shown, so that a cell can be killed anywhere
 * and the next run resumes where this one stopped.
 */
import { join } from 'node:path';
import * as v from 'valibot';
import { linearSchedule } from '../../models/adamw.ts';
import { tokensIn } from '../../models/batches.ts';
import { progressBar, type RunProgress } from '../../models/node/progress.ts';
import { ofThisVersion } from './version.ts';
import { fileState } from '../../models/node/state.ts';
import { score } from '../../models/score.ts';
import { scoredTokens, sumOver } from '../../models/sequences.ts';
import { sha256 } from '../../models/sha256.ts';
import { train } from '../../models/train.ts';
import { runCell, type Cell, type Evaluation, type Outcome } from '../cell.ts';
import type { Method } from '../method.ts';
import { count, finite, hash, readSealed, writeSealed } from './records.ts';

/** A cell of a table on disk: where its states and scores are kept. */
export interface Experiment extends Cell {
  /** Names what the run depends on. */
  readonly fingerprint: string;
  /** What it was at each smaller budget that the run was finished with before (`cyclesOf`), the first one first. */
  readonly earlier?: readonly string[];
  /** Where states and finished parts are kept. */
  readonly work: string;
  /** How much work a kill can lose. */
  readonly saveEverySeconds?: number;
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
  /** The bar of the whole run; without it each stage has its own bar. */
  readonly progress?: RunProgress;
  /** Called after every step of training. */
  readonly onStep?: (step: StepRecord) => void;
}

/** A step of training, as a line of `--log`. */
export interface StepRecord {
  readonly stage: string;
  readonly step: number;
  readonly steps: number;
  /** Mean nats per token of the batch, before the step. */
  readonly loss: number;
  /** The learning rate of the step. */
  readonly rate: number;
  /** Trained on in this stage so far, and the seconds that took. */
  readonly tokens: number;
  readonly seconds: number;
  /** Over the stage so far. */
  readonly tokensPerSecond: number;
  /** Bits per byte of the validation texts after the step, where they were looked at. */
  readonly validation?: number;
}

/** The work of a token in training, forward and backward, in units of a token that is scored. */
export const trainingWork = 3;

/** Runs a cell, or resumes it, with its states on disk and its progress on standard error. */
export function runExperiment(experiment: Experiment, method: Method): Promise<Outcome> {
  const { work, signal, fingerprint, saveEverySeconds, log, progress, onStep } = experiment;
  const openBar = progress?.stage ?? progressBar;
  const fingerprints = [...(experiment.earlier ?? []), fingerprint];
  return runCell(experiment, method, {
    log,
    signal,
    async runStage(stage, training, _, cycle = 0) {
      const bar = openBar(stage, tokensIn(training.batches), 'tokens', trainingWork);
      const { rate, planRate, bodyRate } = experiment.settings;
      const stateIn = (name: string) => ({
        ...fileState(join(work, name)),
        settings: { rate, planRate, bodyRate },
      });
      return train(training, {
        state: { ...stateIn(`${stage}.safetensors`), ...ofThisVersion(work, log) },
        best: stateIn(`${stage}.best.safetensors`),
        fingerprint: sha256(`${fingerprints[cycle]} ${stage}`),
        saveEverySeconds,
        signal,
        onStep: ({ step, steps, loss, tokens, seconds, validations }) => {
          bar.update(tokens, `loss ${loss.toFixed(3)}`);
          const rate = training.rate * linearSchedule(step - 1, steps, training.warmup);
          const last = validations?.at(-1);
          const validation = last?.step === step ? { validation: last.value } : {};
          onStep?.({
            stage,
            step,
            steps,
            loss,
            rate,
            tokens,
            seconds,
            tokensPerSecond: tokens / seconds,
            ...validation,
          });
        },
      }).finally(() => bar.stop());
    },
    evaluate: (when, model, sequences) =>
      stored(join(work, `${method.name}.${when}.json`), when === 'before' ? fingerprints[0] : fingerprint, async () => {
        const bar = openBar(`${method.name} ${when}`, sumOver(sequences, scoredTokens), 'tokens');
        let done = 0;
        const started = performance.now();
        const scores = await score(model, sequences, {
          signal,
          onProgress: tokens => bar.update((done += tokens)),
        }).finally(() => bar.stop());
        return { scores, seconds: (performance.now() - started) / 1000 };
      }),
  });
}

/** Held-out scores of a model, and the seconds that scoring took. */
const evaluationSchema = v.object({
  fingerprint: hash,
  scores: v.pipe(v.array(v.object({ nats: finite, endNats: finite, tokens: count, bytes: count })), v.minLength(1)),
  seconds: finite,
});

/** An evaluation of this very run read back from its file, or made and written. */
async function stored(path: string, fingerprint: string, compute: () => Promise<Evaluation>): Promise<Evaluation> {
  const known = await readSealed(path, evaluationSchema, 'delete it to evaluate again');
  if (known?.fingerprint === fingerprint) return known;
  const evaluation = await compute();
  await writeSealed(path, { fingerprint, ...evaluation });
  return evaluation;
}
