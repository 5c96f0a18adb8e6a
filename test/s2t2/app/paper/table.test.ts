/** The table on cells that nobody ran: made by hand, found on disk, and put together as written out here. */
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { trainBPE } from '../../../../models/tokenizer/index.ts';
import { unigram } from '../../../../s2t2/evaluate.ts';
import {
  cellName,
  rotated,
  runCell,
  type Bench,
  type Cell,
  type CellResult,
} from '../../../../s2t2/app/paper/cells.ts';
import {
  chooseRates,
  gridFrom,
  lines,
  mainTable,
  median,
  ratesFrom,
  seedCell,
  type Grid,
  type Line,
} from '../../../../s2t2/app/paper/table.ts';
import { ablate, type AblationName } from '../../../../s2t2/app/paper/ablations.ts';
import type { Prepared } from '../../../../s2t2/app/prepare.ts';
import { defaults, type Rates, type Settings } from '../../../../s2t2/settings.ts';
import { Interrupted } from '../../../../models/train.ts';
import { methods } from '../../../../s2t2/methods.ts';
import { temporaryDirectory } from '../../../models/temporary.ts';
import { tinyContext } from '../../fixture.ts';

const root = temporaryDirectory();
const texts = { train: ['MKVL', 'AAGM'], test: ['MK', 'VLA', 'GGGG'] };
const bytes = 9;
// bos, eos, pad, six letters, GG and GGGG
const specialTokens = ['<s>', '</s>', '<pad>'];
const target = trainBPE(['GGGG', ...texts.train], { vocabSize: 11, alphabet: 'seen', specialTokens });
const base: Settings = { ...defaults, alpha: 0.5, budget: { unit: 'tokens', amount: 700 } };

const benchOf = async (): Promise<Bench> => ({
  prepared: { fingerprint: 'by hand', texts, target } as unknown as Prepared,
  out: await mkdtemp(join(root, 'bench-')),
  log: () => {},
});

/** As `runCell` keeps a finished cell. */
async function keep(bench: Bench, cell: Cell, result: CellResult): Promise<void> {
  await mkdir(join(bench.out, 'cells'), { recursive: true });
  await writeFile(join(bench.out, 'cells', `${cellName(bench, cell)}.json`), JSON.stringify({ result }));
}

/** Any figures, each from `x`. */
function result(x: number, { before = true, plan = false, points = 3 } = {}): CellResult {
  const metrics = (y: number) => ({ bitsPerByte: y, standardError: 0.1, perplexity: 100 * y });
  return {
    row: {
      name: 'unused',
      before: before ? metrics(x + 1) : null,
      after: metrics(x),
      tokensPerByte: x / 10,
      steps: 1,
      tokens: 1000 * x,
      bytes: 2000 * x,
      seconds: 30 * x,
      curve: Array.from({ length: points }, (_, i) => ({
        tokens: 10 * i + x,
        bytes: 20 * i + x,
        seconds: i + x,
        bitsPerByte: 9 - i + x,
      })),
    },
    before: before ? [2 * x, 3 * x, 4 * x] : null,
    after: [x, 2 * x, 3 * x + 1],
    endBits: 1,
    secondsPerThousandBytes: x / 100,
    plan: plan
      ? { rows: 3, columns: 4, support: 5, supportPerRow: [1, 10 * x, 99], residual: x / 7, entropy: x / 5, gap: null }
      : null,
  };
}

const bitsOf = (nats: readonly (readonly number[])[]) =>
  nats.flat().reduce((a, b) => a + b, 0) / nats.length / Math.LN2 / bytes;
const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const line = (name: string): Line => lines.find(l => l.name === name)!;
const rates = new Map<string, Rates>([
  ['source', { rate: 0.1, planRate: 1, bodyRate: 1 }],
  ['s2t2', { rate: 0.2, planRate: 2, bodyRate: 0.5 }],
  ['s2t2-unspread', { rate: 0.4, planRate: 2, bodyRate: 0.5 }],
  ['scratch', { rate: 0.3, planRate: 3, bodyRate: 1 }],
]);

