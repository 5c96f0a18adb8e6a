/** Results as text for a terminal. */
import type { Results, Row } from '../cell.ts';
import type { Metrics } from '../evaluate.ts';
import type { Explanation } from '../explain.ts';

/** Columns padded to their widest cell; the first is aligned left, the others right. */
export function renderTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, c) => Math.max(...all.map(r => [...r[c]].length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join('  ')
      .trimEnd();
  return [line(header), widths.map(w => '─'.repeat(w)).join('  '), ...rows.map(line)].join('\n');
}

/** A figure with its standard error, which a single text does not have. */
export const withError = (value: number, error: number, digits: number): string =>
  `${value.toFixed(digits)}${Number.isFinite(error) ? ` ± ${error.toFixed(digits)}` : ''}`;

const bits = (m: Metrics | null): string => (m ? withError(m.bitsPerByte, m.standardError, 3) : '');
const perplexity = (m: Metrics | null): string => (m ? m.perplexity.toPrecision(4) : '');

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

export function explanationTable(rows: readonly Explanation[]): string {
  const cells = (r: Explanation) => [
    r.token,
    `${(100 * r.covered).toFixed(1)}%`,
    String(r.support),
    r.sources.map(s => `${JSON.stringify(s.token)} ${(100 * s.probability).toFixed(1)}%`).join('  '),
  ];
  const text = renderTable(['target token', 'covered', 'support', 'top source tokens'], rows.map(cells));
  return text;
}
