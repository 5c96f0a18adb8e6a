/** Text that is safe to print: one line, no control of the terminal, nothing lost. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { oneLine, show } from '../../models/errors.ts';
import {
  columnsOf,
  counted,
  cutToColumns,
  printable,
  printableJson,
  printableLines,
  printableText,
  visible,
} from '../../models/printable.ts';

/** Text with what terminals and pages stumble over. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '\n',
        '\r',
        '\t',
        '\u001b[31m',
        '\u009b2J',
        '\u007f',
        '\u202e',
        '\u2066',
        '\u200d',
        '\u2028',
        '\ud800',
        '日本',
        '👍',
      ),
    ),
    { maxLength: 8 },
  )
  .map(parts => parts.join(''));

/** Controls (C0, DEL, C1), bidirectional marks and separators, by their numbers. */
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const dangerous = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\u061c\ufeff]/;

describe('printable', () => {
  test('holds nothing that a terminal acts on', () => {
    fc.assert(
      fc.property(hostile, text => {
        for (const shown of [printable(text), visible(text), oneLine(text), show(text), printableJson(text)])
          expect(shown).not.toMatch(dangerous);
        expect(printableLines(text).replaceAll('\n', '')).not.toMatch(dangerous);
      }),
    );
  });

  test('a result keeps what shapes its text, and nothing else that is hidden', () => {
    const shaping = 'if (x)\n\treturn; می\u200cخواهم क्\u200dष ❤\ufe0f 👩\u200d👧 葛\u{e0100}';
    expect(printableText(shaping)).toBe(shaping);
    const moving = '\u001b[31m \u0007 \r \u007f \u009b \u200e \u200f \u202e \u2066 \u061c \u2028 \ufeff';
    expect(printableText(moving)).toBe(printable(moving));
    fc.assert(
      fc.property(hostile, text => {
        expect(printableText(text).replaceAll(/[\n\t]/g, '')).not.toMatch(dangerous);
        expect(printable(printableText(text))).toBe(printable(text));
      }),
    );
  });

  test('leaves plain text of any script as it is', () => {
    for (const text of ['MKVLA', 'a b', 'Ünïcödé', '日本語', '한국어', 'שלום', '👍', ''])
      expect(printable(text)).toBe(text);
  });

  test.each([
    ['a\nb\tc\r', 'a\\nb\\tc\\r'],
    ['\u001b[31mred', '\\x1b[31mred'],
    ['\u009b2J', '\\x9b2J'],
    ['\u007f', '\\x7f'],
    ['\u202eevil', '\\u{202e}evil'],
    ['\ud800', '\\u{d800}'],
  ])('%j is shown as %s', (text, shown) => expect(printable(text)).toBe(shown));

  test('JSON parses to the same value', () => {
    fc.assert(
      fc.property(hostile, text => {
        expect(JSON.parse(printableJson({ text }))).toEqual({ text });
      }),
    );
  });
});

describe('a token as shown to people', () => {
  test.each([
    ['', '∅'],
    [' the', '␣the'],
    ['\\xda', '\\xda'],
    ['\u00a0', '\\xa0'],
    ['\u0301', '◌\u0301'],
  ])('%j is %s', (token, shown) => expect(visible(token)).toBe(shown));
});

describe('columns', () => {
  test.each([
    ['abc', 3],
    ['日本', 4],
    ['e\u0301', 1],
    ['👍', 2],
    ['', 0],
  ])('%s takes %i', (text, columns) => expect(columnsOf(text)).toBe(columns));

  test('a cut text fits, and a text that fits is not cut', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 20 }), (text, most) => {
        const cut = cutToColumns(text, most);
        expect(columnsOf(cut)).toBeLessThanOrEqual(most);
        if (columnsOf(text) <= most) expect(cut).toBe(text);
        else expect(cut.endsWith('…')).toBe(true);
      }),
    );
  });
});

test('a count has the plural of its unit, but for one', () => {
  const law = fc.property(fc.nat(), n => {
    expect(counted(n, 'text')).toBe(`${n.toLocaleString('en')} ${n === 1 ? 'text' : 'texts'}`);
  });
  fc.assert(law, { examples: [[0], [1], [2], [1000]] });
});
