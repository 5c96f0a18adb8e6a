/**
 * The paper's table: every start of a model in the new domain, before and after finetuning, over several seeds, with
 * learning rates from one grid on validation data.
 */
import { UserError } from '../../../models/errors.ts';
import type { Score } from '../../../models/score.ts';
import { markov, metrics, orderZero, tokensPerByte, uniformFloor, unigram } from '../../evaluate.ts';
import type { CurvePoint } from '../../cell.ts';
import type { Method, Vocabulary } from '../../method.ts';
import { methods } from '../../methods.ts';
import type { Rates, Settings } from '../../settings.ts';
import { chosenRates, type GridRow } from '../rates.ts';
import { rotated, runCells, type Bench, type Cell, type CellResult } from './cells.ts';
import { Bootstrap, type Interval, type Nats } from './statistics.ts';

/** A row to be: a method, and what it changes in the settings. */
export interface Line {
  readonly name: string;
  readonly method: Method;
  readonly vary?: Partial<Settings>;
}

/** The rows that a table can have. */
export const lines: readonly Line[] = [
  { name: 'source', method: methods.source },
  { name: 'truncated', method: methods.truncated },
  { name: 'random', method: methods.random },
  { name: 'fvt', method: methods.fvt },
  { name: 'fvt-spread', method: methods['fvt-spread'] },
  { name: 'plain', method: methods.plain },
  { name: 'dense', method: methods.dense },
  { name: 'paper', method: methods.paper },
  { name: 's2t2', method: methods.s2t2 },
  { name: 's2t2-unspread', method: methods.s2t2, vary: { spread: 'none' } },
  { name: 'scratch', method: methods.scratch },
];

/**
 * Rates to try first, one after the other, each with the best of those before it: of finetuning, of the plan, and of
 * the layers between the ends in units of the first.
 */
export interface Grid extends Readonly<Record<keyof Rates, readonly number[]>> {
  /** What each rate is until its turn. */
  readonly start: Rates;
  /** How often a grid whose best rate lies at its edge grows there, by a factor of two; one value alone is no grid. */
  readonly growth: number;
}

/** The learning rates that are tried first. */
export const defaultGrid: Grid = {
  rate: [4e-3, 8e-3],
  planRate: [1e-2, 3e-2],
  bodyRate: [0.25, 0.5, 1],
  start: { rate: 4e-3, planRate: 3e-2, bodyRate: 0.5 },
  growth: 3,
};

/** The default grid with all rates but these as they start. */
export const gridOf = (axes: readonly (keyof Rates)[]): Grid => {
  const fixed = (Object.keys(defaultGrid.start) as (keyof Rates)[]).filter(axis => !axes.includes(axis));
  return { ...defaultGrid, ...Object.fromEntries(fixed.map(axis => [axis, [defaultGrid.start[axis]]])) };
};

/**
 * A grid that begins at rates of an earlier one, each that it searches with half of it: a larger budget wants lower
 * ones. It grows as the grid does.
 */
export const gridFrom = (grid: Grid, { rate, planRate, bodyRate }: Rates): Grid => {
  const start: Rates = { rate, planRate, bodyRate };
  const axis = (name: keyof Rates) => (grid[name].length > 1 ? [start[name] / 2, start[name]] : [start[name]]);
  return { ...grid, start, rate: axis('rate'), planRate: axis('planRate'), bodyRate: axis('bodyRate') };
};

/** Rates that matter to a line, in the order in which they are chosen. */
const axesOf = ({ method }: Line): readonly (keyof Rates)[] =>
  method.learnsPlan ? ['rate', 'planRate', 'bodyRate'] : ['rate', 'bodyRate'];

const settingsOf = (base: Settings, line: Line, { rate, planRate, bodyRate }: Rates): Settings => ({
  ...base,
  ...line.vary,
  rate,
  planRate,
  bodyRate,
});

/**
 * `bench` evaluates on validation data of `domain`; `gridOfLine` gives the grid of a line, by its name; `share` is
 * where among the lines to begin.
 */
