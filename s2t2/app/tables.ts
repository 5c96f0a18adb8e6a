/** Results as text for a terminal. */
import { columnsOf, cutToColumns, printable, visible } from '../../models/printable.ts';
import type { Results, Row } from '../cell.ts';
import type { Metrics } from '../evaluate.ts';
import type { Explanation } from '../explain.ts';

const gap = '  ';

/**
 * Columns padded to their widest cell; the first is aligned left, the others right. Columns that do not fit side by
 * side into `width` columns of a terminal follow below, each block with the first column again.
 */
export function renderTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  width = process.stdout.columns ?? Infinity,
): string {
  const all = [header, ...rows].map(row => row.map(printable));
  const first = Math.min(Math.max(...all.map(r => columnsOf(r[0]))), Math.max(8, Math.floor(width / 2)));
  const room = Math.max(8, width - first - gap.length);
  const widths = header.map((_, c) => (c === 0 ? first : Math.min(room, Math.max(...all.map(r => columnsOf(r[c]))))));
  const blocks: number[][] = [];
  let used = 0;
  for (let c = 1; c < header.length; c++) {
    if (blocks.length === 0 || used + gap.length + widths[c] > width) {
      blocks.push([0]);
      used = first;
    }
    blocks.at(-1)!.push(c);
    used += gap.length + widths[c];
  }
  const cell = (text: string, c: number) => {
    const cut = cutToColumns(text, widths[c]);
    const padding = ' '.repeat(widths[c] - columnsOf(cut));
    return c === 0 ? `${cut}${padding}` : `${padding}${cut}`;
  };
  const render = (columns: number[]) => {
    const line = (cells: readonly string[]) =>
      columns
        .map(c => cell(cells[c], c))
        .join(gap)
        .trimEnd();
    const [head, ...body] = all.map(line);
    return [head, columns.map(c => '─'.repeat(widths[c])).join(gap), ...body].join('\n');
  };
  return (blocks.length > 0 ? blocks : [[0]]).map(render).join('\n\n');
}

/** A figure with its standard error, which a single text does not have. */
export const withError = (value: number, error: number, digits: number): string =>
  `${value.toFixed(digits)}${Number.isFinite(error) ? ` ± ${error.toFixed(digits)}` : ''}`;

const bits = (m: Metrics | null, digits = 3): string => (m ? withError(m.bitsPerByte, m.standardError, digits) : '');
const perplexity = (m: Metrics | null): string => (m ? m.perplexity.toPrecision(4) : '');

/** The table of an adaptation, a row for each method. */
export function resultsTable({ methods }: Results): string {
  const cells = (r: Row) => [
    r.name,
    perplexity(r.before),
    bits(r.before),
    perplexity(r.after),
    bits(r.after),
    r.tokensPerByte.toFixed(3),
    r.tokens > 0 ? r.tokens.toLocaleString('en') : '',
    r.bytes > 0 ? r.bytes.toLocaleString('en') : '',
    r.seconds > 0 ? r.seconds.toFixed(0) : '',
  ];
  return renderTable(
    [
      'method',
      'ppl before',
      'bits/byte before',
      'ppl after',
      'bits/byte after',
      'tokens/byte',
      'tokens',
      'bytes',
      'seconds',
    ],
    methods.map(cells),
  );
}

/** What `evaluate` measures. */
export interface EvaluationResult extends Metrics {
  readonly texts: number;
  readonly bytes: number;
  readonly tokensPerByte: number;
  /** Mean −log₂ p of the end token. */
  readonly endBits: number;
  readonly secondsPerThousandBytes: number;
}

/** The figures of `evaluate`, one row. */
export const evaluationTable = (result: EvaluationResult): string =>
  renderTable(
    ['texts', 'bytes', 'tokens/byte', 'perplexity', 'bits/byte', 'end token, bits', 's per 1000 bytes'],
    [
      [
        String(result.texts),
        String(result.bytes),
        result.tokensPerByte.toFixed(3),
        perplexity(result),
        bits(result, 4),
        result.endBits.toFixed(2),
        result.secondsPerThousandBytes.toFixed(3),
      ],
    ],
  );

/** Target tokens and the source tokens they are made of. */
export function explanationTable(rows: readonly Explanation[]): string {
  const cells = (r: Explanation) => [
    visible(r.token),
    `${(100 * r.covered).toFixed(1)}%`,
    String(r.support),
    r.sources.map(s => `${visible(s.token)} ${(100 * s.probability).toFixed(1)}%`).join('  '),
  ];
  return renderTable(['target token', 'covered', 'support', 'top source tokens'], rows.map(cells));
}
