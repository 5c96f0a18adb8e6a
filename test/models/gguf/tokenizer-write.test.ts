/** Tokenizers in GGUF files: read back they encode the same, under a name whose words they have, or are rejected. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../../models/errors.ts';
import { firstCutToken, gpt2, preTokenizers } from '../../../models/gguf/pre-tokenizers.ts';
import { bytesWithoutToken, tokenizerMetadata, type TokenizerToWrite } from '../../../models/gguf/tokenizer-write.ts';
import { loadTokenizer } from '../../../models/node/checkpoint.ts';
import { Tokenizer, trainBPE, type TokenizerParts } from '../../../models/tokenizer/index.ts';
import { specialToken } from '../../../models/tokenizer/added.ts';
import { english, english300, llama3Pattern, proteins, proteins24, text } from '../tokenizer/samples.ts';

const write = (tokenizer: Tokenizer, more: Partial<TokenizerToWrite> = {}) =>
  tokenizerMetadata({ tokenizer, rows: tokenizer.vocabSize, endTokens: [], path: 'm/tokenizer.json', ...more });

const changed = (tokenizer: Tokenizer, parts: Partial<TokenizerParts>) =>
  new Tokenizer({ ...tokenizer.parts, ...parts });

/** The message of the one-line error that a tokenizer is answered with. */
function refusal(tokenizer: Tokenizer, more: Partial<TokenizerToWrite> = {}): string {
  try {
    write(tokenizer, more);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.message).not.toMatch(/[\n\r]/);
    expect(error.message).toMatch(/^m\/tokenizer\.json: /);
    return error.message.slice('m/tokenizer.json: '.length);
  }
  return expect.fail('nothing was rejected');
}

describe('names', () => {
  const splits = (...patterns: string[]) => patterns.map(pattern => ({ pattern }));
  test.each(Object.keys(preTokenizers))('%s: its words get a name with the same words', name => {
    const { patterns, nfc, ignoreMerges } = preTokenizers[name];
    const written = write(changed(english300, { splits: splits(...patterns), nfc, ignoreMerges }));
    const { addBos: _, ...cuts } = preTokenizers[written['tokenizer.ggml.pre'] as string];
    const { addBos: __, ...expected } = preTokenizers[name];
    expect(cuts).toEqual(expected);
  });

  test.each<[string, Partial<TokenizerParts>, string]>([
    ['GPT-2', { splits: splits(gpt2) }, 'gpt-2'],
    ['GPT-NeoX', { splits: splits(gpt2), nfc: true }, 'olmo'],
    ['SmolLM2', { splits: splits(String.raw`\p{N}`, gpt2) }, 'smollm'],
    ['LLaMA 3', { splits: splits(llama3Pattern), ignoreMerges: true }, 'llama-bpe'],
    ['OLMo 2', { splits: splits(llama3Pattern) }, 'dbrx'],
    ['Qwen 2', { splits: splits(llama3Pattern.replace('{1,3}', '')), nfc: true }, 'qwen2'],
  ])('%s', (_, parts, name) => {
    expect(write(changed(english300, parts))['tokenizer.ggml.pre']).toBe(name);
  });

  test('a tokenizer that does not cut proteins is written as GPT-2', () => {
    expect(write(proteins24)).toMatchObject({
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': 'gpt-2',
      'tokenizer.ggml.add_bos_token': false,
    });
    expect(bytesWithoutToken(proteins24)).toBe(256 - 8);
    expect(bytesWithoutToken(english300)).toBe(0);
  });
});

