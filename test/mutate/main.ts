/**
 * `npm run mutate`: breaks the code in many small ways and counts how often a test notices.
 *
 * A seeded sample of the mutants (`mutants.ts`) of each tree meets the tests about that tree, each mutant those single
 * tests that reach it (`instrument.ts`), in two copies of the project outside of it. It is killed when a test fails, or
 * hangs and then hangs again.
 * What is known (`known.ts`) is kept beside the copies, so a second call resumes where the first one stopped, and tests
 * that were added or changed meet the survivors only.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { Random } from '../../engine/random.ts';
import { hitsOf, instrument } from './instrument.ts';
import { digestOf, Findings, keyOf, untried, versionOf, type Finding } from './known.ts';
import { apply, lineOf, mutantsOf, parses, type Mutant } from './mutants.ts';
import { Order, within, type Batch, type TestFile } from './order.ts';
import { copyProject, Worker } from './pool.ts';
import type { Outcome } from './runner.ts';
import { isNumerical, summary, survives, survivors, type Verdict } from './report.ts';

/** Each tree of the code and the directories of the tests that are about it. */
const testsOf = {
  engine: ['engine', 'oracles'],
  models: ['models', 'oracles', 'attacks'],
  s2t2: ['s2t2', 'oracles', 'attacks'],
} as const;
type Tree = keyof typeof testsOf;
const trees = Object.keys(testsOf) as Tree[];

interface Specimen {
  readonly number: number;
  readonly tree: Tree;
  readonly mutant: Mutant;
}

/** What is known before the first mutant, of every test file as it was when it had this digest. */
type Baseline = Record<string, TestFile & { readonly digest: string }>;

const project = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

const number =
  (least: number) =>
  (value: string): number => {
    const n = Number(value);
    if (!(n >= least)) throw new InvalidArgumentError(`expected a number of at least ${least}`);
    return n;
  };
const options = new Command('mutate')
  .description('breaks the code in many small ways and counts how often a test notices')
  .option('--sample <n>', 'mutants of each tree', number(1), 300)
  .option('--tree <names>', `of ${trees.join(', ')}`, (value: string) => value.split(','), [...trees])
  .option('--seed <n>', 'of the sample', number(0), 1)
  .option('--minutes <n>', 'stop after so long; the same command resumes', number(0), 40)
  .option(
    '--seconds <n>',
    'of tests that each mutant meets first, the likeliest to notice; survivors then meet the others while there is ' +
      'time',
    number(1),
    15,
  )
  .option('--workers <n>', 'copies that are tested at once', number(1), 2)
  .option(
    '--skip <pattern>',
    'test files that are left out, as a regular expression: slow ones at first; a later call without it runs them',
    (value: string) => new RegExp(value),
  )
  .option('--numerical', 'only mutants of numerical code')
  .option(
    '--recheck <n>',
    'kills to repeat at the end, drawn at random; those by a hang are always repeated',
    number(0),
    0,
  )
  .option('--fresh', 'forget what an earlier call found')
  .parse()
  .opts<{
    sample: number;
    tree: string[];
    seed: number;
    minutes: number;
    seconds: number;
    workers: number;
    recheck: number;
    numerical?: boolean;
    skip?: RegExp;
    fresh?: boolean;
  }>();
for (const tree of options.tree)
  if (!(tree in testsOf)) throw new Error(`--tree ${tree}: there is ${trees.join(', ')}`);
const chosen = trees.filter(tree => options.tree.includes(tree));

/** Not those of the GPU: the text of its kernels is compiled elsewhere, where nothing can note that it runs. */
async function filesOf(directory: string, ending: string): Promise<string[]> {
  const names = await readdir(join(project, directory), { recursive: true });
  return names
    .filter(name => name.endsWith(ending) && !name.startsWith('gpu/'))
    .map(name => `${directory}/${name}`)
    .sort();
}

/** Tests in a browser's page, where nothing tells which mutants they reach. */
const inPage = /(\/playground\/page|-browser)\.test\.ts$/;
/** What runs there only, and the inputs of tests. */
const left = /^s2t2\/(view\/live|playground|app\/site)\/|^engine\/ops\/samples\.ts$/;

