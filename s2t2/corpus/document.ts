/** What a corpus is made of, and what a reader of one format must do. */

export interface Document {
  /** What the file calls it: a FASTA identifier, a JSONL `id`; else where it begins, as `line 7`. */
  readonly name: string;
  readonly text: string;
  /** The line of the file, from 1, on which it begins. */
  readonly line: number;
}

/** Takes a file's lines one by one (without their ends), and hands each finished document to its `emit`. */
export interface DocumentReader {
  line(text: string, number: number): void;
  /** After the last line. */
  end(): void;
}

export type Emit = (document: Document) => void;
