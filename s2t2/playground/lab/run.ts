/**
 * A run of several methods, as the command line's `adapt` makes it: the same cells from the same seeds, with states in
 * the browser's storage, news for the page, and a gate after every training step at which the visitor may hold it.
 */
import { score } from '../../../models/score.ts';
import { scoredTokens, sumOver } from '../../../models/sequences.ts';
import { sha256 } from '../../../models/sha256.ts';
import { Interrupted, train, type Progress } from '../../../models/train.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import { disposeModel, type Transformer } from '../../../models/weights.ts';
import {
  floors,
  runCell,
  type Cell,
  type CellHost,
  type Evaluation,
  type Results,
  type Provenance,
  type Row,
  type Spent,
  type ValidationPoint,
} from '../../cell.ts';
import { metrics } from '../../evaluate.ts';
import { methods } from '../../methods.ts';
import { reportPlan, type Plan } from '../../plan.ts';
import { viewPlan } from '../../view/picture.ts';
import type { RunEvent, When } from '../protocol.ts';
import type { Gate } from './gate.ts';
import { storage, storedState } from './storage.ts';

/** A run of the page: the rows it makes, and what hears of them. */
export interface Run extends Cell {
  readonly methods: readonly string[];
  readonly texts: { readonly train: readonly string[]; readonly test: readonly string[] };
  readonly provenance: Provenance;
  /** Names what the run depends on; null where nothing is to be kept. */
  readonly fingerprint: string | null;
  /** How often each row is scored in the course of finetuning. */
  readonly validations: number;
  readonly gate: Gate;
  readonly signal: AbortSignal;
  readonly emit: (event: RunEvent) => void;
}

/** What a run of the page ends with. */
export interface Finished {
  readonly results: Results;
  /** The finetuned model of every row. */
  readonly models: ReadonlyMap<string, LanguageModel>;
  readonly plan: Plan | null;
}

/** Milliseconds between two pieces of news of a training stage. */
const newsEvery = 250;
/** Looking at a plan may take this share of the time. */
const watchingShare = 0.03;

/** Runs all rows, or resumes them. */
export async function runMethods(run: Run): Promise<Finished> {
  const { target, emit, texts, settings } = run;
  const rows: Row[] = floors(texts.train, texts.test, target);
  emit({ type: 'floors', rows });
  const models = new Map<string, LanguageModel>();
  let plan: Plan | null = null;
  try {
    for (const name of run.methods) {
      const method = methods[name];
      const { host, validation } = hostOf(run, name);
      const outcome = await runCell(run, method, host);
      const row: Row = { ...outcome.row, validation };
      rows.push(row);
      emit({ type: 'row', row });
      models.set(name, {
        model: outcome.model,
        tokenizer: method.vocabulary === 'source' ? run.source.tokenizer : target,
      });
      if (outcome.plan) {
        plan = outcome.plan;
        emitPlan(run, plan, 0);
      }
    }
  } catch (error) {
    for (const { model } of models.values()) disposeModel(model);
    throw error;
  }
  const results: Results = {
    seed: settings.seed,
    methods: rows,
    plan: plan && reportPlan(plan),
    sample: texts.test[0],
    provenance: run.provenance,
  };
  emit({ type: 'done', results });
  return { results, models, plan };
}

function emitPlan({ source, target, emit }: Run, plan: Plan, step: number): void {
  emit({ type: 'plan', picture: viewPlan(plan, source.tokenizer, target), report: reportPlan(plan), step });
}

