/**
 * Hugging Face's `tokenizer.json`, for byte-level BPE: GPT-2's way of writing bytes as printable characters, words by
 * GPT-2's pattern, by a regular expression, or none. What the format has and this tokenizer does not is refused by name.
 */
import { UserError } from '../files.ts';
import { gpt2Pattern, Tokenizer, type SpecialTokens } from './tokenizer.ts';

/** GPT-2's character for every byte: printable bytes are themselves, the others follow from U+0100 on. */
const byteChars: readonly string[] = (() => {
  let extra = 0;
  return Array.from({ length: 256 }, (_, b) => {
    const printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    return String.fromCodePoint(printable ? b : 256 + extra++);
  });
})();
const charBytes = new Map(byteChars.map((char, byte) => [char, byte]));

const encodeChars = (bytes: Uint8Array): string => Array.from(bytes, b => byteChars[b]).join('');

function decodeChars(token: string): Uint8Array | undefined {
  const bytes = Array.from(token, char => charBytes.get(char));
  return bytes.every(b => b !== undefined) ? Uint8Array.from(bytes) : undefined;
}

/** The file's text. Loads in Hugging Face's tokenizers. */
export function tokenizerToJson(tokenizer: Tokenizer): string {
  const { tokens, merges, pattern, special } = tokenizer.parts;
  const vocab: Record<string, number> = {};
  const entries: [string, number][] = [...special];
  tokens.forEach((bytes, id) => { if (bytes && !tokenizer.isSpecial(id)) entries.push([encodeChars(bytes), id]); });
  for (const [token, id] of entries.sort((a, b) => a[1] - b[1])) vocab[token] = id;
  const byteLevel = (useRegex: boolean) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: useRegex });
  const file = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: Array.from(special, ([content, id]) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    normalizer: null,
    pre_tokenizer: pattern === null || pattern.source === gpt2Pattern.source
      ? byteLevel(pattern !== null)
      : { type: 'Sequence', pretokenizers: [{ type: 'Split', pattern: { Regex: pattern.source }, behavior: 'Isolated', invert: false }, byteLevel(false)] },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: merges.map(({ left, right }) => [left, right].map(id => encodeChars(tokens[id]!)).join(' ')),
    },
  };
  return `${JSON.stringify(file, null, 1)}\n`;
}

type Fields = Readonly<Record<string, unknown>>;

