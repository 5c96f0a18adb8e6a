/** Texts as tokens to look at, and how a vocabulary's size changes them. */
import { UnknownByte, Tokenizer } from '../../../models/tokenizer/index.ts';
import { utf8, utf8Length } from '../../../models/utf8.ts';
import { UserError } from '../../../models/errors.ts';
import { visible } from '../../../models/printable.ts';
import { placesOf } from '../../view/sample.ts';
import type { ShownToken } from '../protocol.ts';

/** Ids of a text; a byte that the vocabulary lacks is the visitor's mistake. */
export function encode(text: string, tokenizer: Tokenizer): number[] {
  try {
    return [...tokenizer.encode(text)];
  } catch (error) {
    if (error instanceof UnknownByte)
      throw new UserError(`the text has ${error.shown}, which the vocabulary trained on your texts lacks`);
    throw error;
  }
}

/** Tokens of a text with their places; `bits` are shown where there are any. */
export function showTokens(
  text: string,
  tokenizer: Tokenizer,
  ids: readonly number[] = encode(text, tokenizer),
  bits?: ArrayLike<number>,
): ShownToken[] {
  const places = placesOf(text, ids, tokenizer);
  return ids.map((id, i) => ({
    id,
    text: visible(tokenizer.token(id)),
    bytes: Array.from(tokenizer.tokenBytes(id), byte => byte.toString(16).padStart(2, '0')).join(' '),
    ...places[i],
    bits: bits?.[i],
  }));
}

/** The tokenizer after its first merges: what training would have stopped at with a vocabulary of `size`. */
export function smaller(tokenizer: Tokenizer, size: number): Tokenizer {
  const { tokens, merges } = tokenizer.parts;
  const kept = Math.max(0, Math.min(merges.length, merges.length - (tokens.length - size)));
  if (kept === merges.length) return tokenizer;
  return new Tokenizer({
    ...tokenizer.parts,
    tokens: tokens.slice(0, tokens.length - merges.length + kept),
    merges: merges.slice(0, kept),
  });
}

/** How long texts are in a vocabulary. */
export function tokensPerByte(texts: readonly string[], tokenizer: Tokenizer): number {
  let [tokens, bytes] = [0, 0];
  for (const text of texts) {
    tokens += tokenizer.encode(text).length;
    bytes += utf8Length(text);
  }
  return tokens / bytes;
}

/** The first characters of texts, up to so many bytes, as texts. */
export function excerpt(texts: readonly string[], limit: number): string[] {
  const kept: string[] = [];
  let bytes = 0;
  for (const text of texts) {
    if (bytes >= limit) break;
    kept.push(text);
    bytes += utf8(text).length;
  }
  return kept;
}
