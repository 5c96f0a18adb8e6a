/**
 * The lab: what the worker knows (a backend, a source model, texts, a run) and does when the page asks. One run at a
 * time;
 * questions are answered between its steps.
 */
import { getBackend, setBackend } from '../../../engine/index.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import { UserError } from '../../../models/errors.ts';
import { disposeModel, parameters } from '../../../models/weights.ts';
import { Interrupted } from '../../../models/train.ts';
import type { Tokenizer } from '../../../models/tokenizer/index.ts';
import { fitMemory, forecast, fullest, type Remedy, type RunShape } from '../../app/memory.ts';
import { prepare, trainTarget, type Prepared } from '../../app/prepare.ts';
import { cutAll } from '../../corpus/index.ts';
import type { Provenance } from '../../cell.ts';
import { explainPlan } from '../../explain.ts';
import { madeIds } from '../../plan.ts';
import { methods } from '../../methods.ts';
import { withoutRates, type Settings } from '../../settings.ts';
import { visible } from '../../../models/printable.ts';
import type { BackendChoice, BackendReport, DroppedFile, GpuName, Lab, RunEvent, RunRequest } from '../protocol.ts';
import { zip } from './archive.ts';
import { readDomain, type Texts } from './domain.ts';
import { createGate } from './gate.ts';
import { openBundledModel, openModel, readDropped } from './model.ts';
import { runMethods, type Finished } from './run.ts';
import { scoreText, speak } from './speak.ts';
import { storage } from './storage.ts';
import { excerpt, showTokens, smaller, tokensPerByte } from './tokens.ts';
import { makeToy } from './toy.ts';
import { mostMemory, openVerified, pageMemory, type Verified } from './verify.ts';

/** What the visitor can change about a run that does not fit. */
function remedies(shape: RunShape): Remedy[] {
  const vocabSize = Math.ceil(shape.u / 4);
  const settings = { ...shape.settings, vocabSize };
  return [
    ['the row source left out', { ...shape, methods: shape.methods.filter(name => name !== 'source') }],
    [`a target vocabulary of ${vocabSize}`, { ...shape, settings, u: vocabSize }],
  ];
}

/** What the storage keeps of a run besides its states. */
interface Session extends RunRequest {
  readonly texts: Texts;
}

/** Of the package; the build's. */
declare const VERSION: string;

/** A run that has ended, with what questions about it need. */
interface Done extends Finished {
  readonly target: Tokenizer;
  readonly heldOut: readonly string[];
}

/** The largest vocabulary that the page trains. */
const mostTokens = 2048;

