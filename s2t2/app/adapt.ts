/**
 * An adaptation from end to end: train the target tokenizer, start each method, evaluate, finetune, evaluate, and write
 * the run's directory. It can be killed anywhere; the next run resumes where this one stopped and ends with the same
 * files.
 *
 *     runs/NAME/model/             the adapted model, a Hugging Face directory
 *     runs/NAME/plan.safetensors   the translation plan
 *     runs/NAME/results.json       the table
 *     runs/NAME/report.html        all of it to look at, written by the command line
 *     runs/NAME/work/              states of training and finished rows, by which a run resumes
 */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { LanguageModel } from '../../models/checkpoint.ts';
import type { FloatDType } from '../../models/config.ts';
import { carriedOver } from '../../models/node/carried.ts';
import { saveModel } from '../../models/node/checkpoint.ts';
import { withTemplate } from '../../models/roles.ts';
import type { TransformerConfig } from '../../models/transformer-config.ts';
import type { Transformer } from '../../models/weights.ts';
import { adaptedCard, describeSource } from './card.ts';
import * as v from 'valibot';
import { getBackend, memory } from '../../engine/index.ts';
import { filesOf, isWithin, makeDirectory, realPath, writeFileAtomic } from '../../models/node/files.ts';
import { runProgress } from '../../models/node/progress.ts';
import { UserError } from '../../models/errors.ts';
import { packedBytes } from '../../models/sequences.ts';
import { sha256 } from '../../models/sha256.ts';
import { tokenizerToJson, type Tokenizer } from '../../models/tokenizer/index.ts';
import { floors, selectedBy, type Outcome, type Provenance, type Results, type Row } from '../cell.ts';
import { claimRun } from './continuing.ts';
import { runExperiment, type Experiment, type StepRecord } from './experiment.ts';
import { encodeInTwo } from './encode.ts';
import { withLock } from './lock.ts';
import { describeForecast, processNeed, type Host } from './memory.ts';
import { methods } from '../methods.ts';
import { reportPlan, type Plan } from '../plan.ts';
import { loadPlan, savePlan } from './plan-file.ts';
import { fingerprintOf, prepare, type Domain, type Prepared, type TargetOptions } from './prepare.ts';
import { readSealed, writeSealed } from './records.ts';
import { describeTime, workOf } from './time.ts';
import { rowSchema } from './results.ts';
import { cyclesOf, formOf, withoutRates, type Rates, type Settings } from '../settings.ts';
import { isExtension } from '../translate.ts';

/** A run of `adapt`: model, texts, settings, rows, and where they go. */
export interface Adaptation extends TargetOptions {
  readonly source: LanguageModel;
  readonly domain: Domain;
  readonly settings: Settings;
  /**
   * Learning rates of methods that do not have those of the settings, for a budget; a run that is continued keeps those
   * of its first.
   */
  readonly ratesFor?: (budget: number) => Promise<ReadonlyMap<string, Rates>>;
  /** Where the source model and the texts were read from, and the command that did; for the card of the model. */
  readonly origin?: { readonly model: string; readonly data?: string; readonly command?: string };
  /** In which the adapted model is written; the source's if missing. */
  readonly dtype?: FloatDType;
  /** Names of methods, in the order of the table; rows of an earlier run with these settings stay in it. */
  readonly methods: readonly string[];
  readonly out: string;
  /**
   * Whose model is written to `model/`: that of a row, or of the row with the fewest bits per byte (`best`), of
   * validation texts where there are any; by default the last that learns a plan. Where none does it is the last of the
   * target vocabulary, and a model that an earlier run has saved stays.
   */
  readonly save?: string;
  /** For `results.json`, with `origin`: version, command and files. */
  readonly provenance?: Pick<Provenance, 'version' | 'command' | 'data'>;
  /** Called after every step of training. */
  readonly onStep?: (step: StepRecord) => void;
  /** Forgets what an earlier run in `out` has done. */
  readonly fresh?: boolean;
  /** How much work a kill can lose. */
  readonly saveEverySeconds?: number;
  readonly signal?: AbortSignal;
  /** Runs the part that saves its state when `signal` aborts; the command line listens to signals meanwhile. */
  readonly interruptible?: Interruptible;
  readonly log: (line: string) => void;
}

/** Runs work that can be stopped by a signal and resumed. */
export type Interruptible = <R>(work: () => Promise<R>) => Promise<R>;

/** What a run ends with, besides its files. */
export interface Adapted {
  readonly results: Results;
  readonly target: Tokenizer;
  readonly plan: Plan | null;
}

/** The rows of a run where nobody names any: the source, and the start that finetunes best (`formOf`). */
export const defaultRows = (config: Pick<TransformerConfig, 'width'>): string[] => [
  'source',
  formOf('default', config).spread === 'none' ? 'fvt' : 'fvt-spread',
];

/** @throws UserError for a row that is not a method, or a model to save that is not among the rows. */
export function checkRows({ methods: names, save }: Pick<Adaptation, 'methods' | 'save'>): void {
  const unknown = names.find(name => !Object.hasOwn(methods, name));
  if (unknown !== undefined)
    throw new UserError(`unknown method '${unknown}'; expected names from: ${Object.keys(methods).join(', ')}`);
  if (save !== undefined && save !== 'best' && !names.includes(save))
    throw new UserError(`no model of '${save}' to save: it is not among the rows ${names.join(', ')}`);
}

