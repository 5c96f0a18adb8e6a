/** One text as the tokens of two vocabularies, side by side. */
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import { utf8Length } from '../../models/utf8.ts';
import { html, visible, type Html } from './html.ts';

function renderTokens(text: string, tokenizer: Tokenizer, name: string): Html {
  const ids = Array.from(tokenizer.encode(text));
  const bytes = utf8Length(text);
  // A space that encoding puts first lies before the text.
  let end = bytes - ids.reduce((n, id) => n + tokenizer.tokenBytes(id).length, 0);
  const spans = ids.map(id => {
    const start = end;
    end += tokenizer.tokenBytes(id).length;
    return html`<span class="token" data-start="${start}" data-end="${end}">${visible(tokenizer.token(id))}</span><wbr>`;
  });
  return html`<div><h3>${name}</h3><p><b>${ids.length}</b> tokens, ${(ids.length / bytes).toFixed(3)} per byte</p>
<p class="tokens">${spans}</p></div>`;
}

export function renderSample(text: string, source: Tokenizer, target: Tokenizer): Html {
  return html`<p>${utf8Length(text)} bytes of held-out text. Point at a token to see what it is on the other side.</p>
<div class="pair sample">${renderTokens(text, source, 'Source tokenizer')}${renderTokens(text, target, 'Target tokenizer')}</div>`;
}
