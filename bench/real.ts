/**
 * A published model adapted to a bundled domain, fairly: each method's rate is the best of those tried on validation
 * data at a small budget, by factors of two until the best lies between two others (or `--only-rates`); with it the
 * method trains on the whole budget and meets the test data once.
 *
 *     npm run bench:real -- --model smollm2.gguf --domain proteins     trains the missing cells
 *     npm run bench:real -- --table                                    the table of finished cells
 *
 * A cell is a run of `s2t2 adapt` in a separate process, so that its peak memory is its own. Stopped anywhere, the
 * same command resumes. A finished cell is a line of `--cells` (scores of the texts among its figures), which is
 * committed: later work starts from there.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { renderTable } from '../models/node/table.ts';
import { dataFolder } from '../s2t2/app/data/tools.ts';
import { loadDomain } from '../s2t2/app/data/domains.ts';
import type { Results } from '../s2t2/cell.ts';
import { finetunedScores, pairedDifference, type TextScores } from './scores.ts';

/** What fixes a cell; the seed is 0. */
interface Cell {
  readonly model: string;
  readonly domain: string;
  /** A method, and options of `adapt` that it is run with: 's2t2 --spread isotropic'. */
  readonly method: string;
  readonly split: 'validation' | 'test';
  /** Training budget. */
  readonly tokens: number;
  /** Peak learning rates, as `--rate` and `--body-rate` of `adapt` take them. */
  readonly rate: number;
  readonly bodyRate: number;
}

interface Finished extends Cell {
  /** −ln p of every text that was scored, and its bytes. */
  readonly nats: readonly number[];
  readonly bytes: readonly number[];
  /** Bits per byte. */
  readonly frozen: number | null;
  readonly finetuned: number;
  readonly tokensPerByte: number;
  readonly seconds: number;
  readonly peakGiB: number;
  readonly backend: string;
}

interface Flags {
  readonly model: string;
  readonly domain: string;
  readonly methods: string;
  readonly rates: string;
  readonly onlyRates?: true;
  readonly onlyGrid?: true;
  readonly bodyRate: number;
  readonly gridTokens: number;
  readonly tokens: number;
  readonly texts: number;
  readonly threads?: string;
  readonly cells: string;
  readonly work: string;
  readonly table?: true;
}

const keyOf = (c: Cell): string =>
  [c.model, c.domain, c.method, c.split, c.tokens, c.rate, c.bodyRate].join(' ').replaceAll(/[^\w.-]+/g, '_');

async function readCells(path: string): Promise<Finished[]> {
  if (!existsSync(path)) return [];
  const lines = (await readFile(path, 'utf8')).split('\n').filter(line => line !== '');
  return lines.map(line => JSON.parse(line) as Finished);
}

/** Prints the most memory that a process has held, in KiB, when it ends. */
const peakHook = `data:text/javascript,process.on('exit',()=>console.error('peak',process.resourceUsage().maxRSS))`;

async function run(cell: Cell, flags: Flags): Promise<Finished> {
  const out = join(flags.work, keyOf(cell));
  await mkdir(out, { recursive: true });
  const texts = await loadDomain(cell.domain);
  const isSequence = texts.unit !== 'byte';
  const held = join(out, isSequence ? 'held.fasta' : 'held.jsonl');
  const lines = texts[cell.split]
    .slice(0, flags.texts)
    .map((text, i) => (isSequence ? `>${i}\n${text}\n` : `${JSON.stringify({ text })}\n`));
  await writeFile(held, lines.join(''));
  const data = dataFolder(`${cell.domain}.train.${isSequence ? 'fasta' : 'jsonl'}.gz`);
  const [method, ...more] = cell.method.split(' ');
  const options = {
    model: flags.model,
    data,
    test: held,
    out,
    methods: method,
    tokens: cell.tokens,
    rate: cell.rate,
    'body-rate': cell.bodyRate,
    'save-every': 60,
  };
  const cli = fileURLToPath(new URL('../s2t2/app/cli.js', import.meta.url));
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  args.push(...more);
  if (flags.threads !== undefined) args.unshift('--threads', flags.threads);
  const child = spawn(process.execPath, ['--import', peakHook, cli, 'adapt', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let peak = 0;
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    peak = Math.max(peak, Number(/^peak (\d+)$/m.exec(text)?.[1] ?? 0));
    process.stderr.write(text);
  });
  const code = await new Promise(resolve => child.once('close', resolve));
  if (code !== 0) throw new Error(`bench: ${keyOf(cell)} ended with code ${String(code)}; the same command resumes`);

  const results = JSON.parse(await readFile(join(out, 'results.json'), 'utf8')) as Results;
  const row = results.methods.find(m => m.name === method)!;
  const {
    nats: [nats],
    bytes,
  } = await finetunedScores(out, method);
  await rm(join(out, 'work'), { recursive: true });
  await rm(join(out, 'model'), { recursive: true, force: true });
  return {
    ...cell,
    frozen: row.before?.bitsPerByte ?? null,
    finetuned: row.after.bitsPerByte,
    tokensPerByte: row.tokensPerByte,
    seconds: Math.round(row.seconds),
    peakGiB: Math.round((100 * peak) / 2 ** 20) / 100,
    backend: results.provenance!.backend,
    nats: nats.map(x => Math.round(100 * x) / 100),
    bytes,
  };
}

