/**
 * One cell of a table: a method is started, evaluated, finetuned and evaluated again. Everything an adaptation or the
 * paper's table does is made of these. Where states are kept and how progress is shown is the host's: a directory and
 * bars in the application, the browser's storage in the playground.
 */
import { Random } from '../engine/index.ts';
import { AdamW } from '../models/adamw.ts';
import { planBatches, type BatchPlan } from '../models/batches.ts';
import type { LanguageModel } from '../models/checkpoint.ts';
import { batchLoss, score, type Score } from '../models/score.ts';
import type { Sequences } from '../models/sequences.ts';
import type { Tokenizer } from '../models/tokenizer/index.ts';
import type { Training, TrainingResult } from '../models/train.ts';
import { disposeModel, type Transformer } from '../models/weights.ts';
import { metrics, orderZero, tokensPerByte, uniformFloor, unigram, type Metrics } from './evaluate.ts';
import { nothing, type Context, type Learner, type Method, type Vocabulary } from './method.ts';
import type { Plan, PlanReport } from './plan.ts';
import { cyclesOf, ratesOf, type Rates, type Settings } from './settings.ts';
import { rateOf, trained, type Trained } from './trained.ts';

/** What all cells of a table share. */
export interface Cell {
  readonly source: LanguageModel;
  readonly target: Tokenizer;
  /**
   * The texts in either vocabulary: to train on, held out to evaluate on, and, with `evalEvery`, those that choose the
   * best state of finetuning.
   */
  readonly sequences: Readonly<Record<'train' | 'test', InBoth>> & { readonly validation?: InBoth };
  readonly settings: Settings;
  /** Whether training computes layers again in the backward pass, to save memory; it changes no bit. */
  readonly recompute?: boolean;
}

type InBoth = Readonly<Record<Vocabulary, Sequences>>;

/** Runs the parts of a cell; each may come back from an earlier run that was stopped. */
export interface CellHost {
  /**
   * Trains, resumably. `stage` names the training within its table; `learner` is what learns; `cycle` is the number of
   * the budget that the stage belongs to (`cyclesOf`), 0 if missing.
   */
  runStage(stage: string, training: Training, learner?: Learner, cycle?: number): Promise<TrainingResult>;
  /** Takes a line for the person who watches. */
  log(line: string): void;
  /** Stops a look at the validation texts. */
  readonly signal?: AbortSignal;
  /** Scores held-out sequences. */
  evaluate(when: 'before' | 'after', model: Transformer, sequences: Sequences): Promise<Evaluation>;
}

/** The scores of held-out texts and the seconds they took. */
export interface Evaluation {
  readonly scores: readonly Score[];
  readonly seconds: number;
}

/** A row of the table. */
export interface Row {
  readonly name: string;
  /**
   * Before finetuning: untouched, or, where a plan is learned, with the model frozen; null where there is no such
   * thing.
   */
  readonly before: Metrics | null;
  readonly after: Metrics;
  readonly tokensPerByte: number;
  /** Spent in training, the plan's part included. */
  readonly steps: number;
  readonly tokens: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Peak learning rates; missing in rows that nothing trains, and in those of earlier versions. */
  readonly rates?: Rates;
  /** What was spent when `before` was measured: on learning the plan, or nothing. */
  readonly spentBefore?: Spent;
  /** Bits per byte of the training batches in the course of training, each before the model learns from it. */
  readonly curve: readonly CurvePoint[];
  /** Held-out scores in the course of finetuning, where the host takes any. */
  readonly validation?: readonly ValidationPoint[];
  /** Bits per byte of validation texts in the course of finetuning; the model is that of the lowest. */
  readonly selection?: readonly CurvePoint[];
}

/** Held-out scores of a model that is still learning, and what was spent so far. */
export interface ValidationPoint extends Spent {
  readonly metrics: Metrics;
}

/** What training has spent so far. */
export interface Spent {
  readonly tokens: number;
  readonly bytes: number;
  readonly seconds: number;
}

/** A point of a learning curve: what was spent so far, and the loss since the point before. */
export interface CurvePoint extends Spent {
  /** Of training batches the mean since the last point, end tokens included. */
  readonly bitsPerByte: number;
}

/** What rows are chosen by: bits per byte of validation texts where there are any, else of the held-out ones. */
export const selectedBy = ({ selection, after }: Pick<Row, 'selection' | 'after'>): number =>
  selection ? Math.min(...selection.map(point => point.bitsPerByte)) : after.bitsPerByte;

/** What a cell of a table ends with: its row, the model, the plan if one was learned, and every score. */
export interface Outcome {
  readonly row: Row;
  readonly model: Transformer;
  readonly plan?: Plan;
  readonly scores: { readonly before: readonly Score[] | null; readonly after: readonly Score[] };
  /** Spent on scoring the held-out texts after finetuning. */
  readonly evaluationSeconds: number;
}

/** A table with what else is kept of a run: `results.json`. */
export interface Results {
  readonly seed: number;
  readonly methods: readonly Row[];
  readonly plan: PlanReport | null;
  /** A held-out text, to show how it is tokenised. */
  readonly sample: string;
  /** The row whose model is in `model/`; null where there is none. */
  readonly saved?: string | null;
  readonly provenance?: Provenance;
}

/** A file of texts: what it was used for, and its hash; null of standard input. */
export interface DataFile {
  readonly use: string;
  readonly path: string;
  readonly sha256: string | null;
}

