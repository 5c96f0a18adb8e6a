/**
 * Laws that hold for every row of the operation table, on both backends: what a row does to its inputs and to memory,
 * and how gradients add up. Which rows a law is about follows from the table and from what the rows do.
 */
import { describe, expect, test } from 'vitest';
import {
  add,
  apply,
  broadcastTo,
  createReferenceBackend,
  createWasmBackend,
  grad,
  memory,
  mul,
  noGrad,
  scope,
  sum,
  ops,
  tensor,
  type DType,
  type TableOp,
  type Tensor,
} from '../../engine/index.ts';
import { distanceFromKink, hasGradient, type Sample, samplingOf } from '../../engine/ops/samples.ts';
import { sameShape, sizeOf } from '../../engine/shape.ts';
import { drawInputs } from '../arbitraries/rows.ts';
import { randomOfTests } from '../random.ts';
import { extent } from './extent.ts';

const float64 = {
  name: 'reference, float64',
  backend: createReferenceBackend(),
  dtype: 'float64',
} as const;
const machines = [
  float64,
  { ...float64, name: 'reference, float32', dtype: 'float32' },
  { name: 'wasm, float32', backend: createWasmBackend({ threads: 1 }), dtype: 'float32' },
] as const;
type Machine = (typeof machines)[number];

const random = randomOfTests('laws');
const rows = ops.map(op => [op.name, op] as const);

const isFloat = (x: Sample) => !(x.values instanceof Int32Array);
const differentiable = (op: TableOp) => op.vjp !== undefined || op.definition !== undefined;

interface Input {
  inputs: Sample[];
  attributes: unknown;
}

/** Inputs that float32 holds, away from kinks so that both precisions are on one side. */
function draw(op: TableOp, size: number): Input {
  for (;;) {
    const { inputs, attributes } = drawInputs(op, random, size);
    const rounded = inputs.map(x =>
      isFloat(x) ? { ...x, values: Float64Array.from(Float32Array.from(x.values)) } : x,
    );
    if (distanceFromKink(op, rounded, attributes) > 1e-2) return { inputs: rounded, attributes };
  }
}

const own = (attributes: unknown, dtype: DType): unknown =>
  attributes !== null && typeof attributes === 'object' && 'dtype' in attributes
    ? { ...attributes, dtype }
    : attributes;
const normals = (size: number): Float64Array<ArrayBuffer> =>
  new Float64Array(size).map(() => Math.fround(random.normal()));

function place({ backend, dtype }: Machine, x: Sample, requiresGrad = false): Tensor {
  return isFloat(x)
    ? tensor(Float64Array.from(x.values), { shape: x.shape, backend, dtype, requiresGrad })
    : tensor(Int32Array.from(x.values), { shape: x.shape, backend });
}
const values = (t: Tensor): number[] => Array.from(t.dataSync());
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((total, x, i) => total + x * b[i], 0);

/**
 * Holds two results together: `terms` roundings of the largest number on the way, which functions of four units make 8
 * each.
 */
function expectClose(
  { dtype }: Machine,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  terms: number,
  largest: number,
): void {
  expect(actual.length).toBe(expected.length);
  const tolerance = 8 * (8 + terms) * (dtype === 'float64' ? 2 ** -53 : 2 ** -24) * largest;
  for (let i = 0; i < actual.length; i++)
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance))
      expect.fail(`element ${i}: ${actual[i]}, not ${expected[i]} ± ${tolerance}`);
}

/** The value of a row and its gradients along `weights`, as numbers. */
function gradients(
  machine: Machine,
  op: TableOp,
  { inputs, attributes }: Input,
  weights: Float64Array,
): { y: number[]; g: number[][] } {
  return scope(() => {
    const xs = inputs.map((x, i) => place(machine, x, hasGradient(op, x, i)));
    const y = apply(op, xs, own(attributes, machine.dtype));
    const wanted = xs.filter(x => x.requiresGrad);
    return {
      y: values(y),
      g: y.requiresGrad
        ? grad(y, wanted, { outputGrad: place(machine, { shape: y.shape, values: Float64Array.from(weights) }) }).map(
            values,
          )
        : [],
    };
  });
}

const outOf = (op: TableOp, { inputs, attributes }: Input) =>
  op.shape(
    inputs.map(x => x.shape),
    attributes,
  );

