/**
 * Every row of the table against an oracle: the textbook formula of one element, index by index, in plain numbers.
 * Then the rows on edge shapes, and fused kernels against their definitions.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  apply,
  concat,
  createReferenceBackend,
  createWasmBackend,
  embedding,
  layerNorm,
  matmul,
  amax,
  noGrad,
  permute,
  rmsNorm,
  scatterAdd,
  scope,
  setBackend,
  slice,
  softmax,
  sum,
  ops,
  tensor,
  type TableOp,
  type Backend,
  type Tensor,
} from '../../engine/index.ts';
import { type Sample, samples, samplingOf } from '../../engine/ops/samples.ts';
import { sizeOf } from '../../engine/shape.ts';
import { drawInputs } from '../arbitraries/rows.ts';
import { broadcastShapes, products, shapes } from '../arbitraries/shapes.ts';
import { masksOf, valuesOf } from '../arbitraries/tensors.ts';
import { randomOfTests } from '../random.ts';
import { centring } from './extent.ts';

const reference: Backend = createReferenceBackend();
const wasm: Backend = createWasmBackend({ threads: 1 });
setBackend(reference); // float64 lives there

/** An array to be read by index; negative positions of `index` never occur. */
interface Grid {
  readonly shape: readonly number[];
  at(...index: number[]): number;
}

const grid = ({ shape, values }: { shape: readonly number[]; values: ArrayLike<number> }): Grid => ({
  shape,
  at: (...index) => values[index.reduce((flat, i, d) => flat * shape[d] + i, 0)],
});

/** Reads x at an index of the shape it was stretched to. */
const stretched = (x: Grid, index: readonly number[]): number =>
  x.at(...x.shape.map((n, d) => (n === 1 ? 0 : index[index.length - x.shape.length + d])));

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const total = (terms: readonly number[]): number => terms.reduce((a, b) => a + b, 0);
/** x along `dim` through `index`. */
const lineOf = (x: Grid, index: readonly number[], dim: number): number[] =>
  range(x.shape[dim]).map(j => x.at(...index.with(dim, j)));

const softmaxOf = (line: readonly number[]): number[] => {
  const top = Math.max(...line);
  const e = line.map(v => Math.exp(v - top));
  return e.map(v => v / total(e));
};
const logsumexpOf = (line: readonly number[]): number =>
  Math.max(...line) + Math.log(total(line.map(v => Math.exp(v - Math.max(...line)))));

/** erf by Simpson's rule on 2/√π ∫ e^(−t²). */
function erfOf(x: number): number {
  const [steps, end] = [2000, Math.min(Math.abs(x), 7)];
  const f = (i: number) => Math.exp(-(((i * end) / steps) ** 2));
  return (
    Math.sign(x) *
    (2 / Math.sqrt(Math.PI)) *
    (end / steps / 3) *
    total(range(steps + 1).map(i => f(i) * (i === 0 || i === steps ? 1 : i % 2 ? 4 : 2)))
  );
}
const sigmoidOf = (x: number) => 1 / (1 + Math.exp(-x));