export async function chooseRates(
  bench: Bench,
  domain: string,
  base: Settings,
  chosen: readonly Line[],
  gridOfLine: (name: string) => Grid,
  share = 0,
): Promise<{ rates: Map<string, Rates>; rows: GridRow[] }> {
  const rates = new Map<string, Rates>();
  const rows: GridRow[] = [];
  for (const line of rotated(
    lines.filter(l => chosen.includes(l)),
    share,
  )) {
    const grid = gridOfLine(line.name);
    const tried = new Map<string, Rates & Pick<GridRow, 'before' | 'bitsPerByte'>>();
    /** The best value of one rate, the other fixed. */
    const sweep = async (axis: keyof Rates, fixed: Rates): Promise<Rates> => {
      const measured = new Map<number, number>();
      const attempt = async (values: readonly number[]): Promise<number> => {
        const cells = values.map(value => {
          const r = { ...fixed, [axis]: value };
          return {
            key: [line.name, ...axesOf(line).map(a => r[a])].join(' '),
            method: line.method,
            settings: settingsOf(base, line, r),
            r,
          };
        });
        for (const [{ key, r }, { row }] of await runCells(bench, 'learning rates', cells)) {
          tried.set(key, { ...r, before: row.before?.bitsPerByte ?? null, bitsPerByte: row.after.bitsPerByte });
          measured.set(r[axis], row.after.bitsPerByte);
        }
        return [...measured].reduce((a, b) => (b[1] < a[1] ? b : a))[0];
      };
      let best = await attempt(grid[axis]);
      for (let grown = 0; grid[axis].length > 1 && grown < grid.growth; grown++) {
        if (best === Math.max(...measured.keys())) best = await attempt([2 * best]);
        else if (best === Math.min(...measured.keys())) best = await attempt([best / 2]);
        else break;
      }
      return { ...fixed, [axis]: best };
    };
    const axes = axesOf(line);
    let best = grid.start;
    for (const axis of axes) best = await sweep(axis, best);
    rates.set(line.name, best);
    const order = (a: Rates, b: Rates) => axes.map(axis => a[axis] - b[axis]).find(d => d !== 0) ?? 0;
    const of = { domain, tokens: base.budget.amount, name: line.name };
    for (const t of [...tried.values()].sort(order)) rows.push({ ...of, ...t, chosen: order(t, best) === 0 });
  }
  return { rates, rows };
}

/** The rates that an earlier grid chose for these lines, in this domain and at the budget nearest to this one. */
export function ratesFrom(
  grid: readonly GridRow[],
  chosen: readonly Line[],
  domain: string,
  tokens: number,
): Map<string, Rates> {
  return new Map(
    chosen.map(({ name }) => {
      const found = chosenRates(grid, name, domain, tokens);
      if (!found)
        throw new UserError(
          `the earlier table chose no learning rate for '${name}' and ${domain}; leave this line out, or ` +
            `let the grid choose`,
        );
      return [name, { rate: found.rate, planRate: found.planRate, bodyRate: found.bodyRate }];
    }),
  );
}

/** A row of the paper's table, with intervals over texts and seeds. */
export interface TableRow {
  readonly name: string;
  /** Null for floors. */
  readonly vocabulary: Vocabulary | null;
  readonly perplexity: { readonly before: number | null; readonly after: number };
  /** Bits per byte. */
  readonly before: Interval | null;
  readonly after: Interval;
  /** After finetuning, less s2t2's: above zero where s2t2 is better. */
  readonly againstS2T2: Interval | null;
  /** After finetuning, less order 0's. */
  readonly againstOrder0: Interval;
  readonly tokensPerByte: number;
  readonly secondsPerThousandBytes: number | null;
  /** Spent in training, the mean of seeds. */
  readonly tokens: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Source tokens a target token, and misplaced mass. */
  readonly support: number | null;
  readonly residual: number | null;
  /** Mean of seeds. */
  readonly curve: readonly CurvePoint[];
}

/** The paper's table. */
export interface Table {
  readonly seeds: readonly number[];
  readonly sequences: number;
  readonly rows: readonly TableRow[];
}

interface SeedCell extends Cell {
  readonly line: string;
}

/** A cell of a line for a seed. */
export const seedCell = (line: Line, base: Settings, rates: ReadonlyMap<string, Rates>, seed: number): SeedCell => ({
  key: `${line.name} ${seed}`,
  line: line.name,
  method: line.method,
  settings: settingsOf({ ...base, seed }, line, rates.get(line.name)!),
});

/** The one with the plan that ablations, transfer and questions are about. */
export const s2t2Cell = (base: Settings, rates: ReadonlyMap<string, Rates>, seed: number): Cell =>
  seedCell(lines.find(l => l.name === 's2t2')!, base, rates, seed);

