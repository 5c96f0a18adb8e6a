/**
 * Downloads of what a page shows: a table or the points of a plot as CSV, with all their digits, a plot as SVG. The
 * buttons say in `data-download` what they give, as `csv table-0`, `csv plot-2` or `svg plot-2`.
 */
import type { PlotView } from '../chart.ts';
import type { ReportTable } from '../data.ts';

/** A table or plot that can be downloaded. */
export interface Downloadable {
  readonly tables: Readonly<Record<string, ReportTable>>;
  readonly plots: readonly PlotView[];
}

/** Answers the buttons inside `root`; `data` gives what is shown at the time. */
export function mountDownloads(root: HTMLElement, data: () => Downloadable): void {
  root.addEventListener('click', event => {
    const button = (event.target as Element).closest<HTMLElement>('[data-download]');
    if (!button) return;
    const [kind, what] = button.dataset.download!.split(' ');
    const { tables, plots } = data();
    const number = Number(what.replace('plot-', ''));
    if (kind === 'svg')
      save(`${what}.svg`, 'image/svg+xml', svgOf(button.closest('figure')!.querySelector('svg.chart')!));
    else save(`${what}.csv`, 'text/csv', csv(what in tables ? tableRows(tables[what]) : plotRows(plots[number])));
  });
}

function save(name: string, type: string, text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

type Field = string | number;

/** RFC 4180: fields with a comma, a quote or a line's end are quoted. */
export const csv = (rows: readonly (readonly Field[])[]): string =>
  rows.map(row => `${row.map(field => quoted(String(field))).join(',')}\r\n`).join('');
const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** A column with intervals becomes three. */
export function tableRows({ columns, rows }: ReportTable): Field[][] {
  const wide = columns.map((_, c) => rows.some(r => typeof r.cells[c] === 'object'));
  const head = columns.flatMap((name, c) => (wide[c] ? [name, `${name}, low`, `${name}, high`] : [name]));
  const body = rows.map(r =>
    columns.flatMap((_, c): Field[] => {
      const cell = r.cells[c] ?? '';
      if (typeof cell === 'object') return [cell.mean, cell.low, cell.high];
      // Digits are grouped on the page only.
      const plain = /^-?\d{1,3}(,\d{3})+(\.\d+)?$/.test(cell) ? cell.replaceAll(',', '') : cell;
      return wide[c] ? [plain, '', ''] : [plain];
    }),
  );
  return [head, ...body];
}

/** A plot as rows of a CSV file. */
export const plotRows = ({ x, series }: PlotView): Field[][] => [
  ['series', x.label, 'y'],
  ...series.flatMap(({ name, points }) =>
    Array.from({ length: points.length / 2 }, (_, i) => [name, points[2 * i], points[2 * i + 1]]),
  ),
];

const kept = ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-linecap', 'stroke-linejoin'].concat([
  'vector-effect',
  'opacity',
  'font-size',
  'font-family',
  'paint-order',
  'visibility',
  'display',
]);

/** The drawing by itself: styles that the page's sheet gives are written into it, and its margins are inside. */
function svgOf(chart: SVGSVGElement): string {
  const copy = chart.cloneNode(true) as SVGSVGElement;
  const originals = [...chart.querySelectorAll('*')];
  copy.querySelectorAll<SVGElement>('*').forEach((element, i) => {
    const style = getComputedStyle(originals[i]);
    // Not as an attribute: the page's content policy forbids those.
    for (const name of kept) element.style.setProperty(name, style.getPropertyValue(name));
  });
  const { width, height } = chart.getBoundingClientRect();
  for (const [name, value] of Object.entries({ width, height, overflow: 'visible' }))
    copy.setAttribute(name, String(value));
  const paper = getComputedStyle(document.body).backgroundColor;
  const [w, h] = [width + 72, height + 76];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="-52 -28 ${w} ${h}" width="${w}" height="${h}"><rect ` +
    `x="-52" y="-28" width="100%" height="100%" fill="${paper}"/>${copy.outerHTML}</svg>`
  );
}