describe.each(machines.map(machine => [machine.name, machine] as const))('on %s', (_, machine) => {
  test.each(rows)('%s leaves its inputs and the gradient it is given as they are', (__, op) => {
    for (const size of [1, 3, 5]) {
      const drawn = draw(op, size);
      scope(() => {
        const xs = drawn.inputs.map((x, i) => place(machine, x, hasGradient(op, x, i)));
        const y = apply(op, xs, own(drawn.attributes, machine.dtype));
        const [before, weights] = [values(y), normals(y.size)];
        if (y.requiresGrad) {
          const outputGrad = place(machine, { shape: y.shape, values: weights });
          grad(
            y,
            xs.filter(x => x.requiresGrad),
            { outputGrad },
          );
          expect(values(outputGrad)).toEqual(Array.from(weights));
        }
        xs.forEach((x, i) => expect(values(x)).toEqual(Array.from(drawn.inputs[i].values)));
        expect(values(y)).toEqual(before);
      });
    }
  });

  test.each(rows)('%s leaves nothing behind, nor does it when shapes do not fit', (__, op) => {
    const drawn = draw(op, 3);
    const before = memory();
    gradients(machine, op, drawn, normals(sizeOf(outOf(op, drawn))));
    expect(memory()).toEqual(before);
    const wrong = [{ shape: [5, 7, 1, 2, 3], values: new Float64Array(210) }, ...drawn.inputs.slice(1)];
    try {
      gradients(machine, op, { ...drawn, inputs: wrong }, normals(210));
    } catch {
      /* most operations reject it, each with its own message */
    }
    expect(memory()).toEqual(before);
  });

  test.each(rows.filter(([, op]) => differentiable(op)))(
    '%s: a value used twice receives the sum of its uses',
    (__, op) => {
      const drawn = draw(op, 3);
      const size = sizeOf(outOf(op, drawn));
      const [v, w] = [normals(size), normals(size)];
      const largest = extent(op, drawn.inputs, drawn.attributes, v) + extent(op, drawn.inputs, drawn.attributes, w);
      const [first, second] = [v, w].map(weights => gradients(machine, op, drawn, weights).g);
      scope(() => {
        const xs = drawn.inputs.map((x, i) => place(machine, x, hasGradient(op, x, i)));
        const uses = [v, w].map(weights => {
          const y = apply(op, xs, drawn.attributes);
          return sum(mul(y, place(machine, { shape: y.shape, values: weights })));
        });
        const together = grad(
          add(uses[0], uses[1]),
          xs.filter(x => x.requiresGrad),
        );
        together.forEach((g, i) =>
          expectClose(
            machine,
            values(g),
            first[i].map((a, j) => a + second[i][j]),
            size,
            largest,
          ),
        );
      });
    },
  );

  test.each(rows.filter(([, op]) => op.definition))('%s: its gradient is that of its definition', (__, op) => {
    for (const size of [1, 2, 5]) {
      const drawn = draw(op, size);
      const weights = normals(sizeOf(outOf(op, drawn)));
      const { y, g } = gradients(machine, op, drawn, weights);
      scope(() => {
        const xs = drawn.inputs.map((x, i) => place(float64, x, hasGradient(op, x, i)));
        const defined = op.definition!(xs, own(drawn.attributes, 'float64'));
        const largest = extent(op, drawn.inputs, drawn.attributes, weights);
        const terms = 3 * Math.max(...drawn.inputs.map(x => sizeOf(x.shape)));
        expectClose(machine, y, values(defined), terms, largest);
        grad(
          defined,
          xs.filter(x => x.requiresGrad),
          { outputGrad: place(float64, { shape: defined.shape, values: weights }) },
        ).forEach((expected, i) => expectClose(machine, g[i], values(expected), terms, largest));
      });
    }
  });
});

interface Stretch {
  /** The input of the row. */
  readonly at: number;
  /** Values for it, and the shape to which the row stretches them. */
  readonly small: Sample;
  readonly wide: readonly number[];
}

const stretched = (small: Sample, wide: readonly number[]): Sample => ({
  shape: wide,
  values: scope(() => Float64Array.from(values(broadcastTo(place(float64, small), wide)))),
});

