/** Results as a report: its tables say what the Markdown says, and its curves are the results' own points. */
import { expect, test } from 'vitest';
import type { Plan } from '../../../../s2t2/plan.ts';
import { paperMarkdown } from '../../../../s2t2/app/paper/markdown.ts';
import { describePaper } from '../../../../s2t2/app/paper/report.ts';
import type { Paper } from '../../../../s2t2/app/paper/paper.ts';
import type { Cell } from '../../../../s2t2/view/data.ts';
import { tokenizerOf } from '../report-example.ts';
import { example } from './example.ts';

const [source, target] = [tokenizerOf([], 256), tokenizerOf([], 300)];
const describe = (results: Paper) => describePaper({ results, source, target, plan: null, sample: 'MKV' });
const text = (cell: Cell): string =>
  typeof cell === 'object' ? `${cell.mean.toFixed(3)} [${cell.low.toFixed(3)}, ${cell.high.toFixed(3)}]` : String(cell);

test('every table has the rows and figures that the Markdown has', () => {
  const { tables } = describe(example);
  const inMarkdown = paperMarkdown(example)
    .split('\n')
    .filter(line => line.startsWith('| ') && !line.startsWith('| ---'))
    .map(line =>
      line
        .slice(2, -2)
        .split(' | ')
        .map(cell => cell.trim().replaceAll('−', '-').replaceAll('+', '').replaceAll('**', '')),
    );
  for (const { rows, columns } of tables) {
    for (const { cells } of rows) {
      expect(cells).toHaveLength(columns.length);
      expect(inMarkdown.map(line => line.toSorted())).toContainEqual(cells.map(text).toSorted());
    }
  }
  expect(tables.map(t => t.title)).toEqual([
    'Held-out bits per byte',
    'The plan on another model',
    'Ablation: T',
    'Ablation: alpha',
    'Ablation: variant',
  ]);
  expect(tables.flatMap(t => t.rows.filter(r => r.emphasis).map(r => text(r.cells[0])))).toEqual([
    's2t2',
    'transferred',
  ]);
  const [main] = tables;
  expect(main.rows.map(r => text(r.cells[0]))).toEqual(example.table.rows.map(r => r.name));
  // Each under its heading: of s2t2 no two cells are alike.
  const s2t2 = main.rows.find(r => r.emphasis)!;
  expect(Object.fromEntries(main.columns.map((column, i) => [column, text(s2t2.cells[i])]))).toEqual({
    method: 's2t2',
    'bits/byte before': '4.663 [4.643, 4.683]',
    'bits/byte after': '4.255 [4.243, 4.267]',
    'less s2t2': '',
    'perplexity before': '377.0',
    'perplexity after': '224.3',
    'tokens/byte': '0.545',
    's per 1000 residues': '0.028',
    'training tokens': '150,221',
    'training bytes': '274,143',
    seconds: '25',
  });
});

test('learning curves of the compared methods, for each unit; numeric ablations against the number', () => {
  const { curves } = describe(example);
  expect(curves.map(c => [c.title, c.x.label, c.x.log ?? false, c.series.map(s => s.name)])).toEqual([
    ...['tokens', 'bytes', 'seconds'].map(by => [`Against ${by}`, by, false, ['source', 'fvt', 's2t2', 'scratch']]),
    ['Bits per byte against T', 'T', true, ['before finetuning', 'after finetuning']],
    ['Bits per byte against alpha', 'alpha, in units of 1/v', true, ['before finetuning', 'after finetuning']],
  ]);
  for (const by of ['tokens', 'bytes', 'seconds'] as const) {
    const { series } = curves.find(c => c.title === `Against ${by}`)!;
    for (const { name, points } of series)
      expect(points).toEqual(
        example.table.rows.find(r => r.name === name)!.curve.map(p => ({ x: p[by], y: p.bitsPerByte })),
      );
    expect(series.map(s => s.emphasis)).toEqual([false, false, true, false]);
  }
  for (const { name, rows } of example.ablations.slice(0, 2)) {
    const [before, after] = curves.find(c => c.title.endsWith(name))!.series;
    expect(before.points).toEqual(rows.map(r => ({ x: Number.parseFloat(r.value), y: r.before })));
    expect(after.points).toEqual(rows.map(r => ({ x: Number.parseFloat(r.value), y: r.after })));
  }
  const two = { ...example, ablations: [{ ...example.ablations[0], rows: example.ablations[0].rows.slice(1) }] };
  expect(describe(two).curves.map(c => c.title)).not.toContain('Bits per byte against T');
});

test('the facts at its head', () => {
  expect(Object.fromEntries(describe(example).facts)).toEqual({
    'Fewest bits per byte': '4.134 (source)',
    's2t2, model frozen': '4.663',
    's2t2, finetuned': '4.255',
    'Source tokens per target token': '78.1',
    'Target tokens per byte': '0.545',
    'Overlap of supports, seeds': '0.027 (rows shuffled 0.020)',
    'Model frozen, rows shuffled': '7.998',
    'Correlation with BLOSUM62': '0.006 (p = 0.41)',
  });
  const bare = {
    ...example,
    meaning: null,
    transfer: null,
    table: { ...example.table, rows: example.table.rows.filter(r => r.name !== 's2t2') },
  };
  expect(describe(bare).facts).toEqual([['Fewest bits per byte', '4.134 (source)']]);
  expect(describe(bare).tables.map(t => t.title)).not.toContain('The plan on another model');
  const { title, lead, sample, plan } = describe(example);
  expect(title).toBe('Sparse Sinkhorn token translation: proteins');
  expect(lead).toBe(
    'An English model of 1,064,960 parameters and 2,048 tokens, adapted to proteins with a vocabulary of 300 by ' +
      'every method on 150,000 tokens each, learning the plan included; 3 seeds, 200 held-out sequences. Data: a ' +
      'bank of proteins.',
  );
  expect(sample).toEqual({ text: 'MKV', source, target });
  expect(plan).toBeUndefined();
  const learned = {} as Plan;
  expect(describePaper({ results: example, source, target, plan: learned, sample: '' }).plan).toEqual({
    plan: learned,
    source,
    target,
  });
});
