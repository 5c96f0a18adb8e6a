/**
 * An adaptation from end to end: train the target tokenizer, start each method, evaluate, finetune, evaluate, and write
 * the run's directory. It can be killed anywhere; the next run goes on where this one was and ends with the same files.
 *
 *     runs/NAME/model/             the adapted model, a Hugging Face directory
 *     runs/NAME/plan.safetensors   the translation plan
 *     runs/NAME/results.json       the table
 *     runs/NAME/work/              states of training and finished rows, by which a run resumes
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { getBackend, Random } from '../engine/index.ts';
import { planBatches, type Sequence } from '../models/batches.ts';
import { saveModel, type LanguageModel } from '../models/checkpoint.ts';
import { makeDirectory, readJson, sha256, UserError, writeFileAtomic } from '../models/files.ts';
import { batchLoss, score, type Score } from '../models/score.ts';
import { tokenizerToJson, trainBPE, UnknownByte, type Tokenizer } from '../models/tokenizer/index.ts';
import { train, type Training } from '../models/train.ts';
import { weightShapes, type Transformer } from '../models/transformer.ts';
import { metrics, orderZero, uniformFloor, type Metrics } from './evaluate.ts';
import { withLock } from './lock.ts';
import { checkMemory, estimateBytes } from './memory.ts';
import { methods, type Context, type Method, type Start, type Vocabulary } from './methods.ts';
import { reportPlan, savePlan, type Plan, type PlanReport } from './plan.ts';
import { progressBar } from './progress.ts';
import type { Settings } from './settings.ts';

/** Texts of the target domain. */
export interface Domain {
  readonly train: readonly string[];
  readonly test: readonly string[];
}

