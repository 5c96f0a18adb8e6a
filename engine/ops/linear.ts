/**
 * Linear operations: the matrix product, dense and with a sparse factor, and the product with one-hot rows (embedding)
 * with its adjoint (scatterAdd).
 */
import type { DType, Shape } from '../backend.ts';
import { addMethods, type Methods } from '../methods.ts';
import { apply, defineOp } from '../op.ts';
import { broadcastShapes, show, sizeOf } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import { lt, sumTo, where } from './elementwise.ts';

interface MatmulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** (m, k, n) of a product, checked. */
function matmulDims([a, b]: readonly Shape[], { transposeA, transposeB }: MatmulAttributes): [number, number, number] {
  if (a.length < 2 || b.length < 2) throw new Error(`matmul: needs two matrices, got ${show(a)} and ${show(b)}`);
  const [m, ka] = transposeA ? [a.at(-1)!, a.at(-2)!] : [a.at(-2)!, a.at(-1)!];
  const [kb, n] = transposeB ? [b.at(-1)!, b.at(-2)!] : [b.at(-2)!, b.at(-1)!];
  if (ka !== kb) {
    throw new Error(
      `matmul: inner dims differ: ${ka} of ${show(a)}${transposeA ? ' transposed' : ''} and ${kb} of ` +
        `${show(b)}${transposeB ? ' transposed' : ''}`,
    );
  }
  return [m, ka, n];
}

const matmulOp = defineOp<MatmulAttributes>({
  name: 'matmul',
  shape: (shapes, attributes) => {
    const [m, , n] = matmulDims(shapes, attributes);
    return [...broadcastShapes('matmul', shapes[0].slice(0, -2), shapes[1].slice(0, -2)), m, n];
  },
  primitive: (backend, [a, b], { transposeA, transposeB }, out) => backend.matmul(a, b, transposeA, transposeB, out),
  // C = AB: dA = g Bᵀ, dB = Aᵀ g; a transposed operand receives the transpose of that, again a product.
  vjp: (g, [a, b], _, { transposeA: ta, transposeB: tb }) => [
    () => sumTo(ta ? b.matmul(g, { transposeA: tb, transposeB: true }) : g.matmul(b, { transposeB: !tb }), a.shape),
    () => sumTo(tb ? g.matmul(a, { transposeA: true, transposeB: ta }) : a.matmul(g, { transposeA: !ta }), b.shape),
  ],
  flops: (shapes, attributes, out) => 2 * sizeOf(out) * matmulDims(shapes, attributes)[1],
});

/**
 * The matrix product over the last two dims: a (…, m, k), b (…, k, n) → (…, m, n). Batch dims broadcast; with
 * `transposeA` a is (…, k, m), with `transposeB` b is (…, n, k), and neither is copied.
 */
export function matmul(
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false }: Partial<MatmulAttributes> = {},
): Tensor {
  const attributes = { transposeA, transposeB };
  if (a.shape.length > 2 && b.shape.length === 2 && !transposeA) {
    // One matrix for the whole batch: the batch becomes rows, one large product forward and backward.
    const [m, n] = [a.shape.slice(0, -1), b.shape[transposeB ? 0 : 1]];
    const rows = a.reshape([sizeOf(m), a.shape.at(-1)!]);
    return apply(matmulOp, [rows, b], attributes).reshape([...m, n]);
  }
  return apply(matmulOp, [a, b], attributes);
}

type None = Record<string, never>;

/** The share of positive entries that the counts of the sparse products assume. */
export const sparseShare: number = 1 / 8;

const sparseMatmulOp = defineOp<None>({
  name: 'sparseMatmul',
  shape: ([a, b]) => {
    if (a.length !== 2 || b.length !== 2 || a[1] !== b[0])
      throw new Error(`sparseMatmul: needs (u, v) and (v, d), got ${show(a)} and ${show(b)}`);
    return [a[0], b[1]];
  },
  definition: ([a, b]) => a.relu().matmul(b),
  vjp: (g, [a, b]) => [() => g.sampledMatmul(b, a), () => a.relu().matmul(g, { transposeA: true })],
  flops: ([a], _, out) => 2 * sparseShare * a[1] * sizeOf(out),
});