/** The work of the page, in its worker; `emit` reports the progress of a run. */
export function createLab(emit: (event: RunEvent) => void): Lab {
  let source: LanguageModel | null = null;
  /** The files of the visitor's own model. */
  let files: readonly DroppedFile[] | null = null;
  let modelName = '';
  let texts: Texts | null = null;
  /** Trained to `mostTokens` for the comparison of sizes; a run trains its own. */
  let explored: Tokenizer | null = null;
  let running: {
    readonly gate: ReturnType<typeof createGate>;
    readonly stop: AbortController;
    ended: Promise<void>;
  } | null = null;
  let finished: Done | null = null;
  /** Takes over a finished run and frees the models of the one before. */
  const setFinished = (next: Done | null) => {
    for (const { model } of finished?.models.values() ?? []) disposeModel(model);
    finished = next;
  };
  let runs: BackendReport | null = null;
  /** What the WebAssembly backend may take. */
  let memory = pageMemory;
  /** Backends of the graphics card, each opened and checked once: a browser gives a page one device. */
  const cards = new Map<GpuName, Promise<Verified>>();
  function card(name: GpuName): Promise<Verified> {
    const known = cards.get(name);
    if (known) return known;
    const opened = openVerified({ name, plain: false, threads: 0 });
    cards.set(name, opened);
    opened.catch(() => cards.delete(name)); // a card that was busy may be free later
    return opened;
  }

  /** Lets a backend take over, once it has passed its check. */
  async function switchTo(next: BackendChoice, bytes = memory): Promise<BackendReport> {
    const { backend, report } = await (next.name === 'wasm' ? openVerified(next, bytes) : card(next.name));
    const threads = runs?.choice.name === 'wasm' ? getBackend() : null;
    setBackend(backend);
    setFinished(null);
    threads?.close?.();
    [runs, memory] = [report, bytes];
    return report;
  }

  /** Gives the backend more memory where a dropped model needs it, and throws where the model does not fit at all. */
  async function makeRoom(dropped: readonly DroppedFile[], settings: Settings, names: readonly string[]) {
    const { config, tokenizer } = await readDropped(dropped);
    const shape = { config, settings, methods: names, u: settings.vocabSize, v: tokenizer.ordinaryIds().length };
    const fits = (limit: number | undefined): true | UserError => {
      try {
        fitMemory(shape, limit, remedies);
        return true;
      } catch (error) {
        if (error instanceof UserError) return error;
        throw error;
      }
    };
    const { memoryLimit } = getBackend();
    if (fits(memoryLimit) === true) return;
    const most = fits(mostMemory);
    if (most !== true) throw most;
    if (runs) await switchTo(runs.choice, mostMemory);
  }

  async function openSource(dropped: readonly DroppedFile[] | null): Promise<LanguageModel> {
    const opened = dropped ? await openModel(dropped) : await openBundledModel();
    if (source) disposeModel(source.model);
    [source, files] = [opened, dropped];
    return opened;
  }

  const needSource = (): LanguageModel => {
    if (!source) throw new UserError('load a source model first');
    return source;
  };
  const needTexts = (): Texts => {
    if (!texts) throw new UserError('bring a text or choose a sample first');
    return texts;
  };
  const speaker = (method: string): LanguageModel => {
    const model = finished?.models.get(method) ?? (method === 'untrained' ? needSource() : undefined);
    if (!model) throw new UserError(`${method} has no finished model yet`);
    return model;
  };
  const exploreTarget = async (): Promise<Tokenizer> => {
    const { train, summary } = needTexts();
    explored ??= await trainTarget(cutAll(train, 512), summary.format, mostTokens, {}, () => {});
    return explored;
  };

  async function stop(): Promise<void> {
    running?.stop.abort();
    await running?.ended;
  }

  async function start({ settings, methods: names, validations, resume }: RunRequest): Promise<void> {
    const model = needSource();
    const held = needTexts();
    const unknown = names.find(name => !Object.hasOwn(methods, name));
    if (unknown !== undefined) throw new UserError(`unknown method '${unknown}'`);
    setFinished(null);
    const log = (line: string) => emit({ type: 'log', line });
    const domain = { train: held.train, test: held.heldOut, format: held.summary.format };
    const prepared = await prepare(model, domain, settings, log, { methods: names, remedies });
    // Only a run from the bundled model is kept: the files of another would have to be dropped again.
    const kept = files === null;
    const [gate, abort] = [createGate(), new AbortController()];
    const work = async () => {
      if (!resume) await storage.clear();
      if (kept && !resume)
        await storage.put('session', {
          settings,
          methods: names,
          validations,
          resume: true,
          texts: held,
        } satisfies Session);
      const { fingerprint } = prepared;
      const run = { ...prepared, methods: names, validations, gate, signal: abort.signal, emit };
      const { target, texts: pieces } = prepared;
      const outcome = await runMethods({
        ...run,
        fingerprint: kept ? fingerprint : null,
        provenance: provenanceOf(prepared),
      });
      setFinished({ ...outcome, target, heldOut: pieces.test });
      await storage.clear();
    };
    const ended = work().catch((error: unknown) => {
      if (error instanceof Interrupted) emit({ type: 'stopped' });
      else emit({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
    });
    running = { gate, stop: abort, ended };
    void ended.then(() => {
      if (running?.gate === gate) running = null;
    });
  }

  /** What the results say of their making, as the application's do. */
  function provenanceOf({ identity, settings }: Prepared): Provenance {
    const data = { use: 'training and held out', path: needTexts().summary.name, sha256: String(identity.data) };
    return {
      version: VERSION,
      command: [],
      backend: getBackend().describe(),
      model: { path: modelName, sha256: String(identity.model) },
      data: [data],
      settings: withoutRates(settings),
    };
  }

  return {
    offer: async name => (await card(name)).report,
    async useBackend(next) {
      if (running) throw new UserError('stop the run before you change the backend');
      const report = await switchTo(next);
      if (source) await openSource(files);
      return report;
    },
    runs: async () => runs,
    toy: makeToy,
    async loadModel(dropped, settings, names) {
      await stop();
      setFinished(null);
      if (dropped) await makeRoom(dropped, settings, names);
      const { model } = await openSource(dropped);
      modelName = dropped ? (dropped[0].name.split('/').at(-2) ?? 'your model') : 'the bundled English model';
      const { config } = model;
      return {
        name: modelName,
        family: config.family,
        parameters: Object.values(parameters(model)).reduce((n, w) => n + w.size, 0),
        vocabulary: config.vocabSize,
        context: config.context,
        width: config.width,
      };
    },
    async loadDomain(from, limitBytes) {
      const read = await readDomain(from, limitBytes);
      await stop();
      [texts, explored] = [read, null];
      setFinished(null);
      return read.summary;
    },
    async trainTokenizer() {
      const { heldOut } = needTexts();
      const { tokenizer } = needSource();
      const most = await exploreTarget();
      const { merges, tokens } = most.parts;
      const least = tokens.length - merges.length;
      const sample = excerpt(heldOut, 10_000);
      const name = (id: number) => visible(most.token(id));
      const sizes = [least, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, most.vocabSize].filter(
        (size, i, all) => size >= least && size <= most.vocabSize && all.indexOf(size) === i,
      );
      return {
        least,
        most: most.vocabSize,
        merges: merges.map(({ left, right }) => [name(left), name(right)] as const),
        compression: sizes
          .sort((a, b) => a - b)
          .map(size => ({ size, tokensPerByte: tokensPerByte(sample, smaller(most, size)) })),
        sourceTokensPerByte: tokensPerByte(sample, tokenizer),
      };
    },
    async cut(text, size) {
      const { tokenizer } = needSource();
      const target = smaller(await exploreTarget(), size);
      return {
        bytes: new TextEncoder().encode(text).length,
        source: showTokens(text, tokenizer),
        target: showTokens(text, target),
      };
    },
    async forecast(settings, names) {
      const { model, tokenizer } = needSource();
      const { config } = model;
      const shape = { config, settings, methods: names, u: settings.vocabSize, v: tokenizer.ordinaryIds().length };
      const { memoryLimit } = getBackend();
      const found = fitMemory(shape, memoryLimit, remedies) ?? forecast(shape, false);
      return { need: fullest(found).need.memory, limit: memoryLimit ?? null, recompute: found.recompute };
    },
    async run(request) {
      await stop();
      if (request.resume) {
        const session = await storage.get<Session>('session');
        if (!session) throw new UserError('no run to resume');
        [texts, explored] = [session.texts, null];
        return start({ ...session, resume: true });
      }
      return start(request);
    },
    async pause() {
      running?.gate.shut();
    },
    async step() {
      running?.gate.step();
    },
    async resume() {
      running?.gate.open();
    },
    stop,
    async savedRun() {
      const session = await storage.get<Session>('session');
      return session ? { settings: session.settings, methods: session.methods, domain: session.texts.summary } : null;
    },
    forget: () => storage.clear(),
    generate: request => speak(speaker(request.method), request),
    score: async (text, names) => {
      const scored = [];
      for (const name of names) scored.push(await scoreText(speaker(name), text, name));
      return scored;
    },
    async explain(token) {
      const plan = finished?.plan;
      if (!finished || !plan) throw new UserError('learn a plan first');
      const { target } = finished;
      const id = madeIds(plan).find(i => visible(target.token(i)) === token);
      if (id === undefined) return null;
      return explainPlan(plan, needSource().tokenizer, target, { top: 12, tokens: [target.token(id)] })[0] ?? null;
    },
    targetTokens: async () =>
      finished ? Array.from(finished.target.ordinaryIds(), id => visible(finished!.target.token(id))) : [],
    async archive() {
      if (!finished) throw new UserError('finish a run first');
      const adapted = finished.models.get('s2t2') ?? null;
      return zip({
        results: finished.results,
        source: needSource().tokenizer,
        adapted,
        plan: finished.plan,
        heldOut: finished.heldOut,
      });
    },
  };
}