/** The host of a row, and the points at which it scores the model that learns, as they come. */
function hostOf(run: Run, method: string): { host: CellHost; validation: readonly ValidationPoint[] } {
  const { fingerprint, gate, signal, emit } = run;
  const validation: ValidationPoint[] = [];
  let past: Spent = { tokens: 0, bytes: 0, seconds: 0 };
  const sequences = run.sequences.test[methods[method].vocabulary];

  /** Held-out scores, from the storage where this very run left them. */
  async function evaluate(when: When, name: string, model: Transformer, spent: Spent): Promise<Kept> {
    const known = fingerprint === null ? undefined : await storage.get<Kept>(name);
    const kept = known?.fingerprint === fingerprint ? known : await scored(when, model, spent);
    if (fingerprint !== null && kept !== known) await storage.put(name, kept);
    return told(when, kept);
  }
  function told(when: When, kept: Kept): Kept {
    const { tokens, seconds } = kept.spent;
    emit({ type: 'scored', method, when, metrics: metrics(kept.evaluation.scores), tokens, seconds });
    return kept;
  }
  async function scored(when: When, model: Transformer, spent: Spent): Promise<Kept> {
    const all = sumOver(sequences, scoredTokens);
    let done = 0;
    const started = performance.now();
    const scores = await score(model, sequences, {
      signal,
      onProgress: n => emit({ type: 'evaluating', method, when, share: (done += n) / all }),
    }).catch((error: unknown) => {
      throw signal.aborted ? new Interrupted('stopped') : error;
    });
    return { fingerprint, spent, evaluation: { scores, seconds: (performance.now() - started) / 1000 } };
  }

  /** Scores the model at evenly spaced steps; those of an interrupted run are reported when it resumes. */
  async function validator(stage: string, steps: number, model: Transformer) {
    const due = validationSteps(steps, run.validations);
    const name = (step: number) => `${stage}.${step}`;
    const add = ({ spent, evaluation }: Kept) => validation.push({ ...spent, metrics: metrics(evaluation.scores) });
    for (const step of due) {
      const known = fingerprint === null ? undefined : await storage.get<Kept>(name(step));
      if (known?.fingerprint !== fingerprint) break;
      add(told('during', known));
      due.delete(step);
    }
    return async ({ step, ...progress }: Progress): Promise<void> => {
      if (due.delete(step)) add(await evaluate('during', name(step), model, sum(past, progress)));
    };
  }

  const host: CellHost = {
    log: line => emit({ type: 'log', line }),
    async runStage(stage, training, { plan, model } = {}) {
      const news = newsOf(method, stage, emit);
      const look = plan && watcher(run, plan);
      const validate = model && (await validator(stage, training.batches.length, model));
      const result = await train(training, {
        state: fingerprint === null ? undefined : storedState(stage),
        fingerprint: sha256(`${fingerprint} ${stage}`),
        saveEverySeconds: 10,
        signal,
        onStep: async progress => {
          news(progress);
          await look?.(progress);
          await validate?.(progress);
          await gate.pass(signal);
        },
      });
      past = sum(past, result);
      return result;
    },
    evaluate: async (when, model) => (await evaluate(when, `${method}.${when}`, model, past)).evaluation,
  };
  return { host, validation };
}

const sum = (a: Spent, b: Spent): Spent => ({
  tokens: a.tokens + b.tokens,
  bytes: a.bytes + b.bytes,
  seconds: a.seconds + b.seconds,
});

/** The steps after which a stage is validated: evenly spaced, neither the first nor the last. */
export function validationSteps(steps: number, validations: number): Set<number> {
  const spaced = Array.from({ length: validations }, (_, i) => Math.round(((i + 1) * steps) / (validations + 1)));
  return new Set(spaced.filter(step => step > 0 && step < steps));
}

/** An evaluation in the browser's storage. */
interface Kept {
  readonly fingerprint: string | null;
  /** What training had spent by then. */
  readonly spent: Spent;
  readonly evaluation: Evaluation;
}

/** Tells the page of training, every so often: bits per byte are the mean since it was told last. */
function newsOf(method: string, stage: string, emit: (event: RunEvent) => void): (progress: Progress) => void {
  let [toldAt, bytes, nats, before] = [-Infinity, 0, 0, { tokens: 0, bytes: 0 }];
  return ({ step, steps, loss, ...progress }) => {
    nats += loss * (progress.tokens - before.tokens);
    bytes += progress.bytes - before.bytes;
    before = progress;
    if (step < steps && performance.now() - toldAt < newsEvery) return;
    toldAt = performance.now();
    emit({
      type: 'stage',
      method,
      stage,
      step,
      steps,
      tokens: progress.tokens,
      seconds: progress.seconds,
      bitsPerByte: nats / bytes / Math.LN2,
    });
    [nats, bytes] = [0, 0];
  };
}

/** Shows the plan as it is learned, as often as its share of the time allows. */
function watcher(run: Run, watch: () => Promise<Plan>): (progress: Progress) => Promise<void> {
  let next = -Infinity;
  return async ({ step }) => {
    const started = performance.now();
    if (started < next && step > 1) return;
    emitPlan(run, await watch(), step);
    const ended = performance.now();
    next = ended + Math.max(400, (ended - started) / watchingShare);
  };
}
