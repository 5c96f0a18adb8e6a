/**
 * A corpus: the documents of a FASTA, plain text or JSON Lines file, behind one interface.
 *
 * The file is read line by line and each document is dropped or kept as soon as it is complete, so memory holds the
 * kept text once and little else. What was dropped is counted and never silent.
 */

import { getHeapStatistics } from 'node:v8';
import { UserError } from '../../models/errors.ts';
import type { Document, DocumentReader, Sink } from './corpus/document.ts';
import { type Alphabet, fastaReader } from './corpus/fasta.ts';
import { jsonlReader } from './corpus/jsonl.ts';
import { forEachLine, MAX_TEXT } from './corpus/lines.ts';
import { plainReader, type Unit } from './corpus/plain.ts';

export type { Document } from './corpus/document.ts';

export type CorpusFormat = 'fasta' | 'text' | 'jsonl';

export interface CorpusOptions {
  /** By default the file's name tells (see `formatOf`), and where it does not, its first character. */
  readonly format?: CorpusFormat;
  /** FASTA: the letters a sequence may have; by default all 26. */
  readonly alphabet?: Alphabet;
  /** JSONL: the field that holds the text; by default `text`. */
  readonly field?: string;
  /** Plain text: what makes a document; by default a paragraph. */
  readonly unit?: Unit;
  /** Documents outside these lengths (in UTF-16 units: residues, for a sequence) are left out and counted. */
  readonly minLength?: number;
  readonly maxLength?: number;
  /** The most bytes read, after unpacking; by default 2 GiB. */
  readonly maxBytes?: number;
}

export interface Corpus {
  readonly path: string;
  readonly format: CorpusFormat;
  /** In the order of the file; never empty, and no text in it is. */
  readonly documents: readonly Document[];
  /** Documents left out, by reason. */
  readonly skipped: { readonly empty: number; readonly tooShort: number; readonly tooLong: number };
  /** FASTA: gap characters dropped from sequences. */
  readonly gaps: number;
}

const UNITS: Readonly<Record<CorpusFormat, string>> = {
  fasta: 'a record beginning with ">"',
  text: 'a line with text',
  jsonl: 'a line with an object',
};

/** Reads a corpus. Its every mistake is a `UserError` that names the file and, where there is one, the line. */
export async function readCorpus(path: string, options: CorpusOptions = {}): Promise<Corpus> {
  const {
    alphabet = 'letters',
    field = 'text',
    unit = 'paragraph',
    minLength = 1,
    maxLength = Infinity,
    maxBytes = 2 ** 31,
  } = options;
  const documents: Document[] = [];
  const skipped = { empty: 0, tooShort: 0, tooLong: 0 };
  const budget = heapBudget(path);
  const emit = (document: Document) => {
    budget.release();
    const { length } = document.text;
    if (length === 0) skipped.empty++;
    else if (length < minLength) skipped.tooShort++;
    else if (length > maxLength) skipped.tooLong++;
    else {
      budget.spend(document);
      documents.push({ ...document, name: detached(document.name), text: detached(document.text) });
    }
  };
  const sink: Sink = { emit, keep: budget.keep };
  const readers = {
    fasta: fastaReader(path, alphabet, sink),
    text: plainReader(unit, sink),
    jsonl: jsonlReader(path, field, sink),
  } satisfies Record<CorpusFormat, DocumentReader>;

  let format = options.format ?? formatOf(path);
  const lines = await forEachLine(path, maxBytes, (line, number) => {
    format ??= formatOfFirst(line); // Until it is known, lines are blank: nothing to any reader.
    if (format !== undefined) readers[format].line(line, number);
  });
  format ??= 'text';
  readers[format].end();

  const seen = documents.length + skipped.empty + skipped.tooShort + skipped.tooLong;
  if (lines === 0) throw new UserError(`${path}: is empty; give a file with text or sequences`);
  if (seen === 0) throw new UserError(`${path}: holds no document; ${format} needs ${UNITS[format]}`);
  if (seen === skipped.empty)
    throw new UserError(`${path}: all of its ${seen} documents are empty; give a file with text or sequences`);
  if (documents.length === 0)
    throw new UserError(
      `${path}: none of its ${seen} documents is ${minLength} to ${maxLength} long (${skipped.tooShort} are shorter, ${skipped.tooLong} longer); change the limits`,
    );
  return { path, format, documents, skipped, gaps: readers.fasta.gaps };
}

const EXTENSIONS: Readonly<Record<CorpusFormat, RegExp>> = {
  fasta: /\.(fa|fas|fasta|faa|fna|ffn|frn)(\.gz)?$/i,
  text: /\.(txt|text|md)(\.gz)?$/i,
  jsonl: /\.(jsonl|ndjson)(\.gz)?$/i,
};

/** The format that a file's name tells. */
export function formatOf(path: string): CorpusFormat | undefined {
  return (['fasta', 'text', 'jsonl'] as const).find(format => EXTENSIONS[format].test(path));
}

/** The format that a file's first line tells: undefined while it is blank. */
function formatOfFirst(line: string): CorpusFormat | undefined {
  if (line.trim() === '') return undefined;
  return /^[>;]/.test(line) ? 'fasta' : line.trimStart().startsWith('{') ? 'jsonl' : 'text';
}

/** A copy that owns its characters. V8's slices keep alive what they were cut from: here, a block of the file for every name. */
function detached(text: string): string {
  return Buffer.from(text).toString();
}

interface HeapBudget {
  /** A finished document that stays. */
  spend(document: Document): void;
  /** A piece of an unfinished one. */
  keep(piece: string, line: number): void;
  /** The pieces kept so far have become a document, or nothing. */
  release(): void;
}

/**
 * Running out of heap kills the process without a word, so what is kept may take at most a third of it: a byte a
 * character (two, beyond Latin-1: hence no more) and what V8 needs for an object and its strings. Pieces count twice,
 * as they are there still when they are joined.
 */
function heapBudget(path: string): HeapBudget {
  const documentBytes = 150;
  const limit = getHeapStatistics().heap_size_limit / 3;
  let [spent, kept] = [0, 0];
  const check = () => {
    if (spent + 2 * kept > limit)
      throw new UserError(
        `${path}: does not fit into Node's memory; raise it with NODE_OPTIONS=--max-old-space-size=MEGABYTES, or leave documents out by their length`,
      );
  };
  return {
    spend({ name, text }) {
      spent += text.length + name.length + documentBytes;
      check();
    },
    keep(piece, line) {
      kept += piece.length + 1;
      if (kept > MAX_TEXT)
        throw new UserError(`${path}:${line}: a document longer than ${MAX_TEXT} characters; split it`);
      check();
    },
    release() {
      kept = 0;
    },
  };
}
