/**
 * Projections on simplices: the operation `simplexThreshold`, and sparsemax and the scaled projection defined by it.
 *
 * For x and a mass m > 0 the point nearest to x among {y ≥ 0, Σ y = m} is max(x − τ, 0), where τ solves
 * Σ max(x − τ, 0) = m (Martins & Astudillo 2016, Duchi et al. 2008). Everything sparse in S2T2 is this τ, along rows
 * or columns.
 */
import type { Dim } from '../attributes.ts';
import type { Shape } from '../backend.ts';
import { addMethods, type Methods } from '../methods.ts';
import { apply, defineOp } from '../op.ts';
import { broadcastShapes, normalizeDim, sameShape, show, sizeOf } from '../shape.ts';
import { full, Tensor } from '../tensor.ts';
import { add, lt, mul, sumTo, where, type Operand } from './elementwise.ts';

const lineShape = (x: Shape, dim: number): Shape => x.map((n, i) => (i === dim ? 1 : n));

const checkMass = (op: string, [x, mass]: readonly Shape[], { dim }: Dim): Shape => {
  const lines = lineShape(x, dim);
  if (!sameShape(broadcastShapes(op, mass, lines), lines))
    throw new Error(`${op}: mass ${show(mass)} does not fit the lines ${show(lines)} of ${show(x)} along dim ${dim}`);
  return x;
};

const thresholdOp = defineOp<Dim>({
  name: 'simplexThreshold',
  shape: (shapes, attributes) => lineShape(checkMass('simplexThreshold', shapes, attributes), attributes.dim),
  /**
   * τ lies in [max − m, max]. Halving finds the support to the last bit of a float; then τ = (Σ_S x − m) / |S| exactly.
   * No sort, no step that depends on data: it runs on every backend. The largest entry always stays in S.
   */
  definition: ([x, mass], { dim }) => {
    const keepdim = true;
    const top = x.amax(dim, { keepdim });
    const shifted = x.sub(top); // ≤ 0, so that large values lose nothing
    const z = shifted.detach(); // the search has no gradient, its result has
    let low = mass.add(mul(0, top)).neg(); // full line shape
    let high = mul(0, low);
    for (let step = 0; step < (x.dtype === 'float64' ? 60 : 30); step++) {
      const middle = mul(0.5, add(low, high));
      const tooLow = mass.lt(z.sub(middle).relu().sum(dim, { keepdim }));
      [low, high] = [where(tooLow, middle, low), where(tooLow, high, middle)];
    }
    const inside = low.lt(z);
    const total = where(inside, shifted, 0).sum(dim, { keepdim });
    return top.add(total.sub(mass).div(inside.sum(dim, { keepdim })));
  },
  // On the support S: ∂τ/∂x = 1_S / |S|, ∂τ/∂m = −1 / |S|.
  vjp: (g, [x, mass], tau, { dim }) => {
    const inside = tau.lt(x);
    const share = g.div(inside.sum(dim, { keepdim: true }));
    return [() => share.mul(inside), () => sumTo(share.neg(), mass.shape)];
  },
  flops: ([x]) => 4 * sizeOf(x),
});

/**
 * τ with Σ max(x − τ, 0) = mass along `dim`, which keeps length 1. `mass` is positive: one number for all lines, or a
 * tensor of x's shape without `dim`, as a vector of n masses for the n rows of a matrix.
 */
export function simplexThreshold(x: Tensor, mass: Operand, dim: number = -1): Tensor {
  const d = normalizeDim('simplexThreshold', dim, x.shape.length);
  return apply(thresholdOp, [x, asMass(mass, x, d)], { dim: d });
}

const gradientOp = defineOp<Dim>({
  name: 'simplexGradient',
  shape: ([g, y]) => {
    if (!sameShape(g, y))
      throw new Error(`simplexGradient: gradient ${show(g)} and projection ${show(y)} differ in shape`);
    return g;
  },
  definition: ([g, y], { dim }) => {
    const inside = lt(0, y);
    return inside.mul(g.sub(supportMean(g, inside, dim)));
  },
  // Linear in g, and its own adjoint: the orthogonal projection on { zero outside S, sum zero }.
  vjp: (h, [, y], _, { dim }) => [() => h.simplexGradient(y, dim), null],
  flops: ([g]) => 4 * sizeOf(g),
});

/**
 * The gradient with respect to x of a projection y of x on simplices along `dim`: 1_S (g − mean_S g) on its support S.
 */
export const simplexGradient = (g: Tensor, y: Tensor, dim: number = -1): Tensor =>
  apply(gradientOp, [g, y], { dim: normalizeDim('simplexGradient', dim, y.shape.length) });

const supportMean = (g: Tensor, inside: Tensor, dim: number): Tensor =>
  g
    .mul(inside)
    .sum(dim, { keepdim: true })
    .div(inside.sum(dim, { keepdim: true }));

const projectionOp = defineOp<Dim>({
  name: 'simplexProjection',
  shape: (shapes, attributes) => checkMass('simplexProjection', shapes, attributes),
  definition: ([x, mass], { dim }) => {
    const z = x.sub(x.amax(dim, { keepdim: true })); // the projection does not see a shift of the line, a float does
    return z.sub(z.simplexThreshold(mass, dim)).relu();
  },
  vjp: (g, [, mass], y, { dim }) => [
    () => g.simplexGradient(y, dim),
    () => sumTo(supportMean(g, lt(0, y), dim), mass.shape),
  ],
  flops: ([x]) => 5 * sizeOf(x),
});

/**
 * The nearest point to each line of x along `dim` among {y ≥ 0, Σ y = mass}: mass · sparsemax(x / mass). `mass` is as
 * in `simplexThreshold`.
 */
export function simplexProjection(x: Tensor, mass: Operand, dim: number = -1): Tensor {
  const d = normalizeDim('simplexProjection', dim, x.shape.length);
  return apply(projectionOp, [x, asMass(mass, x, d)], { dim: d });
}

const sparsemaxOp = defineOp<Dim>({
  name: 'sparsemax',
  shape: ([x]) => x,
  definition: ([x], { dim }) => x.simplexProjection(1, dim),
  vjp: (g, _, y, { dim }) => [() => g.simplexGradient(y, dim)],
  flops: ([x]) => 5 * sizeOf(x),
});

/** The Euclidean projection on the probability simplex along `dim` (Martins & Astudillo 2016, equation 2). */
export const sparsemax = (x: Tensor, dim: number = -1): Tensor =>
  apply(sparsemaxOp, [x], { dim: normalizeDim('sparsemax', dim, x.shape.length) });

/** The masses of the lines of x along `dim`, with that dim kept: one number, or one for each line as a vector. */
function asMass(mass: Operand, x: Tensor, dim: number): Tensor {
  if (!(mass instanceof Tensor)) return full([], mass, { dtype: x.dtype, backend: x.backend });
  return mass.shape.length === x.shape.length - 1 ? mass.unsqueeze(dim) : mass;
}

const methods = { simplexThreshold, simplexGradient, simplexProjection, sparsemax };
declare module '../tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