/** What a run was made from and by: enough to make it again. Hashes are SHA-256 in hexadecimal. */
export interface Provenance {
  /** Of this package. */
  readonly version: string;
  /** Arguments of the command line. */
  readonly command: readonly string[];
  readonly backend: string;
  /** The source model; the hash covers configuration, tokenizer and weights. */
  readonly model: { readonly path: string; readonly sha256: string };
  /** Files of texts, and what each was used for. */
  readonly data: readonly DataFile[];
  /** Those that all rows share; rates are each row's. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Starts a method, evaluates, finetunes and evaluates again; `host` keeps states and shows progress. */
export async function runCell(cell: Cell, method: Method, host: CellHost): Promise<Outcome> {
  const cycles = cyclesOf(cell.settings);
  const [settings] = cycles;
  const stages: { training: Training; result: TrainingResult }[] = [];
  const selection: CurvePoint[] = [];
  const runStage: CellHost['runStage'] = async (stage, training, live, cycle) => {
    const before = spent();
    const result = await host.runStage(stage, training, live, cycle);
    stages.push({ training, result });
    for (const { tokens, bytes, seconds, value } of result.validations ?? [])
      selection.push({
        tokens: before.tokens + tokens,
        bytes: before.bytes + bytes,
        seconds: before.seconds + seconds,
        bitsPerByte: value,
      });
    return result;
  };
  const { source, target, sequences, recompute } = cell;
  const log: Context['log'] = line => host.log(line);
  const context: Context = { settings, source, target, recompute, train: sequences.train, runStage, log };
  const test = sequences.test[method.vocabulary];

  const total = (pick: (s: TrainingResult) => number) => stages.reduce((sum, { result }) => sum + pick(result), 0);
  /** Text that the start has read and not learned from. */
  let read = nothing;
  const spent = (): Spent => ({
    tokens: read.tokens + total(s => s.tokens),
    bytes: read.bytes + total(s => s.bytes),
    seconds: total(s => s.seconds),
  });

  const start = await method.start(context);
  read = { tokens: start.spent.tokens - total(s => s.tokens), bytes: start.spent.bytes - total(s => s.bytes) };
  const begun = start.finetuned ?? start.model;
  let learner: Trained | undefined;
  try {
    const before = method.before ? (await host.evaluate('before', start.model, test)).scores : null;
    const spentBefore = spent();
    if (start.finetuned) disposeModel(start.model);
    learner = trained(begun, settings);
    const { model } = learner;
    const judged = sequences.validation?.[method.vocabulary];
    let earlier: BatchPlan | undefined;
    for (const [cycle, { budget, evalEvery }] of cycles.entries()) {
      const all = planBatches(
        sequences.train[method.vocabulary],
        settings.batchTokens,
        { ...budget, amount: budget.amount - start.spent[budget.unit] },
        new Random(settings.seed).split('finetuning batches'),
      );
      const batches = earlier ? all.after(earlier) : all;
      earlier = all;
      const training: Training = {
        parameters: learner.parameters,
        batches,
        loss: batch => batchLoss(model, batch, model, recompute),
        rate: settings.rate,
        warmup: Math.ceil(settings.warmupShare * batches.length),
        optimizer: weights => new AdamW(weights, { rateOf: rateOf(settings.bodyRate, model.config) }),
        ...(judged &&
          evalEvery && {
            validation: { every: evalEvery, score: () => bitsOf(model, judged, settings.batchTokens, host.signal) },
          }),
      };
      const stage = `${method.name}.finetune${cycle > 0 ? `.${cycle + 1}` : ''}`;
      const { best, step, validations = [] } = await runStage(stage, training, { model }, cycle);
      if (best)
        host.log(
          `${stage}: kept is the model of step ${best.step} of ${step}, ${best.value.toFixed(4)} bits per byte of ` +
            `validation texts (${validations.at(-1)!.value.toFixed(4)} at the end)`,
        );
    }
    const { scores: after, seconds: evaluationSeconds } = await host.evaluate('after', model, test);
    const row: Row = {
      name: method.name,
      before: before && metrics(before),
      after: metrics(after),
      tokensPerByte: tokensPerByte(after),
      steps: total(s => s.steps),
      ...spent(),
      rates: ratesOf(settings),
      ...(before && { spentBefore }),
      curve: curveOf(stages),
      ...(selection.length > 0 && { selection }),
    };
    return { row, model: await learner.plain(), plan: start.plan, scores: { before, after }, evaluationSeconds };
  } catch (error) {
    for (const model of [start.model, begun]) disposeModel(model);
    learner?.dispose();
    throw error;
  }
}

/** Bits per byte of sequences, in batches no larger than those of training: the optimiser's moments are in memory. */
const bitsOf = async (
  model: Transformer,
  sequences: Sequences,
  batchTokens: number,
  signal?: AbortSignal,
): Promise<number> => metrics(await score(model, sequences, { batchTokens, signal })).bitsPerByte;

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

/** Rows of models that see frequencies only: of bytes, and of target tokens. */
export function floors(train: readonly string[], test: readonly string[], target: Tokenizer): Row[] {
  const row = (name: string, scores: Score[]): Row => ({
    name,
    before: null,
    after: metrics(scores),
    tokensPerByte: tokensPerByte(scores),
    steps: 0,
    tokens: 0,
    bytes: 0,
    seconds: 0,
    curve: [],
  });
  return [
    row('uniform', uniformFloor(train, test)),
    row('order0', orderZero(train, test)),
    row('unigram', unigram(train, test, target)),
  ];
}
