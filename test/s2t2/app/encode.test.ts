/** Two threads encode what one does: the same ids, counts and errors, whichever thread takes a text. */
import { expect, test } from 'vitest';
import { defaultSpecialTokens, gpt2Pattern, Tokenizer, trainBPE } from '../../../models/tokenizer/index.ts';
import { Random } from '../../../engine/index.ts';
import { encodeInTwo } from '../../../s2t2/app/encode.ts';
import { encodeTexts, fastaLetters } from '../../../s2t2/corpus/index.ts';

/** Several batches of texts, stretches of one random text. */
function randomTexts(letters: string, seed: number): string[] {
  const random = new Random(seed);
  const all = Array.from({ length: 20_000 }, () => letters[random.word() % letters.length]).join('');
  return Array.from({ length: 20_000 }, (_, i) => all.slice((7919 * i) % 19_000).slice(0, 1 + ((31 * i) % 400)));
}
const proteins = randomTexts('ACDEFGHIKLMNPQRSTVWY', 1);
const words = randomTexts("aab b'éé日 \n1", 2);
const ofProteins = trainBPE(proteins.slice(0, 500), {
  vocabSize: 200,
  alphabet: new TextEncoder().encode(fastaLetters),
});
/** The same ids, of a vocabulary that does not end before 2¹⁶. */
const withFarToken = ({ parts }: Tokenizer) =>
  new Tokenizer({ ...parts, added: [...parts.added, { ...parts.added[0], content: '<far>', id: 70_000 }] });
const inTwo = (texts: readonly string[], tokenizer: Tokenizer, signal?: AbortSignal) =>
  encodeInTwo(texts, tokenizer, Infinity, signal, 0);

test.each<[string, readonly string[], Tokenizer]>([
  ['proteins', proteins, ofProteins],
  ['words', words, trainBPE(words.slice(0, 500), { vocabSize: 600, pattern: gpt2Pattern })],
  ['ids beyond 16 bits', proteins, withFarToken(ofProteins)],
])('%s: the sequences are those of one thread', async (_, texts, tokenizer) => {
  const [one, two] = [await encodeTexts(texts, tokenizer, Infinity), await inTwo(texts, tokenizer)];
  expect(two.unknown).toEqual(one.unknown);
  expect(two.sequences).toHaveLength(one.sequences.length);
  for (const [i, { ids, bytes }] of [...two.sequences].entries()) {
    const expected = one.sequences.at(i)!;
    if (bytes !== expected.bytes || ids.constructor !== expected.ids.constructor || ids.join() !== expected.ids.join())
      expect.fail(`text ${i}`);
  }
});

test('what is unknown is counted over both threads, the first of all texts is named', async () => {
  const texts = proteins.with(7, 'MKV5').with(9, 'MKV6').with(-1, '78');
  expect((await inTwo(texts, ofProteins)).unknown).toEqual({ tokens: 4, texts: 3, first: 'MKV5' });
});

test('the error is that of the first text that has one', async () => {
  const tokenizer = trainBPE(proteins.slice(0, 500), {
    vocabSize: 200,
    alphabet: 'seen',
    specialTokens: defaultSpecialTokens,
  });
  for (const bad of [[0, -1], [9000, 17_000], [19_999]]) {
    const texts = bad.reduce((all, at, i) => all.with(at, `MK${i}`), proteins as string[]);
    const error = await encodeTexts(texts, tokenizer, Infinity).catch((e: unknown) => e);
    expect(String(error)).toContain('the text "MK0"');
    await expect(inTwo(texts, tokenizer)).rejects.toThrow(error as Error);
  }
});

test('it ends when it is told to', async () => {
  const signal = AbortSignal.abort(new Error('enough'));
  await expect(inTwo(proteins, ofProteins, signal)).rejects.toThrow('enough');
});
