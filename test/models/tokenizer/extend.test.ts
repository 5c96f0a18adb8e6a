/** A tokenizer extended: the source's cut, and then new merges; what that leaves as it was. */
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../../models/errors.ts';
import { specialToken } from '../../../models/tokenizer/added.ts';
import {
  extendBPE,
  gpt2Pattern,
  isExtension,
  parseTokenizerJson,
  Tokenizer,
  tokenizerToJson,
  trainBPE,
} from '../../../models/tokenizer/index.ts';

const english = 'the cat sat on the mat and the rat sat on the cat, WHEN THE CAT SAT';
const source = trainBPE([english], { vocabSize: 290, pattern: gpt2Pattern, alphabet: 'bytes' });
const domain = ['MKVLAAGIVGLCAKTHE', 'VLAAGMKKLACAT', 'MKKLAAGIVKVLASAT', 'AGMKVLAAGIVGIV'];

/** Texts of both kinds, and of anything. */
const text = fc.oneof(
  fc
    .array(fc.constantFrom(...english.split(' '), ...domain, 'THE', 'AA', ' ', ', ', 'é', 'MKV'), { maxLength: 8 })
    .map(words => words.join('')),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
);
const texts = fc.array(text, { minLength: 1, maxLength: 6 });

/** The definition: each word as the source cuts it, then the new merges alone, lowest rank first, leftmost first. */
function joined(extended: Tokenizer, from: Tokenizer, of: string): number[] {
  const merges = extended.parts.merges.slice(from.parts.merges.length);
  const all: number[] = [];
  for (const word of from.words(of)) {
    const ids = [...from.encode(word)];
    for (;;) {
      const rank = merges.findIndex(m => ids.some((id, i) => id === m.left && ids[i + 1] === m.right));
      if (rank < 0) break;
      const { left, right, merged } = merges[rank];
      const at = ids.findIndex((id, i) => id === left && ids[i + 1] === right);
      ids.splice(at, 2, merged);
    }
    all.push(...ids);
  }
  return all;
}

const extend = (train: readonly string[], keep: readonly string[] = [], from = source) =>
  extendBPE(from, [...train, ...train], { tokens: 12, keep }).catch((error: unknown) => {
    expect(String(error)).toContain('no pair of tokens to join');
    return undefined;
  });

