/** JSON from a file that is not trusted: deep nesting and too many values are rejected before the parser begins. */
import { oneLine, UserError } from './errors.ts';

const MAX_DEPTH = 64;
/** More than in any tokenizer of 256,000 tokens; a property counts as two. */
let mostValues = 2 ** 23;
/** What V8 takes for a value at most: an empty object, 56 bytes and its place. */
const VALUE_BYTES = 64;
const [QUOTE, BACKSLASH, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE, COMMA, COLON] = Array.from(
  '"\\[]{},:',
  c => c.charCodeAt(0),
);

/** Lowers the limit on the values of a text to what fits into half of a heap of this many bytes. */
export function limitJson(heapBytes: number): void {
  mostValues = Math.min(mostValues, Math.floor(heapBytes / 2 / VALUE_BYTES));
}

/** The value of a JSON text; `where` begins an error's message. */
export function parseJson(text: string, where: string): unknown {
  let [depth, values] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i);
    if (character === QUOTE) {
      for (i++; i < text.length && text.charCodeAt(i) !== QUOTE; i++) if (text.charCodeAt(i) === BACKSLASH) i++;
    } else if (character === OPEN_BRACE || character === OPEN_BRACKET) {
      if (++depth > MAX_DEPTH)
        throw new UserError(`${where}: JSON nested deeper than ${MAX_DEPTH} levels; is it the right file?`);
    } else if (character === CLOSE_BRACE || character === CLOSE_BRACKET) depth--;
    else if (character === COMMA || character === COLON) values++;
  }
  if (values > mostValues)
    throw new UserError(
      `${where}: JSON of ${values} values, more than the ${mostValues} read at once; is it the right file?`,
    );
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError(`${where}: not valid JSON (${oneLine(error)}); is it complete?`);
  }
}
