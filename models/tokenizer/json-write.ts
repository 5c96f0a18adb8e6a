/**
 * Writes Hugging Face's `tokenizer.json`. What is read is written back with the same meaning, though not letter by
 * letter.
 */
import { type CharacterUnits, decodeUtf8 } from './alphabet.ts';
import { writeBytes } from './bytes.ts';
import { gpt2Pattern, type Split } from './pattern.ts';
import { type Tokenizer } from './tokenizer.ts';

/** The file's text. Loads in Hugging Face's tokenizers. */
export function tokenizerToJson(tokenizer: Tokenizer): string {
  const { merges, added, nfc = false, ignoreMerges = false, characters, postProcessor = null } = tokenizer.parts;
  const { unk } = tokenizer.specialTokens;
  const names = tokenNames(tokenizer);
  const file = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added
      .toSorted((a, b) => a.id - b.id)
      .map(({ id, content, special, lstrip, rstrip, normalized }) => ({
        id,
        content,
        single_word: false,
        lstrip,
        rstrip,
        normalized,
        special,
      })),
    normalizer: sequence('normalizers', [
      ...(nfc ? [{ type: 'NFC' }] : []),
      ...(characters ? spaceNormalizers(characters) : []),
    ]),
    pre_tokenizer: sequence(
      'pretokenizers',
      characters ? metaspace(characters) : byteLevelSteps(tokenizer.parts.splits),
    ),
    post_processor: postProcessor,
    decoder: characters ? sequence('decoders', characterDecoders(characters)) : byteLevel(true, true),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unk === undefined ? null : tokenizer.token(unk),
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: characters !== undefined,
      byte_fallback: characters !== undefined,
      ignore_merges: ignoreMerges,
      vocab: Object.fromEntries(Array.from(names, ([id, name]) => [name, id])),
      merges: merges.map(({ left, right }) => `${names.get(left)} ${names.get(right)}`),
    },
  };
  return `${JSON.stringify(file, null, 1)}\n`;
}

/** How the vocabulary writes each token, in the order of ids. */
export function tokenNames({ parts: { tokens, added, characters } }: Tokenizer): Map<number, string> {
  const names = new Map<number, string>();
  tokens.forEach((bytes, id) => {
    if (bytes) names.set(id, characters ? decodeUtf8(bytes).replaceAll(' ', '▁') : writeBytes(bytes));
  });
  characters?.fallback.forEach((id, byte) => names.set(id, byteToken(byte)));
  for (const { id, content } of added) names.set(id, content);
  return new Map([...names].sort((a, b) => a[0] - b[0]));
}

/** The token of a byte that has no character's: `<0x0A>`. */
export const byteToken = (byte: number): string => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;

type Step = { readonly type: string } & Readonly<Record<string, unknown>>;

const sequence = (key: string, steps: readonly Step[]): Step | null =>
  steps.length > 1 ? { type: 'Sequence', [key]: steps } : (steps[0] ?? null);

const byteLevel = (useRegex: boolean, addPrefixSpace: boolean): Step => ({
  type: 'ByteLevel',
  add_prefix_space: addPrefixSpace,
  trim_offsets: true,
  use_regex: useRegex,
});

function byteLevelSteps(splits: readonly Split[]): Step[] {
  const last = splits.at(-1);
  // The last step is ByteLevel's own if ByteLevel can do it.
  const own = last && !last.drops && (last.pattern === gpt2Pattern.source || last.pattern === undefined) ? last : {};
  const others = own === last ? splits.slice(0, -1) : splits;
  return [
    ...others.map(({ pattern, drops, prefixSpace }) => {
      if (prefixSpace || pattern === undefined)
        throw new Error('tokenizer.json: only the last step can put a space first, with the pattern of GPT-2 or none');
      const behavior = drops ? 'Removed' : 'Isolated';
      return { type: 'Split', pattern: { Regex: pattern }, behavior, invert: drops === 'gaps' };
    }),
    byteLevel(own.pattern !== undefined, own.prefixSpace ?? false),
  ];
}

/** A space before every text is a normalizer's work, a space where one is missing the pre-tokenizer Metaspace's. */
function spaceNormalizers({ prefix }: CharacterUnits): Step[] {
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  if (prefix === 'always') return [{ type: 'Prepend', prepend: '▁' }, replace];
  return prefix === 'never' ? [replace] : [];
}

function metaspace({ prefix }: CharacterUnits): Step[] {
  if (prefix === 'always' || prefix === 'never') return [];
  return [
    { type: 'Metaspace', replacement: '▁', prepend_scheme: prefix === 'first' ? 'first' : 'always', split: false },
  ];
}

const characterDecoders = ({ strip }: CharacterUnits): Step[] => [
  { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
  { type: 'ByteFallback' },
  { type: 'Fuse' },
  ...(strip ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
];