describe('without words', () => {
  /** Texts of letters that begin or end contractions, of signs and of white space. */
  const unit = fc.constantFrom(...'stdmlreva', "'", "'", 'K', 'é', '4', '½', '-', '*', ' ', '\n', '\u0085', '\ufeff');
  const near = fc.string({ unit, maxLength: 24 });
  const words = { splits: [{ pattern: gpt2 }] };
  const trained = fc
    .tuple(fc.array(near, { minLength: 1, maxLength: 6 }), fc.integer({ min: 262, max: 290 }))
    .map(([texts, vocabSize]) => trainBPE(texts, { vocabSize, alphabet: 'bytes' }));

  test("where no token is cut, every text has the tokens that it has in GPT-2's words", () => {
    let [safe, unsafe] = [0, 0];
    fc.assert(
      fc.property(trained, fc.array(fc.oneof(near, text), { minLength: 20, maxLength: 20 }), (tokenizer, texts) => {
        // Only those merges whose tokens are safe, and so are those that they are made of.
        const { merges, tokens } = tokenizer.parts;
        const kept = new Set<number>(tokens.flatMap((bytes, id) => (bytes?.length === 1 ? [id] : [])));
        const some = merges.filter(merge => {
          const is =
            [merge.left, merge.right].every(id => kept.has(id)) &&
            !firstCutToken({ ...tokenizer.parts, merges: [merge] });
          if (is) kept.add(merge.merged);
          return is;
        });
        if (some.length > 0) safe++;
        if (some.length < merges.length) unsafe++;
        const whole = changed(tokenizer, { merges: some });
        const cut = changed(whole, words);
        for (const sample of texts) expect([...whole.encode(sample)]).toEqual([...cut.encode(sample)]);
        expect(write(whole)['tokenizer.ggml.pre']).toBe('gpt-2');
      }),
    );
    expect(Math.min(safe, unsafe)).toBeGreaterThan(20);
  });

  test('a token of ASCII is safe if and only if no text of some cuts it', () => {
    const parts = ['s', 't', 'd', 'm', 'l', 'r', 'e', 'v', 'a', 'K', '4', '-', ' ', '\n'];
    const token = fc.array(fc.constantFrom(...parts), { minLength: 2, maxLength: 4 }).map(units => units.join(''));
    fc.assert(
      fc.property(token, content => {
        const tokenizer = withToken(content);
        const unsafe = firstCutToken(tokenizer.parts) === content;
        const around = ['', "'", "'s", "'r", "'v", "'l", ' ', 'a', '-', '4', '\n'];
        const isCut = around.some(before =>
          ['', 'a', ' ', '-', '4'].some(after => {
            let begin = 0;
            return changed(tokenizer, words)
              .words(before + content + after)
              .map(word => [begin, (begin += word.length)])
              .every(([from, to]) => from > before.length || to < before.length + content.length);
          }),
        );
        expect(unsafe).toBe(isCut);
      }),
      { numRuns: 1000 },
    );
  });

  /** A tokenizer of all bytes and one token more, merged from the left. */
  function withToken(content: string): Tokenizer {
    const bytes = new TextEncoder().encode(content);
    const tokens = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
    const merged = tokens.push(bytes) - 1;
    return new Tokenizer({ tokens, merges: [{ left: bytes[0], right: bytes[1], merged }], added: [], splits: [] });
  }

  test('a token that would be cut is named, with the words that would not', () => {
    const prose = trainBPE(english, { vocabSize: 300, alphabet: 'bytes' });
    expect(refusal(prose)).toMatch(
      /^cuts no words, and "gpt-2", the nearest name in llama\.cpp, would cut its token "[^"]+"; adapt again with --p/,
    );
    expect(refusal(prose)).toContain(gpt2.slice(1)); // as a shell takes it
    expect(write(trainBPE(english, { vocabSize: 300, alphabet: 'bytes', pattern: gpt2 }))).toBeDefined();
  });
});