describe('the main table', () => {
  const chosen = ['source', 's2t2', 's2t2-unspread', 'scratch'].map(line);
  const seeds = [0, 1, 2];
  /** x of a cell, by line and seed. */
  const xs: Record<string, number[]> = {
    source: [1, 2, 4],
    s2t2: [3, 2, 7],
    's2t2-unspread': [3, 5, 6],
    scratch: [5, 4, 9],
    'source, equal bytes': [2, 3, 1],
  };
  const made = async () => {
    const bench = await benchOf();
    for (const seed of seeds) {
      for (const l of chosen)
        await keep(
          bench,
          seedCell(l, base, rates, seed),
          result(xs[l.name][seed], { before: l.name !== 'scratch', plan: l.name.startsWith('s2t2'), points: 3 + seed }),
        );
      // As many bytes as the first line of the target vocabulary has seen.
      const equal = seedCell(
        line('source'),
        { ...base, budget: { unit: 'bytes', amount: 2000 * xs.s2t2[seed] } },
        rates,
        seed,
      );
      await keep(bench, equal, result(xs['source, equal bytes'][seed]));
    }
    return mainTable(bench, base, chosen, rates, seeds);
  };

  test('has the floors and the lines, each the mean or the median of its seeds', async () => {
    const table = await made();
    expect(table.seeds).toEqual(seeds);
    expect(table.sequences).toBe(3);
    expect(table.rows.map(r => [r.name, r.vocabulary])).toEqual([
      ...['uniform', 'order 0', 'unigram', 'order 1', 'order 2', 'order 3'].map(name => [name, null]),
      ['source', 'source'],
      ['s2t2', 'target'],
      ['s2t2-unspread', 'target'],
      ['scratch', 'target'],
      ['source, equal bytes', 'source'],
    ]);
    const order0 = table.rows[1].after.mean;
    for (const [name, x] of Object.entries(xs)) {
      const row = table.rows.find(r => r.name === name)!;
      const after = bitsOf(x.map(y => result(y).after));
      expect(row.after.mean).toBeCloseTo(after, 12);
      expect(row.againstOrder0.mean).toBeCloseTo(after - order0, 12);
      if (name === 's2t2') expect(row.againstS2T2).toBeNull();
      else expect(row.againstS2T2!.mean).toBeCloseTo(after - bitsOf(xs.s2t2.map(y => result(y).after)), 12);
      if (name === 'scratch') expect([row.before, row.perplexity.before]).toEqual([null, null]);
      else {
        expect(row.before!.mean).toBeCloseTo(bitsOf(x.map(y => result(y).before!)), 12);
        expect(row.perplexity.before).toBeCloseTo(mean(x.map(y => 100 * (y + 1))), 9);
      }
      expect(row.perplexity.after).toBeCloseTo(100 * mean(x), 9);
      expect(row.tokensPerByte).toBe(x[0] / 10);
      expect([row.tokens, row.bytes]).toEqual([1000, 2000].map(k => mean(x.map(y => k * y))));
      const middle = x.toSorted((a, b) => a - b)[1];
      expect([row.seconds, row.secondsPerThousandBytes]).toEqual([30 * middle, middle / 100]);
      const hasPlan = name.startsWith('s2t2');
      expect(row.support).toBe(hasPlan ? mean(x.map(y => 10 * y)) : null);
      if (hasPlan) expect(row.residual).toBeCloseTo(mean(x) / 7, 12);
      else expect(row.residual).toBeNull();
      // As long as the shortest.
      expect(row.curve).toHaveLength(3);
      row.curve.forEach((p, i) => {
        const expected = { tokens: 10 * i, bytes: 20 * i, seconds: i, bitsPerByte: 9 - i };
        for (const key of Object.keys(expected) as (keyof typeof expected)[])
          expect(p[key]).toBeCloseTo(expected[key] + mean(x), 9);
      });
    }
    const tokens = texts.test.reduce((n, text) => n + target.encode(text).length, 0);
    for (const floor of table.rows.slice(0, 6)) {
      const perByte = floor.name === 'unigram' ? tokens / bytes : 1;
      expect(floor.perplexity).toEqual({
        before: null,
        after: expect.closeTo(2 ** (floor.after.mean / perByte), 9) as number,
      });
      expect(floor).toMatchObject({
        before: null,
        tokensPerByte: perByte,
        secondsPerThousandBytes: null,
        tokens: 0,
        bytes: 0,
        seconds: 0,
        support: null,
        residual: null,
        curve: [],
      });
      expect(floor.againstS2T2!.mean).toBeCloseTo(floor.after.mean - bitsOf(xs.s2t2.map(y => result(y).after)), 12);
    }
    expect(table.rows[0].after.mean).toBeCloseTo(Math.log2(new Set(texts.train.join('')).size), 12);
    expect(tokens).toBeLessThan(bytes);
    expect(table.rows[2].after.mean).toBeCloseTo(
      bitsOf([unigram(texts.train, texts.test, target).map(s => s.nats)]),
      12,
    );
  });

  test('a cell of other settings, data or method is not taken for this one', async () => {
    const bench = await benchOf();
    const only = [line('source')];
    await keep(bench, seedCell(line('source'), base, rates, 0), result(3));
    expect((await mainTable(bench, base, only, rates, [0])).rows.at(-1)!.name).toBe('source');
    // It would have to be run, and there is no model to run it with.
    const wrong: [Bench, Settings][] = [
      [bench, { ...base, budget: { unit: 'tokens', amount: 701 } }],
      [bench, { ...base, maxBytes: 511 }],
      [{ ...bench, prepared: { ...bench.prepared, fingerprint: 'other data' } }, base],
    ];
    for (const [b, settings] of wrong)
      await expect(mainTable(b, settings, only, rates, [0])).rejects.toThrow(TypeError);
    const method = { ...line('source'), method: line('fvt').method };
    await expect(mainTable(bench, base, [method], rates, [0])).rejects.toThrow(TypeError);
  });

  test('a budget in bytes is equal already, and without s2t2 nothing is less than it', async () => {
    const bench = await benchOf();
    const inBytes: Settings = { ...base, budget: { unit: 'bytes', amount: 700 } };
    const two = ['source', 'scratch'].map(line);
    for (const l of two) await keep(bench, seedCell(l, inBytes, rates, 5), result(3, { before: l.name === 'source' }));
    const { rows } = await mainTable(bench, inBytes, two, rates, [5]);
    expect(rows.slice(6).map(r => r.name)).toEqual(['source', 'scratch']);
    expect(rows.map(r => r.againstS2T2)).toEqual(rows.map(() => null));
  });
});

