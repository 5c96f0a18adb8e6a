/** What a corpus is made of, and what a reader of one format must do. */

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
}

/** Where readers put what they find. */
export interface Sink {
  /** Must be told of every piece that is kept for a document not finished yet, with its line; refuses one too many. */
  keep(piece: string, line: number): void;
  emit(document: Document): void;
}
