/**
 * Every differentiable row of the table in float64: the gradient along random directions against central
 * differences, and, through `createGraph`, the derivative of the gradient along the same direction.
 */
import { describe, expect, test } from 'vitest';
import {
  add,
  apply,
  createReferenceBackend,
  grad,
  mul,
  scope,
  setBackend,
  sum,
  ops,
  tensor,
  type TableOp,
  type Tensor,
} from '../../engine/index.ts';
import { distanceFromKink, hasGradient, type Sample } from '../../engine/ops/samples.ts';
import { sizeOf } from '../../engine/shape.ts';
import { drawInputs } from '../arbitraries/rows.ts';
import { randomOfTests } from '../random.ts';

setBackend(createReferenceBackend()); // float64 lives there

const random = randomOfTests('gradcheck');

/** Inputs away from kinks: at least ten steps of the difference quotient. */
function smoothSample(op: TableOp, size: number) {
  for (;;) {
    const sample = drawInputs(op, random, size);
    if (distanceFromKink(op, sample.inputs, sample.attributes) > 1e-2) return sample;
  }
}

const direction = (s: Sample): Float64Array<ArrayBuffer> =>
  new Float64Array(s.values.length).map(() => random.normal());
/** The fourth-order central difference of f at 0; truncation of order h⁴, rounding of order 1e-16 |f| / h. */
const difference = (f: (h: number) => number, h = 1e-4) => (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);

describe('the table', () => {
  test('has every operation once', () => {
    const names = ops.map(op => op.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(40);
  });

  test.each(ops.filter(op => op.vjp ?? op.definition).map(op => [op.name, op] as const))('%s', (_, op) => {
    for (let trial = 0; trial < 4; trial++) {
      const { inputs, attributes } = smoothSample(op, 3);
      const directions = inputs.map(direction);
      const differentiable = inputs.map((x, i) => hasGradient(op, x, i));
      const out = op.shape(
        inputs.map(x => x.shape),
        attributes,
      );
      const weights = direction({ shape: out, values: new Float64Array(sizeOf(out)) });
      const dot = (y: Tensor, w: Float64Array<ArrayBuffer>) => sum(mul(y, tensor(w, { shape: y.shape })));

      /** The inputs moved by h along the directions. */
      const moved = (h: number) =>
        inputs.map((x, i) =>
          differentiable[i]
            ? tensor(
                Float64Array.from(x.values, (v, j) => v + h * directions[i][j]),
                { shape: x.shape, requiresGrad: true },
              )
            : tensor(x.values, { shape: x.shape }),
        );
      const objective = (xs: Tensor[]) => dot(apply(op, xs, attributes), weights);
      /** The derivative along the directions, by reverse mode. */
      const slope = (xs: Tensor[], createGraph: boolean) => {
        const wanted = xs.filter((__, i) => differentiable[i]);
        const along = directions.filter((__, i) => differentiable[i]);
        const parts = grad(objective(xs), wanted, { createGraph }).map((g, i) => dot(g, along[i]));
        return { wanted, along, total: parts.reduce((a, b) => add(a, b)) };
      };
      scope(() => {
        const value = objective(moved(0)).dataSync()[0];
        const numeric = difference(h => objective(moved(h)).dataSync()[0]);
        const { wanted, along, total } = slope(moved(0), true);
        expect(Math.abs(total.dataSync()[0] - numeric)).toBeLessThan(1e-9 * (1 + Math.abs(numeric) + Math.abs(value)));

        const second = wanted.map((x, i) => ({ x, d: along[i] })).filter(({ x }) => leadsTo(total, x));
        if (second.length === 0) return; // linear
        const curvature = grad(
          total,
          second.map(s => s.x),
        ).reduce((t, g, i) => t + dot(g, second[i].d).dataSync()[0], 0);
        const numericCurvature = difference(h => slope(moved(h), false).total.dataSync()[0]);
        expect(Math.abs(curvature - numericCurvature)).toBeLessThan(
          1e-8 * (1 + Math.abs(numericCurvature) + Math.abs(numeric)),
        );
      });
    }
  });
});

function leadsTo(y: Tensor, x: Tensor): boolean {
  const seen = new Set<Tensor>();
  const stack = [y];
  for (let t = stack.pop(); t; t = stack.pop()) {
    if (t === x) return true;
    if (seen.has(t)) continue;
    seen.add(t);
    stack.push(...(t.node?.inputs ?? []));
  }
  return false;
}
