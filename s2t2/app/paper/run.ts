/**
 * `npm run paper`: the table, its ablations, the transfer to a larger model, what the plan means. Everything is made
 * of cells that are kept on disk, so that a run stopped anywhere resumes where it stopped. It ends as rates.jsonl,
 * results.json, table.md and report.html.
 */
import { statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { getBackend } from '../../../engine/index.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { makeDirectory, writeFileAtomic } from '../../../models/node/files.ts';
import { UserError } from '../../../models/errors.ts';
import type { Interruptible } from '../adapt.ts';
import type { Tokenizer } from '../../../models/tokenizer/index.ts';
import { loadDomain, type DomainData } from '../data/domains.ts';
import { dataFolder } from '../data/tools.ts';
import { withLock } from '../lock.ts';
import { prepare } from '../prepare.ts';
import { chosenRates, gridText, readGrid, type GridRow } from '../rates.ts';
import { renderReport } from '../report/page.ts';
import { defaultAlpha, defaults, type Rates, type Settings } from '../../settings.ts';
import { ablate, type AblationName } from './ablations.ts';
import { planOf, type Bench } from './cells.ts';
import { meaning } from './meaning.ts';
import { paperMarkdown } from './markdown.ts';
import type { Paper } from './paper.ts';
import { describePaper } from './report.ts';
import { chooseRates, defaultGrid, gridFrom, lines, mainTable, ratesFrom, s2t2Cell, type Grid } from './table.ts';
import { loadReceiver, transfer } from './transfer.ts';
import { parameters } from '../../../models/weights.ts';

/** A run of `paper`. */
export interface PaperOptions {
  readonly out: string;
  /** Directory of the source model. */
  readonly model?: string;
  readonly domain: string;
  /** Where `s2t2 data` put the files of the domain; by default those that are bundled. */
  readonly data?: string;
  readonly seeds: number;
  readonly tokens: number;
  /** Sequences of validation and of test data, at most. */
  readonly heldOut: number;
  /** Names of lines of the table. */
  readonly lines: readonly string[];
  readonly grid?: Grid;
  /** Directory of an earlier table, or its rates.jsonl: the grid begins at what was chosen there, see `gridFrom`. */
  readonly tuneFrom?: string;
  /**
   * Directory of an earlier table, whose cells are not run again, or its rates.jsonl: learning rates in place of a grid
   * of this table's own.
   */
  readonly rates?: string;
  readonly ablate: readonly AblationName[];
  /** Directory of a larger model with the same vocabulary. */
  readonly transfer?: string;
  /** Where among its lines a helper begins. */
  readonly share?: number;
  readonly signal?: AbortSignal;
  /** Runs the part that saves its state when `signal` aborts. */
  readonly interruptible?: Interruptible;
  readonly log: (line: string) => void;
}

/** Trains the cells of the paper's table, or resumes, and writes table, results and report. */
export async function paper(options: PaperOptions): Promise<Paper> {
  const inputs = await readInputs(options);
  return withLock(options.out, async () => write(options, await trainCells(options, inputs)));
}

/** Trains cells of a paper that another process runs with these options, and leaves the rest to that one. */
export async function helpPaper(options: PaperOptions): Promise<void> {
  await trainCells(options, await readInputs(options));
}

/** What a paper is made from. */
interface Inputs {
  readonly source: LanguageModel;
  /** The model that plans are applied to as well. */
  readonly receiver: LanguageModel | null;
  /** Learning rates of an earlier table, in place of a grid. */
  readonly given: GridRow[] | null;
  /** Those from which the grid begins. */
  readonly begin: GridRow[] | null;
  readonly domain: DomainData;
}

/** Reads what the options name, so that their mistakes come before anything is written. */
async function readInputs(options: PaperOptions): Promise<Inputs> {
  const { lines: names, transfer: receiver, rates, tuneFrom } = options;
  const unknown = names.find(name => !lines.some(l => l.name === name));
  if (unknown !== undefined)
    throw new UserError(`the table has no row '${unknown}'; expected names from: ${lines.map(l => l.name).join(', ')}`);
  if (receiver !== undefined && !names.includes('s2t2'))
    throw new UserError("--transfer applies the plans of the row 's2t2', which --lines leaves out; add it");
  if (rates !== undefined && tuneFrom !== undefined)
    throw new UserError('--rates takes learning rates as they are, and --tune-from begins a grid at them; give one');
  const source = await loadModel(options.model ?? dataFolder('source'));
  return {
    source,
    receiver: receiver === undefined ? null : await loadReceiver(receiver, source),
    given: rates === undefined ? null : await readRates(rates),
    begin: tuneFrom === undefined ? null : await readRates(tuneFrom),
    domain: await loadDomain(options.domain, options.data),
  };
}

/** What cells give, and what to look at them with. */
interface Trained extends Pick<Paper, 'settings' | 'grid' | 'table' | 'ablations' | 'transfer'> {
  readonly domain: DomainData;
  readonly test: Bench;
  readonly rates: ReadonlyMap<string, Rates>;
}

async function trainCells(options: PaperOptions, inputs: Inputs): Promise<Trained> {
  const { out, signal, log } = options;
  const { source, domain } = inputs;
  const settings: Settings = {
    ...defaults,
    alpha: defaultAlpha(source.tokenizer.ordinaryIds().length),
    budget: { unit: 'tokens', amount: options.tokens },
  };
  const on = async (split: 'validation' | 'test', target?: Tokenizer): Promise<Bench> => {
    const format = domain.unit === 'byte' ? ('jsonl' as const) : ('fasta' as const);
    const texts = { train: domain.train, test: domain[split].slice(0, options.heldOut), format };
    return {
      prepared: await prepare(source, texts, settings, log, { target, signal }),
      out: join(out, split),
      earlier: options.rates === undefined || isFile(options.rates) ? undefined : join(options.rates, split),
      signal,
      log,
    };
  };
  const validation = await on('validation');
  const test = await on('test', validation.prepared.target);
  log(
    `${getBackend().describe()}\n${domain.train.length} training texts of ${domain.name}, ` +
      `${test.prepared.texts.test.length} held out; results go to ${out}`,
  );
  const { interruptible = work => work() } = options;
  return interruptible(async () => ({
    domain,
    settings,
    test,
    ...(await trainTables(options, settings, validation, test, inputs)),
  }));
}

async function trainTables(
  options: PaperOptions,
  settings: Settings,
  validation: Bench,
  test: Bench,
  { receiver, given, begin }: Inputs,
): Promise<Omit<Trained, 'domain' | 'settings' | 'test'>> {
  const chosen = lines.filter(l => options.lines.includes(l.name));
  const { domain, tokens, share, grid: whole = defaultGrid } = options;
  const gridOfLine = (name: string) => {
    const earlier = begin && chosenRates(begin, name, domain, tokens);
    return earlier ? gridFrom(whole, earlier) : whole;
  };
  const { rates, rows: grid } = given
    ? { rates: ratesFrom(given, chosen, domain, tokens), rows: [] }
    : await chooseRates(validation, domain, settings, chosen, gridOfLine, share);
  if (share === undefined) await writeFileAtomic(join(options.out, 'rates.jsonl'), gridText(given ?? grid));
  const seeds = seedsOf(options);
  const table = await mainTable(test, settings, chosen, rates, seeds);
  const ablations = await ablate(
    validation,
    options.ablate,
    rates.has('s2t2') ? s2t2Cell(settings, rates, settings.seed).settings : settings,
  );
  const moved = receiver && (await transfer({ test, model: receiver, settings, rates, seeds }));
  return { rates, grid, table, ablations, transfer: moved };
}

const seedsOf = ({ seeds }: PaperOptions): number[] => Array.from({ length: seeds }, (_, seed) => seed);

/** results.json, table.md and report.html. */
async function write(options: PaperOptions, { domain, test, rates, ...trained }: Trained): Promise<Paper> {
  const { out } = options;
  const { source, target, texts } = test.prepared;
  const hasPlans = options.lines.includes('s2t2');
  const { config } = source.model;
  const results: Paper = {
    domain: {
      name: domain.name,
      unit: domain.unit,
      source: domain.source,
      licence: domain.licence,
      folder: options.data ?? null,
      trainingTexts: domain.train.length,
    },
    model: {
      parameters: Object.values(parameters(source.model)).reduce((n, w) => n + w.size, 0),
      width: config.width,
      layers: config.layers,
      vocabSize: config.vocabSize,
    },
    backend: getBackend().describe(),
    ...trained,
    meaning: hasPlans
      ? await meaning(test, trained.settings, rates, seedsOf(options), options.domain === 'proteins')
      : null,
  };
  await makeDirectory(out);
  await writeFileAtomic(join(out, 'results.json'), `${JSON.stringify(results, null, 1)}\n`);
  await writeFileAtomic(join(out, 'table.md'), paperMarkdown(results));
  const plan = hasPlans ? await planOf(test, s2t2Cell(trained.settings, rates, 0)) : null;
  await writeFileAtomic(
    join(out, 'report.html'),
    await renderReport(describePaper({ results, source: source.tokenizer, target, plan, sample: texts.test[0] })),
  );
  for (const split of ['validation', 'test'])
    await rm(join(out, split, 'work'), { recursive: true, force: true, maxRetries: 5 });
  return results;
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

/** The grid of an earlier table: its directory, or a file. */
const readRates = (path: string): Promise<GridRow[]> => readGrid(isFile(path) ? path : join(path, 'rates.jsonl'));
