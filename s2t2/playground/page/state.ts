/** What the page shows, as signals, and what the visitor can do about it. */
import { batch, computed, effect, signal } from '@preact/signals';
import type { Results, Row } from '../../cell.ts';
import type { Metrics } from '../../evaluate.ts';
import type { PlanReport } from '../../plan.ts';
import { defaultAlpha, defaults, formOf, ratedWidth, type Settings } from '../../settings.ts';
import type { PictureView } from '../../view/picture.ts';
import type {
  BackendReport,
  DomainSource,
  DomainSummary,
  DroppedFile,
  ModelSummary,
  RunEvent,
  SavedRun,
  TokenizerSummary,
} from '../protocol.ts';
import { gpuNames } from '../protocol.ts';
import { connect } from './lab.ts';
import { formatLink, parseLink, type Choices } from './link.ts';

/** A thing that is made on request: what it is, or why it is not there. */
export interface Loaded<T> {
  readonly value: T | null;
  readonly busy: boolean;
  readonly error: string | null;
}
const nothing = { value: null, busy: false, error: null };

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Fills a signal with what a call gives; the last value stays until there is another. */
async function load<T>(target: { value: Loaded<T> }, call: () => Promise<T>): Promise<T | null> {
  target.value = { ...target.value, busy: true, error: null };
  try {
    const value = await call();
    target.value = { value, busy: false, error: null };
    return value;
  } catch (error) {
    target.value = { ...target.value, busy: false, error: messageOf(error) };
    return null;
  }
}

/** A row of the table as far as it has come. */
export interface LiveRow {
  readonly name: string;
  readonly before: Metrics | null;
  readonly after: Metrics | null;
  readonly row: Row | null;
}

/** A curve as far as it has come. */
export interface LiveCurve {
  readonly name: string;
  readonly points: readonly { readonly tokens: number; readonly seconds: number; readonly bitsPerByte: number }[];
  readonly marks: readonly { readonly tokens: number; readonly seconds: number; readonly metrics: Metrics }[];
}

/** Where the run is, and what it has made so far. */
export interface RunState {
  readonly phase: 'idle' | 'running' | 'paused' | 'stopped' | 'done' | 'failed';
  readonly doing: string;
  /** Of the part that is running, 0 to 1. */
  readonly share: number;
  readonly tokensPerSecond: number | null;
  readonly error: string | null;
  readonly rows: readonly LiveRow[];
  readonly floors: readonly Row[];
  readonly curves: readonly LiveCurve[];
  readonly plan: { readonly picture: PictureView; readonly report: PlanReport; readonly step: number } | null;
  readonly results: Results | null;
  readonly log: readonly string[];
}

const idle: RunState = {
  phase: 'idle',
  doing: '',
  share: 0,
  tokensPerSecond: null,
  error: null,
  rows: [],
  floors: [],
  curves: [],
  plan: null,
  results: null,
  log: [],
};

/** What the visitor has chosen. */
export const choices = signal<Choices>(parseLink(location.hash));
/** The backend that runs. */
export const backend = signal<Loaded<BackendReport>>(nothing);
/** The source model. */
export const model = signal<Loaded<ModelSummary>>(nothing);
/** The visitor's texts. */
export const domain = signal<Loaded<DomainSummary>>(nothing);
/** The target tokenizer. */
export const tokenizer = signal<Loaded<TokenizerSummary>>(nothing);
/** The text that both tokenizers cut. */
export const passage = signal('');
/** The run. */
export const run = signal<RunState>(idle);
/** A run that an earlier visit left unfinished. */
export const saved = signal<SavedRun | null>(null);
/** Why the worker ended, if it did. */
export const crashed = signal<string | null>(null);
/** Training text that is used, in bytes. */
export const limit = signal(400_000);

/** Whether a run is going on. */
export const isBusy = computed(() => run.value.phase === 'running' || run.value.phase === 'paused');
/** The settings of a run, from the choices. */
export const settings = computed((): Settings => {
  const { vocabulary, tokens, planShare, variant, iterations, alpha, seed } = choices.value;
  return {
    ...defaults,
    ...formOf('default', model.value.value ?? { width: ratedWidth }),
    seed,
    vocabSize: vocabulary,
    budget: { unit: 'tokens', amount: tokens },
    planShare,
    variant,
    iterations,
    alpha: alpha * defaultAlpha(model.value.value?.vocabulary ?? 2048),
  };
});

