/** Laws of byte-level BPE, with a naive trainer and a naive encoder as oracles, and Hugging Face's own as the outside one. */
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gpt2Pattern, parseTokenizerJson, tokenizerToJson, trainBPE, type Tokenizer } from '../../../models/tokenizer/index.ts';
import { splitByPattern } from '../../../models/tokenizer/tokenizer.ts';

const english = ['the cat sat on the mat; the cat, that cat!', "it's the other's hat  and 42 hats\n\n\tthen more", 'thé naïve café — ☕☕'];
const proteins = ['MKVLAAGMKVLAAGIVGLCAKVLA', 'MKKLAAGIVKVLAAG', 'GIVGLCAMKV'];
const english300 = trainBPE(english, { vocabSize: 300, pattern: gpt2Pattern });
const proteins24 = trainBPE(proteins, { vocabSize: 24, alphabet: 'seen' });

/** Few letters make many pairs and ties. */
const words = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 20 });
const documents = fc.array(words, { minLength: 1, maxLength: 8 });

/** Trains by counting every pair anew before each merge. */
function naiveMerges(docs: readonly string[], merges: number): string[] {
  let symbols = docs.map(d => [...d]);
  const made: string[] = [];
  const ids = new Map([...new Set(docs.join(''))].sort().map((c, i) => [c, i]));
  for (let m = 0; m < merges; m++) {
    const counts = new Map<string, number>();
    for (const s of symbols) for (let i = 0; i + 1 < s.length; i++) counts.set(`${s[i]} ${s[i + 1]}`, (counts.get(`${s[i]} ${s[i + 1]}`) ?? 0) + 1);
    const order = (pair: string) => pair.split(' ').map(t => ids.get(t)!);
    const [best] = [...counts].filter(([, n]) => n >= 2).sort(([a, n], [b, k]) => k - n || order(a)[0] - order(b)[0] || order(a)[1] - order(b)[1]);
    if (!best) break;
    const [left, right] = best[0].split(' ');
    made.push(best[0]);
    if (!ids.has(left + right)) ids.set(left + right, ids.size);
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

describe('training', () => {
  test('merges what counting anew would merge', () => {
    fc.assert(fc.property(documents, fc.integer({ min: 1, max: 12 }), (docs, n) => {
      const seen = new Set(docs.join('')).size;
      const naive = naiveMerges(docs, n);
      // Two routes to one text are two ids here and one in the naive trainer: compare until that happens.
      const texts = naive.map(m => m.replace(' ', ''));
      const distinct = texts.findIndex((t, i) => texts.indexOf(t) < i);
      const comparable = distinct < 0 ? naive.length : distinct;
      expect(mergesOf(trainBPE(docs, { vocabSize: 3 + seen + n, alphabet: 'seen' })).slice(0, comparable)).toEqual(naive.slice(0, comparable));
    }));
  });

  test('does not depend on the order of documents', () => {
    fc.assert(fc.property(documents, docs => {
      const train = (d: string[]) => trainBPE(d, { vocabSize: 20, alphabet: 'seen' }).hash;
      expect(train([...docs].reverse())).toBe(train(docs));
    }));
  });

  test('one more merge never makes more tokens of the training text', () => {
    fc.assert(fc.property(documents, docs => {
      const seen = new Set(docs.join('')).size;
      const counts = Array.from({ length: 8 }, (_, n) => docs.reduce((total, d) => total + trainBPE(docs, { vocabSize: 3 + seen + n, alphabet: 'seen' }).encode(d).length, 0));
      counts.forEach((c, i) => expect(c).toBeLessThanOrEqual(i === 0 ? Infinity : counts[i - 1]));
    }));
  });

  test('refuses a vocabulary without room for its bytes', () => {
    expect(() => trainBPE(english, { vocabSize: 200 })).toThrow('a vocabulary of 200 is too small: 3 special tokens and 256 bytes make 259');
  });
});

describe('encoding', () => {
  test('decode after encode is the identity on every text and on all bytes', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), text => { expect(english300.decode(english300.encode(text))).toBe(new TextDecoder().decode(new TextEncoder().encode(text))); }));
    fc.assert(fc.property(fc.uint8Array(), bytes => { expect(english300.decodeBytes(english300.encodeBytes(bytes))).toEqual(bytes); }));
  });

  test('is lowest rank first, leftmost first', () => {
    fc.assert(fc.property(documents, words, (docs, word) => {
      const t = trainBPE(['abc', ...docs], { vocabSize: 24, alphabet: 'seen' });
      let symbols = [...t.encodeBytes(new Uint8Array()), ...[...word].map(c => t.parts.tokens.findIndex(b => b?.length === 1 && b[0] === c.charCodeAt(0)))];
      for (;;) {
        const best = t.parts.merges.find(m => symbols.some((s, i) => s === m.left && symbols[i + 1] === m.right));
        if (!best) break;
        const at = symbols.findIndex((s, i) => s === best.left && symbols[i + 1] === best.right);
        symbols = [...symbols.slice(0, at), best.merged, ...symbols.slice(at + 2)];
      }
      expect([...t.encode(word)]).toEqual(symbols);
    }));
  });

  test('special tokens are text unless asked for', () => {
    expect(english300.decode(english300.encode('a<s>b'))).toBe('a<s>b');
    expect([...english300.encode('a<s>b', { allowSpecial: true })]).toContain(0);
    expect(english300.specialTokens).toEqual({ bos: 0, eos: 1, pad: 2, unk: undefined });
  });

  test('a byte that training never saw is named', () => {
    expect(() => proteins24.encode('MKW')).toThrow("byte 'W' at offset 2 is not in the vocabulary");
  });

  test('GPT-2 words lose nothing', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), text => { expect(splitByPattern(text, gpt2Pattern).join('')).toBe(text); }));
  });
});

