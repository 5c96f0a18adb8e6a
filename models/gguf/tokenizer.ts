/**
 * The tokenizer of a GGUF file as Hugging Face's `tokenizer.json` and `tokenizer_config.json`, whose reader then checks
 * it:
 *
 *     tokenizer.ggml.model   "gpt2": byte-level BPE; how text is cut into words is given by a name, tokenizer.ggml.pre
 *                            "llama": SentencePiece's BPE, whose tokens have scores in place of merges
 *     tokenizer.ggml.tokens, token_type, merges, scores, and an id for each role
 *
 * Names are in pre-tokenizers.ts.
 */
import { show } from '../errors.ts';
import type { SpecialTokens } from '../tokenizer/index.ts';
import type { Metadata } from './metadata.ts';
import { gpt2, preTokenizers } from './pre-tokenizers.ts';

/** `tokenizer.ggml.token_type`. */
export const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6];

/** The content of `tokenizer.json`. A kind of tokenizer that is not read is an error that names it. */
export function ggufTokenizer(metadata: Metadata): Record<string, unknown> {
  const model = metadata.text('tokenizer.ggml.model');
  if (model === 'gpt2') return byteLevel(metadata);
  if (model === 'llama') return sentencePiece(metadata);
  return metadata.refuse('tokenizer.ggml.model', 'supported are "gpt2" and "llama", two kinds of BPE');
}

/** The content of `tokenizer_config.json`. */
export function ggufTokenizerConfig(metadata: Metadata): Record<string, unknown> {
  const names = metadata.texts('tokenizer.ggml.tokens');
  const { bos, eos, pad, unk } = ggufRoles(metadata);
  const name = (id?: number) => (id === undefined ? null : names[id]);
  const template = metadata.optionalText('tokenizer.chat_template');
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: name(bos),
    eos_token: name(eos),
    pad_token: name(pad),
    unk_token: name(unk),
    clean_up_tokenization_spaces: false,
    ...(template !== undefined && { chat_template: template }),
  };
}

/** The content of `generation_config.json`. Every token that ends a text is in it: of the text, a turn, a message. */
export function ggufGeneration(metadata: Metadata): Record<string, unknown> {
  const { bos, eos, pad } = ggufRoles(metadata);
  const others = ['eot', 'eom'].map(role => metadata.optionalNumber(`tokenizer.ggml.${role}_token_id`));
  const ends = [...new Set([eos, ...others].filter(id => id !== undefined))];
  return {
    bos_token_id: bos ?? null,
    eos_token_id: ends.length > 1 ? ends : (ends[0] ?? null),
    pad_token_id: pad ?? null,
  };
}

/** Ids of the tokens that begin, end, pad a text and stand for what has no token. */
function ggufRoles(metadata: Metadata): SpecialTokens {
  const byDefault: SpecialTokens = metadata.text('tokenizer.ggml.model') === 'llama' ? { bos: 1, eos: 2, unk: 0 } : {};
  const count = metadata.texts('tokenizer.ggml.tokens').length;
  const id = (key: string, fallback?: number) => {
    const value = metadata.optionalNumber(`tokenizer.ggml.${key}_token_id`) ?? fallback;
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0 && value < count))
      metadata.refuse(`tokenizer.ggml.${key}_token_id`, `it must be one of ${count} tokens`);
    return value;
  };
  const roles = {
    bos: id('bos', byDefault.bos),
    eos: id('eos', byDefault.eos),
    pad: id('padding'),
    unk: id('unknown', byDefault.unk),
  };
  return Object.fromEntries(Object.entries(roles).filter(([, value]) => value !== undefined));
}

/** What the two kinds share. Tokens that are unused have no place in the vocabulary. */
function readTokens(metadata: Metadata) {
  const names = metadata.texts('tokenizer.ggml.tokens');
  const kinds = metadata.optionalNumbers('tokenizer.ggml.token_type');
  if (kinds !== undefined && kinds.length !== names.length)
    metadata.refuse('tokenizer.ggml.token_type', `it has ${kinds.length} entries for ${names.length} tokens`);
  const seen = new Map<string, number>();
  const added: Record<string, unknown>[] = [];
  const roles = ggufRoles(metadata);
  const special = new Set(kinds === undefined ? Object.values(roles) : []);
  for (const [id, content] of names.entries()) {
    const kind = special.has(id) ? CONTROL : (kinds?.[id] ?? NORMAL);
    if (kind === UNUSED) continue;
    if (kind < NORMAL || kind > BYTE) metadata.refuse('tokenizer.ggml.token_type', `token ${id} has the kind ${kind}`);
    if (seen.has(content))
      metadata.refuse('tokenizer.ggml.tokens', `${show(content)} is both token ${seen.get(content)} and ${id}`);
    seen.set(content, id);
    if (kind !== NORMAL && kind !== BYTE)
      added.push({
        id,
        content,
        special: kind !== USER_DEFINED,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      });
  }
  return { names, kinds, added, vocab: Object.fromEntries(seen), roles };
}

