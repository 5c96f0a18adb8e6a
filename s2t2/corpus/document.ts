/** What a corpus is made of, and what a reader of one format must do. */

/** A text of a corpus, with its name and the line where it begins. */
export interface Document {
  /** What the file calls it: a FASTA identifier, a JSONL `id`; else where it begins, as `line 7`. */
  readonly name: string;
  readonly text: string;
  /** The line of the file, from 1, on which it begins. */
  readonly line: number;
}

/** Takes a file's lines one by one (without their ends), and hands each finished document to its sink. */
export interface DocumentReader {
  line(text: string, number: number): void;
  /** After the last line. */
  end(): void;
  /** Of sequences: gap characters dropped so far, and "*" dropped from ends. */
  readonly gaps?: number;
  readonly finalStops?: number;
}

/**
 * A text that comes in pieces. Every so often they are joined to one: a short string takes four times its letters and a
 * place in a list, which for a genome in lines of 60 would be more than the genome.
 */
export class Pieces {
  readonly #separator: string;
  #blocks: string[] = [];
  #pieces: string[] = [];

  constructor(separator = '') {
    this.#separator = separator;
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0 && this.#blocks.length === 0;
  }

  add(piece: string): void {
    if (this.#pieces.push(piece) === 4096) this.#blocks.push(this.#joined());
  }

  /** The whole, and nothing from then on. */
  take(): string {
    // Nearly every text: the lists below would take most of the time that a short one takes.
    if (this.#blocks.length === 0) return this.#pieces.length > 0 ? this.#joined() : '';
    const text = this.#pieces.length > 0 ? [...this.#blocks, this.#joined()] : this.#blocks;
    this.#blocks = [];
    return text.join(this.#separator);
  }

  #joined(): string {
    const block = this.#pieces.length === 1 ? detached(this.#pieces[0]) : this.#pieces.join(this.#separator);
    this.#pieces = [];
    return block;
  }
}

/**
 * A copy that owns its characters. V8's slices keep alive what they were cut from: here, a block of the file for every
 * name. Below 13 characters V8 copies by itself; what it joins of two parts is a copy as well.
 */
export const detached = (text: string): string =>
  text.length < 13 ? text : [text.slice(0, 1), text.slice(1)].join('');

/** Where readers put what they find; names and texts own their characters. */
export interface Sink {
  /** Must be told of every piece that is kept for a document not finished yet, with its line; rejects one too many. */
  keep(piece: string, line: number): void;
  emit(document: Document): void;
  /** In place of `emit`: the document is left out, since a "*" stands inside it. */
  skip(): void;
}
