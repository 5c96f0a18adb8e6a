/**
 * The table of words: numbers in order of first occurrence, whatever the hashes, through every growth. The cache: a
 * word has its own ids and no other's, however many take its place.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Ids } from '../../../models/tokenizer/ids.ts';
import { Units } from '../../../models/tokenizer/units.ts';
import { WordCache, WordTable } from '../../../models/tokenizer/words.ts';

/** Numbers of words that stand in one text one after another, by a Map and by the table. */
function numbered(words: readonly string[]) {
  const [table, known] = [new WordTable(), new Map<string, number>()];
  const text = new Units().of(words.join(''));
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

test('the cache gives a word its ids, or none', () => {
  // Of 1 to 70 units, a third of them beyond ASCII, with 1 to 10 ids.
  const words = Array.from({ length: 20_000 }, (_, i) => {
    const digits = `${'é'.repeat(i % 3 === 0 ? 1 : 0)}${i}`;
    return i % 100 === 0 ? digits.padStart(i % 71, 'x') : digits;
  });
  const idsOf = (i: number) => Array.from({ length: 1 + (i % 10) }, (_, k) => i + k);
  const units = new Units();
  const cache = new WordCache();
  const list = new Ids();
  let known = 0;
  for (const round of [1, 2])
    words.forEach((word, i) => {
      list.length = 0;
      list.add(-1);
      const text = units.of(`<${word}>`);
      if (cache.addTo(list, text, 1, 1 + word.length)) {
        known++;
        if (list.values.subarray(0, list.length).join() !== [-1, ...idsOf(i)].join()) expect.fail(`${round} ${word}`);
      } else {
        for (const id of idsOf(i)) list.add(id);
        cache.remember(list, 1);
        list.length = 1;
        // Those of few units and ids are known at once.
        if (cache.addTo(list, text, 1, 1 + word.length) !== (word.length <= 48 && i % 10 < 7)) expect.fail(word);
      }
    });
  expect(known).toBeGreaterThan(100);
});

test('beyond what the cache holds it forgets, and is right about what it has', () => {
  const [units, cache, list] = [new Units(), new WordCache(), new Ids()];
  const read = (i: number): boolean => {
    const text = units.of(`w${i}`);
    list.length = 0;
    if (cache.addTo(list, text, 0, text.length)) return true;
    for (const id of [i, i + 1]) list.add(id);
    cache.remember(list, 0);
    return false;
  };
  for (let i = 0; i < 100_000; i++) read(i);
  let known = 0;
  for (let i = 99_999; i >= 99_000; i--) {
    if (read(i)) known++;
    expect([...list.values.subarray(0, list.length)]).toEqual([i, i + 1]);
  }
  expect(known).toBeGreaterThan(500);
  expect(read(0)).toBe(false);
});