/**
 * max(a, 0) b for a matrix a (u, v) of which few entries are positive, such as a transport plan, and a dense b (v, d):
 * the sparse-dense product (SpMM). a is a dense tensor; time goes by its positive entries.
 *
 * The gradient with respect to a is g bᵀ at the positive entries and 0 elsewhere (SDDMM). Of a b alone it would be
 * dense; max(a, 0) has derivative 0 at 0, as `relu`. Where a itself is a projection on the non-negative numbers or on
 * simplices nothing is lost: the derivative of that is 0 outside the support, whatever comes in there.
 */
export const sparseMatmul = (a: Tensor, b: Tensor): Tensor => apply(sparseMatmulOp, [a, b], {});

const sampledMatmulOp = defineOp<None>({
  name: 'sampledMatmul',
  shape: ([l, r, a]) => {
    if (l.length !== 2 || r.length !== 2 || a.length !== 2 || l[1] !== r[1] || a[0] !== l[0] || a[1] !== r[0])
      throw new Error(`sampledMatmul: needs (u, d), (v, d) and (u, v), got ${[l, r, a].map(show).join(', ')}`);
    return a;
  },
  definition: ([l, r, a]) => where(lt(0, a), l.matmul(r, { transposeB: true }), 0),
  vjp: (g, [l, r, a]) => {
    const sampled = where(lt(0, a), g, 0);
    return [() => sampled.matmul(r), () => sampled.matmul(l, { transposeA: true }), null];
  },
  flops: ([l], _, out) => 2 * sparseShare * l[1] * sizeOf(out),
});

/** l rᵀ at the positive entries of a (u, v), 0 elsewhere: l (u, d), r (v, d) → (u, v). The sampled product (SDDMM). */
export const sampledMatmul = (l: Tensor, r: Tensor, a: Tensor): Tensor => apply(sampledMatmulOp, [l, r, a], {});

const embeddingOp = defineOp<None>({
  name: 'embedding',
  shape: ([index, table]) => {
    if (table.length !== 2) throw new Error(`embedding: the table must have two dims, not ${show(table)}`);
    return [...index, table[1]];
  },
  primitive: (backend, [index, table]) => backend.gather(table, index),
  vjp: (g, [index, table]) => [null, () => g.scatterAdd(index, table.shape[0])],
  flops: () => 0,
  bytes: (_, __, out) => 8 * sizeOf(out),
});

/**
 * The rows of `table` (n, d) that `index` (int32, any shape) names: (…index, d). An index outside [0, n) is an error.
 */
export function embedding(index: Tensor, table: Tensor): Tensor {
  checkIndex('embedding', index);
  return apply(embeddingOp, [index, table], {});
}

const scatterAddOp = defineOp<{ n: number }>({
  name: 'scatterAdd',
  shape: ([rows, index], { n }) => {
    if (rows.length !== index.length + 1 || !index.every((m, i) => m === rows[i]))
      throw new Error(`scatterAdd: rows ${show(rows)} do not match index ${show(index)}`);
    return [n, rows.at(-1)!];
  },
  primitive: (backend, [rows, index], { n }) => backend.scatterAdd(rows, index, n),
  vjp: (g, [, index]) => [() => index.embedding(g), null],
  flops: ([rows]) => sizeOf(rows),
});

/** The adjoint of `embedding`: adds `rows` (…index, d) up into (n, d) by `index`. */
export function scatterAdd(rows: Tensor, index: Tensor, n: number): Tensor {
  checkIndex('scatterAdd', index);
  return apply(scatterAddOp, [rows, index], { n });
}

const oneHotOp = defineOp<{ n: number; dtype: DType }>({
  name: 'oneHot',
  shape: ([index], { n }) => [...index, n],
  primitive: (backend, [index], { n, dtype }) => backend.oneHot(index, n, dtype),
  flops: () => 0,
});

/** (…index, n): 1 at the index, 0 elsewhere; a negative index gives a row of zeros. */
export function oneHot(index: Tensor, n: number, dtype: DType = 'float32'): Tensor {
  checkIndex('oneHot', index);
  return apply(oneHotOp, [index], { n, dtype });
}

function checkIndex(op: string, index: Tensor): void {
  if (index.dtype !== 'int32')
    throw new Error(`${op}: the index must be int32, not ${index.dtype}; make it with tensor(…, { dtype: 'int32' })`);
}

const methods = { matmul, sparseMatmul, sampledMatmul, embedding, scatterAdd, oneHot };
declare module '../tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