function byteLevel(metadata: Metadata) {
  const name = metadata.optionalText('tokenizer.ggml.pre');
  const pre = name !== undefined && Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : undefined;
  if (pre === undefined)
    return metadata.refuse(
      'tokenizer.ggml.pre',
      name === undefined || name === 'default'
        ? 'how text is cut into words is not known; convert the model again with a current llama.cpp'
        : `known are ${Object.keys(preTokenizers).join(', ')}`,
    );
  const { names, added, vocab, roles } = readTokens(metadata);
  const splits = pre.patterns.at(-1) === gpt2 ? pre.patterns.slice(0, -1) : pre.patterns;
  const byteLevelStep = (useRegex: boolean) => ({
    type: 'ByteLevel',
    add_prefix_space: metadata.flag('tokenizer.ggml.add_space_prefix', false),
    trim_offsets: true,
    use_regex: useRegex,
  });
  return {
    added_tokens: added,
    normalizer: pre.nfc ? { type: 'NFC' } : null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        ...splits.map(Regex => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })),
        byteLevelStep(splits.length < pre.patterns.length),
      ],
    },
    post_processor: postProcessor(metadata, names, roles, pre.addBos ?? false),
    decoder: byteLevelStep(true),
    model: {
      type: 'BPE',
      ignore_merges: pre.ignoreMerges ?? false,
      vocab,
      // The first character of a token may be a space where a converter wrote it so.
      merges: metadata.texts('tokenizer.ggml.merges').map(merge => {
        const space = merge.indexOf(' ', 1);
        return [merge.slice(0, space), merge.slice(space + 1)];
      }),
    },
  };
}

/** Pieces of SentencePiece have 16 characters at most by default; each character costs a look at two parts. */
const longestPiece = 256;

function sentencePiece(metadata: Metadata) {
  const { names, kinds, added, vocab, roles } = readTokens(metadata);
  const scores = metadata.optionalNumbers('tokenizer.ggml.scores');
  if (scores === undefined || kinds === undefined)
    return metadata.refuse(
      scores === undefined ? 'tokenizer.ggml.scores' : 'tokenizer.ggml.token_type',
      'a "llama" tokenizer needs it',
    );
  if (scores.length !== names.length)
    metadata.refuse('tokenizer.ggml.scores', `it has ${scores.length} entries for ${names.length} tokens`);
  if (metadata.flag('tokenizer.ggml.remove_extra_whitespaces', false))
    metadata.refuse('tokenizer.ggml.remove_extra_whitespaces', 'only false is supported');
  const charsmap = metadata.optionalNumbers('tokenizer.ggml.precompiled_charsmap');
  if (charsmap !== undefined && charsmap.length > 0)
    metadata.refuse('tokenizer.ggml.precompiled_charsmap', 'normalisation of characters is not supported');
  const normal = new Map<string, number>();
  for (const [id, name] of names.entries()) if (kinds[id] === NORMAL) normal.set(name, id);
  const prefix = metadata.flag('tokenizer.ggml.add_space_prefix', true);
  const replace = (from: string, to: string) => ({ type: 'Replace', pattern: { String: from }, content: to });
  return {
    added_tokens: added,
    normalizer: {
      type: 'Sequence',
      normalizers: [...(prefix ? [{ type: 'Prepend', prepend: '▁' }] : []), replace(' ', '▁')],
    },
    pre_tokenizer: null,
    post_processor: postProcessor(metadata, names, roles, true),
    decoder: {
      type: 'Sequence',
      decoders: [
        replace('▁', ' '),
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      unk_token: roles.unk === undefined ? null : names[roles.unk],
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: mergesByScore(normal, scores, metadata),
    },
  };
}

/**
 * The merges that SentencePiece's scores stand for, as transformers makes them (`generate_merges`): every way to cut a
 * token into two others, the token with the highest score first; ties by the length of the parts, then by their ids.
 */
function mergesByScore(
  tokens: ReadonlyMap<string, number>,
  scores: ArrayLike<number>,
  metadata: Metadata,
): [string, string][] {
  const merges: { left: string; right: string; score: number; lengths: readonly [number, number] }[] = [];
  for (const [name, id] of tokens) {
    const characters = Array.from(name);
    if (characters.length > longestPiece)
      metadata.refuse('tokenizer.ggml.tokens', `token ${id} has ${characters.length} characters`);
    if (Number.isNaN(scores[id])) metadata.refuse('tokenizer.ggml.scores', `token ${id} has no score`);
    const cuts = [];
    for (let at = 1, units = 0; at < characters.length; at++) {
      units += characters[at - 1].length;
      const [left, right] = [name.slice(0, units), name.slice(units)];
      if (tokens.has(left) && tokens.has(right))
        cuts.push({ left, right, score: scores[id], lengths: [at, characters.length - at] as const });
    }
    cuts.sort((a, b) => tokens.get(a.left)! - tokens.get(b.left)! || tokens.get(a.right)! - tokens.get(b.right)!);
    merges.push(...cuts);
  }
  merges.sort((a, b) => b.score - a.score || b.lengths[0] - a.lengths[0] || b.lengths[1] - a.lengths[1]);
  return merges.map(({ left, right }) => [left, right]);
}

/** Begin and end tokens around a text, as the model was trained with them. */
function postProcessor(metadata: Metadata, names: readonly string[], { bos, eos }: SpecialTokens, addBos: boolean) {
  const [begins, ends] = [
    metadata.flag('tokenizer.ggml.add_bos_token', addBos),
    metadata.flag('tokenizer.ggml.add_eos_token', false),
  ];
  if (begins && bos === undefined) metadata.refuse('tokenizer.ggml.add_bos_token', 'there is no begin token');
  if (ends && eos === undefined) metadata.refuse('tokenizer.ggml.add_eos_token', 'there is no end token');
  const around = (sequence: 'A' | 'B', type_id: number) => [
    ...(begins ? [{ SpecialToken: { id: names[bos!], type_id } }] : []),
    { Sequence: { id: sequence, type_id } },
    ...(ends ? [{ SpecialToken: { id: names[eos!], type_id } }] : []),
  ];
  if (!begins && !ends) return null;
  const used = [...(begins ? [bos!] : []), ...(ends ? [eos!] : [])];
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(used.map(id => [names[id], { id: names[id], ids: [id], tokens: [names[id]] }])),
  };
}