test('a cell has the settings and the rates of its line', () => {
  expect(seedCell(line('s2t2-unspread'), base, rates, 4)).toMatchObject({
    key: 's2t2-unspread 4',
    line: 's2t2-unspread',
    settings: { ...base, spread: 'none', seed: 4, rate: 0.4, planRate: 2, bodyRate: 0.5 },
  });
  expect(seedCell(line('scratch'), base, rates, 0).settings).toMatchObject({ rate: 0.3, seed: 0 });
});

describe('learning rates', () => {
  const grid: Grid = {
    rate: [1, 2, 4],
    planRate: [10, 20],
    bodyRate: [0.5, 1],
    start: { rate: 7, planRate: 10, bodyRate: 1 },
    growth: 2,
  };
  /** Keeps the cells of a grid, each with what `bits` says of its rates, and lets the grid choose. */
  async function choose(name: string, bits: (rates: Rates) => number, more: Partial<Grid> = {}) {
    const bench = await benchOf();
    for (const rate of [0.25, 0.5, 1, 2, 4, 8, 16])
      for (const planRate of [2.5, 5, 10, 20, 40, 80])
        for (const bodyRate of [0.125, 0.25, 0.5, 1, 2, 4]) {
          const r = { rate, planRate, bodyRate };
          await keep(bench, { key: '', method: line(name).method, settings: { ...base, ...r } }, result(bits(r)));
        }
    return chooseRates(bench, 'proteins', base, [line(name)], () => ({ ...grid, ...more }));
  }
  const tried = (rows: readonly Rates[]) => rows.map(r => [r.rate, r.planRate, r.bodyRate]);

  test('the fewest bits per byte, and no further value is tried where it lies inside', async () => {
    const { rates: found, rows } = await choose('source', r => 1 + Math.abs(r.rate - 2) + r.bodyRate / 100);
    expect(found).toEqual(new Map([['source', { rate: 2, planRate: 10, bodyRate: 0.125 }]]));
    expect(tried(rows)).toEqual([
      [1, 10, 1],
      [2, 10, 0.125],
      [2, 10, 0.25],
      [2, 10, 0.5],
      [2, 10, 1],
      [4, 10, 1],
    ]);
    rows.forEach((bits, i) => expect(bits.bitsPerByte).toBeCloseTo([2.01, 1.00125, 1.0025, 1.005, 1.01, 3.01][i], 12));
    expect(rows.map(r => r.chosen)).toEqual([false, true, false, false, false, false]);
  });

  test('the grid grows at either edge, twice at most', async () => {
    const ones = (rates: readonly number[]) => rates.map(rate => [rate, 10, 1]);
    /** Body rates but 1 are bad. */
    const alone =
      (bits: (rate: number) => number) =>
      ({ rate, bodyRate }: Rates) =>
        bits(rate) + 50 * Math.abs(Math.log2(bodyRate));
    const others = [
      [0.5, 1],
      [2, 1],
    ];
    const among = (rates: readonly number[], best: number) =>
      ones(rates).flatMap(r => (r[0] === best ? [[best, 10, others[0][0]], r, [best, 10, others[1][0]]] : [r]));
    expect(
      tried(
        (
          await choose(
            'source',
            alone(rate => 20 - rate),
          )
        ).rows,
      ),
    ).toEqual(among([1, 2, 4, 8, 16], 16));
    const down = await choose(
      'fvt',
      alone(rate => 1 + rate),
    );
    expect(tried(down.rows)).toEqual(among([0.25, 0.5, 1, 2, 4], 0.25));
    expect(down.rates.get('fvt')).toEqual({ rate: 0.25, planRate: 10, bodyRate: 1 });
    // A single value is not a grid.
    expect(
      tried(
        (
          await choose(
            'source',
            alone(rate => 20 - rate),
            { rate: [2], bodyRate: [1] },
          )
        ).rows,
      ),
    ).toEqual(ones([2]));
    expect(
      tried(
        (
          await choose(
            'source',
            alone(rate => (rate === 8 ? 1 : 20 - rate)),
          )
        ).rows,
      ),
    ).toEqual(among([1, 2, 4, 8, 16], 8));
  });

  test('a grid that begins at an earlier choice ends where another ends, in fewer cells', async () => {
    const bits = ({ rate, bodyRate }: Rates) => 5 + Math.abs(Math.log2(rate / 0.5)) + Math.abs(bodyRate - 0.25);
    const start = { rate: 1, planRate: 40, bodyRate: 0.25 };
    const rateAlone = { ...grid, bodyRate: [1] };
    const { rates: found, rows } = await choose('source', bits, gridFrom(rateAlone, start));
    // The body's rate is not searched and stays as it was; the half of the rate is tried first, then what lies beside.
    expect(tried(rows)).toEqual([0.25, 0.5, 1].map(rate => [rate, 40, 0.25]));
    expect(found).toEqual(new Map([['source', { rate: 0.5, planRate: 40, bodyRate: 0.25 }]]));
    const from = async (rate: number) =>
      (await choose('source', bits, gridFrom(rateAlone, { ...start, rate }))).rates.get('source')!.rate;
    expect([await from(0.5), await from(2), await from(4)]).toEqual([0.5, 0.5, 0.5]);
    const { rows: usual } = await choose('source', bits, rateAlone);
    expect(usual).toHaveLength(5);
  });

  test('methods that learn a plan tune its rate at the best finetuning rate, then that of the body', async () => {
    const { rates: found, rows } = await choose(
      's2t2',
      r => 1 + Math.abs(r.rate - 2) + Math.abs(r.planRate - 40) / 100 + Math.abs(r.bodyRate - 0.5) / 1000,
    );
    expect(found).toEqual(new Map([['s2t2', { rate: 2, planRate: 40, bodyRate: 0.5 }]]));
    expect(tried(rows)).toEqual([
      [1, 10, 1],
      [2, 10, 1],
      [2, 20, 1],
      [2, 40, 0.25],
      [2, 40, 0.5],
      [2, 40, 1],
      [2, 80, 1],
      [4, 10, 1],
    ]);
    expect(rows.filter(r => r.chosen)).toHaveLength(1);
    expect(ratesFrom(rows, [line('s2t2')], 'proteins', 1)).toEqual(found);
    for (const [name, domain] of [
      ['source', 'proteins'],
      ['s2t2', 'dna'],
    ])
      expect(() => ratesFrom(rows, [line(name)], domain, 1)).toThrow(
        `the earlier table chose no learning rate for '${name}' and ${domain}`,
      );
    expect(() =>
      ratesFrom(
        rows.map(r => ({ ...r, chosen: false })),
        [line('s2t2')],
        'proteins',
        1,
      ),
    ).toThrow("chose no learning rate for 's2t2'");
  });
});

