/** Plain text: a document is a paragraph (blank lines lie between them) or a line. Its characters stay as they are. */

import type { DocumentReader, Sink } from './document.ts';

export type Unit = 'paragraph' | 'line';

export function plainReader(unit: Unit, sink: Sink): DocumentReader {
  let lines: string[] = [];
  let first = 0;

  const finish = () => {
    if (lines.length > 0) sink.emit({ name: `line ${first}`, text: lines.join('\n'), line: first });
    lines = [];
  };

  return {
    line(text, number) {
      if (text.trim() === '') return finish();
      if (lines.length === 0) first = number;
      sink.keep(text, number);
      lines.push(text);
      if (unit === 'line') finish();
    },
    end: finish,
  };
}
