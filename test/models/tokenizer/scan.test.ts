/** One pass from left to right gives what merging by rank gives, for all merges that could have been learned. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Merge } from '../../../models/tokenizer/rule.ts';
import { Scanner } from '../../../models/tokenizer/scan.ts';

/** Symbols, and one that no merge knows. */
const [symbols, stranger] = [3, 9];

/**
 * Merges of any two earlier tokens, so that many a token is in no encoding. Some make a token again that is in no merge
 * as yet, or another token with the text of an earlier one.
 */
const vocabularies = fc
  .array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { minLength: 1, maxLength: 24 })
  .map(picks => {
    const texts = ['a', 'b', 'c'];
    const merges: Merge[] = [];
    for (const [i, j, again] of picks) {
      const [left, right] = [i % texts.length, j % texts.length];
      if (merges.some(m => m.left === left && m.right === right)) continue;
      const known = texts.indexOf(texts[left] + texts[right]);
      const isFree = known >= 0 && !merges.some(m => m.left === known || m.right === known);
      const merged = again && isFree ? known : texts.length;
      if (merged === texts.length) texts.push(texts[left] + texts[right]);
      merges.push({ left, right, merged: merged < symbols ? merged : merged + stranger });
    }
    // Ids beyond that of the stranger.
    const id = (token: number) => (token < symbols ? token : token + stranger);
    return merges.map(m => ({ ...m, left: id(m.left), right: id(m.right) }));
  });
const word = fc
  .array(fc.tuple(fc.constantFrom(0, 0, 0, 1, 1, 2, stranger), fc.integer({ min: 1, max: 5 })), { maxLength: 30 })
  .map(runs => runs.flatMap(([symbol, n]) => Array.from({ length: n }, () => symbol)));

/** Lowest rank first, leftmost first. */
function naive(merges: readonly Merge[], all: readonly number[]): number[] {
  let rest = [...all];
  for (let rank = 0; rank < merges.length; rank++) {
    const { left, right, merged } = merges[rank];
    const out: number[] = [];
    for (let i = 0; i < rest.length; i++) {
      const isPair = rest[i] === left && rest[i + 1] === right;
      out.push(isPair ? merged : rest[i]);
      if (isPair) i++;
    }
    rest = out; // what it made is in merges of higher rank only
  }
  return rest;
}

const scannerOf = (merges: readonly Merge[], mostStates?: number) =>
  Scanner.of(merges, (a, b) => merges.findIndex(m => m.left === a && m.right === b), mostStates)!;

test.each([undefined, 3])('the tokens are those of merging by rank, with at most %s states', mostStates => {
  fc.assert(
    fc.property(vocabularies, fc.array(word, { minLength: 1, maxLength: 3 }), (merges, words) => {
      const scanner = scannerOf(merges, mostStates);
      for (const w of words) {
        const list = Int32Array.from([7, ...w, 7]);
        const end = scanner.merge(list, 1, 1 + w.length);
        expect([...list.subarray(1, end)]).toEqual(naive(merges, w));
        expect([list[0], list.at(-1)]).toEqual([7, 7]);
      }
    }),
    { numRuns: 300 },
  );
});

test('a token with two texts, and a vocabulary that is too large, have no scanner', () => {
  const ab = { left: 0, right: 1, merged: 3 };
  expect(scannerOf([ab, { left: 1, right: 0, merged: 3 }])).toBeUndefined();
  expect(scannerOf(Array.from({ length: 2049 }, (_, i) => ({ left: 0, right: i, merged: 3000 + i })))).toBeUndefined();
  const doubling = Array.from({ length: 20 }, (_, i) => ({ left: i, right: i, merged: i + 1 }));
  expect(scannerOf(doubling)).toBeUndefined();
  expect(scannerOf([ab])).toBeDefined();
});