/**
 * @param inputs files and directories by the option that names them.
 * @throws UserError for one that the run in `out` would replace or delete, whichever symbolic links lead there.
 */
export async function checkInputs(out: string, inputs: Readonly<Record<string, string | undefined>>): Promise<void> {
  const written = outputs.map(name => join(out, name));
  const taken = await Promise.all(written.map(realPath));
  for (const [option, path] of Object.entries(inputs)) {
    if (path === undefined) continue;
    for (const file of await filesOf(path)) {
      const real = await realPath(file);
      const i = taken.findIndex(other => real !== undefined && other !== undefined && isWithin(real, other));
      if (i >= 0)
        throw new UserError(
          `${file}: is an input (${option}), and this run writes ${written[i]} anew; give another --out, or copy the ` +
            'input to another place',
        );
    }
  }
}

/** Runs an adaptation, or resumes it, and writes its directory. Mistakes are a `UserError`. */
export async function adapt(adaptation: Adaptation): Promise<Adapted> {
  const { source, domain, settings, out, log } = adaptation;
  checkRows(adaptation);
  const prepared = await prepare(source, domain, settings, log, { ...adaptation, encode: encodeInTwo });
  const { saveEverySeconds, signal } = adaptation;
  const { interruptible = work => work() } = adaptation;
  return withLock(out, async () => {
    // Takes seconds for large texts without a look at the signal, so it is no part of what saves its state.
    const floorRows = floors(prepared.texts.train, prepared.texts.test, prepared.target);
    return interruptible(() =>
      runMethods(
        adaptation,
        { ...prepared, work: join(out, 'work'), saveEverySeconds, signal, log, onStep: adaptation.onStep },
        floorRows,
      ),
    );
  });
}