describe('a finished cell', () => {
  const cell: Cell = { key: 'any', method: line('source').method, settings: base };

  test('is identified by what determines it, whatever its name', async () => {
    const bench = await benchOf();
    const name = cellName(bench, cell);
    expect(name).toMatch(/^[0-9a-f]{16}$/);
    expect(cellName(bench, { ...cell, key: 'other' })).toBe(name);
    const others: [Bench, Cell][] = [
      [bench, { ...cell, settings: { ...base, seed: 1 } }],
      [bench, { ...cell, method: line('fvt').method }],
      [bench, { ...cell, given: 'a plan' }],
      [bench, { ...cell, given: 'another' }],
      [{ ...bench, prepared: { ...bench.prepared, fingerprint: 'other data' } }, cell],
    ];
    expect(new Set([name, ...others.map(([b, c]) => cellName(b, c))]).size).toBe(1 + others.length);
  });

  test('is trained again where it is damaged', async () => {
    for (const text of ['', '{"result": {', '{}', 'null']) {
      const bench = await benchOf();
      await mkdir(join(bench.out, 'cells'));
      await writeFile(join(bench.out, 'cells', `${cellName(bench, cell)}.json`), text);
      await expect(runCell(bench, cell)).rejects.toThrow(TypeError); // there is no model to train it with
    }
  });

  test('is copied from an earlier run with its plan; one of this run takes precedence', async () => {
    const [bench, before] = [await benchOf(), await benchOf()];
    const later = { ...bench, earlier: before.out };
    await keep(before, cell, result(3));
    await mkdir(join(before.out, 'plans'));
    await writeFile(join(before.out, 'plans', `${cellName(before, cell)}.safetensors`), 'a plan');
    expect(await runCell(later, cell)).toEqual(result(3));
    await keep(before, cell, result(4));
    expect(await runCell(later, cell)).toEqual(result(3));
    expect(await readFile(join(bench.out, 'plans', `${cellName(bench, cell)}.safetensors`), 'utf8')).toBe('a plan');
  });
});

