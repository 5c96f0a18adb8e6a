/**
 * HTML that is escaped by construction: in html`…` a string is text, whatever it holds, and only what another html`…`
 * made is markup.
 */

export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Content = Html | string | number | readonly Content[];

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** A text as it may stand between tags and between quotes. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, character => entities[character]);

function render(content: Content): string {
  if (content instanceof Html) return content.text;
  if (typeof content === 'object') return content.map(render).join('');
  return escape(String(content));
}

export function html(strings: TemplateStringsArray, ...contents: readonly Content[]): Html {
  return new Html(strings.reduce((text, string, i) => text + render(contents[i - 1]) + string));
}

/** JSON for a `<script type="application/json">`: without `<` it can neither end the element nor begin a comment. */
export const json = (value: unknown): Html => new Html(JSON.stringify(value).replaceAll('<', '\\u003c'));

/** A typed array for `json`: base64 of its little-endian bytes. */
export const base64 = (data: Uint8Array | Uint16Array | Uint32Array): string => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');

/**
 * A token as something to look at: spaces as ␣, control characters as their pictures (U+2400 on), whatever else leaves
 * no mark or changes the direction of its neighbours as its code point, a combining mark on a dotted circle.
 */
export function visible(token: string): string {
  if (token === '') return '∅';
  return Array.from(token, character => {
    const code = character.codePointAt(0)!;
    if (code === 0x20) return '␣';
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return '␡';
    if (/[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/u.test(character)) return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
    return character;
  }).join('').replace(/^(?=\p{M})/u, '◌');
}
