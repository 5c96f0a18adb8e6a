/** Tables of numbers; a number with an interval has it drawn below, on an axis that its column shares. */
import type { Cell, Interval, ReportTable } from './data.ts';
import { html, type Html } from './html.ts';
import { percent, place, type Scale } from './scale.ts';

const isInterval = (cell: Cell): cell is Interval => typeof cell !== 'string';

/** The axis of a column: from its least to its largest end of an interval; undefined where there is none. */
function columnScale(cells: readonly Cell[]): Scale | undefined {
  const ends = cells
    .filter(isInterval)
    .flatMap(i => [i.low, i.mean, i.high])
    .filter(Number.isFinite);
  return ends.length === 0 ? undefined : { min: Math.min(...ends), max: Math.max(...ends), log: false };
}

/** A column of numbers is aligned right. */
const isNumeric = (cells: readonly Cell[]): boolean =>
  cells.every(c => isInterval(c) || /^([-+−]?[\d.][\d.,e+−-]*[\s%×]*)?$/.test(c)) && cells.some(c => c !== '');

function renderInterval({ mean, low, high, digits }: Interval, scale: Scale | undefined): Html {
  if (!scale || ![low, mean, high].every(Number.isFinite))
    return html`<span class="value">${mean.toFixed(digits)}</span>`;
  const [from, at, to] = [low, mean, high].map(x => percent(place(scale, x)));
  const value = html`<span class="value">${mean.toFixed(digits)}</span>`;
  const ends = `${low.toFixed(digits)}–${high.toFixed(digits)}`;
  const range = html`<span class="range"><span class="unseen">interval </span>${ends}</span>`;
  return html`${value} ${range}
<svg class="interval" aria-hidden="true"><line class="track" x1="0" x2="100%" y1="5" y2="5"/>
<line x1="${from}" x2="${to}" y1="5" y2="5"/><circle cx="${at}" cy="5" r="3"/></svg>`;
}

/** The ends of the axis that the intervals of a column share. */
function renderAxis({ min, max }: Scale, digits: number): Html {
  const unseen = (text: string): Html => html`<span class="unseen">${text}</span>`;
  const end = (value: number): Html => html`<span>${value.toFixed(digits)}</span>`;
  return html`<span class="axis">${[unseen('axis from '), end(min), unseen(' to '), end(max)]}</span>`;
}

const scrollHint = html`<p class="note hint" aria-hidden="true">Scroll the table sideways for all its columns.</p>`;

const renderTerms = (terms: NonNullable<ReportTable['terms']>): Html =>
  html`<details class="terms"><summary>What the rows are</summary>
<dl>${terms.map(([name, text]) => html`<dt>${name}</dt><dd>${text}</dd>`)}</dl></details>`;

/** A table as HTML; `id` names it within the page. */
export function renderTable({ title, note, columns, rows, terms = [] }: ReportTable, id: string): Html {
  const cellsOf = columns.map((_, c) => rows.map(r => r.cells[c] ?? ''));
  const scales = cellsOf.map(columnScale);
  const kinds = cellsOf.map((cells, c) =>
    c === 0 ? 'name' : scales[c] ? 'number interval' : isNumeric(cells) ? 'number' : 'text',
  );
  const digits = (c: number) => Math.max(...cellsOf[c].filter(isInterval).map(i => i.digits));
  const axis = (c: number) => {
    const scale = scales[c];
    return scale ? renderAxis(scale, digits(c)) : '';
  };
  const renderHead = (name: string, c: number): Html =>
    html`<th scope="col" class="${kinds[c]}">${name}${axis(c)}</th>`;
  const renderCell = (cell: Cell, c: number) =>
    isInterval(cell) ? renderInterval(cell, scales[c]) : cell === '' ? html`<span class="none">–</span>` : cell;
  const described = note ? html` aria-describedby="${id}-note"` : '';
  return html`
<h3 id="${id}">${title}</h3>
${columns.length > 3 ? scrollHint : ''}
<div class="scroll" role="region" tabindex="0" aria-labelledby="${id}"><table aria-labelledby="${id}"${described}>
<caption class="unseen">${title}</caption>
<thead><tr>${columns.map(renderHead)}</tr></thead>
<tbody>${rows.map(
    row => html`
<tr class="${[row.emphasis && 'emphasis', row.best && 'best'].filter(Boolean).join(' ')}">${columns.map((_, c) => {
      const content = renderCell(row.cells[c] ?? '', c);
      return c === 0
        ? html`<th scope="row" class="name">${content}</th>`
        : html`<td class="${kinds[c]}">${content}</td>`;
    })}</tr>`,
  )}
</tbody></table></div>
${note ? html`<p class="note" id="${id}-note">${note}</p>` : ''}
${terms.length > 0 ? renderTerms(terms) : ''}
<p class="tools"><button type="button" data-download="csv ${id}">Download as CSV</button></p>`;
}
