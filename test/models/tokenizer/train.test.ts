/** Training: the same merges as counting anew, whatever the order of documents, and never worse for one more. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  defaultSpecialTokens as specialTokens,
  gpt2Pattern,
  trainBPE,
  trainBPEAsync,
  type Tokenizer,
} from '../../../models/tokenizer/index.ts';
import { cpuTime } from '../../cpu.ts';
import { documents, english, proteins } from './samples.ts';

/** Trains by counting every pair anew before each merge. */
function naiveMerges(docs: readonly string[], merges: number): string[] {
  let symbols = docs.map(d => [...d]);
  const made: string[] = [];
  const ids = new Map([...new Set(docs.join(''))].sort().map((c, i) => [c, i]));
  for (let m = 0; m < merges; m++) {
    const counts = new Map<string, number>();
    for (const s of symbols)
      for (let i = 0; i + 1 < s.length; i++)
        counts.set(`${s[i]} ${s[i + 1]}`, (counts.get(`${s[i]} ${s[i + 1]}`) ?? 0) + 1);
    const order = (pair: string) => pair.split(' ').map(t => ids.get(t)!);
    const [best] = [...counts]
      .filter(([pair, n]) => n >= 2 && !ids.has(pair.replace(' ', '')))
      .sort(([a, n], [b, k]) => k - n || order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1]);
    if (!best) break;
    const [left, right] = best[0].split(' ');
    made.push(best[0]);
    ids.set(left + right, ids.size);
    symbols = symbols.map(s => joinPair(s, left, right));
  }
  return made;
}

function joinPair(symbols: readonly string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) out.push(left + symbols[++i]);
    else out.push(symbols[i]);
  }
  return out;
}

const mergesOf = (t: Tokenizer) => t.parts.merges.map(({ left, right }) => `${t.token(left)} ${t.token(right)}`);
const alphabetSize = (docs: readonly string[]) => 3 + new Set(docs.join('')).size;
const trainSeen = (docs: readonly string[], merges: number) =>
  trainBPE(docs, { vocabSize: alphabetSize(docs) + merges, alphabet: 'seen', specialTokens });

test('merges what recounting would merge', () => {
  fc.assert(
    fc.property(documents, fc.integer({ min: 1, max: 16 }), (docs, n) => {
      expect(mergesOf(trainSeen(docs, n))).toEqual(naiveMerges(docs, n));
    }),
    { numRuns: 300 },
  );
});

test('so too over hundreds of merges, whose neighbours were merged before', () => {
  const long = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 200, maxLength: 400 });
  fc.assert(
    fc.property(fc.array(long, { minLength: 1, maxLength: 3 }), docs => {
      expect(mergesOf(trainSeen(docs, 150))).toEqual(naiveMerges(docs, 150));
    }),
    { numRuns: 20 },
  );
});

test('with a pattern, words with multiplicity give the merges of every word by itself', () => {
  const letters = fc.array(fc.constantFrom('a', 'b', 'ab', 'aab', 'bab', 'abba'), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(letters, fc.integer({ min: 1, max: 8 }), (parts, n) => {
      const whole = trainBPE([parts.join(',')], {
        vocabSize: alphabetSize([...parts, ',']) + n,
        alphabet: 'seen',
        specialTokens,
        pattern: /,/,
      });
      // The comma is a symbol of its own that no merge touches: the same ids with and without the pattern.
      const apart = trainBPE([...parts, ','], {
        vocabSize: alphabetSize([...parts, ',']) + n,
        alphabet: 'seen',
        specialTokens,
      });
      if (parts.length > 1) expect(mergesOf(whole)).toEqual(mergesOf(apart));
    }),
  );
});

test('does not depend on the order of documents', () => {
  fc.assert(
    fc.property(
      documents.chain(docs => fc.tuple(fc.constant(docs), fc.shuffledSubarray(docs, { minLength: docs.length }))),
      ([docs, shuffled]) => {
        expect(trainSeen(shuffled, 10).hash).toBe(trainSeen(docs, 10).hash);
      },
    ),
  );
});

test('one more merge never makes more tokens, in training text and any other', () => {
  fc.assert(
    fc.property(documents, fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 }), (docs, other) => {
      const size = (t: Tokenizer) => docs.reduce((total, d) => total + t.encode(d).length, 0);
      const seen = ['abc', ...docs];
      const tokenizers = Array.from({ length: 8 }, (_, n) => trainSeen(seen, n));
      for (const [i, t] of tokenizers.slice(1).entries()) {
        expect(size(t)).toBeLessThanOrEqual(size(tokenizers[i]));
        expect(t.encode(other).length).toBeLessThanOrEqual(tokenizers[i].encode(other).length);
      }
    }),
  );
});

