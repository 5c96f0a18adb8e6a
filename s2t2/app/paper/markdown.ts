/** The paper's results as Markdown tables: what the README quotes. */
import { stretches, type CurveUnit } from './crossings.ts';
import type { Paper } from './paper.ts';
import type { Interval } from './statistics.ts';
import type { TableRow } from './table.ts';

const signed = (x: number): string => `${x >= 0 ? '+' : '−'}${Math.abs(x).toFixed(3)}`;
const interval = ({ mean, low, high }: Interval): string =>
  `${mean.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
const difference = (d: Interval | null): string =>
  d === null ? '' : `${signed(d.mean)} [${signed(d.low)}, ${signed(d.high)}]`;
const count = (x: number): string => Math.round(x).toLocaleString('en');

/** A GitHub table; the first column is aligned left, the others right. */
function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), `| --- |${' ---: |'.repeat(header.length - 1)}`, ...rows.map(line)].join('\n');
}

/** A finished table as Markdown. */
export function paperMarkdown({
  domain,
  model,
  table,
  grid,
  ablations,
  meaning,
  transfer,
  settings,
  backend,
}: Paper): string {
  const name = (row: { readonly name: string }) => (row.name === 's2t2' ? '**s2t2**' : row.name);
  const cells = (r: TableRow) => [
    name(r),
    r.perplexity.before?.toPrecision(4) ?? '',
    r.before ? interval(r.before) : '',
    r.perplexity.after.toPrecision(4),
    interval(r.after),
    difference(r.againstS2T2),
    r.tokensPerByte.toFixed(3),
    r.secondsPerThousandBytes?.toFixed(3) ?? '',
    r.tokens > 0 ? count(r.tokens) : '',
    r.bytes > 0 ? count(r.bytes) : '',
    r.seconds > 0 ? r.seconds.toFixed(0) : '',
  ];
  const parts = [
    `${domain.name}: ${domain.source}; ${count(domain.trainingTexts)} training texts, ${table.sequences} held-out ` +
      `sequences, seeds ${table.seeds.join(', ')}, budget ${count(settings.budget.amount)} ` +
      `${settings.budget.unit} a method. Source model: ${count(model.parameters)} parameters, width ` +
      `${model.width}, ${model.layers} layers, vocabulary ${model.vocabSize}. ${backend}. Brackets hold ` +
      `95 % intervals of a bootstrap over sequences crossed with seeds.`,
    markdownTable(
      [
        'method',
        'ppl before',
        'bits/byte before',
        'ppl after',
        'bits/byte after',
        'less s2t2',
        'tokens/byte',
        `s per 1000 ${domain.unit}s`,
        'tokens',
        'bytes',
        's',
      ],
      table.rows.map(cells),
    ),
    claims(table.rows),
    crossings(table.rows),
    ...(grid.length === 0
      ? []
      : [
          '### Learning rates, on validation data',
          markdownTable(
            ['method', 'rate', 'plan rate', 'body rate', 'bits/byte', ''],
            grid.map(g => [
              g.name,
              String(g.rate),
              String(g.planRate),
              String(g.bodyRate),
              g.bitsPerByte.toFixed(4),
              g.chosen ? 'chosen' : '',
            ]),
          ),
        ]),
  ];
  for (const { name: setting, rows } of ablations) {
    parts.push(
      `### Ablation: ${setting}`,
      markdownTable(
        [setting, 'source tokens a row', 'entropy, bits', 'misplaced mass', 'bits/byte before', 'bits/byte after'],
        rows.map(r => [
          r.value,
          r.support.toFixed(1),
          r.entropy.toFixed(2),
          `${(100 * r.residual).toFixed(1)}%`,
          r.before.toFixed(3),
          r.after.toFixed(3),
        ]),
      ),
    );
  }
  if (transfer) {
    parts.push(
      `### Transfer to a model of ${count(transfer.model.parameters)} parameters (${transfer.model.family})`,
      markdownTable(
        ['method', 'bits/byte before', 'bits/byte after', 'less transferred'],
        transfer.rows.map(r => [r.name, interval(r.before), interval(r.after), difference(r.againstTransferred)]),
      ),
    );
  }
  if (meaning) {
    const { overlap, rows, blosum62 } = meaning;
    parts.push(
      '### Does the plan mean anything?',
      markdownTable(
        ['question', 'plan', 'rows shuffled'],
        [
          ...(overlap
            ? [['overlap of supports between seeds (Jaccard)', overlap.seeds.toFixed(3), overlap.shuffled.toFixed(3)]]
            : []),
          ['bits/byte, model frozen', rows.plan.toFixed(3), rows.shuffled.toFixed(3)],
          ...(blosum62
            ? [
                [
                  'correlation of the residues’ cosines with BLOSUM62',
                  `${blosum62.correlation.toFixed(3)} (p = ${blosum62.p.toPrecision(2)})`,
                  '',
                ],
              ]
            : []),
        ],
      ),
    );
  }
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

