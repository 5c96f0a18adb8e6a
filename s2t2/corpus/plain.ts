/** Plain text: a document is a paragraph (blank lines lie between them) or a line. Its characters stay as they are. */

import { type DocumentReader, Pieces, type Sink } from './document.ts';

/** What a document of plain text is. */
export type Unit = 'paragraph' | 'line';

/** Reads plain text, a document for each paragraph or each line. */
export function plainReader(unit: Unit, sink: Sink): DocumentReader {
  const lines = new Pieces('\n');
  let first = 0;

  const finish = () => {
    if (!lines.isEmpty) sink.emit({ name: `line ${first}`, text: lines.take(), line: first });
  };

  return {
    line(text, number) {
      if (text.trim() === '') return finish();
      if (lines.isEmpty) first = number;
      sink.keep(text, number);
      lines.add(text);
      if (unit === 'line') finish();
    },
    end: finish,
  };
}
