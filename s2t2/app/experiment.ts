/**
 * One cell of a table: a method is started, evaluated, finetuned and evaluated again. Everything an adaptation or the
 * paper's table does is made of these. A cell can be killed anywhere; the next run goes on where this one was.
 */
import { join } from 'node:path';
import { Random } from '../../engine/index.ts';
import { AdamW } from '../../models/adamw.ts';
import { planBatches, tokensIn, type Sequence } from '../../models/batches.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { readJson, writeFileAtomic } from '../../models/node/files.ts';
import { sha256 } from '../../models/sha256.ts';
import { batchLoss, score, type Score } from '../../models/score.ts';
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import { fileState } from '../../models/node/state.ts';
import { train, type Training, type TrainingResult } from '../../models/train.ts';
import { embeddingName, headName, type Transformer } from '../../models/transformer.ts';
import { metrics, tokensPerByte, type Metrics } from '../evaluate.ts';
import type { Context, Method, Vocabulary } from '../methods.ts';
import type { Plan } from '../plan.ts';
import { progressBar } from '../../models/node/progress.ts';
import type { Settings } from '../settings.ts';

export interface Experiment {
  readonly source: LanguageModel;
  readonly target: Tokenizer;
  /** The texts in either vocabulary: to train on, and held out to evaluate on. */
  readonly sequences: Readonly<Record<'train' | 'test', Readonly<Record<Vocabulary, readonly Sequence[]>>>>;
  readonly settings: Settings;
  /** Names what the run depends on. */
  readonly fingerprint: string;
  /** Where states and finished parts are kept. */
  readonly work: string;
  /** How much work a kill can lose. */
  readonly saveEverySeconds?: number;
  readonly signal?: AbortSignal;
}

/** A row of the table. */
export interface Row {
  readonly name: string;
  /** Before finetuning: untouched, or, where a plan is learned, with the model frozen; null where there is no such thing. */
  readonly before: Metrics | null;
  readonly after: Metrics;
  readonly tokensPerByte: number;
  /** Spent in training, the plan's part included. */
  readonly steps: number;
  readonly tokens: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Bits per byte of the training batches in the course of training, each before the model learns from it. */
  readonly curve: readonly CurvePoint[];
}

export interface CurvePoint {
  /** Spent so far. */
  readonly tokens: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Mean since the last point; end tokens are in it. */
  readonly bitsPerByte: number;
}

export interface Outcome {
  readonly row: Row;
  readonly model: Transformer;
  readonly plan?: Plan;
  readonly scores: { readonly before: readonly Score[] | null; readonly after: readonly Score[] };
  /** Spent on scoring the held-out texts after finetuning. */
  readonly evaluationSeconds: number;
}

export async function runExperiment(experiment: Experiment, method: Method): Promise<Outcome> {
  const { settings, work, signal, fingerprint } = experiment;
  const stages: { training: Training; result: TrainingResult }[] = [];
  const runStage = async (stage: string, training: Training) => {
    const bar = progressBar(stage, tokensIn(training.batches), 'tokens');
    const result = await train(training, {
      state: fileState(join(work, `${stage}.safetensors`)),
      fingerprint: sha256(`${fingerprint} ${stage}`),
      saveEverySeconds: experiment.saveEverySeconds,
      signal,
      onStep: p => bar.update(p.tokens, `loss ${p.loss.toFixed(3)}`),
    }).finally(() => bar.stop());
    stages.push({ training, result });
    return result;
  };
  const context: Context = {
    settings,
    source: experiment.source,
    target: experiment.target,
    train: experiment.sequences.train,
    runStage,
  };
  const test = experiment.sequences.test[method.vocabulary];
  const evaluated = (when: string, model: Transformer) =>
    stored(join(work, `${method.name}.${when}.json`), fingerprint, async () => {
      const bar = progressBar(
        `${method.name} ${when}`,
        test.reduce((n, s) => n + s.ids.length - 1, 0),
        'tokens',
      );
      let done = 0;
      const started = performance.now();
      const scores = await score(model, test, { signal, onProgress: tokens => bar.update((done += tokens)) }).finally(
        () => bar.stop(),
      );
      return { scores, seconds: (performance.now() - started) / 1000 };
    });

  const start = await method.start(context);
  const before = method.before ? (await evaluated('before', start.model)).scores : null;
  const budget = { ...settings.budget, amount: settings.budget.amount - start.spent };
  const batches = planBatches(
    experiment.sequences.train[method.vocabulary],
    settings.batchTokens,
    budget,
    new Random(settings.seed).split('finetuning batches'),
  );
  const ends = [embeddingName(start.model.config), headName];
  await runStage(`${method.name}.finetune`, {
    parameters: start.model.weights,
    batches,
    loss: batch => batchLoss(start.model, batch),
    rate: method.name === 'scratch' ? settings.scratchRate : settings.rate,
    warmup: Math.ceil(settings.warmupShare * batches.length),
    optimizer: parameters => new AdamW(parameters, { rateOf: name => (ends.includes(name) ? 1 : settings.bodyRate) }),
  });
  const { scores: after, seconds: evaluationSeconds } = await evaluated('after', start.model);
  const total = (pick: (s: TrainingResult) => number) => stages.reduce((sum, { result }) => sum + pick(result), 0);
  const row: Row = {
    name: method.name,
    before: before && metrics(before),
    after: metrics(after),
    tokensPerByte: tokensPerByte(after),
    steps: total(s => s.steps),
    tokens: total(s => s.tokens),
    bytes: total(s => s.bytes),
    seconds: total(s => s.seconds),
    curve: curveOf(stages),
  };
  return { row, model: start.model, plan: start.plan, scores: { before, after }, evaluationSeconds };
}

/** The losses of all stages, one after the other, as means over stretches of about a fortieth of the whole. */
function curveOf(stages: readonly { training: Training; result: TrainingResult }[]): CurvePoint[] {
  const steps = stages.reduce((n, { result }) => n + result.steps, 0);
  const stretch = Math.max(1, Math.round(steps / 40));
  const points: CurvePoint[] = [];
  let [tokens, bytes, nats, stretchBytes, step, secondsBefore] = [0, 0, 0, 0, 0, 0];
  for (const { training, result } of stages) {
    let i = -1;
    for (const batch of training.batches) {
      i++;
      for (const s of batch) {
        nats += result.losses[i] * (s.ids.length - 1);
        tokens += s.ids.length - 1;
        bytes += s.bytes;
        stretchBytes += s.bytes;
      }
      if (++step % stretch !== 0) continue;
      points.push({
        tokens,
        bytes,
        seconds: secondsBefore + result.times[i],
        bitsPerByte: nats / Math.LN2 / stretchBytes,
      });
      [nats, stretchBytes] = [0, 0];
    }
    secondsBefore += result.seconds;
  }
  return points;
}

interface Evaluation {
  readonly scores: readonly Score[];
  readonly seconds: number;
}

/** An evaluation read back from a file of this very run, or made and written. */
async function stored(path: string, fingerprint: string, compute: () => Promise<Evaluation>): Promise<Evaluation> {
  const known = (await readJson(path).catch(() => null)) as { fingerprint: string; evaluation: Evaluation } | null;
  if (known?.fingerprint === fingerprint) return known.evaluation;
  const evaluation = await compute();
  await writeFileAtomic(path, JSON.stringify({ fingerprint, evaluation }));
  return evaluation;
}
