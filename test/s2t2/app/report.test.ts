/** The report as text: nothing in it can become markup, and every number it was given is there. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { writeFileAtomic } from '../../../models/node/files.ts';
import { tokenizerToJson } from '../../../models/tokenizer/index.ts';
import type { Results } from '../../../s2t2/cell.ts';
import { compress, reportPlan, type Plan } from '../../../s2t2/plan.ts';
import { savePlan } from '../../../s2t2/app/plan-file.ts';
import { renderHistogram } from '../../../s2t2/view/chart.ts';
import type { Cell, CurvePlot, ReportData, ReportTable } from '../../../s2t2/view/data.ts';
import { escape } from '../../../s2t2/view/html.ts';
import { visible } from '../../../models/printable.ts';
import { reportPage } from '../../../s2t2/view/report.ts';
import { packPicture, rowStatistics, unpackPicture, viewPlan, type PackedPicture } from '../../../s2t2/view/picture.ts';
import { writeRunReport } from '../../../s2t2/app/report/run.ts';
import { place, tickLabel, ticks } from '../../../s2t2/view/scale.ts';
import { style } from '../../../s2t2/view/style.ts';
import { csv, tableRows } from '../../../s2t2/view/live/downloads.ts';
import { plans } from '../../arbitraries/plans.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { exampleReport, reports, texts, tokenizerOf } from './report-example.ts';

/** The text of a piece of the page, by the entities that `escape` writes. */
const unescape = (text: string): string =>
  text.replace(
    /&(lt|gt|quot|#39|amp);/g,
    (_, name: string) => ({ lt: '<', gt: '>', quot: '"', '#39': "'", amp: '&' })[name]!,
  );
const dataBlock = (page: string): string =>
  page.match(/<script type="application\/json" id="data">(.*?)<\/script>/s)![1];
const renderReport = (data: ReportData): string => reportPage(data, 'run()');
const factsOf = (page: string): string => page.match(/<dl class="facts">.*?<\/dl>/s)?.[0] ?? '';
const nothing = { title: '', lead: '', facts: [], tables: [], curves: [] };

describe('escaping', () => {
  test('an escaped text has no character of markup, and is that text', () => {
    fc.assert(
      fc.property(texts, text => {
        expect(escape(text)).not.toMatch(/[<>"']|&(?!(lt|gt|quot|#39|amp);)/);
        expect(unescape(escape(text))).toBe(text);
      }),
    );
  });

  test('a visible token leaves a mark for every character, and no character that acts on its neighbours', () => {
    fc.assert(
      fc.property(texts, text => {
        const seen = visible(text);
        expect([...seen].length).toBeGreaterThanOrEqual(Math.max(1, [...text].length));
        expect(seen).not.toMatch(/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u);
      }),
    );
    expect([' the', 'a\nb', '\x1b', '\u202eab', '\u0301', '\\xc3', ''].map(visible)).toEqual([
      '␣the',
      'a\\nb',
      '\\x1b',
      '\\u{202e}ab',
      '◌\u0301',
      '\\xc3',
      '∅',
    ]);
  });

  test('whatever its texts, a page has the markup of a page of plain text', () => {
    const markup = (page: string) =>
      page
        .replace(dataBlock(page), '')
        .replace(/'sha256-[^']*'/g, '')
        .match(/[<>"]/g)!
        .join('');
    fc.assert(
      fc.property(reports, ({ pool, plan, size }) => {
        const page = renderReport(exampleReport(pool, plan, size));
        expect(
          markup(page) ===
            markup(
              renderReport(
                exampleReport(
                  pool.map(() => 'plain'),
                  plan,
                  size,
                ),
              ),
            ),
        ).toBe(true);
        expect(dataBlock(page)).not.toContain('<');
        const data = JSON.parse(dataBlock(page)) as { picture: PackedPicture };
        expect(data.picture.rows).toHaveLength(plan.mu.length);
      }),
      { numRuns: 50 },
    );
  });
});

describe('tables', () => {
  const interval = fc
    .tuple(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 0, max: 100, noNaN: true }),
      fc.double({ min: 0, max: 100, noNaN: true }),
      fc.integer({ min: 0, max: 6 }),
    )
    .map(([mean, below, above, digits]) => ({ mean, low: mean - below, high: mean + above, digits }));
  const tables = fc.integer({ min: 1, max: 5 }).chain(n =>
    fc.record({
      title: texts,
      columns: fc.array(texts, { minLength: n, maxLength: n }),
      rows: fc.array(
        fc.record({
          cells: fc.array(fc.oneof(texts, interval), { minLength: n, maxLength: n }),
          emphasis: fc.boolean(),
        }),
        { maxLength: 4 },
      ),
    }),
  );
  const shown = (cell: Cell): string[] =>
    typeof cell === 'string'
      ? [cell === '' ? '–' : cell]
      : [cell.mean, cell.low, cell.high].map(x => x.toFixed(cell.digits));

  test('every cell is in its place, and every number with both ends of its interval', () => {
    fc.assert(
      fc.property(tables, (table: ReportTable) => {
        const body = renderReport({ ...nothing, tables: [table] }).match(/<tbody>(.*?)<\/tbody>/s)![1];
        const tagged = [...body.matchAll(/<(t[dh])[^>]*>(.*?)<\/\1>/gs)];
        const cells = tagged.map(m => unescape(m[2].replace(/<[^>]*>/g, '')));
        const expected = table.rows.flatMap(r => r.cells);
        expect(cells).toHaveLength(expected.length);
        // The first of a row names it.
        expect(tagged.map(m => m[1])).toEqual(table.rows.flatMap(r => r.cells.map((_, c) => (c === 0 ? 'th' : 'td'))));
        expected.forEach((cell, i) => {
          if (typeof cell === 'string') expect(cells[i]).toBe(shown(cell)[0]);
          else expect(cells[i].trim()).toBe(`${shown(cell)[0]} interval ${shown(cell)[1]}–${shown(cell)[2]}`);
        });
      }),
    );
  });

  test('intervals of a column share an axis, from its least end to its largest', () => {
    const table: ReportTable = {
      title: 't',
      columns: ['name', 'x'],
      rows: [
        ['a', 2, 1, 3],
        ['b', 4, 3, 5],
      ].map(([name, mean, low, high]) => ({
        cells: [String(name), { mean: Number(mean), low: Number(low), high: Number(high), digits: 1 }],
      })),
    };
    const page = renderReport({ ...nothing, tables: [table] });
    expect(
      [...page.matchAll(/<line x1="([^"]*)" x2="([^"]*)"[^>]*><circle cx="([^"]*)"/g)].map(m => m.slice(1)),
    ).toEqual([
      ['0%', '50%', '25%'],
      ['50%', '100%', '75%'],
    ]);
  });

  test('as CSV a table keeps every digit of its numbers, and reads back as the fields it was made of', () => {
    /** RFC 4180, by its grammar. */
    const read = (text: string): string[][] => {
      const rows: string[][] = [[]];
      for (const [, quotedField, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
        rows.at(-1)!.push(quotedField?.replaceAll('""', '"') ?? plain);
        if (end !== ',') rows.push([]);
      }
      return rows.slice(0, -1);
    };
    fc.assert(
      fc.property(tables, table => {
        const rows = tableRows(table);
        expect(read(csv(rows))).toEqual(rows.map(row => row.map(String)));
        const [head, ...body] = rows;
        for (const row of body) expect(row).toHaveLength(head.length);
        const numbers = body.flat().filter(field => typeof field === 'number');
        const intervals = table.rows.flatMap(r => r.cells).filter(cell => typeof cell === 'object');
        expect(numbers).toEqual(intervals.flatMap(i => [i.mean, i.low, i.high]));
      }),
    );
    expect(tableRows({ title: '', columns: ['n'], rows: [{ cells: ['12,345'] }, { cells: ['a,b'] }] })).toEqual([
      ['n'],
      ['12345'],
      ['a,b'],
    ]);
  });

  test('an interval that is not finite shows its number alone', () => {
    for (const broken of [{ low: NaN }, { high: Infinity }, { low: -Infinity, high: Infinity }]) {
      const cells = [
        { mean: 2, low: 1, high: 3, digits: 1 },
        { mean: 4, low: 3, high: 5, digits: 1, ...broken },
      ];
      const page = renderReport({
        ...nothing,
        tables: [{ title: 't', columns: ['name', 'x'], rows: cells.map(cell => ({ cells: ['a', cell] })) }],
      });
      expect(page.match(/<svg class="interval"/g)).toHaveLength(1);
      expect(page).toContain('<td class="number interval"><span class="value">4.0</span></td>');
    }
  });
});

describe('axes', () => {
  test('of one value it lies in the middle', () => {
    for (const log of [false, true]) expect(place({ min: 3, max: 3, log }, 3)).toBe(0.5);
  });

  const ranges = fc
    .tuple(fc.double({ min: -1e9, max: 1e9, noNaN: true }), fc.double({ min: 1e-3, max: 1e9, noNaN: true }))
    .map(([min, width]) => ({ min, max: min + width, log: false }))
    .filter(s => s.max - s.min > 1e-6 * Math.abs(s.min));
  const logRanges = fc
    .tuple(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), fc.double({ min: 1.1, max: 1e6, noNaN: true }))
    .map(([min, factor]) => ({ min, max: min * factor, log: true }));

  test('an axis runs from 0 to 1, and its ticks rise within it', () => {
    fc.assert(
      fc.property(fc.oneof(ranges, logRanges), fc.integer({ min: 2, max: 20 }), (scale, count) => {
        expect([place(scale, scale.min), place(scale, scale.max)]).toEqual([0, 1]);
        const places = ticks(scale, count).map(t => place(scale, t));
        const slack = 1e-6;
        for (const [i, p] of places.entries()) expect(p > (places[i - 1] ?? -slack) && p <= 1 + slack).toBe(true);
        if (!scale.log) expect(places.length).toBeLessThanOrEqual(count + 1);
        expect(places.length).toBeGreaterThan(0);
      }),
    );
  });
});

test('ticks lie at the roundest numbers, with names of four digits at most', () => {
  expect(ticks({ min: 0, max: 10, log: false }, 5)).toEqual([0, 2, 4, 6, 8, 10]);
  expect(ticks({ min: 3, max: 48, log: false }, 5)).toEqual([10, 20, 30, 40]);
  expect(ticks({ min: -1, max: 3, log: false }, 4)).toEqual([-1, 0, 1, 2, 3]);
  expect(ticks({ min: 0, max: 4.9, log: false }, 1)).toEqual([0]); // 5 is the step, and 10 comes after it
  expect(ticks({ min: 7, max: 7, log: false }, 4)).toEqual([7]);
  expect(ticks({ min: Infinity, max: -Infinity, log: false }, 4)).toEqual([]); // of nothing
  expect(ticks({ min: 1, max: 1000, log: true }, 4)).toEqual([1, 10, 100, 1000]);
  expect(ticks({ min: 1, max: 100, log: true }, 4)).toEqual([1, 10, 100]);
  expect(ticks({ min: 1, max: 60, log: true }, 4)).toEqual([1, 2, 5, 10, 20, 50]);
  // less than a decade is told apart like any range
  expect(ticks({ min: 1, max: 9, log: true }, 4)).toEqual([2, 4, 6, 8]);
  expect([0, 0.12345, 999, 1000, 1500, -2500, 1e6, 2_500_000, 1e9, 7.5e9].map(tickLabel)).toEqual([
    '0',
    '0.1235',
    '999',
    '1k',
    '1.5k',
    '-2.5k',
    '1M',
    '2.5M',
    '1G',
    '7.5G',
  ]);
});

describe('plots', () => {
  const plotOf = (...series: (readonly (readonly [number, number])[])[]): CurvePlot => ({
    title: 't',
    x: { label: 'x' },
    y: { label: 'y' },
    series: series.map((points, i) => ({ name: `s${i}`, points: points.map(([x, y]) => ({ x, y })) })),
  });
  const lines = (plot: CurvePlot): [number, number][][] => {
    const page = renderReport({ ...nothing, curves: [plot] });
    return [...page.matchAll(/<path class="series[^>]* d="M([^"]*)"/g)].map(m =>
      m[1].split('L').map(p => p.split(' ').map(Number) as [number, number]),
    );
  };
  const note = 'leaves out the highest tenth';

  test('a line goes through its points, on the axes of its plot', () => {
    // x from 0, as 1 nearly does; y from 4 % below the lowest to 4 % above the highest.
    expect(
      lines(
        plotOf(
          [
            [1, 0],
            [5, 100],
            [10, 50],
          ],
          [[2, 25]],
        ),
      ),
    ).toEqual([
      [
        [100, 963],
        [500, 37],
        [1000, 500],
      ],
      [[200, 731.5]],
    ]);
    expect(
      lines(
        plotOf([
          [8, 0],
          [9, 1],
          [10, 2],
        ]),
      )
        .flat()
        .map(([x]) => x),
    ).toEqual([0, 500, 1000]);
    const log: CurvePlot = {
      ...plotOf([
        [1, 1],
        [10, 10],
        [100, 100],
      ]),
      x: { label: 'x', log: true },
      y: { label: 'y', log: true },
    };
    expect(lines(log).flat()).toEqual([
      [0, 1000],
      [500, 500],
      [1000, 0],
    ]);
    expect(
      renderReport({
        ...nothing,
        curves: [
          plotOf(
            [
              [1, 0],
              [5, 100],
              [10, 5000],
            ],
            [[2, 25]],
          ),
        ],
      }),
    ).toContain('aria-label="y against x: s0 ends at 5k, s1 ends at 25"');
  });

  test('ticks are named on both axes', () => {
    const page = renderReport({
      ...nothing,
      curves: [
        plotOf([
          [0, 0],
          [4000, 3000],
        ]),
      ],
    });
    expect(
      [...page.matchAll(/<text x="[^"]*" y="100%" dy="18" text-anchor="middle">([^<]*)</g)].map(m => m[1]),
    ).toEqual(['0', '1k', '2k', '3k', '4k']);
    expect([...page.matchAll(/<text x="-8" y="[^"]*" dy="4" text-anchor="end">([^<]*)</g)].map(m => m[1])).toEqual([
      '0',
      '1k',
      '2k',
      '3k',
    ]);
  });

  test('all points are on the picture, unless a tenth towers over the rest, which a note says', () => {
    const start = [
      [0, 100],
      [1, 50],
    ] as const;
    const rest = Array.from({ length: 38 }, (_, i) => [i + 2, 2 - i / 38] as const);
    const towering = renderReport({ ...nothing, curves: [plotOf([...start, ...rest])] });
    expect(towering).toContain(note);
    const drawn = lines(plotOf([...start, ...rest]))[0].map(([, y]) => y);
    expect(drawn.slice(0, 2).every(y => y < 0)).toBe(true);
    expect(drawn.slice(6).every(y => y >= 0 && y <= 1000)).toBe(true);
    // A spread of one half more than that of the lower nine tenths is not a tower.
    const even = plotOf(Array.from({ length: 40 }, (_, i) => [i, i] as const));
    expect(renderReport({ ...nothing, curves: [even] })).not.toContain(note);
    expect(
      lines(even)
        .flat()
        .every(([x, y]) => x >= 0 && x <= 1000 && y >= 0 && y <= 1000),
    ).toBe(true);
  });

  test('a band runs along the upper ends of intervals and back along the lower', () => {
    const points = [
      [0, 4],
      [1, 6],
    ].map(([x, y]) => ({ x, y, low: y - 2, high: y + 2 }));
    const page = renderReport({ ...nothing, curves: [{ ...plotOf(), series: [{ name: 'a', points }] }] });
    const at = (y: number) => (1000 * (1 - (y - 1.76) / 6.48)).toFixed(1); // from 2 to 8, and 4 % more at either end
    expect(page).toContain(`data-series="0" d="M0.0 ${at(6)}L1000.0 ${at(8)}L1000.0 ${at(4)}L0.0 ${at(2)}Z"`);
    const one = renderReport({
      ...nothing,
      curves: [{ ...plotOf(), series: [{ name: 'a', points: [points[0], { x: 1, y: 6 }] }] }],
    });
    expect(one).not.toContain('class="band');
  });

  test('levels lie at their values, and those that nearly touch share a label', () => {
    const levels = [
      { name: 'a', y: 10 },
      { name: 'b', y: 9.9 },
      { name: 'c', y: 2 },
    ];
    const points = [
      { x: 0, y: 0 },
      { x: 1, y: 10 },
    ];
    const page = renderReport({ ...nothing, curves: [{ ...plotOf(), series: [{ name: 's', points }], levels }] });
    const at = (y: number) => 100 * (1 - (y + 0.4) / 10.8); // from 0 to 10, and 4 % more at either end
    const drawn = [...page.matchAll(/<line class="level"[^>]*y1="([\d.]+)%"/g)].map(m => Number(m[1]));
    expect(drawn).toHaveLength(3);
    levels.forEach(({ y }, i) => expect(Math.abs(drawn[i] - at(y))).toBeLessThan(0.01));
    expect([...page.matchAll(/<text class="level"[^>]*>([^<]*)</g)].map(m => m[1])).toEqual(['a · b', 'c']);
  });

  test("a mark is a ring at its point, with its interval, and part of the plot's label", () => {
    const series = [
      {
        name: 's',
        points: [
          { x: 0, y: 0 },
          { x: 10, y: 10 },
        ],
        marks: [
          { x: 5, y: 5, low: 4, high: 6 },
          { x: 10, y: 2 },
        ],
      },
    ];
    const page = renderReport({ ...nothing, curves: [{ ...plotOf(), series }] });
    const at = (y: number) => (1000 * (1 - (y + 0.4) / 10.8)).toFixed(1);
    expect(page).toContain(`<path class="ring" d="M500.0 ${at(5)}h0M1000.0 ${at(2)}h0"/>`);
    expect(page).toContain(`<path class="bar-line" d="M500.0 ${at(4)}L500.0 ${at(6)}"/>`);
    expect(page).toContain('s ends at 10, s measured 5, 2');
  });

  test('every section has its own plots under one legend', () => {
    const plot = (name: string, section?: string): CurvePlot => ({
      ...plotOf([
        [0, 1],
        [1, 2],
      ]),
      title: name,
      section,
    });
    const page = renderReport({
      ...nothing,
      curves: [plot('A'), plot('B', 'Ablations'), plot('C'), plot('D', 'Ablations')],
    });
    const sections = page
      .split('<section ')
      .slice(1)
      .map(part => [
        part.match(/<h2[^>]*>([^<]*)/)![1],
        [...part.matchAll(/data-plot="(\d+)"><figcaption>([^<]*)/g)].map(m => [m[1], m[2]]),
      ]);
    expect(sections).toEqual([
      [
        'Learning curves',
        [
          ['0', 'A'],
          ['1', 'C'],
        ],
      ],
      [
        'Ablations',
        [
          ['2', 'B'],
          ['3', 'D'],
        ],
      ],
    ]);
  });

  test('a histogram says from where to where its values go, and marks their mean', () => {
    const { text } = renderHistogram([10, 20, 60], 'Support', 'x');
    expect(text).toContain('aria-label="Support: from 10 to 60, mean 30"');
    expect(renderHistogram([1000, 2000], 'Support', 'x').text).toContain('>mean 1.5k<');
    expect(text).toMatch(
      /<line class="mean" x1="(36\.[\d.]+)%" x2="\1%"[^>]*\/>\n<text class="mean" x="\1%"[^>]*>mean 30</,
    ); // bins of 5 from 10 to 65
  });

  test('a histogram counts every value once, in the bin that holds it', () => {
    const values = fc.array(fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.double({ min: 0, max: 12, noNaN: true })), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(values, sample => {
        const bins = [
          ...renderHistogram(sample, 't', 'x').text.matchAll(
            /x="([\d.]+)%" width="([\d.]+)%" y="([\d.]+)%" height="([\d.]+)%">\n<title>(\d+) from/g,
          ),
        ].map(m => [1, 2, 5, 3, 4].map(i => Number(m[i])));
        // Bars stand on the axis and are as high as their share of the largest.
        const most = Math.max(...bins.map(([, , count]) => count));
        for (const [, , count, y, height] of bins)
          expect([y + height, height]).toEqual([expect.closeTo(100, 1), expect.closeTo((100 * count) / most, 1)]);
        expect(bins.reduce((n, [, , count]) => n + count, 0)).toBe(sample.length);
        expect(bins.length).toBeLessThanOrEqual(25);
        bins.forEach(([x, width], i) => expect(Math.abs(x - i * width)).toBeLessThan(0.3));
        expect(bins[0][2] * bins.at(-1)![2]).toBeGreaterThan(0);
      }),
    );
    const bins = [...renderHistogram([1, 2, 2, 5], 't', 'x').text.matchAll(/<title>([^<]*)</g)].map(m => m[1]);
    expect(bins).toEqual([
      '1 from 1 to below 2',
      '2 from 2 to below 3',
      '0 from 3 to below 4',
      '0 from 4 to below 5',
      '1 from 5 to below 6',
    ]);
  });
});

describe('the plan', () => {
  test('what the page has of it is P(source | target), to half of 1/65535 of its largest', () => {
    fc.assert(
      fc.property(plans(), ({ plan, dense, sourceSize, targetSize }) => {
        const view = viewPlan(plan, tokenizerOf([], sourceSize), tokenizerOf([], targetSize));
        const { pointers, entries: columns, values } = view;
        expect(unpackPicture(packPicture(view))).toEqual(view);
        const [u, v] = [plan.mu.length, plan.nu.length];
        expect(pointers[u]).toBe(values.length);
        for (let i = 0; i < u; i++) {
          const row = dense.slice(i * v, (i + 1) * v);
          const total = row.reduce((a, b) => a + b, 0);
          const seen = new Array<number>(v).fill(0);
          for (let e = pointers[i]; e < pointers[i + 1]; e++) seen[columns[e]] = (values[e] / 65535) * view.largest;
          row.forEach((p, j) => expect(Math.abs(seen[j] - p / total)).toBeLessThanOrEqual(view.largest / 65535));
        }
      }),
    );
  });

  test('columns beyond 65,535 are kept', () => {
    const n = 65_537;
    const ids = Int32Array.from({ length: n }, (_, i) => i);
    const plan: Plan = {
      pointers: Int32Array.of(0, 2),
      columns: Int32Array.of(1, n - 1),
      values: Float32Array.of(0.25, 0.75),
      mu: Float32Array.of(1),
      nu: new Float32Array(n).fill(1 / n),
      targetIds: Int32Array.of(0),
      sourceIds: ids,
      specials: new Int32Array(),
      unseen: new Int32Array(),
      source: '',
      target: '',
      settings: { variant: 'dual', iterations: 3, alpha: 1, rowNormalisation: 'actual', headNormalisation: 'columns' },
      gap: 0,
    };
    const view = viewPlan(plan, tokenizerOf([], n), tokenizerOf([], 256));
    expect([...unpackPicture(packPicture(view)).entries]).toEqual([1, n - 1]);
  });

  test('support and entropy of its rows average to those of its report', () => {
    fc.assert(
      fc.property(plans(), ({ plan }) => {
        const { support, entropy } = rowStatistics(plan);
        const report = reportPlan(plan);
        expect(support.reduce((a, b) => a + b, 0)).toBe(report.support);
        expect(entropy.reduce((a, b) => a + b, 0) / entropy.length).toBeCloseTo(report.entropy, 10);
      }),
    );
  });
});

describe('colours', () => {
  const [light, dark] = style
    .split('prefers-color-scheme: dark')
    .map(part => Object.fromEntries([...part.matchAll(/--([\w-]+): (#[0-9a-f]{3,6});/g)].map(m => [m[1], m[2]])));
  const luminance = (hex: string): number => {
    const channels =
      hex.length === 4
        ? hex
            .slice(1)
            .match(/./g)!
            .map(c => c + c)
        : hex.slice(1).match(/../g)!;
    const [r, g, b] = channels
      .map(c => parseInt(c, 16) / 255)
      .map(c => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string): number => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };

  // Web Content Accessibility Guidelines 2.2, AA: 4.5 for text, 3 for what a picture is made of.
  test.each([
    ['light', light],
    ['dark', { ...light, ...dark }],
  ] as const)('%s: text 4.5, lines 3', (_, colour) => {
    for (const ground of ['paper', 'raised', 'tint', 'tint-2']) {
      for (const text of ['ink', 'muted', 'accent'])
        expect(contrast(colour[text], colour[ground]), `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
    }
    for (const ground of ['paper', 'raised']) {
      expect(contrast(colour.mark, colour[ground])).toBeGreaterThanOrEqual(4.5);
      for (let i = 0; i < 8; i++)
        expect(contrast(colour[`s${i}`], colour[ground]), `s${i} on ${ground}`).toBeGreaterThanOrEqual(3);
    }
  });
});

describe("a run's directory", () => {
  const directory = temporaryDirectory();
  const metrics = (bitsPerByte: number) => ({ perplexity: 20 * bitsPerByte, bitsPerByte, standardError: 0.01 });
  const row = (name: string, bits: number, spent: number) => ({
    name,
    before: spent > 0 ? metrics(bits + 1) : null,
    after: metrics(bits),
    tokensPerByte: 0.5432,
    steps: spent,
    tokens: 10 * spent,
    bytes: 20 * spent,
    seconds: spent / 10,
    curve:
      spent > 0
        ? [1, 2, 3].map(k => ({ tokens: 3 * spent * k, bytes: 6 * spent * k, seconds: k, bitsPerByte: bits + 1 / k }))
        : [],
  });
  const source = tokenizerOf([], 256);
  const target = tokenizerOf([], 256);
  const plan: Plan = {
    ...compress(
      Array.from({ length: 256 * 256 }, (_, e) => (Math.floor(e / 256) === e % 256 ? 1 / 256 : 0)),
      256,
      256,
    ),
    mu: new Float32Array(256).fill(1 / 256),
    nu: new Float32Array(256).fill(1 / 256),
    targetIds: Int32Array.from({ length: 256 }, (_, i) => i),
    sourceIds: Int32Array.from({ length: 256 }, (_, i) => i),
    specials: new Int32Array(),
    unseen: new Int32Array(),
    source: source.hash,
    target: target.hash,
    settings: { variant: 'dual', iterations: 3, alpha: 1, rowNormalisation: 'actual', headNormalisation: 'columns' },
    gap: 0,
  };
  const results: Results = {
    seed: 7,
    methods: [row('order0', 4.163, 0), row('source', 4.148, 1234), row('s2t2', 4.247, 1567)],
    plan: reportPlan(plan),
    sample: 'MKVLAA',
  };

  test('its report holds every number of its table, its curves, its plan and its sample', async () => {
    await writeFileAtomic(join(directory, 'results.json'), JSON.stringify(results));
    await writeFileAtomic(join(directory, 'tokenizer.json'), tokenizerToJson(target));
    await savePlan(join(directory, 'plan.safetensors'), plan);
    const file = await writeRunReport(directory, source);
    expect(file).toBe(join(directory, 'report.html'));
    const page = await readFile(file, 'utf8');
    for (const r of results.methods) {
      for (const m of [r.before, r.after]) {
        if (m === null) continue;
        const half = 1.96 * m.standardError;
        for (const bits of [m.bitsPerByte, m.bitsPerByte - half, m.bitsPerByte + half])
          expect(page).toContain(bits.toFixed(3));
        expect(page).toContain(`>${m.perplexity.toPrecision(4)}<`);
      }
      if (r.tokens > 0) for (const n of [r.tokens, r.bytes]) expect(page).toContain(`>${n.toLocaleString('en')}<`);
    }
    for (const id of ['results', 'curves-0', 'plan', 'translations', 'tokens']) expect(page).toContain(`id="${id}"`);
    expect([...factsOf(page).matchAll(/<dt>([^<]*)<\/dt><dd>([^<]*)<\/dd>/g)].map(m => [m[1], m[2]])).toEqual([
      ['Fewest bits per byte', '4.148 (source)'],
      ['s2t2, model frozen', '5.247'],
      ['s2t2, finetuned', '4.247'],
      ['Byte frequencies alone', '4.163'],
      ['Target tokens per byte', '0.543'],
      ['Plan, dual, 3 rounds', '256 × 256'],
      ['Source tokens per target token', '1.0'],
      ['Mass misplaced', '0.00%'],
    ]);
    expect(page.match(/<figure class="plot" data-plot="/g)).toHaveLength(3);
    expect(page.match(/class="token" data-start="\d/g)).toHaveLength(12);
  });

  test('without a plan the report is the table and the curves', async () => {
    await writeFileAtomic(join(directory, 'results.json'), JSON.stringify({ ...results, plan: null }));
    const page = await readFile(await writeRunReport(directory, source, join(directory, 'other.html')), 'utf8');
    expect([...page.matchAll(/<h2 id="([^"]*)"/g)].map(m => m[1])).toEqual(['results', 'curves-0']);
    expect(page).not.toContain('<dt>Plan');
    await writeFileAtomic(
      join(directory, 'results.json'),
      JSON.stringify({ ...results, plan: null, methods: [results.methods[0]] }),
    );
    const floors = await readFile(await writeRunReport(directory, source, join(directory, 'other.html')), 'utf8');
    expect([...factsOf(floors).matchAll(/<dt>([^<]*)/g)].map(m => m[1])).toEqual(['Byte frequencies alone']);
  });

  test('no run, no report', async () => {
    expect(await refusal(writeRunReport(join(directory, 'none'), source))).toContain('results.json: no such file');
    await writeFileAtomic(join(directory, 'results.json'), '{}');
    expect(await refusal(writeRunReport(directory, source))).toContain(
      'results.json: seed: is missing; run the adaptation again',
    );
  });
});