test('ablations vary one setting each, around the settings they are given', async () => {
  const expected: Record<string, [string, Partial<Settings>][]> = {
    alpha: [
      ['0.1/v', 0.05],
      ['0.3/v', 0.15],
      ['1/v', 0.5],
      ['3/v', 1.5],
      ['10/v', 5],
      ['30/v', 15],
    ].map(([value, alpha]) => [value as string, { alpha: alpha as number }]),
    T: [1, 2, 3, 5, 10].map(iterations => [String(iterations), { iterations }]),
    prior: [0.03, 0.1, 0.3, 1].map(smoothing => [String(smoothing), { smoothing }]),
    variant: [
      ['alternating', { variant: 'alternating' }],
      ['dykstra', { variant: 'dykstra' }],
      ['dual', { variant: 'dual' }],
    ],
    noise: [0.01, 0.1, 0.5].map(noise => [String(noise), { noise }]),
    share: [0.03, 0.1, 0.2, 0.3, 0.5].map(planShare => [String(planShare), { planShare }]),
    head: [
      ['columns', { headNormalisation: 'columns' }],
      ['rows', { headNormalisation: 'rows' }],
    ],
    spread: [
      ['none', { spread: 'none' }],
      ['isotropic', { spread: 'isotropic' }],
    ],
    bias: [
      ['none', { headBias: 'none' }],
      ['frequencies', { headBias: 'frequencies' }],
    ],
  };
  for (const [name, values] of Object.entries(expected)) {
    const bench = await benchOf();
    for (const [i, [value, vary]] of values.entries()) {
      await keep(
        bench,
        { key: value, method: line('s2t2').method, settings: { ...base, ...vary } },
        result(i + 1, { plan: true }),
      );
    }
    const [{ rows, name: setting }] = await ablate(bench, [name as AblationName], base);
    expect(setting).toBe(name);
    expect(rows).toEqual(
      values.map(([value], i) => ({
        value,
        support: 10 * (i + 1),
        entropy: (i + 1) / 5,
        residual: (i + 1) / 7,
        before: i + 2,
        after: i + 1,
      })),
    );
  }
});

