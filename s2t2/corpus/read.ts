/**
 * A corpus: the documents of a FASTA, plain text or JSON Lines file, read from its bytes chunk by chunk.
 *
 * Each document is dropped or handed on as soon as it is complete, so memory holds one chunk and little else. What was
 * dropped is counted and never silent.
 */
import { UserError } from '../../models/errors.ts';
import { counted } from '../../models/printable.ts';
import type { Document, DocumentReader, Sink } from './document.ts';
import { type Alphabet, fastaReader } from './fasta.ts';
import { detectFormat, headBytes, type CorpusFormat } from './format.ts';
import { jsonlReader } from './jsonl.ts';
import { LineSplitter, MAX_TEXT } from './lines.ts';
import { plainReader, type Unit } from './plain.ts';

/** Bytes of a corpus, piece by piece. */
export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** How a corpus is read. */
export interface CorpusOptions {
  /** By default the content tells, and where it does not, the name (see format.ts). */
  readonly format?: CorpusFormat;
  /** How errors say that a format can be given; see `detectFormat`. */
  readonly override?: string | null;
  /** FASTA: the letters a sequence may have; by default all 26. */
  readonly alphabet?: Alphabet;
  /** FASTA: whether a record with a "*" inside is an error, and not left out and counted. */
  readonly strict?: boolean;
  /** JSON Lines: the field that holds the text; by default `text`. */
  readonly field?: string;
  /** Plain text: what makes a document; by default a paragraph. */
  readonly unit?: Unit;
  /** Documents outside these lengths (in UTF-16 units: residues, for a sequence) are left out and counted. */
  readonly minLength?: number;
  readonly maxLength?: number;
  /** The most bytes read; by default 2 GiB. */
  readonly maxBytes?: number;
  /** Ends the reading with its reason. */
  readonly signal?: AbortSignal;
  /** Told of what is kept for an unfinished document; may throw. */
  readonly onKeep?: (characters: number) => void;
}

/** What a corpus holds, and what was left out of it. */
export interface CorpusSummary {
  readonly path: string;
  readonly format: CorpusFormat;
  readonly documents: number;
  /** Documents left out, by reason; `stops`: sequences with a "*" inside. */
  readonly skipped: {
    readonly empty: number;
    readonly tooShort: number;
    readonly tooLong: number;
    readonly stops: number;
  };
  /** FASTA: gap characters dropped from sequences, and "*" dropped from their ends. */
  readonly gaps: number;
  readonly finalStops: number;
}

const UNITS: Readonly<Record<CorpusFormat, string>> = {
  fasta: 'a record beginning with ">"',
  text: 'a line with text',
  jsonl: 'a line with an object',
};

/** Reads a corpus from chunks of bytes: tells its format, and gives its documents. */
export class CorpusReader {
  private readonly path: string;
  private readonly options: CorpusOptions;
  private readonly skipped = { empty: 0, tooShort: 0, tooLong: 0, stops: 0 };
  private format: CorpusFormat | undefined;
  private reader: DocumentReader | undefined;
  private batch: Document[] = [];
  private kept = 0;
  private documents = 0;

  /** `path` names the corpus in messages, and its ending may tell the format. */
  constructor(path: string, options: CorpusOptions = {}) {
    this.path = path;
    this.options = options;
  }

  /**
   * The documents, in batches as they are complete; none of them is empty.
   *
   * @throws UserError for every mistake in the corpus, with its line where there is one, and if it holds no document.
   */
  async *read(chunks: Chunks): AsyncGenerator<readonly Document[]> {
    const { maxBytes = 2 ** 31, signal } = this.options;
    const lines = new LineSplitter(this.path, (line, number) => this.reader!.line(line, number));
    let head: Uint8Array[] = [];
    let bytes = 0;
    const begin = (whole: boolean) => {
      this.open(head, whole);
      for (const chunk of head) lines.add(chunk);
      head = [];
    };
    for await (const chunk of chunks) {
      signal?.throwIfAborted();
      bytes += chunk.length;
      if (bytes > maxBytes)
        throw new UserError(
          `${this.path}: holds more than ${maxBytes} bytes of text; split it, or raise the limit if this ` +
            `is no accident`,
        );
      if (this.reader) lines.add(chunk);
      else {
        head.push(chunk.slice());
        if (bytes >= headBytes) begin(false);
      }
      if (this.batch.length > 0) yield this.take();
    }
    if (!this.reader) begin(true);
    lines.end();
    this.reader!.end();
    if (this.batch.length > 0) yield this.take();
    this.check(lines.number);
  }

