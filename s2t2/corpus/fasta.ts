/**
 * FASTA, as people have it: the only file here that knows what a sequence is.
 *
 *     >sp|P69905|HBA_HUMAN Hemoglobin      the name is the first word, and may be missing
 *     ; a comment
 *     MVLSPADKTN VKAAWGKVGA                wrapped, spaced, in either case
 *     hagEYGAeal*                          an end marked by *
 *
 * What is read becomes one line of capital letters, because a tokenizer must see one spelling of a residue:
 * - a final `*` (the stop codon of a translation) is dropped and counted;
 * - a record with a `*` inside (a frame shift, or two proteins) is skipped and counted, or, if strict, an error;
 * - gaps, `-` and `.`, are dropped and counted: they are columns of an alignment, not residues;
 * - digits and all other characters are errors, for they tell of another format (GenBank, PHYLIP, a web page);
 * - a record without letters is skipped and counted: filters and downloads leave such records in good files.
 *
 * `letters`, the default, takes all 26: each one is an amino acid or a code for several (B, J, X, Z; O and U are rare
 * ones), so nothing stricter could be said of a protein. `nucleotide` takes IUPAC's 16 and X.
 */

import { UserError } from '../../models/errors.ts';
import { detached, type DocumentReader, Pieces, type Sink } from './document.ts';

/** What a record may hold: any letters, or the letters of nucleotides. */
export type Alphabet = 'letters' | 'nucleotide';

/** Lines of nothing but letters as they are kept: nearly all there are. */
const PLAIN: Readonly<Record<Alphabet, RegExp>> = {
  letters: /^[A-Z]+$/,
  nucleotide: /^[ACGTURYKMSWBDHVNX]+$/,
};

/**
 * What does not belong. Asked before changing case, which makes `SS` of `ß`; without the flag `u`, by which `ſ` would
 * be an s.
 */
const FOREIGN: Readonly<Record<Alphabet, RegExp>> = {
  letters: /[^A-Z]/i,
  nucleotide: /[^ACGTURYKMSWBDHVNX]/i,
};

const EXPECTED: Readonly<Record<Alphabet, string>> = {
  letters: 'a sequence has letters only',
  nucleotide: 'a nucleotide sequence has the letters ACGTU and RYKMSWBDHVNX only',
};

/** The bytes that a tokenizer for sequences has tokens for, whether training shows them or not. */
export const fastaLetters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ*-';

/** How FASTA records are read. */
export interface FastaOptions {
  readonly alphabet: Alphabet;
  readonly strict: boolean;
}

/** Reads FASTA line by line. A record that holds other characters is a `UserError` with its line. */
export function fastaReader(path: string, { alphabet, strict }: FastaOptions, sink: Sink): DocumentReader {
  let [gaps, finalStops] = [0, 0];
  let header: { name: string; line: number } | undefined;
  const pieces = new Pieces();
  /** The line of a `*` that ends the current sequence, as far as it was read. */
  let stop = 0;
  /** Whether a `*` stands inside it. */
  let broken = false;

  const finish = () => {
    const text = pieces.take();
    if (header !== undefined && broken) sink.skip();
    else if (header !== undefined) {
      if (stop > 0) finalStops++;
      sink.emit({ name: detached(header.name), text, line: header.line });
    }
    stop = 0;
    broken = false;
  };
  const breakAt = (line: number) => {
    if (strict) throw new UserError(`${path}:${line}: a "*" inside a sequence; a sequence may only end with one`);
    broken = true;
  };

  const keep = (letters: string, number: number) => {
    sink.keep(letters, number);
    pieces.add(letters);
  };

  return {
    get gaps() {
      return gaps;
    },
    get finalStops() {
      return finalStops;
    },
    line(text, number) {
      if (header !== undefined && stop === 0 && PLAIN[alphabet].test(text)) {
        if (!broken) keep(text, number);
        return;
      }
      if (text.startsWith('>')) {
        finish();
        header = { name: /\S+/.exec(text.slice(1))?.[0] ?? `line ${number}`, line: number };
        return;
      }
      if (text.startsWith(';')) return;
      let letters = text;
      if (FOREIGN.letters.test(letters)) {
        letters = letters.replace(/\s+/g, '');
        const ungapped = letters.replace(/[-.]+/g, '');
        gaps += letters.length - ungapped.length;
        letters = ungapped;
      }
      if (letters === '') return;
      if (header === undefined)
        throw new UserError(
          `${path}:${number}: a sequence before the first header; begin each record with a line ">name"`,
        );
      if (stop > 0) breakAt(stop);
      if (letters.endsWith('*')) {
        stop = number;
        letters = letters.slice(0, -1);
      }
      if (letters.includes('*')) {
        breakAt(number);
        letters = letters.replaceAll('*', '');
      }
      const foreign = FOREIGN[alphabet].exec(letters);
      if (foreign !== null)
        throw new UserError(
          `${path}:${number}: unexpected ${nameOf(letters.codePointAt(foreign.index)!)} in a sequence; ` +
            `${EXPECTED[alphabet]}`,
        );
      if (!broken) keep(letters.toUpperCase(), number);
    },
    end: finish,
  };
}

/** A character as a person can look for it. */
function nameOf(codePoint: number): string {
  const character = String.fromCodePoint(codePoint);
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(character)
    ? JSON.stringify(character)
    : `character U+${codePoint.toString(16).toUpperCase().padStart(4, '0')}`;
}