/** Reads a `tokenizer.json`. `roles` (from a `config.json`) override what the names of special tokens tell. */
export function parseTokenizerJson(text: string, file: string, roles?: SpecialTokens): Tokenizer {
  const refuse = (where: string, what: string): never => { throw new UserError(`${file}: ${where}: ${what}`); };
  const object = (value: unknown, where: string): Fields =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : refuse(where, 'is not an object');
  const list = (value: unknown, where: string): readonly unknown[] => (Array.isArray(value) ? value : refuse(where, 'is not a list'));
  const id = (value: unknown, where: string): number =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) < maxId ? (value as number) : refuse(where, `id ${JSON.stringify(value)} is not a whole number below ${maxId}`);

  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    refuse('file', 'is not JSON; copy it again');
  }
  const root = object(json, 'file');
  const model = object(root.model, 'model');
  if (model.type !== 'BPE') refuse('model.type', `is ${JSON.stringify(model.type)}; only BPE is supported`);
  if (model.byte_fallback === true) refuse('model.byte_fallback', 'is true; only byte-level BPE is supported');
  if (root.normalizer !== null && root.normalizer !== undefined) refuse('normalizer', `${JSON.stringify(object(root.normalizer, 'normalizer').type)} is not supported; byte-level BPE needs none`);

  const special = new Map<string, number>();
  for (const [i, entry] of list(root.added_tokens ?? [], 'added_tokens').entries()) {
    const { content, id: tokenId } = object(entry, `added_tokens[${i}]`);
    if (typeof content !== 'string' || content === '') refuse(`added_tokens[${i}].content`, 'is not a text');
    special.set(content as string, id(tokenId, `added_tokens[${i}]`));
  }
  const tokens: (Uint8Array | undefined)[] = [];
  const ids = new Map<string, number>();
  const taken = new Map<number, string>(Array.from(special, ([name, n]) => [n, name]));
  for (const [token, value] of Object.entries(object(model.vocab, 'model.vocab'))) {
    const n = id(value, `model.vocab[${JSON.stringify(token)}]`);
    if (special.get(token) === n) continue;
    if (taken.has(n)) refuse('model.vocab', `id ${n} is both ${JSON.stringify(taken.get(n))} and ${JSON.stringify(token)}`);
    taken.set(n, token);
    tokens[n] = decodeChars(token) ?? refuse('model.vocab', `token ${JSON.stringify(token)} is not written in byte-level characters`);
    ids.set(token, n);
  }
  const merges = list(model.merges, 'model.merges').map((entry, i) => {
    const pair = typeof entry === 'string' ? entry.split(' ') : list(entry, `model.merges[${i}]`);
    if (pair.length !== 2 || !pair.every(t => typeof t === 'string')) refuse(`model.merges[${i}]`, 'is not a pair of tokens');
    const [left, right, merged] = [pair[0], pair[1], `${pair[0]}${pair[1]}`].map(t => ids.get(t as string) ?? refuse(`model.merges[${i}]`, `token ${JSON.stringify(t)} is not in the vocabulary`));
    return { left, right, merged };
  });
  if (ids.size === 0) refuse('model.vocab', 'is empty');
  for (let n = 0; n < tokens.length; n++) tokens[n] ??= undefined; // holes become entries
  return new Tokenizer({ tokens, merges, special, pattern: parsePattern(root.pre_tokenizer, refuse), roles });
}

/** No vocabulary is larger; a larger id would only fill memory. */
const maxId = 2 ** 24;

function parsePattern(value: unknown, refuse: (where: string, what: string) => never): RegExp | null {
  const steps = value === null || value === undefined ? [] : flatSteps(value as Fields);
  let pattern: RegExp | null = null;
  let byteLevel = false;
  for (const step of steps) {
    if (step.type === 'Split' && !byteLevel && pattern === null) {
      const source = (step.pattern as Fields | undefined)?.Regex;
      if (typeof source !== 'string' || step.behavior !== 'Isolated' || step.invert === true) refuse('pre_tokenizer', 'Split is supported with a Regex, behavior "Isolated" and no invert');
      pattern = compile(source as string, refuse);
    } else if (step.type === 'ByteLevel' && !byteLevel) {
      if (step.add_prefix_space === true) refuse('pre_tokenizer', 'add_prefix_space is true, which is not supported');
      byteLevel = true;
      if (step.use_regex !== false && pattern === null) pattern = gpt2Pattern;
    } else {
      refuse('pre_tokenizer', `${JSON.stringify(step.type)} is not supported here; known are one Split and then ByteLevel`);
    }
  }
  if (!byteLevel) refuse('pre_tokenizer', 'has no ByteLevel step; only byte-level BPE is supported');
  return pattern;
}

function flatSteps(value: Fields): Fields[] {
  return value.type === 'Sequence' && Array.isArray(value.pretokenizers) ? (value.pretokenizers as Fields[]) : [value];
}

/** A pattern of Rust's or Oniguruma's kind as a JavaScript one; `(?i:…)` is spelled out letter by letter. */
function compile(source: string, refuse: (where: string, what: string) => never): RegExp {
  const spelled = source.replace(/\(\?i:([^()]*)\)/g, (_, inner: string) => `(?:${inner.replace(/[a-z]/gi, c => `[${c.toLowerCase()}${c.toUpperCase()}]`)})`);
  try {
    return new RegExp(spelled, 'gu');
  } catch (error) {
    return refuse('pre_tokenizer', `the pattern ${JSON.stringify(source.slice(0, 60))} is not supported: ${(error as Error).message}`);
  }
}