  /** Documents so far, those left out included. */
  get found(): number {
    const { empty, tooShort, tooLong, stops } = this.skipped;
    return this.documents + empty + tooShort + tooLong + stops;
  }

  get summary(): CorpusSummary {
    const { gaps = 0, finalStops = 0 } = this.reader ?? {};
    return {
      path: this.path,
      format: this.format ?? 'text',
      documents: this.documents,
      skipped: { ...this.skipped },
      gaps,
      finalStops,
    };
  }

  private open(head: readonly Uint8Array[], whole: boolean): void {
    const { format, override, alphabet = 'letters', strict = false, field = 'text', unit = 'paragraph' } = this.options;
    const decoder = new TextDecoder();
    let [text, seen] = ['', 0];
    for (const chunk of head) {
      text += decoder.decode(chunk.subarray(0, headBytes - seen), { stream: true });
      seen += chunk.length; // short of `headBytes` but for the last chunk
    }
    this.format = format ?? detectFormat(this.path, text, whole, override);
    const sink: Sink = {
      emit: document => this.emit(document),
      keep: (piece, line) => this.keep(piece, line),
      skip: () => {
        this.release();
        this.skipped.stops++;
      },
    };
    this.reader = {
      fasta: () => fastaReader(this.path, { alphabet, strict }, sink),
      text: () => plainReader(unit, sink),
      jsonl: () => jsonlReader(this.path, field, sink),
    }[this.format]();
  }

  private emit(document: Document): void {
    const { minLength = 1, maxLength = Infinity } = this.options;
    this.release();
    const { length } = document.text;
    if (length === 0) this.skipped.empty++;
    else if (length < minLength) this.skipped.tooShort++;
    else if (length > maxLength) this.skipped.tooLong++;
    else {
      this.documents++;
      this.batch.push(document);
    }
  }

  private keep(piece: string, line: number): void {
    this.kept += piece.length + 1;
    if (this.kept > MAX_TEXT)
      throw new UserError(`${this.path}:${line}: a document longer than ${MAX_TEXT} characters; split it`);
    this.options.onKeep?.(this.kept);
  }

  private release(): void {
    this.kept = 0;
  }

  private take(): readonly Document[] {
    const { batch } = this;
    this.batch = [];
    return batch;
  }

  private check(lines: number): void {
    const { path, skipped, documents, found } = this;
    const { minLength = 1, maxLength = Infinity } = this.options;
    if (lines === 0) throw new UserError(`${path}: is empty; give a file with text or sequences`);
    if (found === 0) throw new UserError(`${path}: holds no document; ${this.format} needs ${UNITS[this.format!]}`);
    if (found === skipped.empty)
      throw new UserError(`${path}: ${counted(found, 'document')}, all empty; give a file with text or sequences`);
    if (found === skipped.empty + skipped.stops)
      throw new UserError(`${path}: ${counted(found, 'sequence')}, all empty or with "*" inside`);
    if (documents === 0)
      throw new UserError(
        `${path}: ${counted(found, 'document')}, none ${minLength} to ${maxLength} long ` +
          `(${skipped.tooShort} shorter, ${skipped.tooLong} longer); change the limits`,
      );
  }
}

const NAMES: Readonly<Record<CorpusFormat, readonly [string, string]>> = {
  fasta: ['FASTA', 'sequence'],
  text: ['plain text', 'text'],
  jsonl: ['JSON Lines', 'text'],
};

/** The summary in one line: format, counts, what was left out and why. */
export function describeCorpus({ path, format, documents, skipped, gaps, finalStops }: CorpusSummary): string {
  const count = (n: number) => n.toLocaleString('en');
  const [name, unit] = NAMES[format];
  const reasons = [
    [skipped.empty, 'empty'],
    [skipped.tooShort, 'too short'],
    [skipped.tooLong, 'too long'],
    [skipped.stops, 'with "*" inside'],
  ] as const;
  const total = reasons.reduce((n, [k]) => n + k, 0);
  const because = reasons.filter(([n]) => n > 0).map(([n, reason]) => `${count(n)} ${reason}`);
  const dropped = [
    ...(gaps > 0 ? [counted(gaps, 'gap character')] : []),
    ...(finalStops > 0 ? [`"*" at ${counted(finalStops, 'end')}`] : []),
  ];
  return [
    `${path}: ${name}, ${counted(documents, unit)}`,
    ...(total > 0 ? [`${count(total)} skipped (${because.join(', ')})`] : []),
    ...(dropped.length > 0 ? [`${dropped.join(' and ')} dropped`] : []),
  ].join(', ');
}
