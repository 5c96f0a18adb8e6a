/**
 * Text from a file or a model, as it may stand on one line of a terminal, a message or a page. A token, a file name or
 * an error can hold anything: a line break would tear a table, an escape sequence would reach the terminal, and a
 * bidirectional mark would turn its neighbours around.
 */

const named: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** What leaves no mark of its own or changes what stands around it: controls, formats, separators, lone surrogates. */
const hidden = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** A character by its number, as `Tokenizer.token` writes bytes that are not text. */
function byNumber(character: string): string {
  const hex = character.codePointAt(0)!.toString(16);
  return hex.length <= 2 ? `\\x${hex.padStart(2, '0')}` : `\\u{${hex}}`;
}

/** The text with everything that has no mark of its own written as an escape: one line, safe for a terminal. */
export const printable = (text: string): string =>
  text.replace(hidden, character => named[character] ?? byNumber(character));

/** As `printable`, line by line. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');

/**
 * Text of several lines as a result: what shapes it and moves nothing else stays, which are tabs, the selectors of a
 * character's form, and the joiners that scripts and emoji need.
 */
export const printableText = (text: string): string =>
  text.replace(hidden, character => (shaping.test(character) ? character : (named[character] ?? byNumber(character))));

const shaping = /[\n\t\p{Variation_Selector}\p{Join_Control}]/u;

/** A token as something to look at: a space as ␣, nothing as ∅, a combining mark on a dotted circle. */
export const visible = (token: string): string =>
  token === ''
    ? '∅'
    : printable(token)
        .replaceAll(' ', '␣')
        .replace(/\p{Zs}/gu, byNumber)
        .replace(/^(?=\p{M})/u, '◌');

/** JSON that is safe to print: what `printable` would escape is written as \uXXXX, and parses to the same value. */
export const printableJson = (value: unknown): string =>
  JSON.stringify(value).replace(hidden, character =>
    Array.from(
      { length: character.length },
      (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
    ).join(''),
  );

/** Columns of a terminal that the text takes: East Asian wide characters and emoji take two, combining marks none. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += combining.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return columns;
}

const combining = /^\p{M}$/u;
const wideRanges = [
  String.raw`\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3`,
  String.raw`\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6`,
  String.raw`\u{17000}-\u{18aff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}`,
];
const wide = new RegExp(String.raw`^[${wideRanges.join('')}\p{Emoji_Presentation}]$`, 'u');

/** The text cut to so many columns of a terminal, the last of them an ellipsis. */
export function cutToColumns(text: string, most: number): string {
  if (columnsOf(text) <= most) return text;
  let [cut, columns] = ['', 0];
  for (const character of text) {
    columns += columnsOf(character);
    if (columns > most - 1) break;
    cut += character;
  }
  return `${cut}…`;
}

/** "1 text", "3,000 texts": how many of a thing whose plural ends in s. */
export const counted = (n: number, unit: string): string => `${n.toLocaleString('en')} ${unit}${n === 1 ? '' : 's'}`;
