/** One text as the tokens of two vocabularies, side by side. */
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import { utf8Length } from '../../models/utf8.ts';
import { html, type Html } from './html.ts';
import { visible } from '../../models/printable.ts';

/** Where the tokens of a text lie in its bytes. An unknown token stands for one byte. */
export function placesOf(
  text: string,
  ids: readonly number[],
  tokenizer: Tokenizer,
): { readonly start: number; readonly end: number }[] {
  const lengths = ids.map(id => (id === tokenizer.specialTokens.unk ? 1 : tokenizer.tokenBytes(id).length));
  // A space that encoding puts first lies before the text.
  let end = utf8Length(text) - lengths.reduce((a, b) => a + b, 0);
  return lengths.map(length => {
    const start = end;
    end += length;
    return { start, end };
  });
}

function renderTokens(text: string, tokenizer: Tokenizer, name: string): Html {
  const ids = Array.from(tokenizer.encode(text));
  const bytes = utf8Length(text);
  const spans = placesOf(text, ids, tokenizer).map(
    ({ start, end }, i) =>
      html`<span class="token" data-start="${start}" data-end="${end}">${visible(tokenizer.token(ids[i]))}</span><wbr>`,
  );
  const rate = bytes > 0 ? (ids.length / bytes).toFixed(3) : '–';
  return html`<div><h3>${name}</h3><p><b>${ids.length}</b> tokens, ${rate} per byte</p>
<p class="tokens">${spans}</p></div>`;
}

/** The two sides, one beside the other. */
export const renderPair = (text: string, source: Tokenizer, target: Tokenizer): Html =>
  html`${renderTokens(text, source, 'Source tokenizer')}${renderTokens(text, target, 'Target tokenizer')}`;

/** A held-out text both ways, in a box where the reader can type another. */
export const renderSample = (text: string, source: Tokenizer, target: Tokenizer): Html =>
  html`<p>${utf8Length(text)} bytes of held-out text; type your own in its place. Point at a token to see what it is on
the other side.</p>
<label class="own">The text<textarea data-own rows="3" spellcheck="false">
${text}</textarea></label>
<p class="note" role="alert" data-own-problem></p>
<div class="pair sample">${renderPair(text, source, target)}</div>`;
