/** Plain text: paragraphs or lines, their characters as they are. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readCorpus } from '../../../s2t2/app/corpus.ts';
import { temporaryDirectory } from '../../models/temporary.ts';

const path = join(temporaryDirectory(), 'a.txt');

/** A line with something on it. */
const line = fc
  .string({ unit: 'grapheme', minLength: 1 })
  .filter(text => text.trim() !== '' && !text.startsWith('\ufeff'));
const newline = fc.constantFrom('\n', '\r\n', '\r');

test('paragraphs joined by blank lines are read as they were', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(line, { minLength: 1, maxLength: 4 }), { minLength: 1 }),
      newline,
      fc.constantFrom('', ' ', '\t'),
      async (paragraphs, end, blank) => {
        await writeFile(path, paragraphs.map(lines => lines.join(end)).join(end + blank + end));
        const { documents } = await readCorpus(path);
        expect(documents.map(({ text }) => text)).toEqual(paragraphs.map(lines => lines.join('\n')));
      },
    ),
  );
});

test('or a document is a line', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(line, { minLength: 1 }), newline, async (lines, end) => {
      await writeFile(path, lines.join(end) + end);
      const { documents } = await readCorpus(path, { unit: 'line' });
      expect(documents).toEqual(lines.map((text, i) => ({ name: `line ${i + 1}`, text, line: i + 1 })));
    }),
  );
});

test('a paragraph is named by its first line', async () => {
  await writeFile(path, '\n\none\ntwo\n\n\nthree');
  expect((await readCorpus(path)).documents).toEqual([
    { name: 'line 3', text: 'one\ntwo', line: 3 },
    { name: 'line 7', text: 'three', line: 7 },
  ]);
});
