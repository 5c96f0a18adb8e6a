/** The paper's results as a report: the table, learning curves, ablations as pictures, the plan of the first seed. */
import type { Tokenizer } from '../../../models/tokenizer/index.ts';
import type { Plan } from '../../plan.ts';
import type { Cell, CurvePlot, ReportData, ReportTable } from '../../view/data.ts';
import type { Ablation } from './ablations.ts';
import type { Paper } from './paper.ts';
import type { Interval } from './statistics.ts';
import type { TableRow } from './table.ts';

/** What the report of a table is made from. */
export interface PaperParts {
  readonly results: Paper;
  readonly source: Tokenizer;
  readonly target: Tokenizer;
  readonly plan: Plan | null;
  /** A held-out text. */
  readonly sample: string;
}

const cell = (interval: Interval | null): Cell =>
  interval ? { mean: interval.mean, low: interval.low, high: interval.high, digits: 3 } : '';
const count = (n: number): string => (n > 0 ? Math.round(n).toLocaleString('en') : '');

function mainTable(rows: readonly TableRow[], unit: string): ReportTable {
  return {
    title: 'Held-out bits per byte',
    note:
      'Lower is better. Intervals hold 95 % of a bootstrap over sequences crossed with seeds; the ' +
      'difference to s2t2 is paired in both, and positive where s2t2 is better. Before: the model as it ' +
      'starts, where a plan is learned with the plan learned and the model frozen.',
    columns: [
      'method',
      'bits/byte before',
      'bits/byte after',
      'less s2t2',
      'perplexity before',
      'perplexity after',
      'tokens/byte',
      `s per 1000 ${unit}s`,
      'training tokens',
      'training bytes',
      'seconds',
    ],
    rows: rows.map(r => ({
      cells: [
        r.name,
        cell(r.before),
        cell(r.after),
        cell(r.againstS2T2),
        r.perplexity.before?.toPrecision(4) ?? '',
        r.perplexity.after.toPrecision(4),
        r.tokensPerByte.toFixed(3),
        r.secondsPerThousandBytes?.toFixed(3) ?? '',
        count(r.tokens),
        count(r.bytes),
        r.seconds > 0 ? r.seconds.toFixed(0) : '',
      ],
      emphasis: r.name === 's2t2',
    })),
  };
}

function learningCurves(rows: readonly TableRow[]): CurvePlot[] {
  const drawn = rows.filter(
    r => ['source', 'fvt', 's2t2', 'truncated', 'scratch'].includes(r.name) && r.curve.length > 1,
  );
  return drawn.length === 0
    ? []
    : (['tokens', 'bytes', 'seconds'] as const).map(by => ({
        title: `Against ${by}`,
        x: { label: by },
        y: { label: 'bits per byte, training' },
        series: drawn.map(r => ({
          name: r.name,
          emphasis: r.name === 's2t2',
          points: r.curve.map(p => ({ x: p[by], y: p.bitsPerByte })),
        })),
      }));
}

const ablationTable = ({ name, rows }: Ablation): ReportTable => ({
  title: `Ablation: ${name}`,
  note: 'One seed, validation data.',
  columns: [name, 'source tokens a row', 'entropy, bits', 'misplaced mass', 'bits/byte before', 'bits/byte after'],
  rows: rows.map(r => ({
    cells: [
      r.value,
      r.support.toFixed(1),
      r.entropy.toFixed(2),
      `${(100 * r.residual).toFixed(1)}%`,
      r.before.toFixed(3),
      r.after.toFixed(3),
    ],
  })),
});

/** Where the setting is a number: bits per byte against it. */
function ablationPlots({ name, rows }: Ablation): CurvePlot[] {
  const points = rows.map(r => ({ x: Number.parseFloat(r.value), before: r.before, after: r.after }));
  if (points.length < 3 || points.some(p => Number.isNaN(p.x))) return [];
  const series = (['before', 'after'] as const).map(when => ({
    name: `${when} finetuning`,
    points: points.map(p => ({ x: p.x, y: p[when] })),
  }));
  return [
    {
      title: `Bits per byte against ${name}`,
      x: { label: rows[0].value.includes('/v') ? `${name}, in units of 1/v` : name, log: true },
      y: { label: 'bits per byte' },
      series,
    },
  ];
}

/** The report of a table. */
export function describePaper({ results, source, target, plan, sample }: PaperParts): ReportData {
  const { table, domain, model, settings, ablations, transfer, meaning } = results;
  const finetuned = table.rows.filter(r => r.vocabulary !== null);
  const best = finetuned.reduce((a, b) => (a.after.mean <= b.after.mean ? a : b));
  const s2t2 = table.rows.find(r => r.name === 's2t2');
  const facts: (readonly [string, string])[] = [
    ['Fewest bits per byte', `${best.after.mean.toFixed(3)} (${best.name})`],
  ];
  if (s2t2?.before)
    facts.push(['s2t2, model frozen', s2t2.before.mean.toFixed(3)], ['s2t2, finetuned', s2t2.after.mean.toFixed(3)]);
  if (s2t2?.support)
    facts.push(
      ['Source tokens per target token', s2t2.support.toFixed(1)],
      ['Target tokens per byte', s2t2.tokensPerByte.toFixed(3)],
    );
  if (meaning?.overlap)
    facts.push([
      'Overlap of supports, seeds',
      `${meaning.overlap.seeds.toFixed(3)} (rows shuffled ${meaning.overlap.shuffled.toFixed(3)})`,
    ]);
  if (meaning) facts.push(['Model frozen, rows shuffled', meaning.rows.shuffled.toFixed(3)]);
  if (meaning?.blosum62)
    facts.push([
      'Correlation with BLOSUM62',
      `${meaning.blosum62.correlation.toFixed(3)} (p = ${meaning.blosum62.p.toPrecision(2)})`,
    ]);
  const transferred: ReportTable[] =
    transfer === null
      ? []
      : [
          {
            title: 'The plan on another model',
            note:
              `A model of ${count(transfer.model.parameters)} parameters (${transfer.model.family}) that ` +
              `shares the vocabulary and has not seen the plan.`,
            columns: ['method', 'bits/byte before', 'bits/byte after', 'less transferred'],
            rows: transfer.rows.map(r => ({
              cells: [r.name, cell(r.before), cell(r.after), cell(r.againstTransferred)],
              emphasis: r.name === 'transferred',
            })),
          },
        ];
  return {
    title: `Sparse Sinkhorn token translation: ${domain.name}`,
    lead:
      `An English model of ${count(model.parameters)} parameters and ` +
      `${model.vocabSize.toLocaleString('en')} tokens, adapted to ${domain.name} with a vocabulary of ` +
      `${target.vocabSize.toLocaleString('en')} by every method on ` +
      `${settings.budget.amount.toLocaleString('en')} ${settings.budget.unit} each, learning the plan ` +
      `included; ${table.seeds.length} seeds, ${table.sequences} held-out sequences. Data: ` +
      `${domain.source}.`,
    facts,
    tables: [mainTable(table.rows, domain.unit), ...transferred, ...ablations.map(ablationTable)],
    curves: [...learningCurves(table.rows), ...ablations.flatMap(ablationPlots)],
    plan: plan ? { plan, source, target } : undefined,
    sample: { text: sample, source, target },
  };
}