test('no two tokens have the same bytes, nor the name of a special token', () => {
  fc.assert(
    fc.property(documents, docs => {
      const t = trainSeen(docs, 30);
      const texts = Array.from(t.ordinaryIds(), id => t.token(id));
      expect(new Set(texts).size).toBe(texts.length);
    }),
  );
  const t = trainBPE(['<s><s><s><s>'], { vocabSize: 30, alphabet: 'seen' });
  expect(Array.from(t.ordinaryIds(), id => t.token(id))).not.toContain('<s>');
});

test('documents as bytes are the same documents; bytes that are no text are one word', () => {
  const bytes = english.map(d => new TextEncoder().encode(d));
  const options = { vocabSize: 300, pattern: gpt2Pattern };
  expect(trainBPE(bytes, options).hash).toBe(trainBPE(english, options).hash);
  const raw = trainBPE([Uint8Array.of(255, 254, 255, 254, 255, 254)], {
    vocabSize: 6,
    alphabet: 'seen',
    specialTokens,
  });
  expect([...raw.tokenBytes(5)]).toEqual([255, 254]);
});

test('a word far longer than the call stack', () => {
  const t = trainBPE(['a'.repeat(2 ** 18)], { vocabSize: 3 + 1 + 17, alphabet: 'seen', specialTokens });
  expect(t.tokenBytes(20).length).toBe(2 ** 17);
  expect([...t.encode('a'.repeat(2 ** 18 - 1))]).toEqual(Array.from({ length: 18 }, (_, i) => 20 - i));
});

test('special tokens come first, minFrequency stops, progress is reported', () => {
  const progress: number[] = [];
  const t = trainBPE(proteins, {
    vocabSize: 200,
    alphabet: 'seen',
    specialTokens: ['</s>', '<unk>'],
    minFrequency: 5,
    onProgress: (tokens, of) => progress.push(tokens, of),
  });
  expect([t.token(0), t.token(1)]).toEqual(['</s>', '<unk>']);
  expect(t.specialTokens).toEqual({ bos: 0, eos: 0, pad: undefined, unk: 1 });
  expect(t.vocabSize).toBeLessThan(40);
  expect(progress.slice(-2)).toEqual([t.vocabSize, 200]);
});

test.each([
  [
    'a vocabulary without room for its bytes',
    () => trainBPE(english, { vocabSize: 200, alphabet: 'bytes' }),
    'a vocabulary of 200 is too small: 3 special tokens and 256 bytes make 259',
  ],
  ['a fractional size', () => trainBPE(english, { vocabSize: 300.5 }), 'a vocabulary of 300.5 is too small'],
  [
    'special tokens twice',
    () => trainBPE(english, { vocabSize: 300, specialTokens: ['<s>', '<s>'] }),
    'specialTokens must differ',
  ],
  [
    'a special token that is a byte',
    () => trainBPE(english, { vocabSize: 300, specialTokens: ['a'] }),
    'specialTokens must differ',
  ],
  [
    'a pattern with flags that no file keeps',
    () => trainBPE(english, { vocabSize: 300, pattern: /a/i }),
    'pattern has the flags "i"',
  ],
])('%s is rejected', (_, train, message) => {
  expect(train).toThrow(message);
});

test('training that yields to the host makes the same tokenizer, and stops when aborted', async () => {
  const options = { vocabSize: 320, alphabet: 'bytes', pattern: gpt2Pattern } as const;
  const inBatches = async function* () {
    for (const document of english) yield [document];
  };
  expect((await trainBPEAsync(inBatches(), options)).hash).toBe(trainBPE(english, options).hash);
  const stop = new AbortController();
  // Half a minute of work; a timer fires only if the host gets its turns.
  const long = Array.from({ length: 2 ** 16 }, (_, i) => `${i * 7919}`.repeat(16));
  setTimeout(() => stop.abort(new Error('enough')), 100);
  const started = cpuTime();
  await expect(trainBPEAsync([long], { vocabSize: 60_000, signal: stop.signal })).rejects.toThrow('enough');
  expect(cpuTime() - started).toBeLessThan(5000);
});

test('the default alphabet: what the text has and an unknown token, or all bytes where text goes beyond ASCII', () => {
  const sizes = (document: string, vocabSize: number) => {
    const { specialTokens, parts } = trainBPE([document], { vocabSize });
    return [specialTokens.unk, parts.tokens.filter(bytes => bytes?.length === 1).length];
  };
  expect(sizes('MKV', 512)).toEqual([3, 3]);
  expect(sizes('MKVé', 512)).toEqual([undefined, 256]);
  expect(sizes('MKVé', 511)).toEqual([3, 5]);
});

test('bytes have the order of their characters in tokenizer.json, as in the trainer of Hugging Face', () => {
  const t = trainBPE(['a b\n!'], { vocabSize: 9, alphabet: 'seen' });
  expect(Array.from(t.ordinaryIds(), id => t.token(id))).toEqual(['!', 'a', 'b', '\n', ' ']);
});
