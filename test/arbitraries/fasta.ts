/** FASTA files: records, and a way to write them down among the many that mean the same. */

import { gzipSync } from 'node:zlib';
import fc from 'fast-check';

export interface FastaRecord {
  readonly name: string;
  readonly text: string;
}

const letter = fc.constantFrom(...'ACDEFGHIKLMNPQRSTVWYBJOUXZ');
const word = fc.stringMatching(/^[!-~]{1,12}$/);

/** At least one record, none of them empty; names are single words. */
export const fastaRecords: fc.Arbitrary<FastaRecord[]> = fc.array(
  fc.record({ name: word, text: fc.string({ unit: letter, minLength: 1, maxLength: 100 }) }),
  { minLength: 1, maxLength: 8 },
);

/** Everything a program that writes FASTA may choose. */
export const fastaLayout = fc.record({
  /** Letters a line; varies from line to line, as in files edited by hand. */
  wraps: fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 4 }),
  newline: fc.constantFrom('\n', '\r\n', '\r'),
  lowerCase: fc.constantFrom('none', 'all', 'some'),
  stop: fc.boolean(),
  description: fc.constantFrom('', ' ', ' Hemoglobin OS=Homo sapiens', '\tspaced > twice'),
  /** Put after each line of a sequence. */
  trailing: fc.constantFrom('', ' ', '\t'),
  blankLines: fc.boolean(),
  comments: fc.boolean(),
  byteOrderMark: fc.boolean(),
  endsWithNewline: fc.boolean(),
  gzip: fc.boolean(),
});

export type FastaLayout = typeof fastaLayout extends fc.Arbitrary<infer Layout> ? Layout : never;

/** The file's bytes, and the number of the line on which each record begins. */
export function renderFasta(records: readonly FastaRecord[], layout: FastaLayout): { bytes: Buffer; lines: number[] } {
  const out: string[] = [];
  const lines: number[] = [];
  if (layout.comments) out.push('; made by a test');
  for (const { name, text } of records) {
    lines.push(out.length + 1);
    out.push(`>${name}${layout.description}`);
    if (layout.comments) out.push(';7 residues * - .');
    const sequence = inCase(text, layout.lowerCase) + (layout.stop ? '*' : '');
    for (let at = 0, row = 0; at < sequence.length; row++) {
      const width = layout.wraps[row % layout.wraps.length];
      out.push(sequence.slice(at, at + width) + layout.trailing);
      at += width;
    }
    if (layout.blankLines) out.push('', ' ');
  }
  const text =
    (layout.byteOrderMark ? '\ufeff' : '') + out.join(layout.newline) + (layout.endsWithNewline ? layout.newline : '');
  const bytes = Buffer.from(text);
  return { bytes: layout.gzip ? gzipSync(bytes) : bytes, lines };
}

function inCase(text: string, lowerCase: string): string {
  if (lowerCase === 'none') return text;
  return lowerCase === 'all' ? text.toLowerCase() : text.replace(/[A-M]/g, character => character.toLowerCase());
}