/** The first `sample` of a tree's mutants in a random order, of those that are programs. */
async function sampleOf(tree: Tree, sources: Map<string, string>): Promise<Mutant[]> {
  const all: Mutant[] = [];
  for (const file of await filesOf(tree, '.ts')) {
    if (left.test(file) || (options.numerical && !isNumerical(file))) continue;
    sources.set(file, await readFile(join(project, file), 'utf8'));
    all.push(...mutantsOf(file, sources.get(file)!));
  }
  const order = new Random(options.seed).split(tree).shuffle(all.map((_, i) => i));
  const sample: Mutant[] = [];
  for (const i of order) {
    if (sample.length === options.sample) break;
    if (parses(apply(sources.get(all[i].file)!, all[i]))) sample.push(all[i]);
  }
  console.log(`${tree}: ${sample.length} of ${all.length} mutants`);
  return sample;
}

/** A line that says how far it is: rewritten on a terminal, else twice a minute. */
let said = 0;
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
  else if (performance.now() - said > 30_000) {
    said = performance.now();
    process.stderr.write(`${text}\n`);
  }
}

/** Gives the items to the workers, each when it is free. */
async function share<T>(
  workers: readonly Worker[],
  items: readonly T[],
  work: (worker: Worker, item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  await Promise.all(
    workers.map(async worker => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(worker, item);
    }),
  );
}

/** Adds to the baseline what it lacks of these test files, each with its digest. */
async function completeBaseline(
  baseline: Baseline,
  digests: ReadonlyMap<string, string>,
  workers: readonly Worker[],
  sample: readonly Specimen[],
  sources: ReadonlyMap<string, string>,
  directory: string,
  save: () => Promise<void>,
): Promise<void> {
  const missing = [...digests.keys()].filter(test => baseline[test]?.digest !== digests.get(test));
  if (missing.length === 0) return;
  const files = [...new Set(sample.map(s => s.mutant.file))];
  for (const worker of workers)
    for (const file of files)
      await worker.write(
        file,
        instrument(
          sources.get(file)!,
          sample.filter(s => s.mutant.file === file),
        ),
      );
  await share(workers, missing, async (worker, test) => {
    delete baseline[test];
    const written = join(directory, `hits-${missing.indexOf(test)}`);
    await rm(written, { force: true });
    const outcome = await worker.run({ test, hits: written }, 900_000);
    if (outcome === 'hung' || !outcome.passed) {
      const why = outcome === 'hung' ? 'takes too long' : (outcome.cases.find(each => !each.passed)?.name ?? 'fails');
      return console.log(`left out before anything is broken: ${test}: ${why}`);
    }
    const hits = hitsOf(existsSync(written) ? await readFile(written, 'utf8') : '');
    baseline[test] = {
      digest: digests.get(test)!,
      overhead: Math.max(0, outcome.milliseconds - outcome.cases.reduce((sum, each) => sum + each.milliseconds, 0)),
      reaches: [...hits.get('')!],
      cases: outcome.cases.map(({ id, name, milliseconds }) => ({
        id,
        name,
        milliseconds,
        reaches: [...(hits.get(id) ?? [])],
      })),
    };
    await save();
    progress(`which test reaches what: ${Object.keys(baseline).length} of ${digests.size} test files`);
  });
  for (const worker of workers) for (const file of files) await worker.restore(file, project);
}

/**
 * Milliseconds after which tests hang that take this long on the whole code. The multiple is for a machine that others
 * use more than when that was measured; the rest for what a mutant compiles anew.
 */
const patience = (milliseconds: number): number => 20_000 + 10 * milliseconds;

interface Round {
  readonly specimen: Specimen;
  /** Ids of the tests to meet. */
  readonly among: readonly string[];
  /** Of tests at most. */
  readonly milliseconds: number;
}

/** What is given to every judgment. */
interface Court {
  readonly sources: ReadonlyMap<string, string>;
  readonly order: Order;
  readonly digests: ReadonlyMap<string, string>;
  readonly findings: Findings;
  /** Milliseconds until the call ends. */
  left(): number;
}

const batchesOf = (order: Order, { number: n, tree, mutant }: Specimen, among?: readonly string[]): Batch[] =>
  order.batches(
    n,
    mutant,
    testsOf[tree].map(name => `test/${name}/`),
    among && new Set(among),
  );

