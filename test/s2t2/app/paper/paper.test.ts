/** The paper's table in small: stopped and resumed it is the same, every figure is there, and mistakes are rejected. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { saveModel } from '../../../../models/node/checkpoint.ts';
import { Interrupted } from '../../../../models/train.ts';
import { domainsMarkdown, paperMarkdown } from '../../../../s2t2/app/paper/markdown.ts';
import { helpPaper, paper, type PaperOptions } from '../../../../s2t2/app/paper/run.ts';
import { gridText, readGrid } from '../../../../s2t2/app/rates.ts';
import { temporaryDirectory } from '../../../models/temporary.ts';
import { tinyModel } from '../../fixture.ts';

describe('paper', () => {
  const directory = temporaryDirectory();
  const model = join(directory, 'tiny');
  beforeAll(async () => {
    const { model: tiny, tokenizer } = await tinyModel();
    await saveModel(model, { model: { ...tiny, config: { ...tiny.config, context: 1024 } }, tokenizer });
  });
  const options = (out: string): PaperOptions => ({
    out: join(directory, out),
    model,
    domain: 'enzymes',
    seeds: 2,
    tokens: 600,
    heldOut: 3,
    lines: ['source', 's2t2'],
    grid: {
      rate: [2e-3],
      planRate: [5e-3],
      bodyRate: [1],
      start: { rate: 2e-3, planRate: 5e-3, bodyRate: 1 },
      growth: 0,
    },
    ablate: ['head'],
    log: () => {},
  });
  /** Everything but how long it took. */
  const untimed = (value: unknown) => JSON.stringify(value, (key, x) => (/seconds/i.test(key) ? undefined : x));

  test('has its rows, is the same when stopped and resumed, and transfers to the model it came from', async () => {
    const whole = await paper({ ...options('whole'), transfer: model });
    expect(whole.table.rows.map(r => r.name)).toEqual([
      'uniform',
      'order 0',
      'unigram',
      'order 1',
      'order 2',
      'order 3',
      'source',
      's2t2',
      'source, equal bytes',
    ]);
    const row = (name: string) => whole.table.rows.find(r => r.name === name)!;
    // Equal bytes: what the target vocabulary saw, up to one batch of 512 tokens.
    expect(Math.abs(row('source, equal bytes').bytes - row('s2t2').bytes)).toBeLessThan(1024);
    expect(row('source').tokens).toBeLessThan(row('source, equal bytes').tokens);
    expect(row('s2t2').support).toBeGreaterThan(1);
    expect(whole.meaning!.overlap!.seeds).toBeGreaterThan(0);
    expect(whole.ablations[0].rows.map(r => r.value)).toEqual(['columns', 'rows']);
    expect(whole.grid.filter(g => g.chosen).map(g => g.name)).toEqual(['source', 's2t2']);
    // A plan moved to the model that it was learned on is the plan learned there.
    const moved = (name: string) => whole.transfer!.rows.find(r => r.name === name)!;
    expect(moved('transferred').before).toEqual(moved('s2t2').before);
    expect(moved('s2t2').after).toEqual(row('s2t2').after);

    const markdown = await readFile(join(directory, 'whole/table.md'), 'utf8');
    expect(markdown).toBe(paperMarkdown(whole));
    for (const { name, after } of whole.table.rows) {
      expect(markdown).toContain(name);
      expect(markdown).toContain(after.mean.toFixed(3));
    }
    expect(await readFile(join(directory, 'whole/report.html'), 'utf8')).toContain(
      'Sparse Sinkhorn token translation: enzymes',
    );

    const stop = new AbortController();
    let cells = 0;
    const interrupted = paper({
      ...options('parts'),
      signal: stop.signal,
      log: () => {
        if (++cells === 8) stop.abort(new Interrupted('stopped'));
      },
    });
    await expect(interrupted).rejects.toThrow(Interrupted);
    expect((await readdir(join(directory, 'parts/test/cells'))).length).toBeGreaterThan(0);
    await expect(readFile(join(directory, 'parts/results.json'))).rejects.toThrow('ENOENT');
    // With help, which takes its share of the cells.
    const begun: string[][] = [[], []];
    const counted = (who: number): PaperOptions => ({
      ...options('parts'),
      log: line =>
        begun[who].push(
          ...(/^(learning rates|table|equal bytes|ablations): \d+ of \d+, (.*)/.exec(line)?.slice(2) ?? []),
        ),
    });
    const [resumed] = await Promise.all([paper(counted(0)), helpPaper({ ...counted(1), share: 0.5 })]);
    expect(untimed({ ...resumed, transfer: null })).toBe(untimed({ ...whole, transfer: null }));
    for (const cells of begun) expect(cells.length).toBeGreaterThan(0);
    expect(new Set(begun.flat()).size).toBe(begun.flat().length);
    expect((await readdir(join(directory, 'parts/test'))).toSorted()).toEqual(['cells', 'plans']);
  });

  test('takes the rates of an earlier table; one table of several domains agrees with a table of each', async () => {
    const first = await paper({ ...options('first'), seeds: 1, ablate: [] });
    const rates = first.grid.filter(g => g.chosen);
    // A grid serves the domain that it was searched for.
    await expect(paper({ ...options('second'), domain: 'chinese', rates: join(directory, 'first') })).rejects.toThrow(
      "the earlier table chose no learning rate for 'source' and chinese",
    );
    await writeFile(
      join(directory, 'chinese.jsonl'),
      gridText(first.grid.map(row => ({ ...row, domain: 'chinese', tokens: 9 }))),
    );
    const second = await paper({
      ...options('second'),
      seeds: 1,
      ablate: [],
      domain: 'chinese',
      rates: join(directory, 'chinese.jsonl'),
    });
    expect(second.grid).toEqual([]);
    expect(second.table.rows.find(r => r.name === 's2t2')!.tokens).toBeGreaterThan(500);
    expect(rates.map(r => r.name)).toEqual(['source', 's2t2']);
    const [, , ...lines] = domainsMarkdown([first, second]).trim().split('\n');
    for (const [i, { domain, table }] of [first, second].entries()) {
      const cells = lines[i].split('|').map(text => text.trim());
      const row = (name: string) => table.rows.find(r => r.name === name)!;
      expect(cells[1]).toBe(domain.name);
      expect(cells[3]).toBe(row('order 0').after.mean.toFixed(3));
      expect(cells[4]).toBe(`${row('source').before!.mean.toFixed(3)} → ${row('source').after.mean.toFixed(3)}`);
      expect(cells[5]).toBe(`${row('s2t2').before!.mean.toFixed(3)} → ${row('s2t2').after.mean.toFixed(3)}`);
      const less = row('s2t2').after.mean - row('source').after.mean;
      expect(Number(cells[6].split(' ')[0].replace('−', '-'))).toBeCloseTo(less, 2);
    }
    await expect(paper({ ...options('third'), lines: ['fvt'], rates: join(directory, 'first') })).rejects.toThrow(
      /chose no learning rate for 'fvt'/,
    );
    // A grid begins there; what it does not search stays as it was.
    const searched = await paper({
      ...options('searched'),
      lines: ['source'],
      seeds: 1,
      tokens: 64,
      ablate: [],
      grid: { ...options('').grid!, rate: [8e-3, 9e-3] },
      tuneFrom: join(directory, 'first'),
    });
    expect(searched.grid.map(g => [g.tokens, g.rate, g.bodyRate])).toEqual([
      [64, 1e-3, 1],
      [64, 2e-3, 1],
    ]);
    await expect(paper({ ...options('third'), rates: 'a', tuneFrom: 'b' })).rejects.toThrow(
      '--tune-from begins a grid',
    );
    await expect(paper({ ...options('third'), rates: join(directory, 'nowhere') })).rejects.toThrow(
      /nowhere\/rates.jsonl: no such file/,
    );
    // so that a later table can take it from there
    expect(await readGrid(join(directory, 'first/rates.jsonl'))).toEqual(first.grid);
    expect(await readGrid(join(directory, 'second/rates.jsonl'))).toEqual(
      first.grid.map(row => ({ ...row, domain: 'chinese', tokens: 9 })),
    );
    // The file by itself gives the rates and no cells: as many are trained as before, and come to the same.
    const begun: string[] = [];
    const again = await paper({
      ...options('again'),
      seeds: 1,
      ablate: [],
      rates: join(directory, 'first/rates.jsonl'),
      log: line => begun.push(line),
    });
    expect(untimed(again)).toBe(untimed({ ...first, grid: [] }));
    expect(begun.filter(l => /^(table|equal)/.test(l))).toHaveLength(3);
    // The directory gives both.
    begun.length = 0;
    expect(
      untimed(
        await paper({
          ...options('copied'),
          seeds: 1,
          ablate: [],
          rates: join(directory, 'first'),
          log: line => begun.push(line),
        }),
      ),
    ).toBe(untimed(again));
    expect(begun.filter(l => /^(table|equal)/.test(l))).toEqual([]);
  });

  test('rejects a transfer to an invalid model, or without plans, before it trains anything', async () => {
    const trained: string[] = [];
    const log = (line: string) => trained.push(line);
    await expect(paper({ ...options('nowhere'), transfer: join(directory, 'nowhere'), log })).rejects.toThrow(
      /no such file/,
    );
    await expect(paper({ ...options('planless'), lines: ['source'], transfer: model, log })).rejects.toThrow(
      /applies the plans of the row 's2t2', which --lines leaves out; add it/,
    );
    expect(trained).toEqual([]);
  });

  test('rejects an unknown row', async () => {
    await expect(paper({ ...options('none'), lines: ['sauce'] })).rejects.toThrow(
      /the table has no row 'sauce'; expected names from: source, truncated/,
    );
  });
});
