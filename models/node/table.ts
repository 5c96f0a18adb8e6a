/** Tables of text for a terminal. */
import { columnsOf, cutToColumns, printable } from '../printable.ts';

/** What a terminal has that does not say: some (serial lines, containers) report no width, or 0. */
const usualColumns = 80;

/** Columns of the terminal that a stream goes to; of a file or a pipe, `elsewhere`. */
export const columnsAt = (stream: { isTTY?: boolean; columns?: number }, elsewhere = usualColumns): number =>
  stream.columns || (stream.isTTY ? usualColumns : elsewhere);

const gap = '  ';

/**
 * Columns padded to their widest cell; the first is aligned left, the others right. Columns that do not fit side by
 * side into `width` columns of a terminal follow below, each block with the first column again.
 */
export function renderTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  width = columnsAt(process.stdout, Infinity),
): string {
  const all = [header, ...rows].map(row => row.map(printable));
  const first = Math.min(Math.max(...all.map(r => columnsOf(r[0]))), Math.max(8, Math.floor(width / 2)));
  const room = Math.max(8, width - first - gap.length);
  const widths = header.map((_, c) => (c === 0 ? first : Math.min(room, Math.max(...all.map(r => columnsOf(r[c]))))));
  const blocks: number[][] = [];
  let used = 0;
  for (let c = 1; c < header.length; c++) {
    if (blocks.length === 0 || used + gap.length + widths[c] > width) {
      blocks.push([0]);
      used = first;
    }
    blocks.at(-1)!.push(c);
    used += gap.length + widths[c];
  }
  const cell = (text: string, c: number) => {
    const cut = cutToColumns(text, widths[c]);
    const padding = ' '.repeat(widths[c] - columnsOf(cut));
    return c === 0 ? `${cut}${padding}` : `${padding}${cut}`;
  };
  const render = (columns: number[]) => {
    const line = (cells: readonly string[]) =>
      columns
        .map(c => cell(cells[c], c))
        .join(gap)
        .trimEnd();
    const [head, ...body] = all.map(line);
    return [head, columns.map(c => '─'.repeat(widths[c])).join(gap), ...body].join('\n');
  };
  return (blocks.length > 0 ? blocks : [[0]]).map(render).join('\n\n');
}