/** Over which stretch of training s2t2 is below fvt and the source tokenizer, by training loss. */
function crossings(rows: readonly TableRow[]): string {
  const curveOf = (name: string) => rows.find(r => r.name === name)?.curve ?? [];
  const units: readonly CurveUnit[] = ['tokens', 'bytes', 'seconds'];
  const lines = ['source', 'fvt'].flatMap(other =>
    units.flatMap(unit => {
      const found = stretches(curveOf('s2t2'), curveOf(other), unit);
      const text = found.map(
        s =>
          `${s.lower === 'first' ? 'below' : 'above'} from ${count(s.from)} to ${count(s.to)} (by ` +
          `${Math.abs(s.gap).toFixed(3)} on average)`,
      );
      return text.length === 0 ? [] : [`- against ${unit}, s2t2 and ${other}: s2t2 ${text.join(', ')}`];
    }),
  );
  return lines.length === 0
    ? ''
    : `Where the curves of training cross (means over seeds and a fortieth of the steps; phase 1 of s2t2, ` +
        `its model frozen, is the beginning of its curve):\n\n${lines.join('\n')}`;
}

/** One line a domain: how much shorter its texts become, and what every start is worth. */
export function domainsMarkdown(papers: readonly Paper[]): string {
  const names = [
    ...new Set(
      papers.flatMap(p =>
        p.table.rows.filter(r => r.vocabulary !== null && r.name !== 'source, equal bytes').map(r => r.name),
      ),
    ),
  ];
  const header = [
    'domain',
    'tokens/byte, source → target',
    'order 0',
    ...names.map(name => `${name}, before → after`),
    's2t2 less source',
    's2t2 less source, equal bytes',
  ];
  const rows = papers.map(({ domain, table }) => {
    const row = (name: string) => table.rows.find(r => r.name === name);
    const change = (r?: TableRow) =>
      r ? `${r.before ? `${r.before.mean.toFixed(3)} → ` : ''}${r.after.mean.toFixed(3)}` : '';
    /** s2t2 less another, from the other less s2t2. */
    const less = (d?: Interval | null) =>
      difference(d ? { mean: -d.mean, low: -d.high, high: -d.low, error: d.error } : null);
    return [
      domain.name,
      `${row('source')?.tokensPerByte.toFixed(3) ?? ''} → ${row('s2t2')?.tokensPerByte.toFixed(3) ?? ''}`,
      row('order 0')!.after.mean.toFixed(3),
      ...names.map(name => change(row(name))),
      less(row('source')?.againstS2T2),
      less(row('source, equal bytes')?.againstS2T2),
    ];
  });
  return `${markdownTable(header, rows)}\n`;
}

/** What the paper says of the rows, and what these rows say. */
function claims(rows: readonly TableRow[]): string {
  const row = (name: string) => rows.find(r => r.name === name);
  const s2t2 = row('s2t2');
  if (!s2t2) return '';
  const lines: string[] = [];
  const frozen = (['source', 'plain', 'dense'] as const).flatMap(name =>
    row(name)?.before ? [{ name, value: row(name)!.before!.mean }] : [],
  );
  for (const { name, value } of frozen)
    lines.push(
      `- model frozen, s2t2 before ${name}: ${s2t2.before!.mean < value ? 'yes' : '**no**'} ` +
        `(${s2t2.before!.mean.toFixed(3)} and ${value.toFixed(3)})`,
    );
  for (const other of rows.filter(r => r.againstS2T2 && r.vocabulary !== null && !r.name.startsWith('s2t2'))) {
    const { mean, low, high } = other.againstS2T2!;
    const verdict = low > 0 ? 'yes' : high < 0 ? '**no**' : 'undecided';
    lines.push(
      `- finetuned, s2t2 before ${other.name}: ${verdict} (${signed(mean)} [${signed(low)}, ${signed(high)}])`,
    );
  }
  const best = rows.reduce((a, b) => (b.after.mean < a.after.mean && b.vocabulary !== null ? b : a), s2t2);
  lines.push(
    `- the best row, ${best.name}, is ${signed(best.againstOrder0.mean)} bits per byte from order 0, ` +
      `${Math.abs(best.againstOrder0.mean / best.againstOrder0.error).toFixed(1)} paired standard errors`,
  );
  return `What the paper claims, and what these rows say:\n\n${lines.join('\n')}`;
}
