/**
 * A tokenizer that keeps all of another and has tokens of a domain beside it, for a model that must go on reading what
 * it could read.
 *
 * The new merges come after all of the source's. Byte-pair encoding takes the pair of the lowest rank first, and a new
 * token is in no merge of the source, so a word is first cut exactly as the source cuts it, and then new merges join
 * neighbours. Hence:
 *
 * - every id of the source means what it meant, and a text of these ids decodes as before;
 * - a text is cut as before if and only if no new merge joins two tokens that stand side by side in a word of it; with
 *   texts to keep (`keep`) no merge is made that would join any two of theirs, so these are cut as before.
 *
 * Merges are learned as training would go on: on the domain's text with the source's merges done, in the words that the
 * source's pattern cuts.
 */
import { UserError } from '../errors.ts';
import { encodeUtf8 } from './alphabet.ts';
import { concatBytes, writeBytes } from './bytes.ts';
import { Pairs, type Words } from './pairs.ts';
import { pairKey, type Merge } from './rule.ts';
import { Tokenizer } from './tokenizer.ts';
import { pauser } from './train.ts';

/** How a tokenizer is extended. */
export interface ExtendOptions {
  /** Tokens to add; the result has fewer where the text runs out of pairs. */
  readonly tokens: number;
  /** Texts that must be cut as before. */
  readonly keep?: Iterable<string>;
  /** A pair is merged only if it occurs at least so often. */
  readonly minFrequency?: number;
  readonly signal?: AbortSignal;
}

/** Ids of single bytes up to which pairs of them are counted in a table. */
const mostByteIds = 4096;

/**
 * Adds tokens of `texts` to a byte-level tokenizer. An aborted signal ends it with its reason.
 *
 * @throws UserError for a tokenizer over characters, or one with tokens for which its model has no row, and where the
 *   texts have no pair to join.
 */
export async function extendBPE(
  source: Tokenizer,
  texts: Iterable<string>,
  options: ExtendOptions,
): Promise<Tokenizer> {
  const { tokens: count, keep = [], minFrequency = 2, signal } = options;
  const { parts, vocabSize } = source;
  const idOfByte = byteIds(source);
  const pause = pauser(signal);
  // A word with a byte that the vocabulary lacks is in no text of the model.
  const known = (bytes: Uint8Array) => bytes.every(byte => idOfByte[byte] >= 0);
  const words = await countWords(source, texts, known, pause);
  const taken = new Set(parts.merges.map(m => pairKey(m.left, m.right)));
  for (const text of keep) {
    for (const bytes of source.words(text).map(encodeUtf8).filter(known)) {
      const ids = source.encodeBytes(bytes);
      for (let i = 1; i < ids.length; i++) taken.add(pairKey(ids[i - 1], ids[i]));
    }
    if (pause.isDue()) await pause.now();
  }

  const tokens = Array.from({ length: vocabSize }, (_, id) => parts.tokens[id]);
  const names = new Set([
    ...tokens.flatMap(bytes => (bytes ? [writeBytes(bytes)] : [])),
    ...parts.added.map(t => t.content),
  ]);
  const lengths = new Int32Array(vocabSize + count).fill(1);
  tokens.forEach((bytes, id) => (lengths[id] = bytes?.length ?? 1));
  const pairs = new Pairs(words, lengths);
  const merges: Merge[] = [];
  function* train() {
    yield* pairs.read(words, idOfByte);
    for (const { left, right, merged } of parts.merges)
      if (pairs.has(left, right) && !source.isSpecial(merged)) yield* pairs.merge(left, right, merged);
    while (merges.length < count) {
      const best = pairs.pop();
      if (!best || best.count < minFrequency) break;
      const { left, right } = best;
      const joined = concatBytes([tokens[left]!, tokens[right]!]);
      if (taken.has(pairKey(left, right)) || names.has(writeBytes(joined))) continue;
      names.add(writeBytes(joined));
      const merged = tokens.length;
      tokens.push(joined);
      merges.push({ left, right, merged });
      lengths[merged] = joined.length;
      yield* pairs.merge(left, right, merged);
      yield;
    }
  }
  for (const _ of train()) if (pause.isDue()) await pause.now();
  if (merges.length === 0)
    throw new UserError('the texts have no pair of tokens to join into a new one; give more text, or less to keep');
  return new Tokenizer({ ...parts, tokens, merges: [...parts.merges, ...merges], roles: source.specialTokens });
}

/** The id of each byte, −1 where it has none. */
function byteIds({ parts, vocabSize }: Tokenizer): Int32Array {
  const refuse = (what: string): never => {
    throw new UserError(`the source's tokenizer cannot be extended: ${what}`);
  };
  if (parts.characters) refuse('it is BPE over characters with byte fallback, and tokens are added to byte-level BPE');
  if (parts.rows !== undefined && parts.rows < vocabSize)
    refuse(`it has ${vocabSize} tokens, and the model rows for ${parts.rows} of them`);
  const ids = new Int32Array(256).fill(-1);
  parts.tokens.forEach((bytes, id) => {
    if (bytes?.length === 1) ids[bytes[0]] = id;
  });
  if (Math.max(...ids) >= mostByteIds) refuse(`tokens of single bytes have ids beyond ${mostByteIds}`);
  return ids;
}

async function countWords(
  source: Tokenizer,
  texts: Iterable<string>,
  known: (bytes: Uint8Array) => boolean,
  pause: ReturnType<typeof pauser>,
): Promise<Words> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const word of source.words(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
    if (pause.isDue()) await pause.now();
  }
  const words = Array.from(counts, ([word, n]) => ({ bytes: encodeUtf8(word), n })).filter(({ bytes }) => known(bytes));
  return {
    blocks: words.map(({ bytes }) => bytes),
    lengths: Int32Array.from(words, ({ bytes }) => bytes.length),
    counts: Int32Array.from(words, ({ n }) => n),
  };
}

/** Whether a tokenizer is another one extended: its tokens under their ids, its merges, and only new tokens after. */
export function isExtension(source: Tokenizer, target: Tokenizer): boolean {
  const [a, b] = [source.parts, target.parts];
  const from = source.vocabSize;
  if (target.vocabSize <= from || b.merges.length < a.merges.length) return false;
  const rest = (t: Tokenizer) => {
    const { added, splits, nfc = false, ignoreMerges = false, characters } = t.parts;
    return JSON.stringify([added, splits, nfc, ignoreMerges, characters !== undefined]);
  };
  const sameMerge = (m: Merge, n: Merge) => m.left === n.left && m.right === n.right && m.merged === n.merged;
  const sameBytes = (x?: Uint8Array, y?: Uint8Array) =>
    x === y || (x !== undefined && x.length === y?.length && x.every((byte, i) => byte === y[i]));
  for (let id = 0; id < from; id++) if (!sameBytes(a.tokens[id], b.tokens[id])) return false;
  for (let id = from; id < target.vocabSize; id++) if (b.tokens[id] === undefined) return false;
  return (
    a.merges.every((merge, rank) => sameMerge(merge, b.merges[rank])) &&
    b.merges.slice(a.merges.length).every(({ merged }) => merged >= from) &&
    rest(source) === rest(target)
  );
}
