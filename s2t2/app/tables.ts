/** Results as text for a terminal. */
import { visible } from '../../models/printable.ts';
import { renderTable } from '../../models/node/table.ts';
import type { Results, Row } from '../cell.ts';
import type { Metrics } from '../evaluate.ts';
import type { Explanation } from '../explain.ts';

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