describe('an extended tokenizer', () => {
  test("cuts as the source does and then joins, as Hugging Face's encoder does; read(write x) = x", async () => {
    await fc.assert(
      fc.asyncProperty(texts, text, async (train, other) => {
        const extended = await extend(train);
        if (!extended) return;
        const written = tokenizerToJson(extended);
        const there = new HuggingFace(JSON.parse(written) as object, {});
        expect(parseTokenizerJson(written, 'x').hash).toBe(extended.hash);
        for (const one of [...train, other, english]) {
          const ids = [...extended.encode(one)];
          expect(ids).toEqual(joined(extended, source, one));
          expect(ids).toEqual(there.encode(one, { add_special_tokens: false }).ids);
          expect(ids.length).toBeLessThanOrEqual(source.encode(one).length);
          expect(extended.decode(ids)).toBe(source.decode(source.encode(one)));
        }
        for (let id = 0; id < source.vocabSize; id++) expect(extended.token(id)).toBe(source.token(id));
        expect(isExtension(source, extended)).toBe(true);
      }),
      { numRuns: 12 },
    );
  });

  test('cuts every text to keep as before, and any other whose tokens no new merge joins', async () => {
    let changed = 0;
    await fc.assert(
      fc.asyncProperty(texts, texts, text, async (train, keep, other) => {
        const extended = await extend(train, keep);
        if (!extended) return;
        for (const one of keep) expect([...extended.encode(one)]).toEqual([...source.encode(one)]);
        const merges = extended.parts.merges.slice(source.parts.merges.length);
        const joins = source.words(other).some(word => {
          const ids = source.encode(word);
          return merges.some(m => ids.some((id, i) => id === m.left && ids[i + 1] === m.right));
        });
        const same = String(extended.encode(other)) === String(source.encode(other));
        expect(same).toBe(!joins);
        if (joins) changed++;
      }),
      { numRuns: 40 },
    );
    expect(changed).toBeGreaterThan(0);
  });

  test('learns the most frequent pair of the text as the source cuts it, ties to the smaller ids', async () => {
    const extended = (await extend(domain))!;
    const merges = extended.parts.merges.slice(source.parts.merges.length);
    const counts = new Map<string, number>();
    for (const one of domain) {
      const ids = source.encode(one);
      for (let i = 1; i < ids.length; i++) {
        const pair = `${ids[i - 1]} ${ids[i]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    expect(counts.get(`${merges[0].left} ${merges[0].right}`)).toBe(Math.max(...counts.values()));
    expect(merges).toHaveLength(12);
    expect(extended.vocabSize).toBe(source.vocabSize + 12);
    expect([...(await extend(domain.toReversed()))!.encode(domain.join(' '))]).toEqual([
      ...extended.encode(domain.join(' ')),
    ]);
  });

  test('of a source whose words that are tokens are these tokens, with added tokens and special merges', async () => {
    const { parts } = source;
    const from = new Tokenizer({
      ...parts,
      added: [...parts.added, specialToken('<x>', 291), { ...specialToken('  ', 290), special: false }],
      tokens: [...parts.tokens, new TextEncoder().encode('  ')],
      ignoreMerges: true,
    });
    const extended = (await extend(['MKVL  MKVL', '<x>MKVL'], ['AAG'], from))!;
    const there = new HuggingFace(JSON.parse(tokenizerToJson(extended)) as object, {});
    for (const one of ['MKVL', 'MKV', '  MKVL  ', 'AAG', english])
      expect([...extended.encode(one)], one).toEqual(there.encode(one, { add_special_tokens: false }).ids);
    expect([extended.vocabSize > 292, extended.token(291), isExtension(from, extended)]).toEqual([true, '<x>', true]);
  });
});

test('of a source that lacks bytes only words that it knows count', async () => {
  const few = trainBPE(['the cat sat on the mat MKVLAG'], { vocabSize: 30, alphabet: 'seen', pattern: gpt2Pattern });
  const extended = (await extend(['MKVL éMKVL', 'MKVLAG ü'], ['AG é'], few))!;
  const merges = extended.parts.merges.slice(few.parts.merges.length);
  expect(merges.length).toBeGreaterThan(0);
  for (const { left, right, merged } of merges)
    expect(extended.token(merged)).toBe(extended.token(left) + extended.token(right));
  expect(merges.every(({ merged }) => /^[ MKVLAG]+$/.test(extended.token(merged)))).toBe(true);
  expect([...extended.encode('AG')]).toEqual([...few.encode('AG')]);
});

test('another vocabulary, the same one, or one with other merges first is not an extension', async () => {
  const { parts } = source;
  const extended = (await extend(domain))!;
  const { tokens, merges } = extended.parts;
  const changed = (change: Partial<typeof parts>) => new Tokenizer({ ...extended.parts, ...change });
  const others = [
    source,
    trainBPE(domain, { vocabSize: 320, alphabet: 'bytes' }),
    changed({ merges: merges.slice(1) }),
    changed({ merges: [merges.at(-1)!, ...merges.slice(0, -1)] }),
    changed({ tokens: tokens.with(50, Uint8Array.of(1, 2)) }),
    changed({ splits: [] }),
    changed({ tokens: tokens.with(tokens.length - 1, undefined) }),
    changed({ added: [...parts.added, specialToken('<new>', tokens.length)] }),
  ];
  for (const other of others) expect(isExtension(source, other)).toBe(false);
  expect(isExtension(extended, source)).toBe(false);
  const again = parseTokenizerJson(tokenizerToJson(extended), 'again');
  expect(isExtension(source, again)).toBe(true);
});

test('a tokenizer that cannot be extended fails with one line', async () => {
  const { vocabSize } = source;
  const beyond = new Tokenizer({ ...source.parts, rows: vocabSize - 1 });
  for (const [from, message] of [
    [beyond, `it has ${vocabSize} tokens, and the model rows for ${vocabSize - 1} of them`],
  ] as const) {
    const error: unknown = await extendBPE(from, domain, { tokens: 4 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(UserError);
    expect((error as Error).message).toBe(`the source's tokenizer cannot be extended: ${message}`);
  }
  await expect(extendBPE(source, ['a'], { tokens: 4 })).rejects.toThrow('no pair of tokens to join into a new one');
  const stop = AbortSignal.abort(new Error('stopped'));
  const long = Array.from({ length: 30_000 }, (_, i) => `${domain[i % 4]} ${i}`);
  await expect(extendBPE(source, long, { tokens: 4000, signal: stop })).rejects.toThrow('stopped');
});
