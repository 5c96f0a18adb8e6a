/** Encoding and decoding: the identity on all bytes, and the merges that the definition asks for. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../../../engine/index.ts';
import {
  defaultSpecialTokens as specialTokens,
  gpt2Pattern,
  Tokenizer,
  trainBPE,
} from '../../../models/tokenizer/index.ts';
import { specialToken } from '../../../models/tokenizer/added.ts';
import { borders, documents, english, english300, naiveMerge, proteins24, text, words } from './samples.ts';
import { cpuTime } from '../../cpu.ts';

const unpatterned = trainBPE(english, { vocabSize: 290, alphabet: 'bytes' });

describe('decode after encode', () => {
  test.each([
    ['with a pattern', english300],
    ['without', unpatterned],
  ])('%s: is the identity on every text, with a byte order mark too', (_, t) => {
    fc.assert(
      fc.property(fc.oneof(text, borders), fc.boolean(), (s, allowSpecial) => {
        expect(t.decode(t.encode(s))).toBe(s);
        if (!s.includes('<s>')) expect(t.encode(s, { allowSpecial })).toEqual(t.encode(s));
      }),
    );
    expect(t.decode(t.encode('\ufeffthe'))).toBe('\ufeffthe');
  });

  test.each([
    ['with a pattern', english300],
    ['without', unpatterned],
  ])('%s: is the identity on all byte strings', (_, t) => {
    fc.assert(
      fc.property(fc.uint8Array(), bytes => {
        expect(t.decodeBytes(t.encode(bytes))).toEqual(bytes);
        expect(t.decodeBytes(t.encodeBytes(bytes))).toEqual(bytes);
      }),
    );
  });

  test('bytes that are UTF-8 are that text', () => {
    fc.assert(
      fc.property(text, s => {
        expect(english300.encode(new TextEncoder().encode(s))).toEqual(english300.encode(s));
      }),
    );
  });
});

describe('encoding', () => {
  test('is lowest rank first, leftmost first', () => {
    fc.assert(
      fc.property(documents, words, (docs, word) => {
        const t = trainBPE(['abc', ...docs], { vocabSize: 24, alphabet: 'seen', specialTokens });
        expect([...t.encode(word)]).toEqual(
          naiveMerge(
            t,
            [...word].map(c => 3 + 'abc'.indexOf(c)),
          ),
        );
      }),
    );
  });

  test('so too in long words, with runs of one letter', () => {
    const run = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 1, max: 12 })).map(([c, n]) => c.repeat(n));
    const long = fc.array(run, { minLength: 20, maxLength: 40 }).map(runs => runs.join(''));
    fc.assert(
      fc.property(long, long, (text, word) => {
        const t = trainBPE(['abc', text], { vocabSize: 46, alphabet: 'seen', specialTokens });
        const symbols = [...word].map(c => 3 + 'abc'.indexOf(c));
        expect([...t.encode(word)]).toEqual(naiveMerge(t, symbols));
      }),
    );
  });

  test('so too in long words with merges in any order, those of a token before those of its parts', () => {
    const long = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 30, maxLength: 120 });
    fc.assert(
      fc.property(long, long, fc.nat(), (text, word, seed) => {
        const trained = trainBPE(['abc', text], { vocabSize: 46, alphabet: 'seen', specialTokens });
        const t = new Tokenizer({ ...trained.parts, merges: new Random(seed).shuffle([...trained.parts.merges]) });
        const symbols = [...word].map(c => 3 + 'abc'.indexOf(c));
        expect([...t.encode(word)]).toEqual(naiveMerge(t, symbols));
      }),
    );
  });

  test('so too where merges share results and later ranks come before earlier ones', () => {
    const tokens = ['a', 'b', 'ab', 'aba', 'abab', 'ba', 'bab'].map(s => new TextEncoder().encode(s));
    const pairs = [
      [2, 2, 4],
      [0, 5, 3],
      [1, 0, 5],
      [0, 1, 2],
      [2, 0, 3],
      [5, 1, 6],
      [0, 6, 4],
      [3, 1, 4],
    ].map(([left, right, merged]) => ({ left, right, merged }));
    const order = fc.shuffledSubarray(pairs, { minLength: 1 });
    fc.assert(
      fc.property(order, fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 60 }), (merges, word) => {
        const t = new Tokenizer({ tokens, merges, added: [], splits: [] });
        expect([...t.encode(word)]).toEqual(
          naiveMerge(
            t,
            [...word].map(c => 'ab'.indexOf(c)),
          ),
        );
      }),
    );
  });

  test('a long word costs n log n', () => {
    const t = trainBPE(['abcab'.repeat(50)], { vocabSize: 16, alphabet: 'seen' });
    const started = cpuTime();
    expect(t.decode(t.encode('abcab'.repeat(40_000)))).toHaveLength(200_000);
    expect(cpuTime() - started).toBeLessThan(5000); // by n² it would be minutes
  });

  test('a word that is a token is that token where merges are ignored', () => {
    const parts = { ...english300.parts, merges: [] };
    expect(english300.encode(' cat')).toHaveLength(1);
    expect(new Tokenizer(parts).encode(' cat')).toHaveLength(4);
    expect(new Tokenizer({ ...parts, ignoreMerges: true }).encode(' cat')).toEqual(english300.encode(' cat'));
  });

  test('normal form C where asked for', () => {
    const nfc = new Tokenizer({ ...english300.parts, nfc: true });
    fc.assert(
      fc.property(borders, s => {
        expect(nfc.encode(s)).toEqual(english300.encode(s.normalize('NFC')));
      }),
    );
  });
});

describe('added tokens', () => {
  test('special ones are text unless asked for', () => {
    expect(english300.decode(english300.encode('a<s>b'))).toBe('a<s>b');
    expect([...english300.encode('a<s>b', { allowSpecial: true })]).toEqual([
      ...english300.encode('a'),
      0,
      ...english300.encode('b'),
    ]);
    expect(english300.specialTokens).toEqual({ bos: 0, eos: 1, pad: 2, unk: undefined });
    expect(english300.tokenBytes(0)).toHaveLength(0);
    expect(english300.isSpecial(0)).toBe(true);
  });

  const added = [
    specialToken('<x>', 300),
    specialToken('<x><x>', 301),
    { ...specialToken('<mask>', 305), lstrip: true, rstrip: true },
    { ...specialToken('   ', 303), special: false },
  ];
  const tokens = [...english300.parts.tokens];
  tokens[303] = new TextEncoder().encode('   ');
  const t = new Tokenizer({ ...english300.parts, tokens, added });

  test('ordinary ones are always found, and stand for their text', () => {
    expect([...t.encode('a   b')]).toEqual([...t.encode('a'), 303, ...t.encode('b')]);
    expect(t.decode(t.encode('a   b<x>'))).toBe('a   b<x>');
    expect([...t.ordinaryIds()]).toContain(303);
  });

  test('the longest wins, and white space belongs to those that strip it', () => {
    expect([...t.encode('<x><x><x>', { allowSpecial: true })]).toEqual([301, 300]);
    expect([...t.encode('a \n<mask>  b', { allowSpecial: true })]).toEqual([...t.encode('a'), 305, ...t.encode('b')]);
    expect([...t.encode(' <mask> <mask>', { allowSpecial: true })]).toEqual([305, 305]);
  });

  test('white space on the other side stays', () => {
    const mask = specialToken('<mask>', 305);
    const encode = (sides: Partial<typeof mask>) => [
      ...new Tokenizer({ ...english300.parts, added: [{ ...mask, ...sides }] }).encode('a <mask> b', {
        allowSpecial: true,
      }),
    ];
    expect(encode({ lstrip: true })).toEqual([...t.encode('a'), 305, ...t.encode(' b')]);
    expect(encode({ rstrip: true })).toEqual([...t.encode('a '), 305, ...t.encode('b')]);
  });

  test('ids with holes are handled: largest id + 1, and a hole is not a token', () => {
    expect(t.vocabSize).toBe(306);
    expect([...t.ordinaryIds()]).not.toContain(302);
    expect(() => t.decode([302])).toThrow('302 is not a token of this vocabulary of 306');
    expect(() => t.decode([-1])).toThrow('-1 is not a token');
  });
});

describe('bytes outside the alphabet', () => {
  test('are named with their offset', () => {
    expect(() => proteins24.encode('MKW')).toThrow("byte 'W' at offset 2 is not in the vocabulary");
    expect(() => proteins24.encodeBytes(Uint8Array.of(77, 0))).toThrow('byte 0x00 at offset 1');
    const patterned = trainBPE(['é a b'], {
      vocabSize: 10,
      alphabet: 'seen',
      pattern: gpt2Pattern,
      specialTokens,
    });
    expect(() => patterned.encode('é a x')).toThrow("byte 'x' at offset 5");
    expect(() => patterned.encode('</s>é x', { allowSpecial: true })).toThrow("byte 'x' at offset 7");
    const stripping = new Tokenizer({ ...patterned.parts, added: [{ ...specialToken('</s>', 1), rstrip: true }] });
    expect(() => stripping.encode('</s>  x', { allowSpecial: true })).toThrow("byte 'x' at offset 6");
  });

  test('are the unknown token where there is one', () => {
    const t = trainBPE(['MKV'], { vocabSize: 10, alphabet: 'seen', specialTokens: ['<unk>'] });
    expect([...t.encode('MWé')].slice(1)).toEqual([0, 0, 0]);
  });
});

test('a token of bytes that are no text shows them, those of ASCII as they are', () => {
  const tokens = [[0xff, 31], [32, 0xff], [126, 0x80], [127, 0xc3], [0xc3, 0xa9], [10]].map(bytes =>
    Uint8Array.from(bytes),
  );
  const t = new Tokenizer({ tokens, merges: [], added: [], splits: [] });
  expect(tokens.map((_, id) => t.token(id))).toEqual(['\\xff\\x1f', ' \\xff', '~\\x80', '\\x7f\\xc3', 'é', '\n']);
});

test('the hash is that of the vocabulary and its rules', () => {
  const { parts } = english300;
  expect(new Tokenizer(parts).hash).toBe(english300.hash);
  const changed = [
    { ...parts, tokens: parts.tokens.slice(0, -1) },
    { ...parts, merges: parts.merges.slice(0, -1) },
    { ...parts, added: parts.added.slice(1) },
    { ...parts, splits: [] },
    { ...parts, splits: [...parts.splits, { pattern: '1' }] },
    { ...parts, splits: parts.splits.map(s => ({ ...s, drops: 'gaps' as const })) },
    { ...parts, splits: parts.splits.map(s => ({ ...s, prefixSpace: true })) },
    { ...parts, nfc: true },
    { ...parts, ignoreMerges: true },
    ...[{ special: false }, { lstrip: true }, { rstrip: true }, { lstrip: true, rstrip: true }].map(other => ({
      ...parts,
      added: parts.added.map(a => ({ ...a, ...other })),
    })),
  ];
  expect(new Set([parts, ...changed].map(p => new Tokenizer(p).hash)).size).toBe(changed.length + 1);
  // in whatever order a file lists them
  expect(new Tokenizer({ ...parts, added: parts.added.toReversed() }).hash).toBe(english300.hash);
  // Plans on disk name it: a change of the serialisation makes them useless.
  expect(trainBPE(['abab'], { vocabSize: 6, alphabet: 'seen', specialTokens }).hash).toBe(
    'c182e5344453eab4bb6ebcf8cab1855f741ad476f5f00b1877b4e7bfdd64dd9c',
  );
});

test('tokens for people', () => {
  expect(english300.token(english300.encodeBytes(Uint8Array.of(0xff))[0])).toBe('\\xff');
  expect(english300.token(english300.encode(' the')[0])).toBe(' the');
});
