/** JSON Lines: an object a line, its text in one field; blank lines are nothing. */

import { parseJson } from '../../models/json.ts';
import { UserError } from '../../models/errors.ts';
import type { DocumentReader, Sink } from './document.ts';

/** Reads JSON Lines, the text from `field`. A line without it is a `UserError`. */
export function jsonlReader(path: string, field: string, sink: Sink): DocumentReader {
  return {
    line(text, number) {
      if (text.trim() === '') return;
      const record = parseJson(text, `${path}:${number}`);
      if (typeof record !== 'object' || record === null || Array.isArray(record))
        throw new UserError(`${path}:${number}: not a JSON object; write {"${field}": "…"} on each line`);
      const { [field]: content, id } = record as Record<string, unknown>;
      if (typeof content !== 'string')
        throw new UserError(
          `${path}:${number}: lacks the field "${field}" with a string in it; name the field that holds ` +
            `the text with --field`,
        );
      // An escape such as \ud83d alone is no character: it has no UTF-8, and bits per byte no meaning.
      if (/\p{Surrogate}/u.test(content))
        throw new UserError(
          `${path}:${number}: the field "${field}" holds a lone surrogate; repair the text's escapes`,
        );
      sink.emit({
        name: typeof id === 'string' || typeof id === 'number' ? String(id) : `line ${number}`,
        text: content,
        line: number,
      });
    },
    end() {},
  };
}