/** Where a row stretches an input: with lengths of 1 or dims left out it is what it is with the values repeated. */
function stretches(op: TableOp, drawn: Input): Stretch[] {
  const out = outOf(op, drawn);
  const candidates = drawn.inputs.flatMap((x, at): Stretch[] =>
    hasGradient(op, x, at)
      ? [
          ...x.shape.map((_, d): Stretch => {
            const shape = x.shape.with(d, 1);
            return { at, small: { shape, values: Float64Array.from(x.values.slice(0, sizeOf(shape))) }, wide: x.shape };
          }),
          ...x.shape.flatMap((n, d): Stretch[] =>
            n === 1 ? out.map(length => ({ at, small: x, wide: x.shape.with(d, length) })) : [],
          ),
          ...out.map((length): Stretch => ({ at, small: x, wide: [length, ...x.shape] })),
        ]
      : [],
  );
  return candidates.filter(({ at, small, wide }) => {
    if (sizeOf(small.shape) === sizeOf(wide)) return false;
    try {
      const [narrow, full] = [small, stretched(small, wide)].map(x => {
        const inputs = drawn.inputs.with(at, x);
        return sameShape(outOf(op, { ...drawn, inputs }), out)
          ? gradients(float64, op, { ...drawn, inputs }, normals(sizeOf(out))).y
          : null;
      });
      return narrow !== null && full !== null && narrow.every((y, i) => y === full[i]);
    } catch {
      return false; // the operation rejects one of the two
    }
  });
}

test.each(rows)('%s: shapes that do not fit are an error in its name', (_, op) => {
  const { inputs, attributes } = drawInputs(op, random, 3);
  inputs.forEach((x, at) => {
    for (const shape of [
      [],
      [7],
      [...x.shape, 2],
      [5, ...x.shape],
      x.shape.slice(1),
      ...x.shape.map((n, d) => x.shape.with(d, n + 2)),
      [5, 7, 1, 2, 3],
    ]) {
      try {
        expect(
          op.shape(
            inputs.map((y, i) => (i === at ? shape : y.shape)),
            attributes,
          ),
        ).toBeInstanceOf(Array);
      } catch (error) {
        // The three rows of AdamW speak with one voice.
        expect((error as Error).message).toMatch(new RegExp(`^(${op.name}|${op.name.replace(/[A-Z].*/, '')}): `));
      }
    }
  });
});

describe('the adjoint of broadcast is the sum', () => {
  const cases = rows
    .filter(([, op]) => differentiable(op))
    .flatMap(([name, op]) => {
      const drawn = draw(op, 3);
      return stretches(op, drawn).map(
        stretch => [name, stretch.small.shape, stretch.wide, op, drawn, stretch] as const,
      );
    });

  test('concerns every elementwise row of two inputs, the batches of matrices and the masses of lines', () => {
    const names = cases.map(([name]) => name);
    expect(names).toEqual(
      expect.arrayContaining([
        'broadcastTo',
        'add',
        'sub',
        'mul',
        'div',
        'pow',
        'maximum',
        'where',
        'swiglu',
        'matmul',
        'simplexThreshold',
        'simplexProjection',
      ]),
    );
    expect(names).not.toContain('sum');
  });

  describe.each(machines.map(machine => [machine.name, machine] as const))('on %s', (_, machine) => {
    test.each(cases)('%s: [%s] to [%s]', (__, ___, ____, op, drawn, { at, small, wide }) => {
      const weights = normals(sizeOf(outOf(op, drawn)));
      const [narrow, full] = [small, stretched(small, wide)].map(x =>
        gradients(machine, op, { ...drawn, inputs: drawn.inputs.with(at, x) }, weights),
      );
      const largest = extent(op, drawn.inputs.with(at, stretched(small, wide)), drawn.attributes, weights);
      expectClose(machine, narrow.y, full.y, 0, largest);
      const which = drawn.inputs.slice(0, at).filter((x, i) => hasGradient(op, x, i)).length;
      // Each weight of the stretched input goes back to the element that it was read from.
      const sums = new Array<number>(sizeOf(small.shape)).fill(0);
      const origin = stretched({ shape: small.shape, values: Float64Array.from(sums.keys()) }, wide).values;
      full.g[which].forEach((g, i) => {
        sums[origin[i]] += g;
      });
      expectClose(machine, narrow.g[which], sums, full.g[which].length, largest);
    });
  });
});

