/** Results as Markdown: every figure in its place, as `example.md` has them; what is not there leaves no trace. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { domainsMarkdown, paperMarkdown } from '../../../../s2t2/app/paper/markdown.ts';
import { example } from './example.ts';

test('the whole of a paper', async () => {
  expect(paperMarkdown(example)).toBe(await readFile('test/s2t2/app/paper/example.md', 'utf8'));
});

test('without s2t2, grid, ablations, transfer and meaning there is one table', () => {
  const floors = example.table.rows.filter(r => r.vocabulary === null);
  const markdown = paperMarkdown({
    ...example,
    table: { ...example.table, rows: floors },
    grid: [],
    ablations: [],
    transfer: null,
    meaning: null,
  });
  const paragraphs = markdown.trim().split('\n\n');
  expect(paragraphs).toHaveLength(2);
  expect(paragraphs[1].split('\n').slice(2)).toEqual([
    '| order 0 |  |  | 18.38 | 4.200 [4.190, 4.210] | −0.100 [−0.120, −0.080] | 1.000 |  |  |  |  |',
  ]);
});

test('with one seed, or a domain other than proteins, fewer measurements of the plan are shown', () => {
  const markdown = paperMarkdown({ ...example, meaning: { ...example.meaning!, overlap: null, blosum62: null } });
  expect(markdown.trim().split('\n').slice(-3)).toEqual([
    '| question | plan | rows shuffled |',
    '| --- | ---: | ---: |',
    '| bits/byte, model frozen | 4.663 | 7.998 |',
  ]);
});

test('one line a domain; a row that one of them lacks leaves its cells empty', () => {
  const rows = example.table.rows.filter(r => r.name !== 'fvt' && r.name !== 'source');
  const equalBytes = {
    ...example.table.rows[1],
    name: 'source, equal bytes',
    againstS2T2: { mean: 0.5, low: 0.25, high: 0.75, error: 0.1 },
  };
  const dna = {
    ...example,
    domain: { ...example.domain, name: 'dna' },
    table: { ...example.table, rows: [...rows, equalBytes] },
  };
  const line = (...cells: string[]): string => `| ${cells.join(' | ')} |`;
  const beforeAndAfter = ['source', 'fvt', 'plain', 's2t2', 's2t2-dykstra', 'scratch'].map(x => `${x}, before → after`);
  const differences = ['s2t2 less source', 's2t2 less source, equal bytes'];
  const learned = ['4.500 → 4.266', '4.663 → 4.255', '4.660 → 4.255', '4.254'];
  const margins = { source: '+0.121 [+0.115, +0.127]', equalBytes: '−0.500 [−0.750, −0.250]' };
  expect(domainsMarkdown([example, dna]).split('\n')).toEqual([
    line('domain', 'tokens/byte, source → target', 'order 0', ...beforeAndAfter, ...differences),
    line('---', ...Array<string>(10).fill('---:')),
    line('proteins', '1.000 → 0.545', '4.200', '6.846 → 4.134', '5.435 → 4.292', ...learned, margins.source, ''),
    line('dna', ' → 0.545', '4.200', '', '', ...learned, '', margins.equalBytes),
    '',
  ]);
});
