/**
 * Reads Hugging Face's `tokenizer.json` of two families: byte-level BPE (GPT-2, GPT-NeoX and OLMo, LLaMA 3, Qwen) and
 * BPE over characters with byte fallback (LLaMA 1 and 2, Mistral). What the format has and this tokenizer does not is
 * rejected with an error that names it, and a file is read whole or not at all.
 */
import { parseJson } from '../json.ts';
import { show, UserError } from '../errors.ts';
import { type AddedToken } from './added.ts';
import { encodeUtf8, type CharacterUnits } from './alphabet.ts';
import { readBytes } from './bytes.ts';
import { Cursor, isIndex } from './json-cursor.ts';
import { byteToken } from './json-write.ts';
import type { Merge } from './rule.ts';
import { compilePattern, gpt2Pattern, quotePattern, type Split } from './pattern.ts';
import { Tokenizer, type SpecialTokens } from './tokenizer.ts';

/** No vocabulary is larger; a larger id would only fill memory. */
const maxId = 2 ** 22;
/** Ids without a token: each takes a row of the model. */
const maxHoles = 2 ** 16;

/** `roles` (from a `config.json`) override what the names of special tokens tell. */
export function parseTokenizerJson(text: string, file: string, roles?: SpecialTokens): Tokenizer {
  const root = new Cursor(parseJson(text, file), file);
  const model = root.get('model');
  // GPT-2's own file has no type; of the models that may be meant, only BPE has merges.
  if (!model.get('type').isNull || model.get('merges').isNull) model.get('type').mustBe('BPE');
  for (const neutral of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix'])
    model.get(neutral).mustBe(null, undefined, '', 0);

  const added = readAdded(root.get('added_tokens'));
  const names = readVocabulary(model.get('vocab'), added);
  const products = readProducts(model, added);
  const steps = stepsOf(root.get('pre_tokenizer'), 'pretokenizers');
  const byteLevel = steps.some(step => step.get('type').value === 'ByteLevel');
  if (!byteLevel && model.get('byte_fallback').value !== true) {
    root
      .get('pre_tokenizer')
      .refuse(
        'has no ByteLevel step, and model.byte_fallback is not true: this is neither byte-level BPE nor BPE with ' +
          'byte fallback',
      );
  }
  const ignoreMerges = model.get('ignore_merges').flag(false);
  const unk = readUnknown(model.get('unk_token'), names, added);
  const rest = {
    merges: readMerges(model.get('merges'), name => names.get(name) ?? products.get(name)),
    added,
    ignoreMerges,
    roles: { ...(unk === undefined ? {} : { unk }), ...roles },
    postProcessor: root.get('post_processor').value ?? undefined,
  };
  if (!byteLevel) {
    const { characters, nfc } = readCharacters(root, names, added, steps);
    if (ignoreMerges) model.get('ignore_merges').refuse('is true, which is not supported with byte fallback');
    return new Tokenizer({
      ...rest,
      tokens: characterTokens(names, characters.fallback, added),
      splits: [],
      nfc,
      characters,
    });
  }
  const tokens = byteLevelTokens(model.get('vocab'), names, added);
  // Without all bytes in the vocabulary, what becomes of unknown ones matters.
  const complete = new Set(tokens.flatMap(bytes => (bytes?.length === 1 ? [bytes[0]] : []))).size === 256;
  if (!complete) for (const key of ['byte_fallback', 'fuse_unk']) model.get(key).mustBe(false, undefined, null);
  const nfc = stepsOf(root.get('normalizer'), 'normalizers').map(step => step.get('type').mustBe('NFC')).length > 0;
  const decoders = stepsOf(root.get('decoder'), 'decoders');
  if (decoders.length !== 1) root.get('decoder').refuse('must be ByteLevel, as the pre-tokenizer is');
  decoders[0].get('type').mustBe('ByteLevel');
  return new Tokenizer({ ...rest, tokens, nfc, splits: readSplits(steps) });
}

function readAdded(list: Cursor): AddedToken[] {
  if (list.isNull) return [];
  const contents = new Set<string>();
  const ids = new Set<number>();
  return list.items().map(item => {
    item.get('single_word').mustBe(false, undefined);
    const content = item.get('content').text();
    const id = item.get('id').index(maxId);
    checkText(content, item.get('content'));
    if (content === '') item.get('content').refuse('is empty');
    if (contents.has(content)) item.get('content').refuse(`${show(content)} appears twice`);
    if (ids.has(id)) item.get('id').refuse(`${id} appears twice`);
    contents.add(content);
    ids.add(id);
    const special = item.get('special').flag(false);
    return {
      content,
      id,
      special,
      lstrip: item.get('lstrip').flag(false),
      rstrip: item.get('rstrip').flag(false),
      normalized: item.get('normalized').flag(!special),
    };
  });
}

/** Tokens by name, without those that are added tokens as well. */
function readVocabulary(vocab: Cursor, added: readonly AddedToken[]): Map<string, number> {
  const names = new Map<string, number>();
  const idOfAdded = new Map(added.map(t => [t.content, t.id]));
  // By id, in an array: maps of hundreds of thousands of tokens take seconds.
  const taken: (string | undefined)[] = [];
  for (const { id, content } of added) taken[id] = content;
  let size = added.length;
  const ids = vocab.object();
  // By keys: the pairs of Object.entries take several times as long for hundreds of thousands of tokens.
  for (const name of Object.keys(ids)) {
    const id = ids[name];
    if (!isIndex(id, maxId)) vocab.get(name).index(maxId);
    else if (idOfAdded.get(name) !== id) {
      if (idOfAdded.has(name))
        vocab.refuse(`token ${show(name)} has the id ${id} here and ${idOfAdded.get(name)} in added_tokens`);
      if (taken[id] !== undefined) vocab.refuse(`id ${id} is both ${show(taken[id])} and ${show(name)}`);
      taken[id] = name;
      names.set(name, id);
      size++;
    }
  }
  if (names.size === 0) vocab.refuse('has no tokens');
  const largest = taken.length - 1;
  if (largest >= size + maxHoles)
    vocab.refuse(`has ${size} tokens and ids up to ${largest}; at most ${maxHoles} ids may be without a token`);
  return names;
}

/**
 * Added tokens that the vocabulary has as well, under the same id (`readVocabulary` sees to it): merges may name them.
 */
function readProducts(model: Cursor, added: readonly AddedToken[]): Map<string, number> {
  const vocab = model.get('vocab').object();
  return new Map(added.filter(t => Object.hasOwn(vocab, t.content)).map(t => [t.content, t.id]));
}

function readUnknown(
  token: Cursor,
  names: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): number | undefined {
  if (token.isNull) return undefined;
  const name = token.text();
  return (
    added.find(t => t.content === name)?.id ??
    names.get(name) ??
    token.refuse(`${token.shown} is not in the vocabulary`)
  );
}

/** Each merge is "left right" or ["left", "right"], and names three tokens of the vocabulary. */
function readMerges(list: Cursor, idOf: (name: string) => number | undefined): Merge[] {
  const merges: Merge[] = [];
  /** The last merge that makes a token, by its id, and the one before with the same product: −1 for none. */
  const last: number[] = [];
  const before = new Int32Array(list.list().length);
  list.list().forEach((entry, i) => {
    const pair: unknown = typeof entry === 'string' ? entry.split(' ') : entry;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(part => typeof part === 'string'))
      list.item(i).refuse('is not a pair of tokens');
    const [a, b] = pair as [string, string];
    const known = (name: string) => idOf(name) ?? list.item(i).refuse(`token ${show(name)} is not in the vocabulary`);
    const [left, right, merged] = [known(a), known(b), known(a + b)];
    before[i] = last[merged] ?? -1;
    for (let k = before[i]; k >= 0; k = before[k])
      if (merges[k].left === left && merges[k].right === right) list.item(i).refuse(`repeats model.merges[${k}]`);
    last[merged] = i;
    merges.push({ left, right, merged });
  });
  return merges;
}

