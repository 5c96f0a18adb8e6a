/**
 * A tokenizer as the metadata of a GGUF file: what tokenizer.ts reads. What is written is read back, and written only
 * if that encodes every text as the tokenizer does; anything else is an error that says what GGUF does not have.
 */
import { show, UserError } from '../errors.ts';
import { marksTexts, withRoles } from '../roles.ts';
import { parseTokenizerJson, Tokenizer, type CharacterUnits, type Merge } from '../tokenizer/index.ts';
import { tokenNames } from '../tokenizer/json-write.ts';
import { parseGguf } from './header.ts';
import { Metadata } from './metadata.ts';
import { firstCutToken, gpt2, preTokenizerOf, preTokenizers } from './pre-tokenizers.ts';
import {
  BYTE,
  CONTROL,
  ggufGeneration,
  ggufTokenizer,
  ggufTokenizerConfig,
  NORMAL,
  UNKNOWN,
  UNUSED,
  USER_DEFINED,
} from './tokenizer.ts';
import { u32, type WrittenMetadata } from './values.ts';
import { encodeHeader } from './write.ts';

/** A tokenizer to write, and what belongs to it. */
export interface TokenizerToWrite {
  readonly tokenizer: Tokenizer;
  /** Rows of the model: one for every token, more where it is padded. */
  readonly rows: number;
  /** Every token that ends a text. */
  readonly endTokens: readonly number[];
  /** `chat_template` of `tokenizer_config.json`: a text, or a list of them with names. */
  readonly chatTemplate?: unknown;
  /** Of `tokenizer.json`, for errors. */
  readonly path: string;
}

type Refuse = (what: string) => never;

/** The metadata. @throws UserError where GGUF has nothing that encodes texts as this tokenizer does. */
export function tokenizerMetadata(given: TokenizerToWrite): WrittenMetadata {
  const { tokenizer, path } = given;
  const refuse: Refuse = what => {
    throw new UserError(`${path}: ${what}`);
  };
  const stripping = tokenizer.parts.added.find(token => token.lstrip || token.rstrip);
  if (stripping) refuse(`the token ${show(stripping.content)} takes white space beside it, which llama.cpp does not`);
  const { characters } = tokenizer.parts;
  const kind = characters ? sentencePiece(given, characters, refuse) : byteLevel(given, refuse);
  const metadata = { ...kind.metadata, ...roleKeys(given, refuse), ...templateKeys(given.chatTemplate) };
  const back = readBack(metadata, path, kind.otherwise);
  const same = (['bos', 'eos', 'pad'] as const).every(r => back.specialTokens[r] === tokenizer.specialTokens[r]);
  if (back.hash !== kind.expected.hash || !same) refuse(kind.otherwise);
  return metadata;
}

/** How many bytes have no token. llama.cpp leaves them out of a text. */
export function bytesWithoutToken({ parts: { tokens, characters } }: Tokenizer): number {
  if (characters) return 0;
  return 256 - new Set(tokens.flatMap(bytes => (bytes?.length === 1 ? [bytes[0]] : []))).size;
}

/** Tokens and merges of one of the two kinds, what the file must be read as, and what to say if it is not. */
interface Kind {
  readonly metadata: WrittenMetadata;
  readonly expected: Tokenizer;
  readonly otherwise: string;
}

function byteLevel({ tokenizer, rows }: TokenizerToWrite, refuse: Refuse): Kind {
  const { parts } = tokenizer;
  const pre = preTokenizerOf(parts) ?? refuse(describeSplits(tokenizer));
  const { names, types } = listTokens(tokenizer, rows, refuse);
  // A merge that has to do with a special token is none: those are found before any merge.
  const merges = parts.merges.filter(merge => !Object.values(merge).some(id => tokenizer.isSpecial(id as number)));
  return {
    metadata: {
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': pre,
      'tokenizer.ggml.tokens': names,
      'tokenizer.ggml.token_type': types,
      'tokenizer.ggml.merges': merges.map(({ left, right }) => `${names[left]} ${names[right]}`),
    },
    expected: new Tokenizer({ ...parts, merges, splits: preTokenizers[pre].patterns.map(pattern => ({ pattern })) }),
    otherwise: 'llama.cpp has no byte-level tokenizer that encodes every text as this one does',
  };
}

/** Why no name fits. */
function describeSplits({ parts }: Tokenizer): string {
  const { splits } = parts;
  if (splits.some(step => step.prefixSpace)) return 'puts a space before every text, which llama.cpp does not';
  const cut = splits.length === 0 ? firstCutToken(parts) : undefined;
  if (cut !== undefined)
    return (
      `cuts no words, and "gpt-2", the nearest name in llama.cpp, would cut its token ${show(cut)}; adapt again with ` +
      `--pattern '${gpt2.replaceAll("'", String.raw`'\''`)}'`
    );
  const how = splits.map(({ pattern }) => show(pattern)).join(', then ') || 'not at all';
  const more = [parts.nfc && 'in the normal form C', parts.ignoreMerges && 'with ignore_merges'].filter(Boolean);
  return (
    `cuts words in a way that llama.cpp has no name for (${[how, ...more].join(', ')}); it has ` +
    Object.keys(preTokenizers).join(', ')
  );
}

