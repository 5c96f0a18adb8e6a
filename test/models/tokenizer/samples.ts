/** Small texts, the tokenizers trained on them, and the arbitraries that the tokenizer's tests share. */
import fc from 'fast-check';
import { defaultSpecialTokens, gpt2Pattern, trainBPE, type Tokenizer } from '../../../models/tokenizer/index.ts';

export const english = [
  'the cat sat on the mat; the cat, that cat!',
  "it's the other's hat  and 42 hats\n\n\tthen more",
  'thé naïve café — ☕☕',
];
export const proteins = ['MKVLAAGMKVLAAGIVGLCAKVLA', 'MKKLAAGIVKVLAAG', 'GIVGLCAMKV'];
export const english300 = trainBPE(english, { vocabSize: 300, pattern: gpt2Pattern, alphabet: 'bytes' });
/** Without an unknown token: another letter is an error. */
export const proteins24 = trainBPE(proteins, {
  vocabSize: 24,
  alphabet: 'seen',
  specialTokens: defaultSpecialTokens,
});

/** As LLaMA 3 has it; Qwen's differs in `\p{N}`. */
export const llama3Pattern = [
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
  String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`,
  String.raw`\p{N}{1,3}`,
  String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`,
  String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`,
].join('|');

/** Few letters make many pairs and ties. */
export const words = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 20 });
export const documents = fc.array(words, { minLength: 1, maxLength: 8 });

/** Any text that UTF-8 can write: no half surrogate pairs. */
export const text = fc.string({ unit: 'binary' }).map(s => s.replace(/\p{Cs}/gu, '?'));

/** Text near the borders that patterns care about: spaces, digits, contractions, scripts, what normal forms change. */
export const borders = fc.string({
  unit: fc.constantFrom(
    "'",
    's',
    'LL',
    'a',
    'Z',
    'é',
    'e\u0301',
    'ж',
    '中',
    '1',
    '٣',
    '½',
    ' ',
    '  ',
    '\n',
    '\r\n',
    '\t',
    '\u00a0',
    '\u3000',
    '.',
    '—',
    '☕',
    '<s>',
    '▁',
  ),
  maxLength: 24,
});

/** Lowest rank first, leftmost first, by looking through everything again before each merge. */
export function naiveMerge(tokenizer: Tokenizer, symbols: readonly number[]): number[] {
  for (let rest = [...symbols]; ; ) {
    const has = (i: number, m: { left: number; right: number }) => rest[i] === m.left && rest[i + 1] === m.right;
    const best = tokenizer.parts.merges.find(m => rest.some((_, i) => has(i, m)));
    if (!best) return rest;
    const at = rest.findIndex((_, i) => has(i, best));
    rest = [...rest.slice(0, at), best.merged, ...rest.slice(at + 2)];
  }
}

/** A vocabulary such as SentencePiece's: specials, bytes, characters, pieces with ▁ for a space. */
export function characterFile(change: (file: ReturnType<typeof characterParts>) => void = () => {}): string {
  const file = characterParts();
  change(file);
  return JSON.stringify(file);
}

function characterParts() {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const pieces = ['▁', 't', 'h', 'e', 'a', 'é', '中', '▁t', 'he', '▁the', 'at', '▁▁', '▁a', 'th', '▁th'];
  const names = ['<unk>', '<s>', '</s>', ...bytes, ...pieces];
  const added = ['<unk>', '<s>', '</s>'].map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const step = (type: string, fields: Record<string, unknown> = {}): Record<string, unknown> => ({ type, ...fields });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: step('Sequence', {
      normalizers: [step('Prepend', { prepend: '▁' }), step('Replace', { pattern: { String: ' ' }, content: '▁' })],
    }) as Record<string, unknown> | null,
    pre_tokenizer: null as Record<string, unknown> | null,
    post_processor: null,
    decoder: step('Sequence', {
      decoders: [
        step('Replace', { pattern: { String: '▁' }, content: ' ' }),
        step('ByteFallback'),
        step('Fuse'),
        step('Strip', { content: ' ', start: 1, stop: 0 }),
      ],
    }),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(names.map((n, id) => [n, id])) as Record<string, unknown>,
      merges: ['▁ t', 'h e', '▁t he', '▁ ▁', 'a t', 't h', '▁ a', '▁ th', '▁th e'],
    },
  };
}