/** All methods, in a directory that is this run's alone. */
async function runMethods(
  adaptation: Adaptation,
  experiment: Experiment & Prepared,
  floorRows: readonly Row[],
): Promise<Adapted> {
  const { out, methods: names, fresh, source, log } = adaptation;
  const { work, target, identity } = experiment;
  if (fresh) await startAfresh(out);
  await makeDirectory(work);
  const advice = 'start again with --fresh, or give another --out';
  const { settings, continues } = await claimRun(join(work, 'run.json'), identity, advice);
  const cycles = cyclesOf(settings);
  const [{ budget: first }] = cycles;
  if (continues !== undefined)
    log(
      `continues the run of ${count(continues)} ${first.unit} to ${count(settings.budget.amount)}: finetuning starts ` +
        'from the finished models in a new cycle of the rate, which is not the same as the larger budget in one go; ' +
        'plans and peak rates stay (--fresh starts again)',
    );
  const rates = await adaptation.ratesFor?.(first.amount);
  const { forecast, shape } = experiment;
  if (forecast) log(describeForecast(forecast, processNeed(forecast, shape, hostOf(experiment))));
  const begun = await readdir(work);
  const isNew = (name: string) => !begun.some(file => file.startsWith(`${name}.`));
  const rowsToRun = names.map(name => methods[name]);
  const time = names.every(isNew) ? describeTime(rowsToRun, experiment, experiment.shape) : undefined;
  if (time !== undefined) log(time);
  const { rows: earlier, smaller } = await readRows(work, names, settings);
  if (smaller.length > 0)
    log(`left out, of a smaller budget: ${smaller.join(', ')}; name them in --methods to continue them as well`);
  const rows: Row[] = [...floorRows, ...earlier.map(e => e.row)];
  let saved = earlier.find(e => e.saved)?.row.name ?? null;
  let plan = earlier.some(e => e.hasPlan)
    ? await loadPlan(join(out, 'plan.safetensors'), { source: source.tokenizer.hash, target: target.hash })
    : null;
  const { save = savedByDefault(names, saved) } = adaptation;
  const progress = runProgress(names.reduce((n, name) => n + workOf(methods[name], experiment), 0));
  try {
    for (const name of names) {
      const own = { ...settings, ...rates?.get(name) };
      const fingerprints = cycles.map(cycle =>
        sha256(JSON.stringify([fingerprintOf({ ...identity, settings: cycle }), own.rate, own.planRate, own.bodyRate])),
      );
      const [fingerprint, ...before] = fingerprints.toReversed();
      const parts = { settings: own, fingerprint, earlier: before.toReversed(), progress };
      const result = await runExperiment({ ...experiment, ...parts }, methods[name]);
      rows.push(result.row);
      if (result.plan) {
        plan = result.plan;
        await savePlan(join(out, 'plan.safetensors'), plan);
        await writeFileAtomic(join(out, 'tokenizer.json'), tokenizerToJson(target));
      }
      if (isToSave(save, result, rows)) {
        saved = name;
        await saveAdapted(adaptation, { ...experiment, settings }, name, result.model, rows);
      }
      const { amount } = settings.budget;
      await keepRows(work, earlier, { row: result.row, amount, hasPlan: result.plan !== undefined }, saved);
    }
  } finally {
    progress.stop();
  }
  const results: Results = {
    seed: settings.seed,
    methods: rows,
    plan: plan && reportPlan(plan),
    sample: experiment.texts.test[0],
    saved,
    provenance: provenanceOf(adaptation, { ...experiment, settings }),
  };
  await writeFileAtomic(join(out, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  return { results, target, plan };
}

/** What the process holds before a row is run; nothing big is in the backend yet. */
function hostOf({ source, sequences }: Pick<Prepared, 'source' | 'sequences'>): Host {
  const { rss, arrayBuffers } = process.memoryUsage();
  const splits = Object.values(sequences).flatMap(({ source, target }) => [source, target]);
  const ids = splits.reduce((n, split) => n + packedBytes(split), 0);
  return { baseline: rss - arrayBuffers - memory().bytes, arrays: (source.parkedBytes ?? 0) + ids };
}

/** The row whose model is kept where nobody says which, and no row learns a plan. */
const savedByDefault = (names: readonly string[], saved: string | null): string | undefined =>
  saved !== null || names.some(name => methods[name].learnsPlan)
    ? undefined
    : names.findLast(name => methods[name].vocabulary === 'target');

/** Whether a row's model is the one to keep; `rows` holds it and those before. */
function isToSave(save: string | undefined, { row, plan }: Outcome, rows: readonly Row[]): boolean {
  if (save === undefined) return plan !== undefined;
  if (save !== 'best') return save === row.name;
  return rows.every(other => other.steps === 0 || selectedBy(other) >= selectedBy(row));
}

const provenanceOf = ({ provenance, origin }: Adaptation, { identity, settings }: Prepared): Provenance | undefined =>
  provenance &&
  origin && {
    ...provenance,
    backend: getBackend().describe(),
    model: { path: origin.model, sha256: String(identity.model) },
    settings: withoutRates(settings),
  };

const finishedRow = v.object({
  row: rowSchema,
  /** The budget it was made with; missing in earlier versions, which had one a run. */
  amount: v.optional(v.number()),
  hasPlan: v.boolean(),
  saved: v.boolean(),
});
type FinishedRow = v.InferOutput<typeof finishedRow>;

const rowsFile = (work: string): string => join(work, 'rows.json');

/**
 * Finished rows of earlier runs with these settings, but for those of `names`, which are made again; and the names of
 * those that were made with a smaller budget.
 */
async function readRows(work: string, names: readonly string[], settings: Settings) {
  const read = (await readSealed(rowsFile(work), v.array(finishedRow), 'delete it to leave its rows out')) ?? [];
  const others = read.filter(({ row }) => !names.includes(row.name));
  const [{ budget: first }] = cyclesOf(settings);
  const isCurrent = ({ amount = first.amount }: FinishedRow) => amount === settings.budget.amount;
  return { rows: others.filter(isCurrent), smaller: others.filter(r => !isCurrent(r)).map(({ row }) => row.name) };
}

/** Adds a finished row to those of earlier runs. */
async function keepRows(
  work: string,
  finished: FinishedRow[],
  row: Omit<FinishedRow, 'saved'>,
  saved: string | null,
): Promise<void> {
  finished.push({ ...row, saved: false });
  await writeSealed(
    rowsFile(work),
    finished.map(f => ({ ...f, saved: f.row.name === saved })),
  );
}

const count = (n: number): string => n.toLocaleString('en');

/** Writes the adapted model with all that other tools look for beside it. */
async function saveAdapted(
  { out, source, origin, dtype, log }: Adaptation,
  { target, settings, texts }: Prepared,
  method: string,
  model: Transformer,
  rows: readonly Row[],
): Promise<void> {
  const keeps = methods[method].vocabulary === 'source' || isExtension(source.tokenizer, target);
  const written = methods[method].vocabulary === 'source' ? source.tokenizer : target;
  const tokenizer = keeps ? written : withTemplate(written, source.tokenizer);
  const change = { source: source.tokenizer, target: tokenizer, keeps };
  const carried = origin && (await carriedOver(origin.model, change));
  carried?.notices.forEach(line => log(line));
  const card = origin && {
    'README.md': adaptedCard({
      source: await describeSource(origin.model),
      tokenizers: change,
      lost: carried?.lost,
      method,
      texts: { train: texts.train.length, test: texts.test.length },
      data: origin.data,
      settings,
      rows,
      command: origin.command,
    }),
  };
  const kept = keeps ? { endTokens: source.endTokens } : {};
  await saveModel(join(out, 'model'), { model, tokenizer, ...kept }, dtype ?? source.dtype, {
    files: { ...carried?.files, ...card },
    more: carried?.more,
    generation: carried?.generation,
  });
}

/** What a run writes into its directory. */
const outputs = ['work', 'model', 'plan.safetensors', 'results.json', 'report.html', 'tokenizer.json'];

/** Forgets what an earlier run left. */
async function startAfresh(out: string): Promise<void> {
  for (const name of outputs) await rm(join(out, name), { recursive: true, force: true });
}
