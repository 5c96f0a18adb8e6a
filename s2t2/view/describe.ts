/** What the report of one adaptation says, from its results. */
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import type { Provenance, Results, Row } from '../cell.ts';
import type { Metrics } from '../evaluate.ts';
import type { Plan } from '../plan.ts';
import type { Rates } from '../settings.ts';
import type { Cell, CurvePlot, CurvePlotPoint, ReportData, ReportTable } from './data.ts';

/** What a report of a run is made from. */
export interface RunParts {
  readonly results: Results;
  readonly source: Tokenizer;
  /** Null where no plan was learned. */
  readonly target: Tokenizer | null;
  readonly plan: Plan | null;
  /** What was adapted to what; by default what the provenance of the results says. */
  readonly names?: { readonly model: string; readonly data: string };
}

/** The last part of a path, without the endings of data files. */
const shortName = (path: string): string =>
  (path.split(/[\\/]/).findLast(part => part !== '') ?? path).replace(
    /(\.train)?\.(fasta|faa|fa|jsonl|txt)(\.gz)?$/,
    '',
  );

function namesOf({ provenance }: Results): RunParts['names'] {
  const data = provenance?.data[0];
  return provenance && data && { model: shortName(provenance.model.path), data: shortName(data.path) };
}

/** 95 % of a normal distribution lie within this many standard errors. */
const quantile = 1.96;

const bits = (m: Metrics | null): Cell =>
  m
    ? {
        mean: m.bitsPerByte,
        low: m.bitsPerByte - quantile * m.standardError,
        high: m.bitsPerByte + quantile * m.standardError,
        digits: 3,
      }
    : '';
const perplexity = (m: Metrics | null): string =>
  m ? m.perplexity.toLocaleString('en', { minimumSignificantDigits: 4, maximumSignificantDigits: 4 }) : '';
const count = (n: number): string => (n > 0 ? n.toLocaleString('en') : '');

/** What every row of a table is. */
export const rowNotes: Readonly<Record<string, string>> = {
  uniform: 'Floor: every byte that training saw is equally likely.',
  order0: 'Floor: bytes by their frequencies in the training text (order 0).',
  unigram: 'Floor: target tokens by their frequencies in the training text.',
  source: 'The pretrained model with its own tokenizer.',
  truncated: 'The new tokenizer; token i takes the rows of the source token with number i.',
  random: 'The new tokenizer; embedding and head are drawn at random, at the scale of the source’s.',
  fvt: 'The new tokenizer; a token is the mean of the source tokens of its text (fast vocabulary transfer).',
  'fvt-spread': 'The rows of fvt, spread to the source’s scale: the start for finetuning.',
  paper: 'The new tokenizer; a sparse plan is learned in the form of the paper.',
  plain: 'The new tokenizer; an unconstrained plan is learned.',
  dense: 'The new tokenizer; a dense plan is learned, by entropic Sinkhorn.',
  s2t2: 'The new tokenizer; a sparse plan is learned, by sparse Sinkhorn: this project’s method.',
  scratch: 'The new tokenizer and the same architecture, trained from random weights.',
};

/** A row as far as it is known: a run may still be at it. */
export type PartialRow = Pick<Row, 'name' | 'before'> & { readonly after: Metrics | null } & Partial<
    Omit<Row, 'after'>
  >;

/** The trained row with the fewest bits per byte after finetuning. */
const bestOf = (rows: readonly PartialRow[]): PartialRow | undefined =>
  rows
    .filter(r => r.after !== null && !floorNames.includes(r.name))
    .reduce<PartialRow | undefined>((a, b) => (a && a.after!.bitsPerByte <= b.after!.bitsPerByte ? a : b), undefined);
const floorNames = ['uniform', 'order0', 'unigram'];

/** The table of results; a row that is not finished leaves its cells empty. */
export function resultsTable(rows: readonly PartialRow[]): ReportTable {
  const best = bestOf(rows);
  return {
    title: 'Held-out bits per byte',
    note:
      'Lower is better; the best row is bold. Intervals of 95 % are 1.96 standard errors over held-out ' +
      'sequences on either side. All rows are scored on the same sequences, so differences between rows are ' +
      'more certain than the intervals suggest. Before: the model as it starts, for s2t2 with the plan ' +
      'learned and the model frozen. Perplexity is per token and does not compare between tokenizers.',
    columns: [
      'method',
      'bits/byte before',
      'bits/byte after',
      'perplexity before',
      'perplexity after',
      'tokens/byte',
      'training tokens',
      'training bytes',
      'seconds',
    ],
    rows: rows.map(r => ({
      cells: [
        r.name,
        bits(r.before),
        bits(r.after),
        perplexity(r.before),
        perplexity(r.after),
        r.tokensPerByte?.toFixed(3) ?? '',
        count(r.tokens ?? 0),
        count(r.bytes ?? 0),
        r.seconds ? r.seconds.toFixed(0) : '',
      ],
      emphasis: r.name === 's2t2',
      best: r === best,
    })),
    terms: rows.flatMap(r => (r.name in rowNotes ? [[r.name, rowNotes[r.name]] as const] : [])),
  };
}