function byteLevelTokens(
  vocab: Cursor,
  names: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): (Uint8Array | undefined)[] {
  const tokens = addedTokens(added);
  for (const [name, id] of names)
    tokens[id] = readBytes(name) ?? vocab.refuse(`token ${show(name)} is not written in byte-level characters`);
  return tokens;
}

/** Special tokens stand for no bytes, other added tokens for their text. */
function addedTokens(added: readonly AddedToken[]): (Uint8Array | undefined)[] {
  const tokens: (Uint8Array | undefined)[] = [];
  for (const { content, id, special } of added) tokens[id] = special ? undefined : encodeUtf8(content);
  return tokens;
}

/** The steps Split and Digits, and GPT-2's pattern where ByteLevel uses it. */
function readSplits(steps: readonly Cursor[]): Split[] {
  return steps.flatMap((step, i): Split[] => {
    const type = step.get('type').text();
    if ((type === 'ByteLevel') !== (i === steps.length - 1))
      step.refuse(`${type} stands where it is not supported: ByteLevel must come once and last`);
    if (type === 'ByteLevel') {
      const pattern = step.get('use_regex').flag(true) ? { pattern: gpt2Pattern.source } : {};
      const prefix = step.get('add_prefix_space').flag(false) ? { prefixSpace: true } : {};
      return Object.keys({ ...pattern, ...prefix }).length > 0 ? [{ ...pattern, ...prefix }] : [];
    }
    if (type === 'Digits')
      return [{ pattern: step.get('individual_digits').flag(false) ? String.raw`\p{N}` : String.raw`\p{N}+` }];
    step.get('type').mustBe('Split', 'Digits', 'ByteLevel');
    return [readSplit(step)];
  });
}

/** `invert` makes what lies between the matches of the pattern; only "Removed" tells the two apart. */
function readSplit(step: Cursor): Split {
  const inverted = step.get('invert').flag(false);
  const behavior = step.get('behavior');
  behavior.mustBe('Isolated', 'Removed');
  const regex = step.get('pattern').get('Regex');
  const source = regex.isNull ? quotePattern(step.get('pattern').get('String').text()) : regex.text();
  try {
    compilePattern(source);
  } catch (error) {
    if (error instanceof UserError) regex.refuse(error.message);
    throw error;
  }
  return { pattern: source, ...(behavior.value === 'Removed' && { drops: inverted ? 'gaps' : 'matches' }) };
}