function sentencePiece({ tokenizer, rows }: TokenizerToWrite, characters: CharacterUnits, refuse: Refuse): Kind {
  const { prefix } = characters;
  if (prefix !== 'always' && prefix !== 'never')
    refuse('puts a space before some texts and not before others (Metaspace), which llama.cpp does not');
  const { names, types } = listTokens(tokenizer, rows, refuse);
  for (const id of characters.fallback) types[id] = BYTE;
  if (tokenizer.specialTokens.unk !== undefined) types[tokenizer.specialTokens.unk] = UNKNOWN;
  return {
    metadata: {
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.pre': 'default',
      'tokenizer.ggml.tokens': names,
      'tokenizer.ggml.scores': scoresOf(tokenizer.parts.merges, rows),
      'tokenizer.ggml.token_type': types,
      'tokenizer.ggml.add_space_prefix': prefix === 'always',
    },
    expected: tokenizer,
    otherwise:
      'its merges are not those of a SentencePiece model, which merges any two tokens that make a third; if it was ' +
      'extended, adapt again without --extend',
  };
}

/** A token's score is the rank, negated, of the merges that make it: the highest is merged first. */
function scoresOf(merges: readonly Merge[], rows: number): Float32Array {
  const scores = new Float32Array(rows).fill(-merges.length);
  merges.forEach(({ merged }, rank) => {
    scores[merged] = -rank;
  });
  return scores;
}

/** The name and the type of each row. */
function listTokens(tokenizer: Tokenizer, rows: number, refuse: Refuse) {
  const byId = tokenNames(tokenizer);
  const [last] = [...byId.keys()].slice(-1);
  if (last >= rows)
    refuse(`its token ${show(byId.get(last))} (id ${last}) has no row in the model, and llama.cpp asks for one`);
  const taken = new Set(byId.values());
  const names = Array.from({ length: rows }, (_, id) => byId.get(id) ?? nameOfHole(id, taken));
  const types = Int32Array.from(names, (_, id) => (byId.has(id) ? NORMAL : UNUSED));
  for (const { id, special } of tokenizer.parts.added) types[id] = special ? CONTROL : USER_DEFINED;
  return { names, types };
}

/** llama.cpp's converter names rows without a token so. */
const nameOfHole = (id: number, taken: ReadonlySet<string>): string => {
  let name = `[PAD${id}]`;
  while (taken.has(name)) name += '_';
  return name;
};

/** Ids of tokens that play a part, and which of them stand around a text. */
function roleKeys({ tokenizer, endTokens }: TokenizerToWrite, refuse: Refuse): WrittenMetadata {
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  if (bos === undefined || eos === undefined)
    return refuse('has no end token, and llama.cpp would take token 11 for one; name it as eos_token');
  const [eot, eom, ...more] = endTokens.filter(id => id !== eos);
  if (more.length > 0) refuse(`${endTokens.length} tokens end a text, and a GGUF file names three of them`);
  const { begin, end } = marksTexts(tokenizer);
  if (tokensAround(tokenizer.parts.postProcessor) !== Number(begin) + Number(end))
    refuse('its post_processor puts more around a text than a begin and an end token, which llama.cpp does not');
  const ids = { bos, eos, padding: pad, unknown: unk, eot, eom };
  const given = Object.entries(ids).filter((entry): entry is [string, number] => entry[1] !== undefined);
  return {
    ...Object.fromEntries(given.map(([role, id]) => [`tokenizer.ggml.${role}_token_id`, u32(id)])),
    'tokenizer.ggml.add_bos_token': begin,
    'tokenizer.ggml.add_eos_token': end,
  };
}

/** How many tokens a post-processor puts around a text: those of its template, or BERT's and RoBERTa's two. */
function tokensAround(step: unknown): number {
  const { processors, single, cls, sep } = Object(step) as Readonly<Record<string, unknown>>;
  if (Array.isArray(processors)) return processors.reduce<number>((n, each) => n + tokensAround(each), 0);
  if (!Array.isArray(single)) return [cls, sep].filter(Array.isArray).length;
  return single.filter(part => Object.hasOwn(Object(part) as object, 'SpecialToken')).length;
}

/** Chat templates: the one of that name, or the only one, is the model's; the others are kept under their names. */
function templateKeys(given: unknown): WrittenMetadata {
  if (typeof given === 'string') return { 'tokenizer.chat_template': given };
  const named = (Array.isArray(given) ? given : []).flatMap(entry => {
    const { name, template } = Object(entry) as Readonly<Record<string, unknown>>;
    return typeof name === 'string' && typeof template === 'string' ? [{ name, template }] : [];
  });
  const others = named.filter(({ name }) => name !== 'default');
  return Object.fromEntries([
    ...named.filter(({ name }) => name === 'default').map(({ template }) => ['tokenizer.chat_template', template]),
    ...(others.length > 0 ? [['tokenizer.chat_templates', others.map(({ name }) => name)]] : []),
    ...others.map(({ name, template }) => [`tokenizer.chat_template.${name}`, template]),
  ]) as WrittenMetadata;
}

/** The tokenizer of a file with this metadata. */
function readBack(written: WrittenMetadata, path: string, otherwise: string): Tokenizer {
  const bytes = encodeHeader(written);
  try {
    const metadata = new Metadata(parseGguf(bytes, bytes.length, path)!.metadata, path);
    const file = (fields: Record<string, unknown>) => [{ path, fields }];
    return withRoles(parseTokenizerJson(JSON.stringify(ggufTokenizer(metadata)), path), {
      named: file(ggufTokenizerConfig(metadata)),
      numbered: file(ggufGeneration(metadata)),
    });
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`${path}: ${otherwise} (${error.message.replace(`${path}: `, '')})`);
  }
}
