/**
 * An adaptation from end to end: train the target tokenizer, start each method, evaluate, finetune, evaluate, and write
 * the run's directory. It can be killed anywhere; the next run goes on where this one was and ends with the same files.
 *
 *     runs/NAME/model/             the adapted model, a Hugging Face directory
 *     runs/NAME/plan.safetensors   the translation plan
 *     runs/NAME/results.json       the table
 *     runs/NAME/report.html        all of it to look at, written by the command line
 *     runs/NAME/work/              states of training and finished rows, by which a run resumes
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { requiredFields, type LanguageModel } from '../../models/checkpoint.ts';
import type { FloatDType } from '../../models/config.ts';
import { carriedOver } from '../../models/node/carried.ts';
import { openModel, saveModel } from '../../models/node/checkpoint.ts';
import { withBeginToken } from '../../models/roles.ts';
import type { Transformer } from '../../models/weights.ts';
import { modelCard } from './card.ts';
import { makeDirectory, writeFileAtomic } from '../../models/node/files.ts';
import { UserError } from '../../models/errors.ts';
import { sha256 } from '../../models/sha256.ts';
import { tokenizerToJson, type Tokenizer } from '../../models/tokenizer/index.ts';
import { floors, type Results, type Row } from '../cell.ts';
import { claim } from './claim.ts';
import { runExperiment, type Experiment } from './experiment.ts';
import { withLock } from './lock.ts';
import { methods } from '../methods.ts';
import { reportPlan, type Plan } from '../plan.ts';
import { savePlan } from './plan-file.ts';
import { prepare, type Domain, type Prepared, type TargetOptions } from './prepare.ts';
import type { Rates, Settings } from '../settings.ts';

export interface Adaptation extends TargetOptions {
  readonly source: LanguageModel;
  readonly domain: Domain;
  readonly settings: Settings;
  /** Learning rates of methods that do not have those of the settings. */
  readonly rates?: ReadonlyMap<string, Rates>;
  /** Where the source model and the texts were read from, and the command that did; for the card of the model. */
  readonly origin?: { readonly model: string; readonly data?: string; readonly command?: string };
  /** In which the adapted model is written; the source's if missing. */
  readonly dtype?: FloatDType;
  /** Names of methods, in the order of the table; the last that has a plan gives the adapted model. */
  readonly methods: readonly string[];
  readonly out: string;
  /** Forgets what an earlier run in `out` has done. */
  readonly fresh?: boolean;
  /** How much work a kill can lose. */
  readonly saveEverySeconds?: number;
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

export interface Adapted {
  readonly results: Results;
  readonly target: Tokenizer;
  readonly plan: Plan | null;
}

export async function adapt(adaptation: Adaptation): Promise<Adapted> {
  const { source, domain, settings, out, log } = adaptation;
  const unknown = adaptation.methods.find(name => !Object.hasOwn(methods, name));
  if (unknown !== undefined)
    throw new UserError(`there is no method '${unknown}'; there are ${Object.keys(methods).join(', ')}`);
  const prepared = await prepare(source, domain, settings, log, adaptation);
  const { saveEverySeconds, signal } = adaptation;
  return withLock(out, () =>
    runMethods(adaptation, { ...prepared, work: join(out, 'work'), saveEverySeconds, signal, log }),
  );
}

/** All methods, in a directory that is this run's alone. */
async function runMethods(adaptation: Adaptation, experiment: Experiment & Prepared): Promise<Adapted> {
  const { out, methods: names, fresh, rates } = adaptation;
  const { work, target, settings } = experiment;
  if (fresh) await startAfresh(out);
  await makeDirectory(work);
  await claim(join(work, 'run.json'), experiment.identity, 'start again with --fresh, or give another --out');
  const rows: Row[] = floors(experiment.texts.train, experiment.texts.test, target);
  let plan: Plan | null = null;
  for (const name of names) {
    const own = { ...settings, ...rates?.get(name) };
    const fingerprint = sha256(JSON.stringify([experiment.fingerprint, own.rate, own.planRate, own.bodyRate]));
    const result = await runExperiment({ ...experiment, settings: own, fingerprint }, methods[name]);
    rows.push(result.row);
    if (!result.plan) continue;
    plan = result.plan;
    await savePlan(join(out, 'plan.safetensors'), plan);
    await saveAdapted(adaptation, experiment, name, result.model, rows);
    await writeFileAtomic(join(out, 'tokenizer.json'), tokenizerToJson(target));
  }
  const results: Results = {
    seed: settings.seed,
    methods: rows,
    plan: plan && reportPlan(plan),
    sample: experiment.texts.test[0],
  };
  await writeFileAtomic(join(out, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  return { results, target, plan };
}

/** Writes the adapted model with all that other tools look for beside it. */
async function saveAdapted(
  { out, source, origin, dtype, log }: Adaptation,
  { target, settings, texts }: Prepared,
  method: string,
  model: Transformer,
  rows: readonly Row[],
): Promise<void> {
  const { files, more, skipped } = origin ? await carriedOver(origin.model) : { files: {}, more: {}, skipped: [] };
  if (skipped.length > 0) log(`not carried over, larger than 1 MB: ${skipped.join(', ')}`);
  const card = origin && {
    'README.md': modelCard({
      source: await describeSource(origin.model),
      family: model.config.family,
      method,
      tokens: { target: target.vocabSize, source: source.tokenizer.vocabSize },
      texts: { train: texts.train.length, test: texts.test.length },
      data: origin.data,
      settings,
      rows,
      command: origin.command,
    }),
  };
  await saveModel(join(out, 'model'), { model, tokenizer: withBeginToken(target) }, dtype ?? source.dtype, {
    files: { ...files, ...card },
    more,
  });
}

async function describeSource(path: string) {
  const files = await openModel(path);
  const { _name_or_path: name } = await requiredFields(files, 'config.json');
  return { path, name, card: await files.text('README.md') };
}

/** Forgets what an earlier run left. */
async function startAfresh(out: string): Promise<void> {
  for (const name of ['work', 'model', 'plan.safetensors', 'results.json', 'report.html', 'tokenizer.json'])
    await rm(join(out, name), { recursive: true, force: true });
}
