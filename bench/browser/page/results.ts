/** The table of results with its bars: a group of rows for each operation and size, a row for each backend. */
import { element } from './dom.ts';
import type { Result } from './measure.ts';

const cell = (tag: 'td' | 'th', text: string, attributes: Record<string, string> = {}): HTMLTableCellElement => {
  const node = document.createElement(tag);
  node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

const time = (s: number): string =>
  s < 1e-3 ? `${(s * 1e6).toPrecision(3)} µs` : s < 1 ? `${(s * 1e3).toPrecision(3)} ms` : `${s.toPrecision(3)} s`;
const number = (x: number): string => x.toLocaleString('en', { maximumSignificantDigits: 3 });

export function renderResults(results: readonly Result[]): void {
  const longest = new Map<string, number>();
  for (const { op, rate } of results) longest.set(op, Math.max(longest.get(op) ?? 0, rate?.value ?? 0));

  const groups = new Map<string, HTMLTableSectionElement>();
  for (const r of results) {
    const key = `${r.op} ${r.size}`;
    const group = groups.get(key) ?? document.createElement('tbody');
    if (!groups.has(key)) {
      const row = group.insertRow();
      const heading = cell('th', `${r.op} `, { scope: 'rowgroup', colspan: '4' });
      const inputs = document.createElement('small');
      inputs.textContent = r.inputs;
      heading.append(inputs);
      row.append(heading);
      groups.set(key, group);
    }
    const row = group.insertRow();
    row.dataset.backend = r.backend;
    row.append(cell('th', r.backend, { scope: 'row' }));
    if (!r.rate || r.seconds === undefined) {
      row.append(cell('td', r.note ?? '', { class: 'note', colspan: '3' }));
      continue;
    }
    const bar = document.createElement('div');
    bar.style.width = `${(100 * r.rate.value) / longest.get(r.op)!}%`;
    const holder = cell('td', '', { class: 'bar' });
    holder.append(bar);
    row.append(holder, cell('td', `${number(r.rate.value)} ${r.rate.unit}`), cell('td', time(r.seconds)));
  }
  const table = element<HTMLTableElement>('results');
  table.hidden = false;
  table.replaceChildren(table.tHead!, ...groups.values());
}