/** `bench` evaluates on test data. */
export async function mainTable(
  bench: Bench,
  base: Settings,
  chosen: readonly Line[],
  rates: ReadonlyMap<string, Rates>,
  seeds: readonly number[],
): Promise<Table> {
  const cells = seeds.flatMap(seed => chosen.map(line => seedCell(line, base, rates, seed)));
  const results = await runCells(bench, 'table', cells);
  const byLine = new Map<string, CellResult[]>(
    chosen.map(l => [l.name, cells.filter(c => c.line === l.name).map(c => results.get(c)!)]),
  );

  // Equal bytes: target vocabularies see the same bytes as before, the source vocabulary as many as they did.
  const target = chosen.find(l => l.method.vocabulary === 'target');
  const source = chosen.find(l => l.method.vocabulary === 'source');
  if (base.budget.unit === 'tokens' && target && source) {
    const name = 'source, equal bytes';
    const equalBytes = seeds.map((seed, i) => {
      const amount = byLine.get(target.name)![i].row.bytes;
      const cell = seedCell(source, { ...base, budget: { unit: 'bytes', amount } }, rates, seed);
      return { ...cell, key: `source, equal bytes ${seed}` };
    });
    const more = await runCells(bench, 'equal bytes', equalBytes);
    byLine.set(
      name,
      equalBytes.map(c => more.get(c)!),
    );
  }

  const { train, test } = bench.prepared.texts;
  const bytes = test.map(text => Buffer.byteLength(text));
  const bootstrap = new Bootstrap(bytes, seeds.length);
  const floors: [string, Score[]][] = [
    ['uniform', uniformFloor(train, test)],
    ['order 0', orderZero(train, test)],
    ['unigram', unigram(train, test, bench.prepared.target)],
    ...[1, 2, 3].map((k): [string, Score[]] => [`order ${k}`, markov(train, test, k)]),
  ];
  const order0: Nats = [orderZero(train, test).map(s => s.nats)];
  const s2t2 = byLine.get('s2t2')?.map(r => r.after);
  const floorRows = floors.map(([name, scores]): TableRow => {
    const nats = [scores.map(s => s.nats)];
    const after = bootstrap.bitsPerByte(nats);
    return {
      name,
      vocabulary: null,
      perplexity: { before: null, after: metrics(scores).perplexity },
      before: null,
      after,
      againstS2T2: s2t2 ? bootstrap.difference(nats, s2t2) : null,
      againstOrder0: bootstrap.difference(nats, order0),
      tokensPerByte: tokensPerByte(scores),
      secondsPerThousandBytes: null,
      tokens: 0,
      bytes: 0,
      seconds: 0,
      support: null,
      residual: null,
      curve: [],
    };
  });
  const rows = [...byLine].map(([name, cellsOfLine]): TableRow => {
    const mean = (pick: (r: CellResult) => number) =>
      cellsOfLine.reduce((sum, r) => sum + pick(r), 0) / cellsOfLine.length;
    const after = cellsOfLine.map(r => r.after);
    const withBefore = cellsOfLine[0].before !== null;
    const withPlan = cellsOfLine[0].plan !== null;
    return {
      name,
      vocabulary: chosen.find(l => l.name === name)?.method.vocabulary ?? 'source',
      perplexity: {
        before: withBefore ? mean(r => r.row.before!.perplexity) : null,
        after: mean(r => r.row.after.perplexity),
      },
      before: withBefore ? bootstrap.bitsPerByte(cellsOfLine.map(r => r.before!)) : null,
      after: bootstrap.bitsPerByte(after),
      againstS2T2: s2t2 && name !== 's2t2' ? bootstrap.difference(after, s2t2) : null,
      againstOrder0: bootstrap.difference(after, order0),
      tokensPerByte: cellsOfLine[0].row.tokensPerByte,
      secondsPerThousandBytes: median(cellsOfLine.map(r => r.secondsPerThousandBytes)),
      tokens: mean(r => r.row.tokens),
      bytes: mean(r => r.row.bytes),
      seconds: median(cellsOfLine.map(r => r.row.seconds)),
      support: withPlan ? mean(r => r.plan!.supportPerRow[1]) : null,
      residual: withPlan ? mean(r => r.plan!.residual) : null,
      curve: meanCurve(cellsOfLine.map(r => r.row.curve)),
    };
  });
  return { seeds, sequences: test.length, rows: [...floorRows, ...rows] };
}

/** The upper median. */
export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1];

/** Point by point over seeds, as far as all of them go. */
function meanCurve(curves: readonly (readonly CurvePoint[])[]): CurvePoint[] {
  const n = Math.min(...curves.map(c => c.length));
  const mean = (i: number, key: keyof CurvePoint) => curves.reduce((sum, c) => sum + c[i][key], 0) / curves.length;
  return Array.from({ length: n }, (_, i) => ({
    tokens: mean(i, 'tokens'),
    bytes: mean(i, 'bytes'),
    seconds: mean(i, 'seconds'),
    bitsPerByte: mean(i, 'bitsPerByte'),
  }));
}