/** Runs tests on a mutant, as many of them as fit into the round; whether anything has been found. */
async function judge(worker: Worker, { specimen, among, milliseconds }: Round, court: Court): Promise<boolean> {
  const { mutant } = specimen;
  const { order, digests, findings, left } = court;
  const batches = batchesOf(order, specimen, among);
  const earlier = findings.get(mutant);
  const met = new Set(earlier?.met);
  const save = (found: Pick<Finding, 'status' | 'by' | 'digest'>) =>
    findings.add({ key: keyOf(mutant), ...found, met: [...met] });
  if (batches.length === 0) return (await save({ status: met.size > 0 ? 'survived' : 'not reached' }), true);
  let spent = 0;
  await worker.write(mutant.file, apply(court.sources.get(mutant.file)!, mutant));
  try {
    for (const all of batches) {
      const batch = within(all, milliseconds - spent);
      if (batch.cases.length === 0) continue;
      if (left() <= 0) return false;
      const { test } = batch;
      const outcome = await worker.run({ test, ids: batch.cases.map(({ id }) => id) }, patience(batch.milliseconds));
      spent += batch.milliseconds;
      if (outcome === 'hung' || !outcome.passed) {
        // The one that failed; with none, as when the file cannot be read, the file.
        const id = (outcome !== 'hung' && outcome.cases.find(({ passed }) => !passed)?.id) || test;
        order.add(mutant.file, test, id);
        await save({ status: outcome === 'hung' ? 'hung' : 'killed', by: { test, id }, digest: digests.get(test) });
        return true;
      }
      for (const { id } of batch.cases) met.add(versionOf(digests.get(test)!, id));
    }
    // Where no test fits into the round nothing is known: the next round has more time.
    if (met.size === 0) return false;
    await save({ status: 'survived' });
    return true;
  } finally {
    await worker.restore(mutant.file, project);
  }
}

/**
 * Runs the tests that killed a mutant once more, on the whole code and then on the mutant, with a limit from the time
 * that the whole code took just now. A kill that is not seen again is none.
 */
async function seeAgain(worker: Worker, specimen: Specimen, court: Court): Promise<void> {
  const { mutant } = specimen;
  const finding = court.findings.get(mutant)!;
  const { test, id } = finding.by!;
  const reaching = batchesOf(court.order, specimen).filter(batch => batch.test === test);
  const ids = reaching.flatMap(({ cases }) => cases.map(each => each.id)).filter(each => id === test || each === id);
  const whole = await worker.run({ test, ids }, 300_000);
  let outcome: Outcome | 'hung' = whole;
  if (whole !== 'hung' && whole.passed) {
    await worker.write(mutant.file, apply(court.sources.get(mutant.file)!, mutant));
    outcome = await worker.run({ test, ids }, patience(whole.milliseconds));
    await worker.restore(mutant.file, project);
  }
  const { key, met } = finding;
  // A test that fails on the whole code as well tells nothing.
  if (outcome === whole || (outcome !== 'hung' && outcome.passed)) {
    const versions = ids.map(each => versionOf(court.digests.get(test)!, each));
    await court.findings.add({ key, status: 'survived', met: [...met, ...versions] });
  } else await court.findings.add({ ...finding, status: outcome === 'hung' ? 'hung' : 'killed', confirmed: true });
}