const scoresOf = ({ nats, bytes }: Finished): TextScores => ({ nats: [nats], bytes });

function table(cells: readonly Finished[], domain: string): string {
  const tested = cells.filter(c => c.split === 'test' && c.domain === domain);
  const own = tested.find(c => c.method === 's2t2');
  const rows = tested.map(c => {
    return [
      c.method,
      c.frozen?.toFixed(3) ?? '',
      c.finetuned.toFixed(3),
      own && c !== own ? pairedDifference(scoresOf(c), scoresOf(own)) : '',
      c.tokensPerByte.toFixed(3),
      String(c.rate),
      String(c.seconds),
      c.peakGiB.toFixed(2),
    ];
  });
  const grid = cells
    .filter(c => c.split === 'validation' && c.domain === domain)
    .toSorted((a, b) => (a.method === b.method ? a.rate - b.rate : a.method < b.method ? -1 : 1));
  const gridRows = grid.map(c => [c.method, String(c.rate), c.frozen?.toFixed(3) ?? '', c.finetuned.toFixed(3)]);
  return [
    renderTable(['method', 'frozen', 'finetuned', 'less s2t2', 'tokens/byte', 'rate', 'seconds', 'peak GiB'], rows),
    renderTable(['grid, validation', 'rate', 'frozen', 'finetuned'], gridRows),
  ].join('\n\n');
}

/**
 * The rate of the lowest figure: of `rates` and, where the search goes `beyond`, from there by factors of two until
 * both its neighbours are higher.
 */
async function bestRate(
  rates: readonly number[],
  beyond: boolean,
  figureAt: (rate: number) => Promise<number>,
): Promise<number> {
  const figures = new Map<number, number>();
  for (const rate of rates) figures.set(rate, await figureAt(rate));
  for (;;) {
    const tried = [...figures.keys()].toSorted((a, b) => a - b);
    const best = tried.reduce((a, b) => (figures.get(b)! < figures.get(a)! ? b : a));
    const next = best === tried[0] ? best / 2 : best === tried.at(-1) ? best * 2 : null;
    if (next === null || !beyond) return best;
    figures.set(next, await figureAt(next));
  }
}

async function main(flags: Flags): Promise<void> {
  const cells = await readCells(flags.cells);
  const finish = async (cell: Cell): Promise<Finished> => {
    const known = cells.find(c => keyOf(c) === keyOf(cell));
    if (known) return known;
    process.stderr.write(`\n${keyOf(cell)}\n`);
    const finished = await run(cell, flags);
    await appendFile(flags.cells, `${JSON.stringify(finished)}\n`);
    cells.push(finished);
    return finished;
  };
  if (!flags.table) {
    const common = { model: basename(flags.model), domain: flags.domain, bodyRate: flags.bodyRate };
    const names = flags.methods.split(',');
    const bitsAt = async (method: string, rate: number): Promise<number> =>
      (await finish({ ...common, method, split: 'validation', tokens: flags.gridTokens, rate })).finetuned;
    for (const method of names) {
      const rates = flags.rates.split(',').map(Number);
      const rate = await bestRate(rates, !flags.onlyRates, rate => bitsAt(method, rate));
      if (!flags.onlyGrid) await finish({ ...common, method, split: 'test', tokens: flags.tokens, rate });
    }
  }
  console.log(table(cells, flags.domain));
}

await new Command('bench:real')
  .description('A published model adapted to a bundled domain: rates by a grid on validation data, then the table.')
  .option('--model <file>', 'GGUF file or model directory', 'runs/smollm2.gguf')
  .option('--domain <name>', 'bundled domain', 'proteins')
  .option(
    '--methods <names>',
    'rows; with options of adapt after a name, if any',
    'fvt-spread,truncated,fvt,s2t2,source,random,paper',
  )
  .option('--rates <list>', 'peak learning rates to begin with', '4e-3,8e-3')
  .option('--only-rates', 'try no others where the best of them is the first or the last')
  .option('--only-grid', 'train no row on the whole budget and leave the test data alone')
  .option('--body-rate <x>', 'rate of the layers between the ends, in units of that', Number, 0.5)
  .option('--grid-tokens <n>', 'budget of a cell of the grid', Number, 30000)
  .option('--tokens <n>', 'budget of a row', Number, 150000)
  .option('--texts <n>', 'validation or test texts to score', Number, 60)
  .option('--threads <n>', 'of a cell')
  .option('--cells <file>', 'finished cells, a line of JSON each', 's2t2/data/real.jsonl')
  .option('--work <dir>', 'states of unfinished cells', 'runs/real')
  .option('--table', 'print the table of finished cells only')
  .action(main)
  .parseAsync();
