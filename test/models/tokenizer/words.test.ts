/** The table of words: numbers in order of first occurrence, whatever the hashes, through every growth. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WordTable } from '../../../models/tokenizer/words.ts';

/** Numbers of words that stand in one text one after another, by a Map and by the table. */
function numbered(words: readonly string[]) {
  const [table, known] = [new WordTable(), new Map<string, number>()];
  const text = words.join('');
  const numbers: number[] = [];
  const expected: number[] = [];
  let at = 0;
  for (const word of words) {
    if (!known.has(word)) known.set(word, known.size);
    expected.push(known.get(word)!);
    numbers.push(table.number(text, at, at + word.length));
    at += word.length;
  }
  return { table, known, numbers, expected };
}

test('a word has the number of its first occurrence, and is read back', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', '日', '\ud83d'), maxLength: 6 });
  fc.assert(
    fc.property(fc.array(word, { maxLength: 60 }), words => {
      const { table, known, numbers, expected } = numbered(words);
      expect(numbers).toEqual(expected);
      expect(table.size).toBe(known.size);
      for (const [text, number] of known) expect(table.word(number)).toBe(text);
    }),
  );
});

test('so it is with tens of thousands of words, each of which comes twice, and with a word longer than a block', () => {
  const words = Array.from({ length: 20_000 }, (_, i) => i.toString(36));
  const { table, numbers, expected } = numbered([...words, 'x'.repeat(50_000), ...words]);
  expect(numbers).toEqual(expected);
  expect(table.size).toBe(20_001);
  expect(table.word(20_000)).toBe('x'.repeat(50_000));
  expect(table.word(19_999)).toBe((19_999).toString(36));
});