test('a rotated list has the same items, from a share of its length on', () => {
  expect([0, 0.2, 0.5, 0.99, 1].map(share => rotated([1, 2, 3, 4], share))).toEqual([
    [1, 2, 3, 4],
    [1, 2, 3, 4],
    [3, 4, 1, 2],
    [4, 1, 2, 3],
    [1, 2, 3, 4],
  ]);
  expect(rotated([], 0.5)).toEqual([]);
});

test('the median is the middle one, the upper of two', () => {
  expect([[3], [5, 1], [9, 1, 4], [2, 10, 1, 3]].map(median)).toEqual([3, 5, 4, 3]);
});

test('a cell stopped between its evaluation and finetuning resumes, and is the one never stopped', async () => {
  const { source, target: to, settings, train: sequences } = await tinyContext();
  const benchIn = async (signal?: AbortSignal, out?: string): Promise<Bench> => ({
    prepared: {
      source,
      target: to,
      settings,
      sequences: { train: sequences, test: sequences },
      fingerprint: 'tiny',
    } as unknown as Prepared,
    out: out ?? (await mkdtemp(join(root, 'bench-'))),
    signal,
    log: () => {},
  });
  const cell: Cell = { key: 'fvt', method: methods.fvt, settings };
  const stop = new AbortController();
  const stopped = await benchIn(stop.signal);
  /** What finetuning starts from is asked for once the start has been evaluated. */
  const start: typeof methods.fvt.start = async context => ({
    ...(await methods.fvt.start(context)),
    get finetuned() {
      stop.abort(new Interrupted('stopped'));
      return undefined;
    },
  });
  await expect(runCell(stopped, { ...cell, method: { ...methods.fvt, start } })).rejects.toThrow(Interrupted);
  const resumed = await runCell(await benchIn(undefined, stopped.out), cell);
  const whole = await runCell(await benchIn(), cell);
  expect([resumed!.before, resumed!.after]).toEqual([whole!.before, whole!.after]);
});