describe('⟨w, J u⟩ = ⟨Jᵀ w, u⟩', () => {
  /** f(x with input `at` replaced by u) − f(… by 0), and whether that is linear in u. */
  function linearPart(op: TableOp, drawn: Input, at: number) {
    const { shape } = drawn.inputs[at];
    const of = (u: Float64Array<ArrayBuffer>) =>
      scope(() =>
        noGrad(() =>
          values(
            apply(
              op,
              drawn.inputs.map((x, i) => place(float64, i === at ? { shape, values: u } : x)),
              own(drawn.attributes, 'float64'),
            ),
          ),
        ),
      );
    const [u, v] = [normals(sizeOf(shape)), normals(sizeOf(shape))];
    const zero = of(new Float64Array(u.length));
    const [fu, fv, both] = [u, v, u.map((x, i) => x - 3 * v[i])].map(x => of(x).map((y, i) => y - zero[i]));
    return {
      u,
      fu,
      linear: both.every(
        (y, i) => Math.abs(y - (fu[i] - 3 * fv[i])) <= 1e-10 * (1 + Math.abs(fu[i]) + Math.abs(fv[i])),
      ),
    };
  }

  /** Whether a row takes any number there, so 0 too. */
  const everywhere = (op: TableOp, at: number) =>
    (samplingOf(op).domain?.[at] ?? [-Infinity, Infinity]).every(end => !Number.isFinite(end));

  const linear = rows.flatMap(([name, op]) => {
    const drawn = draw(op, 3);
    return drawn.inputs.flatMap((x, at) =>
      hasGradient(op, x, at) && differentiable(op) && everywhere(op, at) && linearPart(op, drawn, at).linear
        ? [[name, at, op] as const]
        : [],
    );
  });

  test('concerns the rows that are linear in an input', () => {
    const found = linear.map(([name, at]) => `${name} ${at}`);
    expect(found).toEqual(
      expect.arrayContaining([
        'add 0',
        'add 1',
        'mul 0',
        'mul 1',
        'div 0',
        'where 1',
        'where 2',
        'reshape 0',
        'permute 0',
        'slice 0',
        'concat 0',
        'concat 1',
        'broadcastTo 0',
        'matmul 0',
        'matmul 1',
        'embedding 1',
        'scatterAdd 0',
        'sum 0',
        'rotary 0',
        'attention 2',
        'simplexGradient 0',
        'swiglu 1',
      ]),
    );
    expect(found).not.toContain('exp 0');
    expect(found).not.toContain('attention 0');
  });

  test.each(linear)('%s in input %i', (_, at, op) => {
    for (const size of [1, 2, 3, 4]) {
      const drawn = draw(op, size);
      const { u, fu } = linearPart(op, drawn, at);
      const w = normals(fu.length);
      const which = drawn.inputs.slice(0, at).filter((x, i) => hasGradient(op, x, i)).length;
      const { g } = gradients(
        float64,
        op,
        { ...drawn, inputs: drawn.inputs.with(at, { shape: drawn.inputs[at].shape, values: u }) },
        w,
      );
      const [left, right] = [dot(w, fu), dot(g[which], u)];
      expect(Math.abs(left - right)).toBeLessThanOrEqual(1e-12 * (1 + Math.abs(left)) * (1 + u.length));
    }
  });

  test.each(rows.filter(([, op]) => differentiable(op)))(
    '%s: J u by transposing twice is the difference quotient, element by element',
    (_, op) => {
      const drawn = draw(op, 3);
      const directions = drawn.inputs.map(x => normals(sizeOf(x.shape)));
      const moved = (h: number) =>
        scope(() =>
          noGrad(() =>
            values(
              apply(
                op,
                drawn.inputs.map((x, i) =>
                  place(
                    float64,
                    hasGradient(op, x, i)
                      ? { ...x, values: Float64Array.from(x.values, (value, j) => value + h * directions[i][j]) }
                      : x,
                  ),
                ),
                own(drawn.attributes, 'float64'),
              ),
            ),
          ),
        );
      const h = 1e-4; // fourth order: the truncation is of order h⁴, the rounding of order 1e-16 / h
      const [a, b, c, d] = [h, -h, 2 * h, -2 * h].map(moved);
      scope(() => {
        const xs = drawn.inputs.map((x, i) => place(float64, x, hasGradient(op, x, i)));
        const y = apply(op, xs, own(drawn.attributes, 'float64'));
        // ⟨Jᵀv, u⟩ is linear in v: its gradient is J u, whatever v is.
        const v = tensor(normals(y.size), { shape: y.shape, backend: float64.backend, requiresGrad: true });
        const wanted = xs.map((x, i) => ({ x, i })).filter(({ x }) => x.requiresGrad);
        const parts = grad(
          y,
          wanted.map(({ x }) => x),
          { outputGrad: v, createGraph: true },
        ).map((g, k) => sum(mul(g, place(float64, { shape: g.shape, values: directions[wanted[k].i] }))));
        const along = values(
          grad(
            parts.reduce((p, q) => add(p, q)),
            [v],
          )[0],
        );
        along.forEach((value, i) => {
          const quotient = (8 * (a[i] - b[i]) - (c[i] - d[i])) / (12 * h);
          expect(Math.abs(value - quotient), `element ${i}`).toBeLessThanOrEqual(1e-9 * (1 + Math.abs(quotient)));
        });
      });
    },
  );
});