/** The rules by which SentencePiece's spaces and bytes are written, as normalizer, Metaspace and decoder tell them. */
function readCharacters(
  root: Cursor,
  names: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
  preTokenizers: readonly Cursor[],
): { characters: CharacterUnits; nfc: boolean } {
  const ids = new Map<string, number>();
  for (const [name, id] of names) {
    checkText(name, root.get('model').get('vocab'));
    if (name.includes(' '))
      root
        .get('model')
        .get('vocab')
        .refuse(`token ${show(name)} has a space, which never matches: spaces become ▁`);
    if ([...name].length === 1) ids.set(name, id);
  }
  const fallback = Array.from(
    { length: 256 },
    (_, byte) =>
      names.get(byteToken(byte)) ??
      root
        .get('model')
        .get('byte_fallback')
        .refuse(`is true, and the vocabulary has no token ${byteToken(byte)}`),
  );
  if (added.some(t => !t.special && t.normalized)) {
    root
      .get('added_tokens')
      .refuse(
        'an ordinary token with normalized true is not supported with byte fallback; write it with normalized false',
      );
  }
  const normalizers = stepsOf(root.get('normalizer'), 'normalizers');
  const nfc = normalizers[0]?.get('type').value === 'NFC';
  const spaces = nfc ? normalizers.slice(1) : normalizers;
  return {
    characters: {
      ids,
      fallback,
      prefix: readPrefix(root, spaces, preTokenizers),
      strip: readStrip(root.get('decoder')),
    },
    nfc,
  };
}

function readPrefix(
  root: Cursor,
  normalizers: readonly Cursor[],
  preTokenizers: readonly Cursor[],
): CharacterUnits['prefix'] {
  const prepends = normalizers[0]?.get('type').value === 'Prepend';
  if (prepends) normalizers[0].get('prepend').mustBe('▁');
  const replaces = prepends ? normalizers.slice(1) : normalizers;
  if (replaces.length > 1)
    replaces[1]
      .get('type')
      .refuse(`is ${replaces[1].get('type').shown}; known are NFC, Prepend and Replace, once each and in this order`);
  for (const replace of replaces) checkReplace(replace, ' ', '▁');
  if (preTokenizers.length === 0) {
    if (replaces.length === 0)
      root.get('normalizer').refuse('does not replace spaces by ▁, and neither does the pre-tokenizer');
    return prepends ? 'always' : 'never';
  }
  if (preTokenizers.length > 1 || normalizers.length > 0)
    root.get('pre_tokenizer').refuse('must be Metaspace alone, with no normalizer other than NFC');
  const [step] = preTokenizers;
  step.get('type').mustBe('Metaspace');
  step.get('replacement').mustBe('▁');
  step.get('split').mustBe(false);
  const scheme = step.get('prepend_scheme');
  scheme.mustBe('always', 'first', 'never', undefined);
  return scheme.value === 'first' || scheme.value === 'never' ? scheme.value : 'missing';
}

function readStrip(decoder: Cursor): boolean {
  const [replace, bytes, fuse, strip, ...others] = stepsOf(decoder, 'decoders');
  if (!replace || !bytes || !fuse || others.length > 0)
    decoder.refuse('must be Replace, ByteFallback, Fuse and at most Strip, in this order');
  checkReplace(replace, '▁', ' ');
  bytes.get('type').mustBe('ByteFallback');
  fuse.get('type').mustBe('Fuse');
  if (!strip) return false;
  for (const [key, value] of Object.entries({ type: 'Strip', content: ' ', start: 1, stop: 0 }))
    strip.get(key).mustBe(value);
  return true;
}

function checkReplace(step: Cursor, from: string, to: string): void {
  step.get('type').mustBe('Replace');
  step.get('pattern').get('String').mustBe(from);
  step.get('content').mustBe(to);
}

function characterTokens(
  names: ReadonlyMap<string, number>,
  fallback: readonly number[],
  added: readonly AddedToken[],
): (Uint8Array | undefined)[] {
  const tokens = addedTokens(added);
  for (const [name, id] of names) tokens[id] = encodeUtf8(name.replaceAll('▁', ' '));
  fallback.forEach((id, byte) => {
    tokens[id] = Uint8Array.of(byte);
  });
  return tokens;
}

/** A list of steps, written as one, as a Sequence, or as null for none. */
function stepsOf(step: Cursor, key: string): Cursor[] {
  if (step.isNull) return [];
  return step.get('type').text() === 'Sequence'
    ? step
        .get(key)
        .items()
        .flatMap(s => stepsOf(s, key))
    : [step];
}

function checkText(text: string, where: Cursor): void {
  if (/\p{Cs}/u.test(text)) where.refuse(`${show(text)} is a lone surrogate, not text`);
}
