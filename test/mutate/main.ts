/**
 * `npm run mutate`: breaks the code in many small ways and counts how often a test notices.
 *
 * A seeded sample of the mutants (`mutants.ts`) of each tree meets the tests about that tree, each mutant those single
 * tests that reach it (`instrument.ts`), in two copies of the project outside of it. It is killed when a test fails or
 * hangs.
 * What is known is kept beside the copies, so a second call resumes where the first one stopped.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { Random } from '../../engine/random.ts';
import { hitsOf, instrument } from './instrument.ts';
import { apply, lineOf, mutantsOf, parses, type Mutant } from './mutants.ts';
import { Order, within, type TestFile } from './order.ts';
import { copyProject, Worker } from './pool.ts';
import { summary, survives, survivors, type Status, type Verdict } from './report.ts';

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

/** What is known before the first mutant, of every test file. */
type Baseline = Record<string, TestFile>;

const project = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

const number =
  (least: number) =>
  (value: string): number => {
    const n = Number(value);
    if (!(n >= least)) throw new InvalidArgumentError(`it is a number of ${least} or more`);
    return n;
  };
const options = new Command('mutate')
  .description('breaks the code in many small ways and counts how often a test notices')
  .option('--sample <n>', 'mutants of each tree', number(1), 300)
  .option('--tree <names>', `of ${trees.join(', ')}`, (value: string) => value.split(','), [...trees])
  .option('--seed <n>', 'of the sample', number(0), 1)
  .option('--minutes <n>', 'stop after so long; the same call again goes on', number(0), 40)
  .option(
    '--seconds <n>',
    'of tests that a mutant meets at first, the likeliest to notice it before others; survivors meet the rest in ' +
      'the time that is left',
    number(1),
    15,
  )
  .option('--workers <n>', 'copies that are tested at once', number(1), 2)
  .option('--fresh', 'forget what an earlier call found')
  .parse()
  .opts<{
    sample: number;
    tree: string[];
    seed: number;
    minutes: number;
    seconds: number;
    workers: number;
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

/** What runs in a browser's page, where nothing tells which mutants are reached. */
const inPage = /^s2t2\/(view\/live|playground|app\/site)\//;

/** The first `sample` of a tree's mutants in a random order, of those that are programs. */
async function sampleOf(tree: Tree, sources: Map<string, string>): Promise<Mutant[]> {
  const all: Mutant[] = [];
  for (const file of await filesOf(tree, '.ts')) {
    if (inPage.test(file)) continue;
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

async function baselineOf(
  workers: readonly Worker[],
  sample: readonly Specimen[],
  sources: ReadonlyMap<string, string>,
  directory: string,
): Promise<Baseline> {
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
  const baseline: Baseline = {};
  const all = (
    await Promise.all(
      [...new Set(chosen.flatMap(tree => testsOf[tree]))].map(name => filesOf(`test/${name}`, '.test.ts')),
    )
  ).flat();
  await share(workers, all, async (worker, test) => {
    const written = join(directory, `hits-${all.indexOf(test)}`);
    await rm(written, { force: true });
    const outcome = await worker.run({ test, hits: written }, 300_000);
    if (outcome === 'hung' || !outcome.passed) return console.log(`left out: ${test} fails before anything is broken`);
    const hits = hitsOf(existsSync(written) ? await readFile(written, 'utf8') : '');
    baseline[test] = {
      overhead: Math.max(0, outcome.milliseconds - outcome.cases.reduce((sum, each) => sum + each.milliseconds, 0)),
      reaches: [...hits.get('')!],
      cases: outcome.cases.map(({ id, name, milliseconds }) => ({
        id,
        name,
        milliseconds,
        reaches: [...(hits.get(id) ?? [])],
      })),
    };
    progress(`which test reaches what: ${Object.keys(baseline).length} of ${all.length} test files`);
  });
  for (const worker of workers) for (const file of files) await worker.restore(file, project);
  return baseline;
}

interface Round {
  readonly specimen: Specimen;
  /** Of the tests that reach it, by their ids; missing: of all. */
  readonly among?: readonly string[];
  /** Of tests at most. */
  readonly milliseconds: number;
}

/**
 * What the tests say of a mutant, as many of them as fit into the round; null where the time is over before anything is
 * known.
 */
async function judge(
  worker: Worker,
  { specimen, among, milliseconds }: Round,
  source: string,
  order: Order,
  left: () => number,
): Promise<Status | null> {
  const { number: n, tree, mutant } = specimen;
  const batches = order.batches(
    n,
    mutant,
    testsOf[tree].map(name => `test/${name}/`),
    among && new Set(among),
  );
  if (batches.length === 0) return { status: 'not reached' };
  const untried = new Set(batches.flatMap(({ cases }) => cases.map(({ id }) => id)));
  let spent = 0;
  await worker.write(mutant.file, apply(source, mutant));
  try {
    for (const all of batches) {
      const batch = within(all, milliseconds - spent);
      if (batch.cases.length === 0) continue;
      if (left() <= 0) return null;
      const outcome = await worker.run(
        { test: batch.test, ids: batch.cases.map(({ id }) => id) },
        10_000 + 4 * batch.milliseconds,
      );
      spent += batch.milliseconds;
      for (const { id } of batch.cases) untried.delete(id);
      if (outcome !== 'hung' && outcome.passed) continue;
      // The one that failed; with none, as when the file cannot be read, the file.
      const id = (outcome !== 'hung' && outcome.cases.find(({ passed }) => !passed)?.id) || batch.test;
      order.add(mutant.file, batch.test, id);
      return { status: outcome === 'hung' ? 'hung' : 'killed', by: { test: batch.test, id } };
    }
    return { status: 'survived', untried: [...untried] };
  } finally {
    await worker.restore(mutant.file, project);
  }
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

  const hash = createHash('sha256').update(JSON.stringify(sample));
  for (const directory of [...trees, 'test'])
    for (const file of await filesOf(directory, '.ts')) hash.update(await readFile(join(project, file)));
  const directory = join(tmpdir(), `s2t2-mutate-${hash.digest('hex').slice(0, 12)}`);
  if (options.fresh) await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  console.log(`in ${directory}`);

  const workers = Array.from({ length: options.workers }, (_, i) => new Worker(join(directory, `copy-${i}`)));
  const stop = () => workers.forEach(worker => worker.end());
  process.on('exit', stop);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
  await Promise.all(workers.map(worker => copyProject(project, worker.copy)));

  const known = join(directory, 'baseline.json');
  if (!existsSync(known)) await writeFile(known, JSON.stringify(await baselineOf(workers, sample, sources, directory)));
  const baseline = JSON.parse(await readFile(known, 'utf8')) as Baseline;

  const log = join(directory, 'verdicts.jsonl');
  const verdicts = new Map<number, Verdict>(); // of a mutant the latest
  if (existsSync(log))
    for (const line of (await readFile(log, 'utf8')).trim().split('\n').filter(Boolean)) {
      const verdict = JSON.parse(line) as Verdict;
      verdicts.set(verdict.number, verdict);
    }
  const order = new Order(baseline, sources);
  for (const { by, mutant } of verdicts.values()) if (by) order.add(mutant.file, by.test, by.id);

  const left = () => options.minutes * 60_000 - (performance.now() - begin);
  const run = async (what: string, rounds: readonly Round[]) => {
    const start = performance.now();
    let done = 0;
    await share(workers, rounds, async (worker, round) => {
      if (left() <= 0) return;
      const { specimen } = round;
      const source = sources.get(specimen.mutant.file)!;
      const status = await judge(worker, round, source, order, left);
      if (!status) return;
      const verdict: Verdict = {
        number: specimen.number,
        tree: specimen.tree,
        line: lineOf(source, specimen.mutant),
        mutant: specimen.mutant,
        ...status,
      };
      verdicts.set(verdict.number, verdict);
      await appendFile(log, `${JSON.stringify(verdict)}\n`);
      const rate = ++done / ((performance.now() - start) / 60_000);
      progress(
        `${what}: ${done} of ${rounds.length}, ${[...verdicts.values()].filter(survives).length} survive, ` +
          `${rate.toFixed(0)} a minute, ${Math.ceil(Math.min(left() / 60_000, (rounds.length - done) / rate))} ` +
          'minutes left',
      );
    });
  };
  // The likeliest tests for every mutant; then, while there is time, for those that live twice as many, and again.
  await run(
    'mutants',
    sample.filter(s => !verdicts.has(s.number)).map(specimen => ({ specimen, milliseconds: 1000 * options.seconds })),
  );
  for (let milliseconds = 2000 * options.seconds; left() > 0; milliseconds *= 2) {
    const spared = sample
      .map(specimen => ({ specimen, among: verdicts.get(specimen.number)?.untried ?? [], milliseconds }))
      .filter(round => round.among.length > 0);
    if (spared.length === 0) break;
    await run(`survivors, ${milliseconds / 1000} s of other tests`, spared);
  }
  if (process.stderr.isTTY) process.stderr.write('\n');

  const all = [...verdicts.values()];
  console.log(`\n${survivors(all, sources)}\n\n${summary(all)}`);
  const [mutants, unsure] = [sample.length - all.length, all.filter(v => v.untried && v.untried.length > 0).length];
  if (mutants + unsure > 0)
    console.log(
      `${mutants} mutants, and tests of ${unsure} survivors, are left after ${options.minutes} minutes; the same ` +
        'command goes on with them',
    );
  stop();
  process.exit(0);
}

await main();