export interface Adaptation {
  readonly source: LanguageModel;
  readonly domain: Domain;
  readonly settings: Settings;
  /** Names of methods, in the order of the table; `s2t2` gives the adapted model. */
  readonly methods: readonly string[];
  readonly out: string;
  /** Forgets what an earlier run in `out` has done. */
  readonly fresh?: boolean;
  /** How much work a kill can lose. */
  readonly saveEverySeconds?: number;
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

/** A row of the table. */
export interface Row {
  readonly name: string;
  /** Before finetuning: untouched, or, for s2t2, with the plan learned and the model frozen; null where there is no such thing. */
  readonly before: Metrics | null;
  readonly after: Metrics;
  readonly tokensPerByte: number;
  /** Spent in training, the plan's part included. */
  readonly steps: number;
  readonly tokens: number;
  readonly bytes: number;
  readonly seconds: number;
}

export interface Results {
  readonly seed: number;
  readonly methods: readonly Row[];
  readonly plan: PlanReport | null;
}

export interface Adapted {
  readonly results: Results;
  readonly target: Tokenizer;
  readonly plan: Plan | null;
}

export async function adapt(adaptation: Adaptation): Promise<Adapted> {
  const { source, settings, out, log } = adaptation;
  const unknown = adaptation.methods.find(name => !(name in methods));
  if (unknown !== undefined) throw new UserError(`there is no method '${unknown}'; there are ${Object.keys(methods).join(', ')}`);
  const work = join(out, 'work');
  const train = cutAll(adaptation.domain.train, settings.maxBytes);
  const test = cutAll(adaptation.domain.test, settings.maxBytes);
  const target = trainBPE(train, { vocabSize: settings.vocabSize, alphabet: 'seen' });
  if (target.vocabSize < settings.vocabSize) log(`the text has pairs for ${target.vocabSize} tokens only, not ${settings.vocabSize}`);
  const tokenizers: Record<Vocabulary, Tokenizer> = { source: source.tokenizer, target };
  const encode = (texts: readonly string[], vocabulary: Vocabulary) => toSequences(texts, tokenizers[vocabulary], source.model.config.context);
  const sequences = {
    train: { source: encode(train, 'source'), target: encode(train, 'target') },
    test: { source: encode(test, 'source'), target: encode(test, 'target') },
  };
  const fingerprint = sha256(JSON.stringify({ settings, model: await modelHash(source), target: target.hash, data: sha256(JSON.stringify([train, test])), backend: getBackend().arithmetic }));
  checkMemory(estimateBytes(source.model.config, settings, target.ordinaryIds().length, source.tokenizer.ordinaryIds().length), getBackend().memoryLimit);
  const run: Run = { ...adaptation, work, target, sequences, fingerprint };
  return withLock(out, () => runMethods(run, floors(train, test)));
}

/** All methods, in a directory that is this run's alone; `rows` begin the table. */
async function runMethods(run: Run, rows: Row[]): Promise<Adapted> {
  const { out, work, target, settings } = run;
  if (run.fresh) await startAfresh(out);
  await makeDirectory(work);
  await claim(join(work, 'run.json'), run.fingerprint);
  let plan: Plan | null = null;
  for (const name of run.methods) {
    const result = await runMethod(run, methods[name]);
    rows.push(result.row);
    if (name !== 's2t2') continue;
    plan = result.plan!;
    await savePlan(join(out, 'plan.safetensors'), plan);
    await saveModel(join(out, 'model'), { model: result.model, tokenizer: target });
    await writeFileAtomic(join(out, 'tokenizer.json'), tokenizerToJson(target));
  }
  const results: Results = { seed: settings.seed, methods: rows, plan: plan && reportPlan(plan) };
  await writeFileAtomic(join(out, 'results.json'), `${JSON.stringify(results, null, 2)}\n`);
  return { results, target, plan };
}

interface Run extends Adaptation {
  readonly work: string;
  readonly target: Tokenizer;
  readonly sequences: Readonly<Record<'train' | 'test', Record<Vocabulary, readonly Sequence[]>>>;
  readonly fingerprint: string;
}

/** Start, evaluation, finetuning, evaluation of one method. What is done is read back, not done again. */
async function runMethod(run: Run, method: Method): Promise<{ row: Row; model: Transformer; plan?: Plan }> {
  const { settings, work, signal } = run;
  const runStage = async (stage: string, training: Training) => {
    const bar = progressBar(stage, training.batches.flat().reduce((n, s) => n + s.ids.length - 1, 0), 'tokens');
    return train(training, {
      state: join(work, `${stage}.safetensors`),
      fingerprint: sha256(`${run.fingerprint} ${stage}`),
      saveEverySeconds: run.saveEverySeconds,
      signal,
      onStep: p => bar.update(p.tokens, `loss ${p.loss.toFixed(3)}`),
    }).finally(() => bar.stop());
  };
  const context: Context = { settings, source: run.source, target: run.target, train: run.sequences.train, runStage };
  const test = run.sequences.test[method.vocabulary];
  const evaluated = (when: string, model: Transformer) => stored(join(work, `${method.name}.${when}.json`), run.fingerprint, async () => {
    const bar = progressBar(`${method.name} ${when}`, test.reduce((n, s) => n + s.ids.length - 1, 0), 'tokens');
    let done = 0;
    return score(model, test, { signal, onProgress: tokens => bar.update(done += tokens) }).finally(() => bar.stop());
  });

  const start: Start = await method.start(context);
  const before = method.before ? await evaluated('before', start.model) : null;
  const budget = { ...settings.budget, amount: settings.budget.amount - start.spent };
  const batches = planBatches(run.sequences.train[method.vocabulary], settings.batchTokens, budget, new Random(settings.seed).split('finetuning batches'));
  const finetuning = await runStage(`${method.name}.finetune`, {
    parameters: start.model.weights,
    batches,
    loss: batch => batchLoss(start.model, batch),
    rate: method.name === 'scratch' ? settings.scratchRate : settings.rate,
    warmup: Math.ceil(settings.warmupShare * batches.length),
  });
  const after = await evaluated('after', start.model);
  const total = (pick: (s: { steps: number; tokens: number; bytes: number; seconds: number }) => number) => pick(finetuning) + (start.stage ? pick(start.stage) : 0);
  const row: Row = {
    name: method.name,
    before: before && metrics(before),
    after: metrics(after),
    tokensPerByte: after.reduce((n, s) => n + s.tokens, 0) / after.reduce((n, s) => n + s.bytes, 0),
    steps: total(s => s.steps),
    tokens: total(s => s.tokens),
    bytes: total(s => s.bytes),
    seconds: total(s => s.seconds),
  };
  return { row, model: start.model, plan: start.plan };
}

/** Marks a directory as this run's; one that holds another run is refused. */
async function claim(path: string, fingerprint: string): Promise<void> {
  const known = await readJson(path).catch(() => null) as { fingerprint?: string } | null;
  if (known !== null && known.fingerprint !== fingerprint) throw new UserError(`${path}: belongs to a run with other settings, data or backend; start again with --fresh, or give another --out`);
  await writeFileAtomic(path, JSON.stringify({ fingerprint }));
}

/** Scores read back from a file of this very run, or computed and written. */
async function stored(path: string, fingerprint: string, compute: () => Promise<Score[]>): Promise<Score[]> {
  const known = await readJson(path).catch(() => null) as { fingerprint?: string; scores?: Score[] } | null;
  if (known?.fingerprint === fingerprint && known.scores) return known.scores;
  const scores = await compute();
  await writeFileAtomic(path, JSON.stringify({ fingerprint, scores }));
  return scores;
}

function floors(train: readonly string[], test: readonly string[]): Row[] {
  const row = (name: string, scores: Score[]): Row => ({ name, before: null, after: metrics(scores), tokensPerByte: 1, steps: 0, tokens: 0, bytes: 0, seconds: 0 });
  return [row('uniform', uniformFloor(train, test)), row('order0', orderZero(train, test))];
}

/** Documents in pieces of at most `maxBytes`, cut between characters: the same spans for every tokenizer. */
export function cutAll(texts: readonly string[], maxBytes: number): string[] {
  return texts.flatMap(text => {
    if (Buffer.byteLength(text) <= maxBytes) return text.length > 0 ? [text] : [];
    const pieces: string[] = [];
    let [piece, bytes] = ['', 0];
    for (const character of text) {
      const size = Buffer.byteLength(character);
      if (bytes + size > maxBytes) {
        pieces.push(piece);
        [piece, bytes] = ['', 0];
      }
      piece += character;
      bytes += size;
    }
    return piece.length > 0 ? [...pieces, piece] : pieces;
  });
}

/** Each text from its begin to its end token. */
export function toSequences(texts: readonly string[], tokenizer: Tokenizer, context: number): Sequence[] {
  const { bos, eos } = tokenizer.specialTokens;
  if (bos === undefined || eos === undefined) throw new UserError('the tokenizer has neither a begin nor an end token; add one to its tokenizer.json');
  return texts.map(text => {
    const bytes = Buffer.byteLength(text);
    const name = () => `the text ${JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)} of ${bytes} bytes`;
    const ids = encodeNamed(text, tokenizer, name);
    if (ids.length + 1 > context) throw new UserError(`${name()} has ${ids.length} tokens, more than the model's context of ${context}; lower --max-bytes`);
    return { ids: Int32Array.from([bos, ...ids, eos]), bytes };
  });
}

/** A vocabulary trained on other texts may lack a byte of this one: the error says in which text. */
function encodeNamed(text: string, tokenizer: Tokenizer, name: () => string): Int32Array {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    if (error instanceof UnknownByte) throw new UserError(`${name()} has ${error.shown}, which no training text has; leave it out, or train on texts with it`);
    throw error;
  }
}

/** A name for a model: its configuration, vocabulary and weights. */
async function modelHash({ model, tokenizer }: LanguageModel): Promise<string> {
  const parts = [JSON.stringify(model.config), tokenizer.hash];
  for (const name of Object.keys(weightShapes(model.config))) parts.push(sha256(Buffer.from((await model.weights[name].data()).buffer)));
  return sha256(parts.join(' '));
}

/** Forgets what an earlier run left. */
async function startAfresh(out: string): Promise<void> {
  for (const name of ['work', 'model', 'plan.safetensors', 'results.json', 'tokenizer.json']) await rm(join(out, name), { recursive: true, force: true });
}
