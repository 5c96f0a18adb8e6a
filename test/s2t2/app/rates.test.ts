/** The published grid of learning rates: a file that people edit, and what is chosen from it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UserError } from '../../../models/errors.ts';
import { chosenRates, gridText, readGrid, type GridRow } from '../../../s2t2/app/rates.ts';
import { domains } from '../../../s2t2/app/data/domains.ts';
import { lines } from '../../../s2t2/app/paper/table.ts';
import { temporaryDirectory } from '../../models/temporary.ts';

const path = join(temporaryDirectory(), 'rates.jsonl');
const positive = fc.double({ min: 1e-6, max: 10, noNaN: true });
const rows: fc.Arbitrary<GridRow> = fc.record({
  domain: fc.constantFrom('proteins', 'dna'),
  tokens: fc.integer({ min: 1, max: 10 ** 7 }),
  name: fc.constantFrom('fvt', 's2t2'),
  rate: positive,
  planRate: positive,
  bodyRate: positive,
  before: fc.option(positive),
  bitsPerByte: positive,
  chosen: fc.boolean(),
});

test('a grid is the same after writing and reading', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(rows, { minLength: 1, maxLength: 4 }), async grid => {
      await writeFile(path, gridText(grid));
      expect(await readGrid(path)).toEqual(grid);
    }),
    { numRuns: 20 },
  );
});

test('chooses the rates of the row and the domain at the budget nearest by ratio', () => {
  fc.assert(
    fc.property(fc.array(rows, { maxLength: 12 }), fc.integer({ min: 1, max: 10 ** 7 }), (grid, tokens) => {
      const found = chosenRates(grid, 'fvt', 'dna', tokens);
      const candidates = grid.filter(r => r.name === 'fvt' && r.domain === 'dna' && r.chosen);
      if (candidates.length === 0) {
        expect(found).toBeUndefined();
        return;
      }
      expect(candidates).toContain(found);
      const ratio = (r: { tokens: number }) => Math.max(r.tokens / tokens, tokens / r.tokens);
      expect(ratio(found!)).toBeLessThanOrEqual(Math.min(...candidates.map(ratio)) * (1 + 1e-12));
    }),
  );
});

test.each([
  ['', 'holds no learning rates'],
  ['{', 'rates.jsonl:1: '],
  ['{"name":"fvt","domain":"dna","tokens":5,"rate":0,"planRate":1,"bodyRate":1}', 'rates.jsonl:1: '],
  ['\n{"name":"fvt","tokens":5,"rate":1,"planRate":1,"bodyRate":1}', 'rates.jsonl:2: '],
  ['null', 'rates.jsonl:1: '],
])('a damaged file is a mistake of the user: %s', async (text, message) => {
  await writeFile(path, text);
  const error = await readGrid(path).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(UserError);
  expect((error as UserError).message).toContain(message);
});

test('the bundled grid has known rows and domains only, and one choice for each of its rows', async () => {
  const grid = await readGrid(new URL('../../../s2t2/data/rates.jsonl', import.meta.url).pathname);
  const groups = new Map<string, GridRow[]>();
  for (const row of grid) {
    expect(lines.map(l => l.name)).toContain(row.name);
    expect(Object.keys(domains)).toContain(row.domain);
    const key = `${row.domain} ${row.tokens} ${row.name}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  for (const [key, cells] of groups) {
    const best = Math.min(...cells.map(c => c.bitsPerByte));
    expect(
      cells.filter(c => c.chosen).map(c => c.bitsPerByte),
      key,
    ).toEqual([best]);
  }
});
