/** From texts to sequences: spans that are the same for everyone, what a vocabulary lacks, samples to train on. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { UserError } from '../../../models/errors.ts';
import { defaultSpecialTokens, gpt2Pattern, Tokenizer, trainBPE } from '../../../models/tokenizer/index.ts';
import { cutAll, encodeTexts, fastaLetters, TextSample, toSequences } from '../../../s2t2/corpus/index.ts';

test('texts are cut into the same spans for everyone, between characters', () => {
  expect(cutAll(['abcdef', 'gh', ''], 4)).toEqual(['abcd', 'ef', 'gh']);
  expect(cutAll(['aé☕b'], 3)).toEqual(['aé', '☕', 'b']);
  expect(cutAll(['日本', 'a😀b'], 1)).toEqual(['日', '本', 'a', '😀', 'b']);
});

test('pieces are the text, none is empty, none is longer than asked for unless it is one character', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '日', '😀'), maxLength: 40 });
  fc.assert(
    fc.property(fc.array(text), fc.integer({ min: 1, max: 9 }), (texts, maxBytes) => {
      const pieces = cutAll(texts, maxBytes);
      expect(pieces.join('')).toBe(texts.join(''));
      for (const piece of pieces) {
        const characters = [...piece];
        expect(characters.length).toBeGreaterThan(0);
        if (Buffer.byteLength(piece) > maxBytes) expect(characters).toHaveLength(1);
        expect(piece).not.toMatch(/\p{Surrogate}/u);
      }
    }),
  );
});

const known = { vocabSize: 8, alphabet: 'seen', specialTokens: defaultSpecialTokens } as const;

test('a byte missing from the training texts is reported with its text, if there is no unknown token', () => {
  const target = trainBPE(['MKVLA'], known);
  const lacking = () => toSequences(['MKVL', `MKVX${'A'.repeat(60)}`], target, 128);
  expect(lacking).toThrow(
    new UserError(
      `the text "MKVX${'A'.repeat(36)}…" of 64 bytes has byte 'X' at offset 3, which the vocabulary lacks; leave ` +
        'the text out, or train on texts like it',
    ),
  );
  expect(() => toSequences(['é'], target, 128)).toThrow('the text "é" of 2 bytes has byte 0xc3 at offset 0');
});

test('a text has no more tokens than a window, which has one less than the context', () => {
  const target = trainBPE(['MKVLA'], known);
  expect(toSequences(['MKVLA'], target, 6)).toHaveLength(1);
  expect(() => toSequences(['MKVLA'], target, 5)).toThrow(
    'the text "MKVLA" of 5 bytes has 5 tokens, more than the model\'s context of 5; lower --max-bytes',
  );
});

test('sequences run from begin to end token and know their bytes, however many there are', async () => {
  const target = trainBPE(['MKVLAAG'], { vocabSize: 16 });
  const texts = Array.from({ length: 5000 }, (_, i) => 'MKVLAAG'.repeat(1 + (i % 9)));
  const { sequences, unknown } = await encodeTexts(texts, target, 512);
  expect(unknown).toBeNull();
  expect([...sequences]).toEqual(toSequences(texts, target, 512));
  [...sequences].forEach((s, i) => {
    const expected = [target.specialTokens.bos, ...target.encode(texts[i]), target.specialTokens.eos];
    if (s.bytes !== texts[i].length || s.ids.join() !== expected.join()) expect.fail(`text ${i}`);
  });
});

test('unknown bytes are counted, and encoding can be stopped', async () => {
  const target = trainBPE(['MKVLA'], { vocabSize: 16 });
  const { unknown } = await encodeTexts(['MKV', 'MUUV', 'M', 'éM'], target, 128);
  expect(unknown).toEqual({ tokens: 4, texts: 2, first: 'MUUV' });
  const stop = AbortSignal.abort(new Error('enough'));
  const many = Array.from({ length: 2 ** 18 }, () => 'MKVLA'.repeat(9));
  await expect(encodeTexts(many, target, 128, stop)).rejects.toThrow('enough');
});

test('a tokenizer that drops text gives no bits per byte', () => {
  const { parts } = trainBPE(['a b'], { vocabSize: 300, pattern: gpt2Pattern, alphabet: 'bytes' });
  const dropping = new Tokenizer({ ...parts, splits: [{ pattern: ' ', drops: 'matches' }] });
  expect(toSequences(['ab'], dropping, 128)[0].bytes).toBe(2);
  expect(() => toSequences(['a b c'], dropping, 128)).toThrow(
    'the text "a b c" of 5 bytes has 2 bytes that the tokenizer drops; leave the text out',
  );
});

test('a residue that training never showed has a token of its own in a vocabulary for sequences', () => {
  const target = trainBPE(['MKVLAAGMKVLAAG'], { vocabSize: 40, alphabet: new TextEncoder().encode(fastaLetters) });
  expect(target.decode(target.encode('MKUBZX*-'))).toBe('MKUBZX*-');
  expect([...target.encode('MKUX')]).not.toContain(target.specialTokens.unk);
  const merged = target.parts.merges.flatMap(({ left, right }) => [left, right]);
  expect(merged).not.toContain(target.encode('U')[0]);
});

test('a sample is every so many of the texts, as many as fit', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 640, max: 3000 }), (count, limit) => {
      const texts = Array.from({ length: count }, (_, i) => String(i).padStart(10, '0'));
      const sample = new TextSample(limit);
      for (const text of texts) sample.add(text);
      expect(sample.texts).toEqual(texts.filter((_, i) => i % sample.stride === 0));
      const fits = (stride: number) => 10 * Math.ceil(count / stride) <= limit;
      expect([fits(sample.stride), sample.stride === 1 || !fits(sample.stride / 2)]).toEqual([true, true]);
      expect(sample.total).toBe(10 * count);
      expect(sample.describe() === undefined).toBe(sample.stride === 1);
    }),
  );
  const long = new TextSample(6400);
  long.add('ab'.repeat(50_000));
  expect(long.texts.join('').length).toBeLessThanOrEqual(6400);
  expect(long.describe()).toBe(
    'the tokenizer is trained on 0.0 of 0.1 MB, one text in 16; --tokenizer-sample all takes everything',
  );
});
