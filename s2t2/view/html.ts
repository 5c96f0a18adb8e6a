/**
 * HTML that is escaped by construction: in html`…` a string is text, whatever it holds, and only what another html`…`
 * made is markup.
 */

/** Markup that is safe to insert as it is. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What a template takes: text is escaped, markup is not. */
export type Content = Html | string | number | readonly Content[];

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** A text as it may stand between tags and between quotes. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, character => entities[character]);

function render(content: Content): string {
  if (content instanceof Html) return content.text;
  if (typeof content === 'object') return content.map(render).join('');
  return escape(String(content));
}

/** A template of markup, which escapes every text put into it. */
export function html(strings: TemplateStringsArray, ...contents: readonly Content[]): Html {
  return new Html(strings.reduce((text, string, i) => text + render(contents[i - 1]) + string));
}

/** JSON for a `<script type="application/json">`: without `<` it can neither end the element nor begin a comment. */
export const json = (value: unknown): Html => new Html(JSON.stringify(value).replaceAll('<', '\\u003c'));

/** A typed array for `json`: base64 of its little-endian bytes. */
export function base64(data: Uint8Array | Uint16Array | Uint32Array): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