/** A score on held-out text as a mark on a plot. */
export const markOf = (x: number, { bitsPerByte, standardError }: Metrics): CurvePlotPoint => ({
  x,
  y: bitsPerByte,
  low: bitsPerByte - quantile * standardError,
  high: bitsPerByte + quantile * standardError,
});

function curvePlots(rows: readonly Row[]): CurvePlot[] {
  const drawn = rows.filter(r => r.curve.length > 1);
  if (drawn.length === 0) return [];
  const levels = rows.filter(r => floorNames.includes(r.name)).map(r => ({ name: r.name, y: r.after.bitsPerByte }));
  const plot = (unit: 'tokens' | 'bytes' | 'seconds', title: string): CurvePlot => ({
    title,
    x: { label: unit },
    y: { label: 'bits per byte' },
    series: drawn.flatMap(r => [
      {
        name: r.name,
        emphasis: r.name === 's2t2',
        points: r.curve.map(p => ({ x: p[unit], y: p.bitsPerByte })),
        marks: [
          ...(r.before && r.spentBefore ? [markOf(r.spentBefore[unit], r.before)] : []),
          ...(r.validation ?? []).map(point => markOf(point[unit], point.metrics)),
          markOf(r[unit], r.after),
        ],
      },
      ...(r.selection
        ? [{ name: `${r.name}, validation`, points: r.selection.map(p => ({ x: p[unit], y: p.bitsPerByte })) }]
        : []),
    ]),
    levels,
  });
  return [plot('tokens', 'By tokens trained on'), plot('bytes', 'By bytes of text'), plot('seconds', 'By time')];
}

const ratesText = ({ rate, planRate, bodyRate }: Rates): string =>
  `peak ${rate}, ${bodyRate} of it between the ends; of the plan's cost ${planRate}`;

/** What a run was made from and by. Rows that an earlier command made have its command, not this one. */
function provenanceTable({ methods }: Results, made: Provenance): ReportTable {
  const { model, data, settings, command, version, backend } = made;
  const file = (what: string, path: string, sha256: string | null) => [
    [what, path],
    [`${what}, SHA-256`, sha256 ?? 'not known: read once, from standard input'],
  ];
  const shown = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
  const ratesOf = ({ name, rates }: Row) => (rates ? [[`rates of ${name}`, ratesText(rates)]] : []);
  return {
    title: 'Model, data and settings',
    note: 'The command is the last one of this directory; rows of earlier ones stay.',
    columns: ['what', 'value'],
    rows: [
      ...file('model', model.path, model.sha256),
      ...data.flatMap(({ use, path, sha256 }) => file(`${use} texts`, path, sha256)),
      ['command', ['s2t2', ...command].join(' ')],
      ['version', version],
      ['backend', backend],
      ...methods.flatMap(ratesOf),
      ...Object.entries(settings).map(([name, value]) => [name, shown(value)]),
    ].map(cells => ({ cells })),
  };
}

/** The report of a run. */
export function describeRun({ results, source, target, plan, names = namesOf(results) }: RunParts): ReportData {
  const { methods, plan: report } = results;
  const best = methods
    .filter(r => r.tokens > 0)
    .reduce<Row | undefined>((a, b) => (a && a.after.bitsPerByte <= b.after.bitsPerByte ? a : b), undefined);
  const translated = methods.find(r => r.name === 's2t2');
  const order0 = methods.find(r => r.name === 'order0');
  const facts: (readonly [string, string])[] = [];
  if (best) facts.push(['Fewest bits per byte', `${best.after.bitsPerByte.toFixed(3)} (${best.name})`]);
  if (translated?.before)
    facts.push(
      ['s2t2, model frozen', translated.before.bitsPerByte.toFixed(3)],
      ['s2t2, finetuned', translated.after.bitsPerByte.toFixed(3)],
    );
  if (order0) facts.push(['Byte frequencies alone', order0.after.bitsPerByte.toFixed(3)]);
  if (translated) facts.push(['Target tokens per byte', translated.tokensPerByte.toFixed(3)]);
  if (report && plan) {
    facts.push(
      [
        `Plan, ${plan.settings.variant}, ${plan.settings.iterations} rounds`,
        `${report.rows.toLocaleString('en')} × ${report.columns.toLocaleString('en')}`,
      ],
      ['Source tokens per target token', report.supportPerRow[1].toFixed(1)],
      ['Mass misplaced', `${(100 * report.residual).toFixed(2)}%`],
    );
  }
  return {
    title: names ? `${names.model}, adapted to ${names.data}` : 'An adapted language model',
    lead: `${
      target
        ? `A language model with a vocabulary of ${source.ordinaryIds().length.toLocaleString('en')} tokens ` +
          `was adapted to a domain with one of ${target.ordinaryIds().length.toLocaleString('en')}. Every ` +
          `method had the same training budget; that budget includes learning the plan.`
        : 'A language model was adapted to a domain. Every method had the same training budget.'
    } Seed ${results.seed}.`,
    facts,
    tables: [resultsTable(methods)],
    provenance: results.provenance && provenanceTable(results, results.provenance),
    curves: curvePlots(methods),
    plan: plan && target ? { plan, source, target } : undefined,
    sample: target ? { text: results.sample, source, target } : undefined,
  };
}