test.each<[string, Tokenizer, Partial<TokenizerToWrite>, RegExp]>([
  [
    'words without a name',
    changed(english300, { splits: [{ pattern: 'x+' }] }),
    {},
    /^cuts words in a way that llama\.cpp has no name for \("x\+"\); it has gpt-2, /,
  ],
  [
    'another normal form',
    changed(english300, { splits: [{ pattern: String.raw`\p{N}` }, { pattern: gpt2 }], nfc: true }),
    {},
    /no name for \("\\\\p\{N\}", then .*, in the normal form C\)/,
  ],
  [
    'a space before a text',
    changed(english300, { splits: [{ pattern: gpt2, prefixSpace: true }] }),
    {},
    /^puts a space before every text, which llama\.cpp does not$/,
  ],
  [
    'white space beside a token',
    changed(english300, { added: [...english300.parts.added, { ...specialToken('<mask>', 300), lstrip: true }] }),
    {},
    /^the token "<mask>" takes white space beside it, which llama\.cpp does not$/,
  ],
  [
    'a token without a row',
    english300,
    { rows: english300.vocabSize - 1 },
    /^its token "[^"]+" \(id \d+\) has no row in the model, and llama\.cpp asks for one$/,
  ],
  [
    'no end token',
    trainBPE(proteins, { vocabSize: 24, alphabet: 'seen', specialTokens: ['<pad>'] }),
    {},
    /^has no end token, and llama\.cpp would take token 11 for one; name it as eos_token$/,
  ],
  ['four end tokens', english300, { endTokens: [1, 2, 5, 6] }, /^4 tokens end a text, and a GGUF file names three of/],
  [
    'another template',
    changed(english300, {
      postProcessor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<pad>' } }, { Sequence: { id: 'A' } }],
      },
    }),
    {},
    /^its post_processor puts more around a text than a begin and an end token, which llama\.cpp does not$/,
  ],
])('%s: rejected', (_, tokenizer, more, message) => {
  expect(refusal(tokenizer, more)).toMatch(message);
});

test('an added token that is ordinary text is told from one that is not', () => {
  const spaces = { ...specialToken('   ', english300.vocabSize), special: false };
  const { tokens, added } = english300.parts;
  const written = write(
    changed(english300, { tokens: [...tokens, new Uint8Array(3).fill(32)], added: [...added, spaces] }),
  );
  const types = [...(written['tokenizer.ggml.token_type'] as Int32Array)];
  expect([types.slice(0, 4), types.at(-1)]).toEqual([[3, 3, 3, 1], 4]);
});

describe('of SentencePiece', async () => {
  const llama = await loadTokenizer(new URL('../../oracles/huggingface/llama', import.meta.url).pathname);
  const { merges, characters } = llama.parts;

  test('scores are ranks, and bytes and the unknown token have types of their own', () => {
    const written = write(llama);
    const [scores, types] = [written['tokenizer.ggml.scores'], written['tokenizer.ggml.token_type']];
    merges.forEach(({ merged }, rank) => expect((scores as Float32Array)[merged]).toBeLessThanOrEqual(-rank));
    expect((types as Int32Array)[characters!.fallback[0]]).toBe(6);
    expect((types as Int32Array)[llama.specialTokens.unk!]).toBe(2);
    expect(written['tokenizer.ggml.add_space_prefix']).toBe(characters!.prefix === 'always');
  });

  test('merges of another order, and a space before some texts only, are rejected', () => {
    const otherwise = /^its merges are not those of a SentencePiece model, .* adapt again without --extend$/;
    expect(refusal(changed(llama, { merges: merges.slice(0, -1) }))).toMatch(otherwise);
    expect(refusal(changed(llama, { characters: { ...characters!, prefix: 'first' } }))).toMatch(
      /^puts a space before som/,
    );
    expect(refusal(changed(llama, { nfc: true }))).toMatch(otherwise);
  });
});

test('rows without a token have names of their own, and no part in the vocabulary', () => {
  const odd = changed(proteins24, { added: [...proteins24.parts.added, specialToken('[PAD25]', 24)] });
  const written = write(odd, { rows: 27 });
  expect((written['tokenizer.ggml.tokens'] as string[]).slice(24)).toEqual(['[PAD25]', '[PAD25]_', '[PAD26]']);
  expect([...(written['tokenizer.ggml.token_type'] as Int32Array)].slice(24)).toEqual([3, 5, 5]);
});

test('every token that ends a text, and chat templates by their names', () => {
  const chatTemplate = [
    { name: 'default', template: 'a' },
    { name: 'tools', template: 'b' },
  ];
  expect(write(english300, { endTokens: [1, 5, 6], chatTemplate })).toMatchObject({
    'tokenizer.ggml.eos_token_id': { value: 1 },
    'tokenizer.ggml.eot_token_id': { value: 5 },
    'tokenizer.ggml.eom_token_id': { value: 6 },
    'tokenizer.chat_template': 'a',
    'tokenizer.chat_templates': ['tools'],
    'tokenizer.chat_template.tools': 'b',
  });
  expect(write(english300, { chatTemplate: 'c' })).toMatchObject({ 'tokenizer.chat_template': 'c' });
});
