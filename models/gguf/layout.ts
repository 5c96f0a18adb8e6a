/**
 * How the rows of llama.cpp's tensors lie beside Hugging Face's. Three kinds are stored in another order:
 *
 *     llama, olmo    rows of the query and key projections come in the pairs that rotary positions turn: row 2i + j of
 *                    a head is row i + jD/2 here (`LlamaModel.permute` of llama.cpp's converter)
 *     gptneox        query_key_value lists all queries, then all keys, then all values; here head by head
 *     gpt2           a linear layer's weight is (out, in); here (in, out)
 */

/**
 * How a stored tensor becomes Hugging Face's: `stored(i)` is the stored row that row `i` is; rows are a multiple of
 * `unit`.
 */
export type Layout =
  | { readonly kind: 'same' }
  | { readonly kind: 'rows'; readonly unit: number; readonly stored: (i: number) => number }
  | { readonly kind: 'transposed' };

/** What layouts depend on. */
export interface Shape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly rows: number;
}

/** The layout of a tensor by llama.cpp's name, without the number of its layer. */
export type LayoutOf = (name: string, shape: Shape) => Layout;

type Bytes = Uint8Array<ArrayBuffer>;

/** Rows and columns as they are. */
export const same: Layout = { kind: 'same' };

/** The stored row of each row where every head's rows (D/2, 2) become (2, D/2). */
const unpaired = (heads: number, rows: number): Layout => {
  const D = rows / heads;
  return {
    kind: 'rows',
    unit: 2 * heads,
    stored: i => i - (i % D) + 2 * ((i % D) % (D / 2)) + Math.floor((i % D) / (D / 2)),
  };
};

/** Rows (3, H, D) become (H, 3, D). */
const byHead = (heads: number, rows: number): Layout => {
  const D = rows / heads / 3;
  return {
    kind: 'rows',
    unit: 3 * heads,
    stored: i => (Math.floor(i / D) % 3) * heads * D + Math.floor(i / (3 * D)) * D + (i % D),
  };
};

/** Queries and keys in pairs. */
export const pairedRows: LayoutOf = (name, { heads, keyValueHeads, rows }) =>
  name.endsWith('attn_q') ? unpaired(heads, rows) : name.endsWith('attn_k') ? unpaired(keyValueHeads, rows) : same;

/** Queries, keys and values of all heads, one after another. */
export const fusedRows: LayoutOf = (name, { heads, rows }) => (name.endsWith('attn_qkv') ? byHead(heads, rows) : same);

/** Matrices of linear layers transposed. */
export const transposedLinear: LayoutOf = name =>
  /(attn_qkv|attn_output|ffn_up|ffn_down)$/.test(name) ? { kind: 'transposed' } : same;

/** The layout of a tensor of this shape: a vector has no other order than its rows'. */
export const layoutOf = (
  of: LayoutOf | undefined,
  name: string,
  shape: readonly number[],
  heads: Omit<Shape, 'rows'>,
) => {
  const layout = of?.(name, { ...heads, rows: shape[0] }) ?? same;
  return layout.kind === 'transposed' && shape.length !== 2 ? same : layout;
};

/** The rows of a tensor's bytes in Hugging Face's order, or from that order in the stored one. */
export function reorderRows(
  bytes: Bytes,
  count: number,
  stored: (i: number) => number,
  direction: 'read' | 'write',
): Bytes {
  const length = bytes.length / count;
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < count; i++) {
    const [from, to] = direction === 'read' ? [stored(i), i] : [i, stored(i)];
    out.set(bytes.subarray(from * length, (from + 1) * length), to * length);
  }
  return out;
}

/** A matrix (rows, columns) of numbers of `size` bytes, 2 or 4, as (columns, rows). */
export function transposeBytes(bytes: Bytes, [rows, columns]: readonly number[], size: number): Bytes {
  const numbers = size === 2 ? Uint16Array : Uint32Array; // bits are moved, not read
  const [from, to] = [new numbers(bytes.buffer), new numbers(new ArrayBuffer(bytes.length))];
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
  return new Uint8Array(to.buffer);
}
