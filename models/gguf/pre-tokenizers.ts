/**
 * The ways of cutting text into words that llama.cpp has names for (`tokenizer.ggml.pre`). A name stands for what the
 * `tokenizer.json` of its models holds, not for llama.cpp's approximation of it: Unicode normalisation, which llama.cpp
 * leaves out, is in the table.
 */
import { isUtf8 } from '../utf8.ts';
import { decodeUtf8 } from '../tokenizer/alphabet.ts';
import { gpt2Pattern, type TokenizerParts } from '../tokenizer/index.ts';

/** How a name's models cut text into words. */
export interface PreTokenizer {
  /** Expressions that cut a text into words, one after another. */
  readonly patterns: readonly string[];
  /** Text is brought into Unicode's normal form C first. */
  readonly nfc?: boolean;
  /** A word that is a token is that token. */
  readonly ignoreMerges?: boolean;
  /** Whether a begin token stands before every text, where the file does not say. */
  readonly addBos?: boolean;
}

/** GPT-2's words. */
export const gpt2 = gpt2Pattern.source;
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const space = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const rest = String.raw`\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${space}`;
const llama3 = String.raw`${contractions}|[^\r\n\p{L}\p{N}]?${rest}`;
const qwen2 = llama3.replace('{1,3}', '');
const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const tekken = [
  String.raw`[^\r\n\p{L}\p{N}]?${upper}*${lower}+`,
  String.raw`[^\r\n\p{L}\p{N}]?${upper}+${lower}*`,
  String.raw`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*`,
  space,
].join('|');
const han = '[一-龥ࠀ-一가-퟿]+';
const deepseekV3 = [
  String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${'`'}{|}~][A-Za-z]+`,
  String.raw`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+`,
  String.raw` ?[\p{P}\p{S}]+[\r\n]*`,
  space,
].join('|');

/** By `tokenizer.ggml.pre`, the name that llama.cpp's converter gives to a model's way of cutting words. */
export const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  'gpt-2': { patterns: [gpt2] },
  'phi-2': { patterns: [gpt2] },
  // GPT-NeoX's vocabulary.
  olmo: { patterns: [gpt2], nfc: true },
  mpt: { patterns: [gpt2], nfc: true },
  smollm: { patterns: [String.raw`\p{N}`, gpt2] },
  starcoder: { patterns: [String.raw`\p{N}`, gpt2] },
  refact: { patterns: [String.raw`\p{N}`, gpt2] },
  'llama-bpe': { patterns: [llama3], ignoreMerges: true, addBos: true },
  llama3: { patterns: [llama3], ignoreMerges: true, addBos: true },
  'llama-v3': { patterns: [llama3], ignoreMerges: true, addBos: true },
  // The words of GPT-4: OLMo-2's, among others.
  dbrx: { patterns: [llama3] },
  'smaug-bpe': { patterns: [llama3] },
  qwen2: { patterns: [qwen2], nfc: true },
  'deepseek-r1-qwen': { patterns: [qwen2], nfc: true },
  tekken: { patterns: [tekken], ignoreMerges: true, addBos: true },
  'deepseek-coder': {
    patterns: [String.raw`[\r\n]`, String.raw`\s?\p{L}+`, String.raw`\s?\p{P}+`, han, String.raw`\p{N}`],
  },
  'deepseek-v3': { patterns: [String.raw`\p{N}{1,3}`, '[一-龥぀-ゟ゠-ヿ]+', deepseekV3] },
};

/** A tokenizer's steps as the table has them; undefined where a step does more than cut. */
function patternsOf({ splits }: TokenizerParts): string[] | undefined {
  const patterns = splits.map(({ pattern, drops, prefixSpace }) => (drops || prefixSpace ? undefined : pattern));
  return patterns.every(pattern => pattern !== undefined) ? patterns : undefined;
}

/** The name of what cuts as a tokenizer does, or, where it does not cut, as changes none of its encodings. */
export function preTokenizerOf(parts: TokenizerParts): string | undefined {
  const patterns = patternsOf(parts);
  if (patterns === undefined) return undefined;
  const wanted = patterns.length === 0 && firstCutToken(parts) === undefined ? [gpt2] : patterns;
  return Object.keys(preTokenizers).find(name => {
    const { patterns: there, nfc = false, ignoreMerges = false } = preTokenizers[name];
    return (
      there.length === wanted.length &&
      there.every((pattern, i) => pattern === wanted[i]) &&
      nfc === (parts.nfc ?? false) &&
      ignoreMerges === (parts.ignoreMerges ?? false)
    );
  });
}

/**
 * A token that GPT-2's pattern may cut in some text, of those that merges make; undefined where there is none. Then a
 * merge never joins what the pattern would part, and merging a whole text gives what merging its words gives.
 *
 * The pattern takes a run of letters, of numbers or of other signs whole, with the space before it. There is one
 * exception: after an apostrophe that begins a word, `s`, `d`, `m`, `t`, `ll`, `ve` and `re` are cut from the letters
 * that follow (`'s|abc`). So a token is safe if it is a run of one of the three kinds, with or without a space before
 * it, and, being letters without a space, does not begin with the end of a contraction and go on: `re`, `ve`, or one of
 * `s d m t l e`. Any other text is cut somewhere. A token that is not valid UTF-8 (part of a character) counts as cut.
 */
export function firstCutToken({ tokens, merges }: TokenizerParts): string | undefined {
  for (const { merged } of merges) {
    const bytes = tokens[merged]; // none for a special token, which no merge makes
    if (bytes !== undefined && !(isUtf8(bytes) && isUncut(decodeUtf8(bytes)))) return decodeUtf8(bytes);
  }
  return undefined;
}

const isUncut = (text: string): boolean =>
  (/^\p{L}+$/u.test(text) && !/^([sdmtle]|[rv]e)./u.test(text)) ||
  // White space of Unicode or of JavaScript, which has U+FEFF and not U+0085.
  /^( \p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}\x85]+)$/u.test(text);
