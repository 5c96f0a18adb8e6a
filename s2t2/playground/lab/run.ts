/**
 * A run of several methods, as the command line's `adapt` makes it: the same cells from the same seeds, with states in
 * the
 * browser's storage, news for the page, and a gate after every training step at which the visitor may hold it.
 */
import { score } from '../../../models/score.ts';
import { sha256 } from '../../../models/sha256.ts';
import { Interrupted, train, type Progress } from '../../../models/train.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import {
  floors,
  runCell,
  type Cell,
  type CellHost,
  type Evaluation,
  type Results,
  type Row,
  type Provenance,
} from '../../cell.ts';
import { metrics } from '../../evaluate.ts';
import { methods } from '../../methods.ts';
import { reportPlan, type Plan } from '../../plan.ts';
import { viewPlan } from '../../view/picture.ts';
import type { RunEvent } from '../protocol.ts';
import type { Gate } from './gate.ts';
import { storage, storedState } from './storage.ts';

/** A run of the page: the rows it makes, and what hears of them. */
export interface Run extends Cell {
  readonly methods: readonly string[];
  readonly texts: { readonly train: readonly string[]; readonly test: readonly string[] };
  readonly provenance: Provenance;
  /** Names what the run depends on; null where nothing is to be kept. */
  readonly fingerprint: string | null;
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
const newsEvery = 120;
/** Looking at a plan may take this share of the time. */
const watchingShare = 0.15;

/** Runs all rows, or resumes them. */
export async function runMethods(run: Run): Promise<Finished> {
  const { target, emit, texts, settings } = run;
  const rows: Row[] = floors(texts.train, texts.test, target);
  emit({ type: 'floors', rows });
  const models = new Map<string, LanguageModel>();
  let plan: Plan | null = null;
  for (const name of run.methods) {
    const method = methods[name];
    const outcome = await runCell(run, method, hostOf(run, name));
    rows.push(outcome.row);
    emit({ type: 'row', row: outcome.row });
    models.set(name, {
      model: outcome.model,
      tokenizer: method.vocabulary === 'source' ? run.source.tokenizer : target,
    });
    if (outcome.plan) {
      plan = outcome.plan;
      emitPlan(run, plan, 0);
    }
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

function hostOf(run: Run, method: string): CellHost {
  const { fingerprint, gate, signal, emit } = run;
  let [tokens, seconds] = [0, 0];
  return {
    log: line => console.warn(line),
    async runStage(stage, training, watch) {
      const news = newsOf(method, stage, emit);
      const look = watch && watcher(run, watch);
      const result = await train(training, {
        state: fingerprint === null ? undefined : storedState(stage),
        fingerprint: sha256(`${fingerprint} ${stage}`),
        saveEverySeconds: 10,
        signal,
        onStep: async progress => {
          news(progress);
          await look?.(progress);
          await gate.pass(signal);
        },
      });
      tokens += result.tokens;
      seconds += result.seconds;
      return result;
    },
    async evaluate(when, model, sequences) {
      const name = `${method}.${when}`;
      const kept = fingerprint === null ? undefined : await storage.get<Kept>(name);
      let evaluation = kept?.fingerprint === fingerprint ? kept.evaluation : undefined;
      if (!evaluation) {
        const all = sequences.reduce((n, s) => n + s.ids.length - 1, 0);
        let done = 0;
        const started = performance.now();
        const scores = await score(model, sequences, {
          signal,
          onProgress: n => emit({ type: 'evaluating', method, when, share: (done += n) / all }),
        }).catch((error: unknown) => {
          throw signal.aborted ? new Interrupted('stopped') : error;
        });
        evaluation = { scores, seconds: (performance.now() - started) / 1000 };
        if (fingerprint !== null) await storage.put(name, { fingerprint, evaluation } satisfies Kept);
      }
      emit({ type: 'scored', method, when, metrics: metrics(evaluation.scores), tokens, seconds });
      return evaluation;
    },
  };
}

/** An evaluation in the browser's storage. */
interface Kept {
  readonly fingerprint: string;
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
