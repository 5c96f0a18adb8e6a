/**
 * Tokens that are matched in the text as they stand, before any word is cut. Special tokens (`<s>`) mark structure and
 * stand for no bytes; the others (runs of spaces in GPT-NeoX's vocabulary) stand for their own text.
 */
import { quotePattern } from './pattern.ts';

/** A token that is matched in the text as it stands. */
export interface AddedToken {
  readonly content: string;
  readonly id: number;
  readonly special: boolean;
  /** White space before the token, or after it, belongs to it and is dropped. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Kept for writing: whether other libraries look for the token after normalisation. Here it is looked for before. */
  readonly normalized: boolean;
}

/** A special token without any other property. */
export const specialToken = (content: string, id: number): AddedToken => ({
  content,
  id,
  special: true,
  lstrip: false,
  rstrip: false,
  normalized: false,
});

/** A piece of a text: an added token, or what lies between two. */
export interface Part {
  /** Where it begins, in UTF-16 units. */
  readonly start: number;
  readonly text: string;
  readonly token?: AddedToken;
}

/** Cuts a text at added tokens; the parts together are the text. */
export type SplitAdded = (text: string) => Part[];

/** Cuts a text at added tokens: leftmost first, of those that begin at one place the longest. */
export function addedSplitter(added: readonly AddedToken[]): SplitAdded {
  if (added.length === 0) return text => (text.length > 0 ? [{ start: 0, text }] : []);
  const byContent = new Map(added.map(token => [token.content, token]));
  const longestFirst = [...byContent.keys()].sort((a, b) => b.length - a.length);
  const any = new RegExp(longestFirst.map(quotePattern).join('|'), 'gu');
  return text => {
    const parts: Part[] = [];
    let end = 0;
    let last: AddedToken | undefined;
    const addBetween = (upTo: number, next?: AddedToken) => {
      const whole = text.slice(end, upTo);
      const left = last?.rstrip ? whole.trimStart() : whole;
      const between = next?.lstrip ? left.trimEnd() : left;
      if (between.length > 0) parts.push({ start: end + whole.length - left.length, text: between });
    };
    for (const { 0: content, index } of text.matchAll(any)) {
      const token = byContent.get(content)!;
      addBetween(index, token);
      parts.push({ start: index, text: content, token });
      end = index + content.length;
      last = token;
    }
    addBetween(text.length);
    return parts;
  };
}