/** The τ of a line by bisection. */
function tauOf(line: readonly number[], mass: number): number {
  let [low, high] = [Math.max(...line) - mass, Math.max(...line)];
  for (let step = 0; step < 100; step++) {
    const middle = (low + high) / 2;
    if (total(line.map(v => Math.max(v - middle, 0))) > mass) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The element of a row's output at `index`. */
type Oracle = (inputs: readonly Grid[], attributes: never, index: number[]) => number;

const unary =
  (f: (x: number) => number): Oracle =>
  ([x], _, index) =>
    f(x.at(...index));
const binary =
  (f: (a: number, b: number) => number): Oracle =>
  ([a, b], _, index) =>
    f(stretched(a, index), stretched(b, index));
const along =
  (f: (line: number[], at: number) => number): Oracle =>
  ([x], { dim }: { dim: number }, index) =>
    f(lineOf(x, index, dim), index[dim]);
const overLast =
  (f: (line: number[], at: number, eps: number) => number): Oracle =>
  ([x], { eps }: { eps: number }, index) =>
    f(lineOf(x, index, index.length - 1), index.at(-1)!, eps);

/** The mass of a line: `mass` broadcasts to x with `dim` cut to 1. */
const massAt = (mass: Grid, index: readonly number[], dim: number) => stretched(mass, index.with(dim, 0));

const oracles: Record<string, Oracle> = {
  exp: unary(Math.exp),
  log: unary(Math.log),
  sqrt: unary(Math.sqrt),
  tanh: unary(Math.tanh),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  erf: unary(erfOf),
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  pow: binary((a, b) => a ** b),
  maximum: binary((a, b) => (a > b ? a : b)),
  eq: binary((a, b) => Number(a === b)),
  lt: binary((a, b) => Number(a < b)),
  where: ([condition, a, b], _, index) =>
    stretched(condition, index) !== 0 ? stretched(a, index) : stretched(b, index),
  toFloat: unary(x => x),
  sigmoid: unary(sigmoidOf),
  relu: unary(x => (x > 0 ? x : 0)),
  silu: unary(x => x * sigmoidOf(x)),
  gelu: ([x], { approximate }: { approximate: string }, index) => {
    const v = x.at(...index);
    return approximate === 'none'
      ? (v / 2) * (1 + erfOf(v / Math.SQRT2))
      : (v / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
  },
  swiglu: binary((gate, up) => gate * sigmoidOf(gate) * up),

  reshape: ([x], { shape }: { shape: number[] }, index) => {
    let flat = index.reduce((p, i, d) => p * shape[d] + i, 0);
    const from: number[] = [];
    for (const n of x.shape.toReversed()) {
      from.unshift(flat % n);
      flat = Math.floor(flat / n);
    }
    return x.at(...from);
  },
  permute: ([x], { dims }: { dims: number[] }, index) => {
    const from: number[] = [];
    dims.forEach((d, i) => {
      from[d] = index[i];
    });
    return x.at(...from);
  },
  slice: ([x], { dim, start }: { dim: number; start: number }, index) => x.at(...index.with(dim, index[dim] + start)),
  concat: (xs, { dim }: { dim: number }, index) => {
    let [which, position] = [0, index[dim]];
    while (position >= xs[which].shape[dim]) position -= xs[which++].shape[dim];
    return xs[which].at(...index.with(dim, position));
  },
  broadcastTo: ([x], _, index) => stretched(x, index),

  matmul: ([a, b], { transposeA, transposeB }: { transposeA: boolean; transposeB: boolean }, index) => {
    const [i, j] = index.slice(-2);
    // The batch dims stretch, the last two are as they are.
    const read = (x: Grid, row: number, column: number) =>
      x.at(
        ...x.shape.slice(0, -2).map((n, d) => (n === 1 ? 0 : index[index.length - x.shape.length + d])),
        row,
        column,
      );
    return total(
      range(a.shape.at(transposeA ? -2 : -1)!).map(
        k => (transposeA ? read(a, k, i) : read(a, i, k)) * (transposeB ? read(b, j, k) : read(b, k, j)),
      ),
    );
  },
  sparseMatmul: ([a, b], _, [i, j]) => total(range(a.shape[1]).map(k => Math.max(a.at(i, k), 0) * b.at(k, j))),
  sampledMatmul: ([l, r, a], _, [i, j]) =>
    a.at(i, j) > 0 ? total(range(l.shape[1]).map(k => l.at(i, k) * r.at(j, k))) : 0,
  embedding: ([index, tab], _, at) => tab.at(index.at(...at.slice(0, -1)), at.at(-1)!),
  scatterAdd: ([rows, index], _, [n, column]) => {
    const walk = (prefix: number[]): number =>
      prefix.length === index.shape.length
        ? index.at(...prefix) === n
          ? rows.at(...prefix, column)
          : 0
        : total(range(index.shape[prefix.length]).map(i => walk([...prefix, i])));
    return walk([]);
  },
  oneHot: ([index], _, at) => Number(index.at(...at.slice(0, -1)) === at.at(-1)),

  sum: along(line => total(line)),
  amax: along(line => Math.max(...line)),
  logsumexp: along(logsumexpOf),
  softmax: along((line, i) => softmaxOf(line)[i]),
  logSoftmax: along((line, i) => line[i] - logsumexpOf(line)),

  layerNorm: overLast((line, i, eps) => {
    const mean = total(line) / line.length;
    return (line[i] - mean) / Math.sqrt(total(line.map(v => (v - mean) ** 2)) / line.length + eps);
  }),
  rmsNorm: overLast((line, i, eps) => line[i] / Math.sqrt(total(line.map(v => v * v)) / line.length + eps)),
  crossEntropy: ([logits, targets], _, [n]) => {
    const line = lineOf(logits, [n, 0], 1);
    return targets.at(n) < 0 ? 0 : logsumexpOf(line) - line[targets.at(n)];
  },
  // The pair (i, i + D/2), as a complex number, times e^(± i p θ).
  rotary: (
    [x],
    { base, invFreq, offset, inverse }: { base: number; invFreq?: number[]; offset: number; inverse: boolean },
    [b, t, h, d],
  ) => {
    const half = x.shape[3] / 2;
    const i = d % half;
    const angle = (inverse ? -1 : 1) * (offset + t) * (invFreq?.[i] ?? base ** ((-2 * i) / x.shape[3]));
    const [re, im] = [x.at(b, t, h, i), x.at(b, t, h, i + half)];
    return d < half ? re * Math.cos(angle) - im * Math.sin(angle) : re * Math.sin(angle) + im * Math.cos(angle);
  },
  attention: ([q, k, v], _, [b, t, h, d]) => {
    const [T, H, D, S, G] = [q.shape[1], q.shape[2], q.shape[3], k.shape[1], k.shape[2]];
    const g = Math.floor((h * G) / H);
    const visible = range(t + S - T + 1);
    const weights = softmaxOf(
      visible.map(s => total(range(D).map(c => q.at(b, t, h, c) * k.at(b, s, g, c))) / Math.sqrt(D)),
    );
    return total(visible.map(s => weights[s] * v.at(b, s, g, d)));
  },
  adamwMean: ([m, g], { beta }: { beta: number }, index) => beta * m.at(...index) + (1 - beta) * g.at(...index),
  adamwVariance: ([v, g], { beta }: { beta: number }, index) =>
    beta * v.at(...index) + (1 - beta) * g.at(...index) ** 2,
  adamwStep: ([p, m, v], { lr, weightDecay, eps, correction1, correction2 }: Record<string, number>, index) => {
    const [mean, variance] = [m.at(...index) / correction1, v.at(...index) / correction2];
    return p.at(...index) * (1 - lr * weightDecay) - (lr * mean) / (Math.sqrt(variance) + eps);
  },

  simplexThreshold: ([x, mass], { dim }: { dim: number }, index) =>
    tauOf(lineOf(x, index, dim), massAt(mass, index, dim)),
  simplexProjection: ([x, mass], { dim }: { dim: number }, index) =>
    Math.max(0, x.at(...index) - tauOf(lineOf(x, index, dim), massAt(mass, index, dim))),
  sparsemax: ([x], { dim }: { dim: number }, index) => Math.max(0, x.at(...index) - tauOf(lineOf(x, index, dim), 1)),
  simplexGradient: ([g, y], { dim }: { dim: number }, index) => {
    const [line, support] = [lineOf(g, index, dim), lineOf(y, index, dim).map(v => v > 0)];
    const inside = line.filter((_, i) => support[i]);
    return support[index[dim]] ? line[index[dim]] - total(inside) / inside.length : 0;
  },
};

const random = randomOfTests('ops');

function indexOf(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (const n of shape.toReversed()) {
    index.unshift(flat % n);
    flat = Math.floor(flat / n);
  }
  return index;
}

const place = (
  { shape, values }: { shape: readonly number[]; values: ArrayLike<number> },
  dtype: 'float32' | 'float64',
  backend = reference,
): Tensor =>
  values instanceof Int32Array
    ? tensor(Int32Array.from(values), { shape, backend })
    : tensor(Float64Array.from(values), { shape, backend, dtype });

const inFloat64 = (attributes: unknown): unknown =>
  attributes !== null && typeof attributes === 'object' && 'dtype' in attributes
    ? { ...attributes, dtype: 'float64' }
    : attributes;

/**
 * Holds a row in float64 against its oracle. Both round every operation; sums here have tens of terms of size 10, and
 * Simpson's rule errs below 1e-12.
 */
function expectOracle(op: TableOp, inputs: readonly Sample[], attributes: unknown, tolerance = 1e-11): void {
  scope(() => {
    const xs = inputs.map(x => place(x, 'float64'));
    const y = apply(op, xs, inFloat64(attributes));
    const out = op.shape(
      inputs.map(x => x.shape),
      attributes,
    );
    const values = y.dataSync();
    expect([y.shape, values.length]).toEqual([out, sizeOf(out)]);
    const grids = inputs.map(grid);
    for (let i = 0; i < values.length; i++) {
      const expected = oracles[op.name](grids, attributes as never, indexOf(i, out));
      const close =
        Object.is(values[i], expected) ||
        values[i] === expected ||
        Math.abs(values[i] - expected) <= tolerance * (1 + Math.abs(expected));
      if (!close)
        expect.fail(
          `${op.name} at [${indexOf(i, out)}] of ${inputs.map(x => `[${x.shape}]`).join(' ')}, ` +
            `${JSON.stringify(attributes)}: ${values[i]}, not ${expected}`,
        );
    }
    xs.forEach((x, i) => expect(Array.from(x.dataSync())).toEqual(Array.from(inputs[i].values)));
  });
}

const row = (name: string): TableOp => ops.find(op => op.name === name)!;
const float = (
  shape: readonly number[],
  values: ArrayLike<number> = Array.from({ length: sizeOf(shape) }, () => random.normal()),
): Sample => ({ shape, values: Float64Array.from(values) });

describe('the table', () => {
  test('has one oracle for every operation', () => {
    expect(Object.keys(oracles).sort()).toEqual(ops.map(op => op.name).sort());
  });

  test.each(ops.map(op => [op.name, op] as const))(
    '%s: each element is its formula, and inputs are unchanged',
    (_, op) => {
      for (const size of [1, 2, 3, 4, 5]) {
        for (let trial = 0; trial < 4; trial++) {
          const { inputs, attributes } = drawInputs(op, random, size);
          expectOracle(op, inputs, attributes);
        }
      }
    },
  );

  test.each(
    ops
      .filter(op => !['simplexThreshold', 'simplexProjection', 'sparsemax', 'simplexGradient'].includes(op.name))
      .map(op => [op.name, op] as const),
  )('%s: empty in, empty out', (_, op) => {
    // Every length that can be 0 is: where a batch, a line or a matrix is missing there is no element to compute.
    const { inputs, attributes } = drawInputs(op, random, 0);
    for (const backend of [reference, wasm]) {
      scope(() => {
        const y = apply(
          op,
          inputs.map(x => place(x, 'float32', backend)),
          attributes,
        );
        const expected = op.shape(
          inputs.map(x => x.shape),
          attributes,
        );
        expect([y.shape, y.dataSync().length]).toEqual([expected, sizeOf(expected)]);
      });
    }
  });
});

describe('over shapes', () => {
  const elementwise = ['add', 'sub', 'mul', 'div', 'maximum', 'eq', 'lt', 'swiglu'];
  test.each(elementwise)('%s broadcasts', name => {
    fc.assert(
      fc.property(broadcastShapes(2), ({ shapes: [a, b] }) => expectOracle(row(name), [float(a), float(b)], {})),
      { numRuns: 50 },
    );
  });

  test('where broadcasts three ways', () => {
    fc.assert(
      fc.property(
        broadcastShapes(3).chain(({ shapes: s }) => fc.tuple(fc.constant(s), masksOf(s[0]))),
        ([[c, a, b], mask]) => {
          expectOracle(row('where'), [float(c, mask), float(a), float(b)], {});
        },
      ),
    );
  });

  test('broadcastTo', () => {
    fc.assert(
      fc.property(broadcastShapes(1 + 1), ({ out, shapes: [a] }) =>
        expectOracle(row('broadcastTo'), [float(a)], { shape: out }),
      ),
    );
  });

  test('matmul: batches broadcast, either operand transposed, inner length 0 gives zeros', () => {
    fc.assert(
      fc.property(products(), ({ a, b, transposeA, transposeB }) =>
        expectOracle(row('matmul'), [float(a), float(b)], { transposeA, transposeB }),
      ),
    );
  });

  test('matmul of a batch by one matrix is the product of each', () => {
    fc.assert(
      fc.property(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(3), fc.boolean(), (batch, m, k, n, transposeB) =>
        scope(() => {
          const [a, b] = [float([batch, m, k]), float(transposeB ? [n, k] : [k, n])];
          const y = matmul(place(a, 'float64'), place(b, 'float64'), { transposeB });
          const expected = Array.from({ length: batch * m * n }, (_, i) =>
            oracles.matmul([grid(a), grid(b)], { transposeA: false, transposeB } as never, indexOf(i, [batch, m, n])),
          );
          expect(y.shape).toEqual([batch, m, n]);
          y.dataSync().forEach((v, i) => expect(v).toBeCloseTo(expected[i], 11));
        }),
      ),
    );
  });

  const withDim = shapes({ minRank: 1 }).chain(shape => fc.tuple(fc.constant(shape), fc.nat(shape.length - 1)));
  test.each(['sum', 'amax', 'softmax', 'logSoftmax', 'logsumexp'])(
    '%s along any dim; an empty line gives the empty sum or maximum',
    name => {
      fc.assert(
        fc.property(withDim, ([shape, dim]) => {
          fc.pre(shape[dim] > 0 || name === 'sum' || name === 'amax');
          expectOracle(row(name), [float(shape)], { dim });
        }),
      );
    },
  );

  test('sum and amax over several dims, kept or dropped', () => {
    fc.assert(
      fc.property(
        shapes({ min: 1 }).chain(shape => fc.tuple(fc.constant(shape), fc.subarray(range(shape.length)), fc.boolean())),
        ([shape, dims, keep]) =>
          scope(() => {
            const x = float(shape);
            const t = place(x, 'float64');
            const kept = shape.map((n, d) => (dims.includes(d) ? 1 : n));
            const groups = new Map<string, number[]>();
            x.values.forEach((v, i) => {
              const key = indexOf(i, shape)
                .map((p, d) => (dims.includes(d) ? 0 : p))
                .join();
              groups.set(key, [...(groups.get(key) ?? []), v]);
            });
            const out = keep ? kept : shape.filter((_, d) => !dims.includes(d));
            // A dim from the right names the same dim.
            const [s, m] = [
              sum(
                t,
                dims.map(d => d - shape.length),
                { keepdim: keep },
              ),
              amax(t, dims, { keepdim: keep }),
            ];
            expect([s.shape, m.shape]).toEqual([out, out]);
            [...groups.values()].forEach((group, i) => {
              expect(s.dataSync()[i]).toBeCloseTo(total(group), 11);
              expect(m.dataSync()[i]).toBe(Math.max(...group));
            });
          }),
      ),
    );
  });

  test('permute, slice and concat', () => {
    fc.assert(
      fc.property(
        withDim.chain(([shape, dim]) =>
          fc.record({
            shape: fc.constant(shape),
            dim: fc.constant(dim),
            dims: fc.shuffledSubarray(range(shape.length), { minLength: shape.length }),
            cut: fc.tuple(fc.nat(shape[dim]), fc.nat(shape[dim])),
            lengths: fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }),
          }),
        ),
        ({ shape, dim, dims, cut, lengths }) => {
          expectOracle(row('permute'), [float(shape)], { dims });
          expectOracle(row('slice'), [float(shape)], { dim, start: Math.min(...cut), end: Math.max(...cut) });
          expectOracle(
            row('concat'),
            lengths.map(n => float(shape.with(dim, n))),
            { dim },
          );
        },
      ),
    );
  });

  test('permute undone is the identity, and so is concat of the slices', () => {
    fc.assert(
      fc.property(
        withDim.chain(([shape, dim]) =>
          fc.tuple(
            fc.constant(shape),
            fc.constant(dim),
            fc.nat(shape[dim]),
            fc.shuffledSubarray(range(shape.length), { minLength: shape.length }),
          ),
        ),
        ([shape, dim, at, dims]) => {
          for (const backend of [reference, wasm]) {
            scope(() => {
              const x = place(float(shape), 'float32', backend);
              const back = permute(
                permute(x, dims),
                range(shape.length).map(d => dims.indexOf(d)),
              );
              const joined = concat([slice(x, dim, 0, at), slice(x, dim, at)], dim);
              for (const y of [back, joined])
                expect([y.shape, Array.from(y.dataSync())]).toEqual([shape, Array.from(x.dataSync())]);
            });
          }
        },
      ),
    );
  });

  test('embedding, scatterAdd and oneHot: any index shape, repeated and missing indices', () => {
    fc.assert(
      fc.property(shapes({ maxRank: 2 }), fc.integer({ min: 1, max: 5 }), fc.nat(4), (shape, n, width) => {
        const index: Sample = { shape, values: Int32Array.from({ length: sizeOf(shape) }, () => random.integer(n)) };
        expectOracle(row('embedding'), [index, float([n, width])], {});
        expectOracle(row('scatterAdd'), [float([...shape, width]), index], { n });
        expectOracle(row('oneHot'), [{ shape, values: Int32Array.from(index.values, i => (i === 0 ? -100 : i)) }], {
          n,
          dtype: 'float64',
        });
      }),
    );
  });

  test('attention: grouped heads, more keys than queries; a single query', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(3),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 4 }),
        (B, T, past, G, perGroup, D) => {
          const keys = [B, T + past, G, D];
          expectOracle(row('attention'), [float([B, T, G * perGroup, D]), float(keys), float(keys)], {});
        },
      ),
      { numRuns: 60 },
    );
  });

  test('rotary: any offset, base and invFreq, forward and backward', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(500),
        fc.constantFrom(10, 10000),
        fc.boolean(),
        fc.boolean(),
        (T, half, offset, base, inverse, own) => {
          const invFreq = own ? range(half).map(i => 1 / (1 + i * i * base)) : undefined;
          expectOracle(row('rotary'), [float([2, T, 2, 2 * half])], { base, invFreq, offset, inverse });
        },
      ),
      { numRuns: 50 },
    );
  });

  test('both kinds of gelu', () => {
    for (const approximate of ['none', 'tanh']) expectOracle(row('gelu'), [float([40])], { approximate });
  });
});

