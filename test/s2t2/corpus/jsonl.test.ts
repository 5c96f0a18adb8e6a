/** JSON Lines: what was written as an object a line is read; every other line is named. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CorpusOptions, readCorpus } from '../../../s2t2/app/corpus.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';

const path = join(temporaryDirectory(), 'a.jsonl');

async function read(content: string, options?: CorpusOptions) {
  await writeFile(path, content);
  return readCorpus(path, options);
}

test('read(JSON of each) = the texts, whatever characters they have', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ unit: 'binary', minLength: 1 }), { minLength: 1 }), async texts => {
      const { documents } = await read(texts.map(text => `${JSON.stringify({ text })}\n`).join(''));
      expect(documents).toEqual(texts.map((text, i) => ({ name: `line ${i + 1}`, text, line: i + 1 })));
    }),
  );
});

test('the text may be in another field; an id is a name; blank lines are nothing', async () => {
  const { documents } = await read('{"seq": "MK", "id": 7}\n\n{"id": "b", "seq": "VL"}', { field: 'seq' });
  expect(documents).toEqual([
    { name: '7', text: 'MK', line: 1 },
    { name: 'b', text: 'VL', line: 3 },
  ]);
});

describe('an error at its line', () => {
  const good = '{"text": "a"}\n';
  const cases: [string, string, CorpusOptions?][] = [
    [
      '{"text": "a"',
      "2: not valid JSON (Expected ',' or '}' after property value in JSON at position 12); is it complete?",
    ],
    ['["a"]', '2: not a JSON object; write {"text": "…"} on each line'],
    ['"a"', '2: not a JSON object; write {"text": "…"} on each line'],
    ['null', '2: not a JSON object; write {"text": "…"} on each line'],
    [
      '{"content": "a"}',
      '2: lacks the field "text" with a string in it; name the field that holds the text with --field',
    ],
    ['{"text": 7}', '2: lacks the field "text" with a string in it; name the field that holds the text with --field'],
    ['{"text": "\\ud83d"}', '2: the field "text" holds a lone surrogate; repair the text\'s escapes'],
    [`{"text": ${'['.repeat(1_000_000)}`, '2: JSON nested deeper than 64 levels; is it the right file?'],
  ];
  test.each(cases)('%#', async (line, message, options) => {
    expect(await refusal(read(good + line, options))).toBe(`${path}:${message}`);
  });
});
