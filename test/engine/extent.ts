/**
 * What roundings are relative to: the numbers that occur on the way to a result, which may be much larger than it is.
 */
import { apply, createReferenceBackend, grad, scope, tensor, type TableOp, type Tensor } from '../../engine/index.ts';
import { hasGradient, type Sample } from '../../engine/ops/samples.ts';

const backend = createReferenceBackend();

/**
 * The largest number, or 1, among the values of a row's definition and their gradients, in float64. Where two entries
 * of a line are nearly equal a normalisation's gradient is the small rest of terms that are divided by their
 * difference.
 */
export function extent(
  op: TableOp,
  inputs: readonly Sample[],
  attributes: unknown,
  weights: ArrayLike<number>,
): number {
  return scope(() => {
    const xs = inputs.map((x, i) =>
      x.values instanceof Int32Array
        ? tensor(x.values, { shape: x.shape, backend })
        : tensor(Float64Array.from(x.values), { shape: x.shape, backend, requiresGrad: hasGradient(op, x, i) }),
    );
    const own =
      attributes !== null && typeof attributes === 'object' && 'dtype' in attributes
        ? { ...attributes, dtype: 'float64' }
        : attributes;
    const y = op.definition ? op.definition(xs, own) : apply(op, xs, own);
    const between = new Set<Tensor>([y]);
    for (const t of between) for (const x of t.node?.inputs ?? []) between.add(x); // a set grows while it is walked
    const recorded = [...between].filter(t => t.requiresGrad);
    const gradients = y.requiresGrad
      ? grad(y, recorded, { outputGrad: tensor(Float64Array.from(weights), { shape: y.shape, backend }) })
      : [];
    return Math.max(
      1,
      ...[...between, ...gradients].flatMap(t => Array.from(t.dataSync(), Math.abs)).filter(Number.isFinite),
    );
  });
}

/**
 * How much larger than 1 a rounding of a line may be in its normalised values, which are of order 1: where the line is
 * nearly constant, taking its mean away leaves little, and that is divided by as little.
 */
export function centring(line: ArrayLike<number>, eps: number): number {
  const values = Array.from(line);
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  return Math.max(...values.map(Math.abs)) / Math.sqrt(variance + eps);
}
