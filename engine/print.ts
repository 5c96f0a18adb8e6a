/** How values are shown to a person: in PyTorch's manner, columns aligned, long dims cut short. */
import { sizeOf, stridesOf } from './shape.ts';
import type { Shape, TypedArray } from './backend.ts';

/** Above so many values dims are cut to their first and last `edge` entries. */
const most = 1000;
const edge = 3;

/** `tensor([[1.0000, 2.5000], …`: nested brackets of the values of a tensor, without what follows the last bracket. */
export function formatValues(values: TypedArray, shape: Shape): string {
  const cut = sizeOf(shape) > most;
  const strides = stridesOf(shape);
  /** The positions that are shown along a dim; null for those left out. */
  const shown = shape.map(n =>
    cut && n > 2 * edge
      ? [...Array(edge).keys(), null, ...Array.from({ length: edge }, (_, i) => n - edge + i)]
      : [...Array(n).keys()],
  );
  const visible: number[] = [];
  const visit = (dim: number, offset: number): void => {
    if (dim === shape.length) visible.push(values[offset]);
    else for (const i of shown[dim]) if (i !== null) visit(dim + 1, offset + i * strides[dim]);
  };
  visit(0, 0);
  const text = values instanceof Int32Array ? String : formatter(visible);
  const width = Math.max(0, ...visible.map(v => text(v).length));

  const nest = (dim: number, offset: number): string => {
    if (dim === shape.length) return shape.length === 0 ? text(values[offset]) : text(values[offset]).padStart(width);
    const parts = shown[dim].map(i => (i === null ? '...' : nest(dim + 1, offset + i * strides[dim])));
    const innermost = dim === shape.length - 1;
    const newline = `\n${'\n'.repeat(Math.max(0, shape.length - dim - 2))}${' '.repeat('tensor('.length + dim + 1)}`;
    return `[${parts.join(innermost ? ', ' : `,${newline}`)}]`;
  };
  return `tensor(${nest(0, 0)}`;
}

/** Four decimals, none for whole numbers, or powers of ten where those would hide digits: PyTorch's rule. */
function formatter(values: readonly number[]): (v: number) => string {
  const special = (v: number): string | null =>
    Number.isNaN(v) ? 'nan' : v === Infinity ? 'inf' : v === -Infinity ? '-inf' : null;
  const sizes = values.filter(v => Number.isFinite(v) && v !== 0).map(Math.abs);
  const [least, largest] = [Math.min(...sizes), Math.max(...sizes)];
  const wild = sizes.length > 0 && (largest / least > 1000 || largest > 1e8 || least < 1e-4);
  if (sizes.every(Number.isInteger)) return v => special(v) ?? (largest > 1e8 ? v.toExponential(4) : `${v}.`);
  return v => special(v) ?? (wild ? v.toExponential(4) : v.toFixed(4));
}
