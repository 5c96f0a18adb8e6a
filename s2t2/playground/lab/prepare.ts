/** From texts to what a run needs: pieces, the target tokenizer, sequences in both vocabularies, and a name for it all. */
import { UserError } from '../../../models/errors.ts';
import type { Sequence } from '../../../models/batches.ts';
import { trainBPE, UnknownByte, type Tokenizer } from '../../../models/tokenizer/index.ts';
import { utf8Length } from '../../../models/utf8.ts';

export const alphabetFor = (texts: readonly string[], vocabSize: number): 'bytes' | 'seen' =>
  vocabSize >= 2 * 256 && texts.some(text => utf8Length(text) !== text.length) ? 'bytes' : 'seen';

export function cutAll(texts: readonly string[], maxBytes: number): string[] {
  return texts.flatMap(text => {
    if (utf8Length(text) <= maxBytes) return text.length > 0 ? [text] : [];
    const pieces: string[] = [];
    let [piece, bytes] = ['', 0];
    for (const character of text) {
      const size = utf8Length(character);
      if (bytes + size > maxBytes) {
        pieces.push(piece);
        [piece, bytes] = ['', 0];
      }
      piece += character;
      bytes += size;
    }
    return piece.length > 0 ? [...pieces, piece] : pieces;
  });
}

export function toSequences(texts: readonly string[], tokenizer: Tokenizer, context: number): Sequence[] {
  const { bos, eos } = tokenizer.specialTokens;
  if (bos === undefined || eos === undefined)
    throw new UserError('the tokenizer has neither a begin nor an end token; add one to its tokenizer.json');
  return texts.map(text => {
    const bytes = utf8Length(text);
    const name = () =>
      `the text ${JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)} of ${bytes} bytes`;
    const ids = encodeNamed(text, tokenizer, name);
    if (ids.length + 1 > context)
      throw new UserError(
        `${name()} has ${ids.length} tokens, more than the model's context of ${context}; lower --max-bytes`,
      );
    return { ids: Int32Array.from([bos, ...ids, eos]), bytes };
  });
}

function encodeNamed(text: string, tokenizer: Tokenizer, name: () => string): Int32Array {
  try {
    return tokenizer.encode(text);
  } catch (error) {
    if (error instanceof UnknownByte)
      throw new UserError(
        `${name()} has ${error.shown}, which the vocabulary lacks; leave the text out, or train on texts like it`,
      );
    throw error;
  }
}

export const trainTarget = (train: readonly string[], vocabSize: number): Tokenizer =>
  trainBPE(train, { vocabSize, alphabet: alphabetFor(train, vocabSize) });