async function main(): Promise<void> {
  const begin = performance.now();
  const sources = new Map<string, string>();
  const samples = [];
  for (const tree of chosen) samples.push({ tree, mutants: await sampleOf(tree, sources) });
  // Turn by turn, so that a run that is cut short has seen as much of every tree.
  const sample: Specimen[] = [];
  for (let i = 0; i < options.sample; i++)
    for (const { tree, mutants } of samples)
      if (i < mutants.length) sample.push({ number: sample.length, tree, mutant: mutants[i] });

  const hash = createHash('sha256');
  for (const tree of trees)
    for (const file of await filesOf(tree, '.ts')) hash.update(await readFile(join(project, file)));
  const directory = join(tmpdir(), `s2t2-mutate-${hash.digest('hex').slice(0, 12)}`);
  if (options.fresh) await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  console.log(`in ${directory}`);

  const workers = Array.from({ length: options.workers }, (_, i) => new Worker(join(directory, `copy-${i}`)));
  const stop = () => workers.forEach(worker => worker.end());
  process.on('exit', stop);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
  await Promise.all(workers.map(worker => copyProject(project, worker.copy)));

  const digests = new Map<string, string>();
  for (const name of new Set(chosen.flatMap(tree => testsOf[tree])))
    for (const test of await filesOf(`test/${name}`, '.test.ts'))
      if (!inPage.test(test) && !options.skip?.test(test)) digests.set(test, await digestOf(project, test));
  const numbers = createHash('sha256').update(JSON.stringify(sample)).digest('hex').slice(0, 12);
  const known = join(directory, `baseline-${numbers}.json`);
  const baseline = existsSync(known) ? (JSON.parse(await readFile(known, 'utf8')) as Baseline) : {};
  await completeBaseline(baseline, digests, workers, sample, sources, directory, () =>
    writeFile(known, JSON.stringify(baseline)),
  );

  const findings = await Findings.open(join(directory, 'findings.jsonl'), digests);
  const order = new Order(Object.fromEntries(Object.entries(baseline).filter(([test]) => digests.has(test))), sources);
  for (const { mutant } of sample) {
    const by = findings.get(mutant)?.by;
    if (by) order.add(mutant.file, by.test, by.id);
  }
  const left = () => options.minutes * 60_000 - (performance.now() - begin);
  const court: Court = { sources, order, digests, findings, left };
  const openFor = (specimen: Specimen) => untried(findings.get(specimen.mutant), batchesOf(order, specimen), digests);

  const run = async <T>(what: string, items: readonly T[], work: (worker: Worker, item: T) => Promise<unknown>) => {
    const start = performance.now();
    let done = 0;
    await share(workers, items, async (worker, item) => {
      if (left() <= 0) return;
      await work(worker, item);
      const rate = ++done / ((performance.now() - start) / 60_000);
      const surviving = sample.map(({ mutant }) => findings.get(mutant)).filter(f => f && survives(f)).length;
      progress(
        `${what}: ${done} of ${items.length}, ${surviving} survive, ${rate.toFixed(0)} a minute, ` +
          `${Math.ceil(Math.min(left() / 60_000, (items.length - done) / rate))} minutes left`,
      );
    });
  };
  // The likeliest tests for every mutant; then, while there is time, for those that live twice as many, and again.
  const meet = async () => {
    for (let milliseconds = 1000 * options.seconds; left() > 0; milliseconds *= 2) {
      const rounds = sample
        .map(specimen => ({ specimen, among: openFor(specimen), milliseconds }))
        .filter(({ specimen, among }) => among.length > 0 || !findings.get(specimen.mutant));
      if (rounds.length === 0) break;
      await run(`${milliseconds / 1000} s of tests`, rounds, (worker, round) => judge(worker, round, court));
    }
  };
  await meet();
  const kills = sample.filter(({ mutant }) => findings.get(mutant)?.by && !findings.get(mutant)!.confirmed);
  const drawn = new Set(new Random(options.seed).split('recheck').shuffle(kills).slice(0, options.recheck));
  const again = kills.filter(each => drawn.has(each) || findings.get(each.mutant)!.status === 'hung');
  await run('kills again', again, (worker, specimen) => seeAgain(worker, specimen, court));
  const lost = again.filter(({ mutant }) => survives(findings.get(mutant)!)).length;
  if (again.length > 0) console.log(`of ${again.length} kills, all by a hang among them, ${lost} were not seen again`);
  await meet();
  if (process.stderr.isTTY) process.stderr.write('\n');

  const all = sample.flatMap((specimen): Verdict[] => {
    const { number: n, tree, mutant } = specimen;
    const finding = findings.get(mutant);
    const line = lineOf(sources.get(mutant.file)!, mutant);
    return finding
      ? [{ number: n, tree, line, mutant, status: finding.status, by: finding.by, untried: openFor(specimen) }]
      : [];
  });
  console.log(`\n${survivors(all, sources)}\n\n${summary(all)}`);
  const [mutants, unsure] = [sample.length - all.length, all.filter(v => v.untried && v.untried.length > 0).length];
  if (mutants + unsure > 0)
    console.log(
      `${mutants} mutants, and tests of ${unsure} survivors, are left after ${options.minutes} minutes; the same ` +
        'command resumes with them',
    );
  stop();
  process.exit(0);
}

await main();