/** Changes some of the choices. */
export const choose = (change: Partial<Choices>): void => {
  choices.value = { ...choices.value, ...change };
};
effect(() => {
  const fragment = formatLink(choices.value);
  history.replaceState(null, '', `${location.pathname}${location.search}${fragment ? `#${fragment}` : ''}`);
});

/** The worker; it starts after the first paint, which it would delay on a machine with few processors. */
export const lab = connect(afterPaint().then(openWorker), onEvent, message => {
  crashed.value = message;
});

function openWorker(): Worker {
  return new Worker(new URL('worker.js', document.baseURI), { type: 'module' });
}

/** The second frame from now, or half a second where a hidden page draws none. */
function afterPaint(): Promise<unknown> {
  const drawn = new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  return Promise.race([drawn, new Promise(resolve => setTimeout(resolve, 500))]);
}

/** Backends of the graphics card: the report of their check, or why they cannot be used. */
export const offers = {
  webgpu: signal<Loaded<BackendReport>>(nothing),
  webgl2: signal<Loaded<BackendReport>>(nothing),
};

/** Looks for the backends of the graphics card and checks them, one after the other. */
export async function findOffers(): Promise<void> {
  for (const name of gpuNames) {
    const { value, busy } = offers[name].value;
    if (!value && !busy) await load(offers[name], () => lab.offer(name));
  }
}

/** A backend is used once it has passed its check; one that does not leaves the page with the one before. */
export async function useBackend(change: Partial<Pick<Choices, 'backend' | 'plain' | 'threads'>>): Promise<void> {
  const next = { ...choices.value, ...change };
  const { backend: name, plain, threads } = next;
  if (await load(backend, () => lab.useBackend({ name, plain, threads }))) choose(change);
}

/** Loads a dropped model, or the bundled one. */
export async function loadModel(files: readonly DroppedFile[] | null): Promise<void> {
  const { methods } = choices.value;
  if ((await load(model, () => lab.loadModel(files, settings.value, methods))) === null) return;
  if (files) backend.value = { ...backend.value, value: await lab.runs() };
  run.value = idle;
  if (domain.value.value) await exploreTokenizer();
}

/** Loads the visitor's texts. */
export async function loadDomain(source: DomainSource): Promise<void> {
  const loaded = await load(domain, () => lab.loadDomain(source, limit.value));
  if (!loaded) return;
  batch(() => {
    choose({ sample: source.kind === 'sample' ? source.name : null });
    passage.value = loaded.passage;
    run.value = idle;
  });
  await exploreTokenizer();
}

async function exploreTokenizer(): Promise<void> {
  const made = await load(tokenizer, () => lab.trainTokenizer());
  if (made) choose({ vocabulary: Math.max(made.least, Math.min(made.most, choices.value.vocabulary)) });
}

/** Starts a run, or resumes the one that was saved. */
export async function startRun(resume = false): Promise<void> {
  const { validations } = choices.value;
  const methods = resume && saved.value ? saved.value.methods : choices.value.methods;
  const rows = methods.map(name => ({ name, before: null, after: null, row: null }));
  run.value = { ...idle, phase: 'running', doing: 'preparing', rows };
  if (resume && saved.value) domain.value = { value: saved.value.domain, busy: false, error: null };
  saved.value = null;
  try {
    await lab.run({ settings: settings.value, methods, validations, resume });
  } catch (error) {
    update({ phase: 'failed', error: messageOf(error) });
  }
}

/** Pauses the run after the current step. */
export const pauseRun = async (): Promise<void> => {
  await lab.pause();
  update({ phase: 'paused' });
};
/** Lets a paused run make one step. */
export const stepRun = async (): Promise<void> => {
  await lab.step();
  update({ phase: 'paused' });
};
/** Lets a paused run go on. */
export const resumeRun = async (): Promise<void> => {
  update({ phase: 'running' });
  await lab.resume();
};
/** Ends the run. */
export const stopRun = (): Promise<void> => lab.stop();

const update = (change: Partial<RunState>): void => {
  run.value = { ...run.value, ...change };
};
const updateRow = (name: string, change: Partial<LiveRow>): void =>
  update({ rows: run.value.rows.map(row => (row.name === name ? { ...row, ...change } : row)) });
const updateCurve = (name: string, change: (curve: LiveCurve) => LiveCurve): void => {
  const { curves } = run.value;
  const known = curves.find(curve => curve.name === name) ?? { name, points: [], marks: [] };
  update({ curves: [...curves.filter(curve => curve.name !== name), change(known)] });
};

const whens = { before: 'before', during: 'in the course of', after: 'after' } as const;

/** Tokens and seconds that a method had spent when its present stage began. */
let spent = { method: '', stage: '', tokens: 0, seconds: 0 };
let latest = { tokens: 0, seconds: 0 };

function onEvent(event: RunEvent): void {
  batch(() => {
    switch (event.type) {
      case 'floors':
        return update({ floors: event.rows });
      case 'stage':
        return onStage(event);
      case 'evaluating': {
        const { method, when, share } = event;
        return update({ doing: `${method}: scoring held-out text ${whens[when]} finetuning`, share });
      }
      case 'scored': {
        const { method, when, metrics, tokens, seconds } = event;
        if (when !== 'during') updateRow(method, { [when]: metrics });
        return updateCurve(method, curve => ({ ...curve, marks: [...curve.marks, { tokens, seconds, metrics }] }));
      }
      case 'plan':
        return update({ plan: event });
      case 'row': {
        const { row } = event;
        updateRow(row.name, { row });
        // Whole, also where the run was resumed; and what the report draws.
        return updateCurve(row.name, curve => ({ ...curve, points: row.curve }));
      }
      case 'log':
        return update({ log: [...run.value.log, event.line] });
      case 'done':
        return update({ phase: 'done', doing: '', share: 1, results: event.results });
      case 'stopped':
        return update({ phase: 'stopped', doing: '' });
      case 'failed':
        return update({ phase: 'failed', doing: '', error: event.message });
    }
  });
}

function onStage(event: RunEvent & { type: 'stage' }): void {
  const { method, stage, step, steps, tokens, seconds, bitsPerByte } = event;
  if (spent.method !== method) spent = { method, stage, tokens: 0, seconds: 0 };
  else if (spent.stage !== stage)
    spent = { method, stage, tokens: spent.tokens + latest.tokens, seconds: spent.seconds + latest.seconds };
  latest = { tokens, seconds };
  const doing = stage.endsWith('.plan') ? `${method}: learning the plan, the model is frozen` : `${method}: finetuning`;
  update({ doing: `${doing}, step ${step} of ${steps}`, share: step / steps, tokensPerSecond: tokens / seconds });
  updateCurve(method, curve => ({
    ...curve,
    points: thinned([
      ...curve.points,
      { tokens: spent.tokens + tokens, seconds: spent.seconds + seconds, bitsPerByte },
    ]),
  }));
}

/** A curve of at most 120 points: beyond, neighbours are joined. */
function thinned(points: LiveCurve['points']): LiveCurve['points'] {
  if (points.length <= 120) return points;
  const joined = [];
  for (let i = 0; i + 1 < points.length; i += 2)
    joined.push({ ...points[i + 1], bitsPerByte: (points[i].bitsPerByte + points[i + 1].bitsPerByte) / 2 });
  return joined;
}

/** The page's beginning: a backend, the bundled model, the sample that the link names. */
export async function begin(): Promise<void> {
  const { backend: name, plain, threads, sample } = choices.value;
  if (!(await load(backend, () => lab.useBackend({ name, plain, threads })))) {
    await useBackend({ backend: 'wasm' });
  }
  await loadModel(null);
  saved.value = await lab.savedRun();
  if (sample !== null) await loadDomain({ kind: 'sample', name: sample });
}
