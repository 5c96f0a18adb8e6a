/** Laws of packed sequences: they are the sequences that were added, whatever packs they lie in. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Random } from '../../engine/index.ts';
import { groupByLength, planBatches } from '../../models/batches.ts';
import { packedBytes, Packer, PackedSequences, scoredTokens, sumOver, type Sequence } from '../../models/sequences.ts';

const texts = fc.array(fc.tuple(fc.array(fc.nat(65_000), { maxLength: 12 }), fc.nat(2 ** 28)), { maxLength: 40 });
type Texts = readonly (readonly [readonly number[], number])[];

function pack(list: Texts, vocabSize = 2 ** 16): PackedSequences {
  const packer = new Packer(vocabSize);
  // What follows the first `count` tokens of a list is not looked at.
  for (const [ids, bytes] of list) packer.add(1, Int32Array.from([...ids, 9, 9]), ids.length, 2, bytes);
  return packer.finish();
}
const plain = (list: Texts, vocabSize = 2 ** 16): Sequence[] =>
  list.map(([ids, bytes]) => {
    const all = [1, ...ids, 2];
    return { ids: vocabSize <= 2 ** 16 ? Uint16Array.from(all) : Int32Array.from(all), bytes };
  });
/** One collection of several: their packs, one after another. */
const joined = (parts: readonly Texts[]) => new PackedSequences(parts.flatMap(part => pack(part).packs));

test('they are what was added, by number and in order, in however many packs', () => {
  fc.assert(
    fc.property(fc.array(texts, { maxLength: 6 }), parts => {
      const [packed, list] = [joined(parts), plain(parts.flat())];
      expect(packed.length).toBe(list.length);
      expect([...packed]).toEqual(list);
      expect(list.map((_, i) => packed.at(i))).toEqual(list);
      for (const none of [-1, list.length, 0.5, NaN, Infinity]) expect(packed.at(none)).toBeUndefined();
      expect(sumOver(packed, scoredTokens)).toBe(list.reduce((n, s) => n + s.ids.length - 1, 0));
    }),
  );
});

test('ids of a vocabulary beyond 2¹⁶ take four bytes, others two', () => {
  const list: Texts = [[[65_535], 3]];
  expect([...pack(list, 2 ** 16)]).toEqual(plain(list));
  const far: Texts = [[[2 ** 30], 3]];
  expect([...pack(far, 2 ** 16 + 1)]).toEqual(plain(far, 2 ** 16 + 1));
});

test('many are kept in many packs, of eight bytes a sequence beside the ids, long ones among them', () => {
  const packer = new Packer(2 ** 16);
  const long = Int32Array.from({ length: 1_500_000 }, (_, i) => i % 60_000);
  const idsOf = (i: number) => (i % 30_000 === 7 ? long : long.subarray(i, i + (i % 9)));
  for (let i = 0; i < 90_000; i++) packer.add(1, idsOf(i), idsOf(i).length, 2, i);
  const packed = packer.finish();
  expect(packed.packs.length).toBeGreaterThan(3);
  const size = packed.packs.reduce((n, p) => n + p.ids.byteLength + p.ends.byteLength + p.bytes.byteLength, 0);
  expect(size).toBe(2 * sumOver(packed, s => s.ids.length) + 8 * packed.length);
  expect(packedBytes(packed)).toBe(size);
  for (const i of [0, 6, 7, 8, 30_007, 30_008, 89_999]) {
    const { ids, bytes } = packed.at(i)!;
    expect([ids[0], ids.at(-1), bytes]).toEqual([1, 2, i]);
    expect(ids.subarray(1, -1).join()).toBe(idsOf(i).join());
  }
});

test('batches of packed sequences are those of an array of them', () => {
  fc.assert(
    fc.property(fc.array(texts, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 400 }), (parts, amount) => {
      const [packed, list] = [joined(parts), plain(parts.flat())];
      expect(groupByLength(packed, 30)).toEqual(groupByLength(list, 30));
      if (list.length === 0) return;
      const plan = (of: PackedSequences | Sequence[]) => planBatches(of, 30, { unit: 'tokens', amount }, new Random(3));
      expect([...plan(packed)]).toEqual([...plan(list)]);
    }),
  );
});

test('a packer begins anew after each collection, and its packs lie in shared memory', () => {
  const packer = new Packer(100);
  const [first, second] = [[3, 4], [5]].map(ids => {
    packer.add(1, Int32Array.from(ids), ids.length, 2, ids.length);
    return packer.finish();
  });
  expect([[...first], [...second]]).toEqual([plain([[[3, 4], 2]]), plain([[[5], 1]])]);
  for (const { ids, ends, bytes } of [...first.packs, ...second.packs])
    for (const { buffer } of [ids, ends, bytes]) expect(buffer).toBeInstanceOf(SharedArrayBuffer);
});
