/**
 * The plan: its picture, which live/picture.ts draws, support and entropy of its rows, and its most telling
 * translations.
 */
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import { explainPlan, type Explanation } from '../explain.ts';
import { rowSums, type Plan } from '../plan.ts';
import { renderHistogram } from './chart.ts';
import { base64, html, type Html } from './html.ts';
import { visible } from '../../models/printable.ts';
import { percent } from './scale.ts';

/** P(source | target) of a plan, with names, as a picture needs it. */
export interface PictureView {
  /** Names of target and of source tokens. */
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** Row i has the entries pointers[i] … pointers[i+1]. */
  readonly pointers: Uint32Array;
  /** The column of each entry, rising within a row. */
  readonly entries: Uint32Array;
  /** P(source | target) of each entry: 65,535 stands for `largest`. */
  readonly values: Uint16Array;
  readonly largest: number;
}

const full = 65535;

/** A plan as a picture: rows and columns named and ordered, each cell P(source | target). */
export function viewPlan(plan: Plan, source: Tokenizer, target: Tokenizer): PictureView {
  const totals = rowSums(plan);
  const conditional = new Float64Array(plan.values.length);
  for (let i = 0; i < totals.length; i++)
    for (let e = plan.pointers[i]; e < plan.pointers[i + 1]; e++) conditional[e] = plan.values[e] / totals[i];
  const largest = conditional.reduce((a, b) => Math.max(a, b), 0);
  return {
    rows: Array.from(plan.targetIds, id => visible(target.token(id))),
    columns: Array.from(plan.sourceIds, id => visible(source.token(id))),
    pointers: Uint32Array.from(plan.pointers),
    entries: Uint32Array.from(plan.columns),
    values: Uint16Array.from(conditional, p => Math.max(1, Math.round((full * p) / largest))),
    largest,
  };
}

/** A view as JSON holds it: arrays in base64, columns in 16 bits where they fit. */
export interface PackedPicture {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly pointers: string;
  readonly entries: string;
  readonly wide: boolean;
  readonly values: string;
  readonly largest: number;
}

/** A picture in few bytes, for a page. */
export function packPicture({ rows, columns, pointers, entries, values, largest }: PictureView): PackedPicture {
  const wide = columns.length > full + 1;
  return {
    rows,
    columns,
    pointers: base64(pointers),
    entries: base64(wide ? entries : Uint16Array.from(entries)),
    wide,
    values: base64(values),
    largest,
  };
}

/** The inverse of `packPicture`. */
export function unpackPicture({ rows, columns, pointers, entries, wide, values, largest }: PackedPicture): PictureView {
  const bytes = (text: string) => Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer;
  return {
    rows,
    columns,
    pointers: new Uint32Array(bytes(pointers)),
    entries: Uint32Array.from(wide ? new Uint32Array(bytes(entries)) : new Uint16Array(bytes(entries))),
    values: new Uint16Array(bytes(values)),
    largest,
  };
}

/** Support, and entropy of P(source | target) in bits, of every row. */
export function rowStatistics(plan: Plan): { support: number[]; entropy: number[] } {
  const totals = rowSums(plan);
  const entropyOf = (row: number): number => {
    let bits = 0;
    for (let e = plan.pointers[row]; e < plan.pointers[row + 1]; e++) {
      const p = plan.values[e] / totals[row];
      bits -= p * Math.log2(p);
    }
    return bits;
  };
  const rows = Array.from(plan.mu.keys());
  return { support: rows.map(i => plan.pointers[i + 1] - plan.pointers[i]), entropy: rows.map(entropyOf) };
}

const button = (action: string, label: string, text: string): Html =>
  html`<button type="button" data-action="${action}" aria-label="${label}" title="${label}">${text}</button>`;

const zoomButtons = [
  button('out', 'Zoom out', '−'),
  button('in', 'Zoom in', '+'),
  button('fit', 'Fit the whole plan', 'Fit'),
];

/** Orders of the rows, which live/picture.ts knows by the same names. */
const orders = [
  ['main', 'by main source token'],
  ['id', 'by token id'],
  ['entropy', 'by entropy'],
  ['support', 'by support'],
].map(([name, text]) => html`<option value="${name}">${text}</option>`);

/** The frame of the picture, which `mountPicture` fills. */
export function renderPicture({ rows, columns, largest }: Pick<PictureView, 'rows' | 'columns' | 'largest'>): Html {
  return html`<p>Each row is one of ${rows.length} target tokens, each column one of
${columns.length.toLocaleString('en')} source tokens. A cell is <i>P</i>(source | target): how much of the target token
is made of that source token.</p>
<div class="picture">
<div class="bar"><span class="group">${zoomButtons}</span>
<label>Rows <select data-order>${orders}</select></label>
<label>Find <input data-find type="search" list="rows" placeholder="target token" size="12"
autocomplete="off" spellcheck="false"></label><datalist id="rows"></datalist>
<span class="ramp">0<span aria-hidden="true"></span><span class="most">${percent(largest)}</span></span></div>
<canvas tabindex="0" role="application" aria-roledescription="picture of the plan"
aria-label="The plan, target tokens by source tokens" aria-describedby="picture-keys"></canvas>
<div class="detail" aria-live="polite"><p class="cell"></p><p class="row"></p><ol></ol></div>
<p class="note" id="picture-keys">Point at a cell to see what it is. Drag to move. Pinch, or click and turn the wheel,
to zoom. Arrow keys go from row to row and along the support of a row, + and − zoom, 0 shows the whole.</p>
<noscript><p class="note">The picture needs JavaScript.</p></noscript>
</div>`;
}

/** Histograms of the support and the entropy of rows. */
export function renderRowStatistics(plan: Plan): Html {
  const { support, entropy } = rowStatistics(plan);
  return html`<div class="plots">
${renderHistogram(support, 'Source tokens with mass, per target token', 'support')}
${renderHistogram(entropy, 'Entropy of P(source | target), per target token', 'bits')}</div>`;
}

/** What the clearest target tokens are made of, as a table. */
export function renderExplanations(plan: Plan, source: Tokenizer, target: Tokenizer): Html {
  const rows = explainPlan(plan, source, target);
  return html`<p>The target tokens whose five largest source tokens cover most of them.</p>
<div class="scroll" role="region" tabindex="0" aria-labelledby="translations"><table class="translations">
<thead><tr><th scope="col">target token</th><th scope="col" class="number">covered</th>
<th scope="col" class="number">support</th><th scope="col">made of</th></tr></thead>
<tbody>${rows.map(renderExplanation)}
</tbody></table></div>`;
}

function renderExplanation({ token, covered, support, sources }: Explanation): Html {
  const name = (text: string): Html => html`<span class="token">${visible(text)}</span>`;
  const share = (p: number): string => `${(100 * p).toFixed(1)}%`;
  const parts = sources.map(s => html`<span>${name(s.token)} ${share(s.probability)}</span>`);
  return html`
<tr><th scope="row">${name(token)}</th><td class="number">${share(covered)}</td><td class="number">${support}</td>
<td><span class="parts">${parts}</span></td></tr>`;
}