describe('tokenizer.json', () => {
  test.each([['English', english300, english], ['proteins', proteins24, proteins]] as const)('%s: read back it is the same, and Hugging Face encodes alike', (_, tokenizer, texts) => {
    const json = tokenizerToJson(tokenizer);
    const again = parseTokenizerJson(json, 'tokenizer.json');
    expect(again.hash).toBe(tokenizer.hash);
    const other = new HuggingFace(JSON.parse(json), {});
    for (const text of texts) expect([...again.encode(text)]).toEqual(other.encode(text, { add_special_tokens: false }).ids);
  });

  type File = { model: { type: string; merges: string[]; vocab: Record<string, unknown> }; normalizer: unknown; pre_tokenizer: unknown };
  const broken = (change: (file: File) => void) => {
    const file = JSON.parse(tokenizerToJson(proteins24));
    change(file);
    return () => parseTokenizerJson(JSON.stringify(file), 'tokenizer.json');
  };
  test.each([
    ['no JSON', () => parseTokenizerJson('{', 'tokenizer.json'), 'tokenizer.json: file: is not JSON'],
    ['another model', broken(f => { f.model.type = 'Unigram'; }), 'model.type: is "Unigram"'],
    ['a merge of unknown tokens', broken(f => { f.model.merges.push('Q Q'); }), 'token "Q" is not in the vocabulary'],
    ['two tokens with one id', broken(f => { f.model.vocab.zz = 5; }), 'id 5 is both'],
    ['an id that is no number', broken(f => { f.model.vocab.zz = 'x'; }), 'id "x" is not a whole number'],
    ['a huge id', broken(f => { f.model.vocab.zz = 1e12; }), 'is not a whole number below'],
    ['a normalizer', broken(f => { f.normalizer = { type: 'NFC' }; }), 'normalizer: "NFC" is not supported'],
    ['no byte level', broken(f => { f.pre_tokenizer = null; }), 'has no ByteLevel step'],
  ])('%s is refused', (_, parse, message) => { expect(parse).toThrow(message); });
});