describe('on both backends', () => {
  test('an index out of range is an error that names it', () => {
    for (const backend of [reference, wasm]) {
      scope(() => {
        const index = tensor([0, 3], { dtype: 'int32', backend });
        expect(() => embedding(index, tensor([[1], [2]], { backend }))).toThrow(
          'embedding: index 3 at position 1 is outside [0, 2)',
        );
        expect(() => scatterAdd(tensor([[1], [2]], { backend }), index, 3)).toThrow(
          'scatterAdd: index 3 at position 1 is outside [0, 3)',
        );
      });
    }
  });

  test('softmax of a line of equal huge values is uniform', () => {
    for (const backend of [reference, wasm]) {
      for (const value of [1e30, -1e30, 0])
        scope(() => {
          expect(Array.from(softmax(tensor(new Array(4).fill(value), { backend })).dataSync())).toEqual([
            0.25, 0.25, 0.25, 0.25,
          ]);
        });
    }
  });
});

describe('a fused row on wasm equals its definition on the reference', () => {
  const unit = 2 ** -24;
  test.each(ops.filter(op => op.definition).map(op => [op.name, op] as const))('%s', (_, op) => {
    for (const size of [1, 3, 4, 9, 16, 21]) {
      const { inputs: drawn, attributes } = drawInputs(op, random, size);
      const inputs = drawn.map(x =>
        x.values instanceof Int32Array ? x : { ...x, values: Float32Array.from(x.values) },
      );
      scope(() => {
        const actual = apply(
          op,
          inputs.map(x => place(x, 'float32', wasm)),
          attributes,
        ).dataSync();
        const exact = noGrad(() =>
          op.definition!(
            inputs.map(x => place(x, 'float64')),
            attributes,
          ),
        ).dataSync();
        expect(actual.length).toBe(exact.length);
        // n terms, each with a few roundings and functions good to 4 units: relative to the largest number that is
        // added.
        const terms = Math.max(...inputs.map(x => sizeOf(x.shape))) / Math.max(1, inputs[0].shape[0]);
        const scale = Math.max(
          1,
          ...Array.from(exact, Math.abs),
          ...inputs.flatMap(x => (x.values instanceof Int32Array ? [] : Array.from(x.values, Math.abs))),
        );
        actual.forEach((v, i) =>
          expect(Math.abs(v - exact[i]), `element ${i} at size ${size}`).toBeLessThanOrEqual(
            (16 + terms) * unit * scale,
          ),
        );
      });
    }
  });

  test('also over values far apart', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 6 })
          .chain(n => fc.tuple(fc.constant(n), valuesOf([3, n], fc.double({ min: -80, max: 80, noNaN: true })))),
        ([n, values]) => {
          for (const name of ['softmax', 'logSoftmax', 'rmsNorm', 'layerNorm', 'sigmoid', 'silu']) {
            const op = row(name);
            const { attributes } = samplingOf(op).draw(random, 2);
            const x = { shape: [3, n], values: Float32Array.from(values) };
            scope(() => {
              const actual = apply(op, [place(x, 'float32', wasm)], attributes).dataSync();
              const exact = noGrad(() => op.definition!([place(x, 'float64')], attributes)).dataSync();
              // The exponent is up to 160 and carries its own rounding; a line that is nearly constant loses what its
              // mean takes away.
              const condition = range(3).map(r =>
                name === 'layerNorm' ? centring(values.slice(r * n, (r + 1) * n), 1e-5) : 160,
              );
              actual.forEach((v, i) =>
                expect(Math.abs(v - exact[i]), name).toBeLessThanOrEqual(
                  (16 + n) * (1 + condition[Math.floor(i / n)]) * unit * Math.max(1, Math.abs(exact[i])),
                ),
              );
            });
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('what the table declares', () => {
  test('a normalisation adds 1e-5, as PyTorch, unless told otherwise', () => {
    for (const normalise of [layerNorm, rmsNorm])
      scope(() => {
        const x = tensor(Float64Array.of(1e-3, -2e-3, 3e-3), { shape: [1, 3] });
        expect(normalise(x).dataSync()).toEqual(normalise(x, 1e-5).dataSync());
        expect(normalise(x).dataSync()).not.toEqual(normalise(x, 2e-5).dataSync());
      });
  });

  test('every operation has sample inputs, and nothing else has', () => {
    expect(Object.keys(samples).toSorted()).toEqual(ops.map(op => op.name).toSorted());
    expect(() => samplingOf({ name: 'softplus' })).toThrow("operation 'softplus' has no sample inputs");
  });

  test('a domain is an interval for every input', () => {
    for (const [name, { domain, draw }] of Object.entries(samples)) {
      if (!domain) continue;
      const { inputs } = draw(random, 3);
      expect(domain.length, name).toBe(inputs.length);
      domain.forEach(([low, high], i) => {
        expect(low, name).toBeLessThan(high);
        for (const value of inputs[i].values) expect(value >= low && value <= high, name).toBe(true);
      });
    }
  });

  test('the distance from a kink: between two values, from 0, or from the largest value of a line to the next', () => {
    const kinks = (name: string, inputs: readonly Sample[], attributes: object = {}) =>
      samplingOf(row(name)).kinks!(inputs, attributes);
    const draw = (...shape: number[]): Sample => ({
      shape,
      values: Float64Array.from({ length: sizeOf(shape) }, () => random.normal()),
    });
    for (let run = 0; run < 20; run++) {
      const [x, y, line] = [draw(3, 4), draw(3, 4), draw(4)];
      const distances = (b: Sample) => Array.from(x.values, (v, i) => Math.abs(v - b.values[i % b.values.length]));
      for (const other of [y, line]) expect(kinks('maximum', [x, other])).toBe(Math.min(...distances(other)));
      expect(kinks('relu', [x])).toBe(Math.min(...Array.from(x.values, Math.abs)));
      for (const dim of [0, 1]) {
        const gaps = range(dim === 0 ? 4 : 3).map(i => {
          const [first, second] = lineOf(grid(x), [i, i], dim).sort((a, b) => b - a);
          return first - second;
        });
        expect(kinks('amax', [x], { dim })).toBe(Math.min(...gaps));
      }
      const pair = draw(1, 2);
      expect(kinks('amax', [pair], { dim: 1 })).toBe(Math.abs(pair.values[0] - pair.values[1]));
      expect(kinks('amax', [pair], { dim: 0 })).toBe(Infinity); // of one value each
      // A change of the support: an entry at the threshold, which leaves Σ max(x − τ, 0) = m.
      const masses: Sample = { shape: [3, 1], values: Float64Array.from({ length: 3 }, () => 0.5 + random.uniform()) };
      for (const [name, mass] of [
        ['simplexThreshold', masses],
        ['simplexProjection', masses],
        ['sparsemax', undefined],
      ] as const) {
        const distances = range(3).flatMap(i => {
          const entries = Array.from(x.values.slice(4 * i, 4 * i + 4));
          let [low, high] = [Math.min(...entries) - 2, Math.max(...entries)];
          for (let step = 0; step < 60; step++) {
            const middle = (low + high) / 2;
            if (total(entries.map(z => Math.max(z - middle, 0))) > (mass?.values[i] ?? 1)) low = middle;
            else high = middle;
          }
          return entries.map(z => Math.abs(z - low));
        });
        expect(kinks(name, mass ? [x, mass] : [x], { dim: 1 }), name).toBeCloseTo(Math.min(...distances), 12);
      }
    }
  });
});
