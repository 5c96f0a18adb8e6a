/** Reverse-mode differentiation: which gradients there are, what they add up to, and that nothing stays behind. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  abs,
  add,
  apply,
  broadcastTo,
  concat,
  createReferenceBackend,
  div,
  exp,
  full,
  embedding,
  grad,
  lt,
  matmul,
  memory,
  mul,
  neg,
  noGrad,
  permute,
  pow,
  relu,
  reshape,
  scatterAdd,
  scope,
  setBackend,
  slice,
  square,
  sub,
  sum,
  ops,
  peakBytes,
  tensor,
  toFloat,
  where,
  withGradient,
  type Op,
  type Tensor,
} from '../../engine/index.ts';
import { hasGradient } from '../../engine/ops/samples.ts';
import { sizeOf } from '../../engine/shape.ts';
import { drawInputs } from '../arbitraries/rows.ts';
import { broadcastShapes, products } from '../arbitraries/shapes.ts';
import { valuesOf } from '../arbitraries/tensors.ts';
import { randomOfTests } from '../random.ts';

setBackend(createReferenceBackend()); // float64 lives there

const list = (t: Tensor) => Array.from(t.dataSync());
const leaf = (values: readonly number[], shape: readonly number[] = [values.length]) =>
  tensor(Float64Array.from(values), { shape, requiresGrad: true });
const constant = (values: readonly number[], shape: readonly number[] = [values.length]) =>
  tensor(Float64Array.from(values), { shape });
const random = randomOfTests('autograd');
const normals = (shape: readonly number[]) => Array.from({ length: sizeOf(shape) }, () => random.normal());
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((total, x, i) => total + x * b[i], 0);

test('the example of micrograd gives the numbers of its README', () => {
  const [a, b] = [leaf([-4]), leaf([2])];
  let c = add(a, b);
  let d = add(mul(a, b), pow(b, 3));
  c = add(add(c, c), 1);
  c = add(add(add(c, 1), c), neg(a));
  d = add(add(d, mul(d, 2)), relu(add(b, a)));
  d = add(add(d, mul(3, d)), relu(sub(b, a)));
  const e = sub(c, d);
  const f = square(e);
  const g = add(div(f, 2), div(10, f));
  const [da, db] = grad(g, [a, b]);
  expect([g, da, db].map(t => list(t)[0].toFixed(4))).toEqual(['24.7041', '138.8338', '645.5773']);
});

describe('which gradients', () => {
  test('a value used k times receives the sum of its uses: d(x + … + x)·x = 2kx', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: -9, max: 9 }), (k, value) =>
        scope(() => {
          const x = leaf([value]);
          let total = x;
          for (let i = 1; i < k; i++) total = add(total, x);
          expect(list(grad(mul(total, x), [x])[0])[0] === 2 * k * value).toBe(true);
        }),
      ),
    );
  });

  test('a value used twice within one operation, and through two paths', () => {
    const x = leaf([3]);
    const y = mul(x, x); // x²
    expect(list(grad(add(mul(y, y), y), [x])[0])).toEqual([4 * 27 + 2 * 3]);
  });

  test('with respect to any set: leaves, intermediate values, the output, one tensor twice', () => {
    const [a, b] = [leaf([2]), leaf([5])];
    const m = mul(a, b);
    const y = mul(m, m);
    expect(grad(y, [m, b, y, a, m]).map(g => list(g)[0])).toEqual([20, 40, 1, 100, 20]);
  });

  test('an intermediate value does not hide what is behind it', () => {
    const x = leaf([3]);
    const m = square(x);
    expect(grad(add(m, x), [m, x]).map(g => list(g)[0])).toEqual([1, 7]);
  });

  test('outputGrad weighs the elements of the output', () => {
    const x = leaf([1, 2, 3]);
    expect(list(grad(square(x), [x], { outputGrad: constant([1, 10, 100]) })[0])).toEqual([2, 40, 600]);
    expect(list(grad(x, [x], { outputGrad: constant([7, 8, 9]) })[0])).toEqual([7, 8, 9]);
  });

  test('grad leaves the outputGrad to its owner', () => {
    const [x, g] = [leaf([1]), constant([4])];
    expect(list(grad(x, [x], { outputGrad: g })[0])).toEqual([4]);
    expect(g.freed).toBe(false);
  });

  test('detach cuts one path and keeps the other', () => {
    const x = leaf([2]);
    expect(list(grad(mul(x, x.detach()), [x])[0])).toEqual([2]);
    expect([x.detach().requiresGrad, x.detach().node]).toEqual([false, null]);
  });

  test('noGrad records nothing, and recording resumes after it, even after an error', () => {
    const x = leaf([2]);
    expect(noGrad(() => mul(x, x).requiresGrad)).toBe(false);
    expect(() =>
      noGrad(() => {
        throw new Error('mine');
      }),
    ).toThrow('mine');
    expect(mul(x, x).requiresGrad).toBe(true);
  });

  test('a value computed from constants only is not recorded', () => {
    expect(mul(constant([1]), 2).node).toBe(null);
  });

  test('a condition selects and has no gradient of its own: zeros', () => {
    const x = leaf([-1, 2]);
    expect(list(grad(sum(where(x, constant([3, 4]), mul(x, 0))), [x])[0])).toEqual([0, 0]);
    expect(lt(x, 0).requiresGrad).toBe(false);
  });

  test('the branch not taken gives no gradient, not even NaN', () => {
    const x = leaf([0, 4]);
    expect(list(grad(sum(where(lt(0, x), div(1, x), 0)), [x])[0]).map(v => (Number.isNaN(v) ? 'NaN' : v))).toEqual([
      'NaN',
      -1 / 16,
    ]); // 0 · (−1/0²): mask the input as well
    const safe = where(lt(0, x), x, 1);
    expect(list(grad(sum(where(lt(0, x), div(1, safe), 0)), [x])[0]).map(v => v + 0)).toEqual([0, -1 / 16]);
  });

  test('at a kink: ties of maximum share, relu gives 0, |x| gives 0', () => {
    const x = leaf([0]);
    expect([relu(x), abs(x)].map(y => list(grad(y, [x])[0])[0] + 0)).toEqual([0, 0]);
  });
});

describe('errors', () => {
  const [x, other, plain] = [leaf([1, 2]), leaf([1]), constant([1])];
  test.each<[string, () => unknown, string]>([
    [
      'an output that is not a scalar',
      () => grad(square(x), [x]),
      'grad: an output of shape [2] is not a scalar; reduce it, or give outputGrad',
    ],
    [
      'an empty output',
      () => grad(leaf([]), [x]),
      'grad: an output of shape [0] is not a scalar; reduce it, or give outputGrad',
    ],
    [
      'an outputGrad of another shape',
      () => grad(square(x), [x], { outputGrad: plain }),
      "grad: outputGrad [1] does not have the output's shape [2]",
    ],
    [
      'an input that leads elsewhere',
      () => grad(sum(x), [other]),
      'grad: input 0, a float64 tensor [1] on reference, is not connected to the output: no operation leads from ' +
        'it to the output',
    ],
    [
      'an input without requiresGrad',
      () => grad(sum(mul(x, plain)), [x, plain]),
      'grad: input 1, a float64 tensor [1] on reference, is not connected to the output: it was made without ' +
        'requiresGrad',
    ],
    [
      'an input after the output',
      () => {
        const y = sum(x);
        return grad(y, [mul(y, 2)]);
      },
      'is not connected to the output: no operation leads from it to the output',
    ],
  ])('%s', (_, run, message) => {
    expect(run).toThrow(message);
  });

  test('a gradient of the wrong shape names the operation and the input', () => {
    const y = withGradient('mine', [x], sum(x).detach(), g => [() => g]);
    expect(() => grad(y, [x])).toThrow('grad of mine: gradient [] does not have the shape [2] of input 0');
  });

  test('leave nothing behind', () => {
    const before = memory();
    scope(() => {
      const y = withGradient('mine', [x], sum(x).detach(), g => [() => exp(g)]);
      const inside = memory();
      expect(() => grad(y, [x])).toThrow('grad of mine');
      expect(memory()).toEqual(inside);
    });
    expect(memory()).toEqual(before);
  });
});

describe("an operation of one's own", () => {
  const cube: Op<{ scale: number }> = {
    name: 'cube',
    shape: ([s]) => s,
    definition: ([x], { scale }) => mul(scale, mul(x, mul(x, x))),
  };

  test('with a definition only is differentiated through it', () => {
    const x = leaf([2, -1]);
    const y = apply(cube, [x], { scale: 5 });
    expect([list(y), list(grad(sum(y), [x])[0])]).toEqual([
      [40, -5],
      [60, 15],
    ]);
  });

  test('with a vjp uses that, and the definition forward', () => {
    const x = leaf([2, -1]);
    let asked = 0;
    const y = apply(
      {
        ...cube,
        vjp: (g, [input], output, { scale }) => {
          asked++;
          expect([list(input), list(output), scale]).toEqual([[2, -1], [40, -5], 5]);
          return [() => mul(g, 1000)];
        },
      } as Op<{ scale: number }>,
      [x],
      { scale: 5 },
    );
    expect([list(y), list(grad(sum(y), [x])[0]), asked]).toEqual([[40, -5], [1000, 1000], 1]);
  });

  test('computes only the requested gradients', () => {
    const [a, b] = [leaf([1]), leaf([2])];
    const asked: string[] = [];
    const product: Op<null> = {
      name: 'product',
      shape: ([s]) => s,
      definition: ([x, y]) => mul(x, y),
      vjp: (g, [x, y]) => [
        () => {
          asked.push('a');
          return mul(g, y);
        },
        () => {
          asked.push('b');
          return mul(g, x);
        },
      ],
    };
    const y = apply(product, [a, b], null);
    grad(y, [b]);
    expect(asked).toEqual(['b']);
  });

  test('withGradient: any computed value with a given gradient', () => {
    const x = leaf([1, -2]);
    const through = withGradient('straightThrough', [x], relu(x), g => [() => g]);
    expect([list(through), list(grad(sum(through), [x])[0])]).toEqual([
      [1, 0],
      [1, 1],
    ]);
  });
});

describe('freeGraph', () => {
  test('gives the same gradients, frees intermediate values, and keeps inputs and output', () => {
    const a = leaf([1, 2, 3]);
    const graph = () => {
      const b = exp(mul(a, 2));
      const view = reshape(b, [3, 1]);
      return { b, view, y: sum(mul(view, reshape(square(b), [3, 1]))) };
    };
    scope(() => {
      const [kept, freed] = [graph(), graph()];
      const expected = grad(kept.y, [a, kept.b]).map(list);
      expect(grad(freed.y, [a, freed.b], { freeGraph: true }).map(list)).toEqual(expected);
      expect([a, freed.b, freed.y, freed.view].map(t => t.freed)).toEqual([false, false, false, true]);
      expect(() => grad(freed.y, [a])).toThrow('was freed');
    });
  });

  test('a backward pass holds the gradients of one operation, however many there are', () => {
    const [n, operations] = [64, 30];
    const x = leaf(normals([n]));
    scope(() => {
      let y: Tensor = x;
      for (let i = 0; i < operations; i++) y = y.exp().neg();
      const total = y.sum();
      const before = memory().bytes;
      peakBytes();
      grad(total, [x]);
      expect(peakBytes() - before).toBeLessThan(5 * n * 8);
    });
    x.dispose();
  });

  test('cannot be combined with createGraph', () => {
    const a = leaf([1]);
    expect(() => grad(square(a), [a], { createGraph: true, freeGraph: true })).toThrow(
      'createGraph needs the graph that freeGraph would free',
    );
  });
});

describe('higher derivatives', () => {
  test('of x³: 3x², 6x, 6', () => {
    fc.assert(
      fc.property(fc.integer({ min: -20, max: 20 }), value =>
        scope(() => {
          const x = leaf([value]);
          const [first] = grad(mul(x, mul(x, x)), [x], { createGraph: true });
          const [second] = grad(first, [x], { createGraph: true });
          const [third] = grad(second, [x]);
          expect([first, second, third].map(t => list(t)[0] + 0)).toEqual([3 * value * value, 6 * value + 0, 6]);
        }),
      ),
    );
  });

  test('without createGraph a gradient is a constant', () => {
    const x = leaf([2]);
    expect(grad(square(x), [x])[0].requiresGrad).toBe(false);
  });

  test('of sum(exp(x)): the Hessian is diag(exp(x)), and symmetric by directions', () => {
    const x = leaf([0, 1]);
    const [g] = grad(sum(exp(mul(x, x))), [x], { createGraph: true });
    const column = (i: number) => list(grad(g, [x], { outputGrad: constant([i === 0 ? 1 : 0, i === 1 ? 1 : 0]) })[0]);
    const [first, second] = [column(0), column(1)];
    expect(first[1]).toBe(0);
    expect(second[0]).toBe(0);
    expect([first[0], second[1]]).toEqual([2, expect.closeTo((2 + 4) * Math.E, 12)]); // (2 + 4x²) exp(x²)
  });
});

describe('adjoints', () => {
  test('the adjoint of broadcast is the sum', () => {
    fc.assert(
      fc.property(
        broadcastShapes().chain(({ out, shapes }) =>
          fc.tuple(fc.constant(out), fc.constant(shapes[0]), valuesOf(out, fc.integer({ min: -99, max: 99 }))),
        ),
        ([out, shape, weights]) =>
          scope(() => {
            const x = leaf(new Array(sizeOf(shape)).fill(1), shape);
            const [g] = grad(broadcastTo(x, out), [x], { outputGrad: constant(weights, out) });
            // Every weight goes to the element that it was read from.
            const sums = new Array(sizeOf(shape)).fill(0);
            weights.forEach((w, i) => {
              let [rest, at, stride] = [i, 0, 1];
              for (let d = out.length - 1; d >= 0; d--) {
                const from = d - (out.length - shape.length);
                if (from >= 0) {
                  at += (shape[from] === 1 ? 0 : rest % out[d]) * stride;
                  stride *= shape[from];
                }
                rest = Math.floor(rest / out[d]);
              }
              sums[at] += w;
            });
            expect([g.shape, list(g).map(v => v + 0)]).toEqual([shape, sums.map(v => v + 0)]);
          }),
      ),
    );
  });

  test('so do elementwise operations sum over what they stretched', () => {
    fc.assert(
      fc.property(broadcastShapes(), ({ out, shapes: [s, t] }) =>
        scope(() => {
          const [a, b] = [leaf(new Array(sizeOf(s)).fill(2), s), leaf(new Array(sizeOf(t)).fill(5), t)];
          const y = mul(a, b);
          const gradients = grad(y, [a, b], { outputGrad: full(out, 1, { dtype: 'float64' }) });
          expect(y.shape).toEqual(out);
          const repeats = (n: number) => (n === 0 ? 0 : sizeOf(out) / n);
          expect(gradients.map(g => g.shape)).toEqual([s, t]);
          expect(list(gradients[0]).every(v => v === 5 * repeats(sizeOf(s)))).toBe(true);
          expect(list(gradients[1]).every(v => v === 2 * repeats(sizeOf(t)))).toBe(true);
        }),
      ),
    );
  });

  /** ⟨w, f(u)⟩ = ⟨fᵀ(w), u⟩, up to the rounding of sums of n terms of size 10. */
  function expectAdjoint(f: (u: Tensor) => Tensor, shape: readonly number[]): void {
    scope(() => {
      const u = leaf(normals(shape), shape);
      const y = f(u);
      const w = normals(y.shape);
      const [g] = grad(y, [u], { outputGrad: constant(w, y.shape) });
      const [left, right] = [dot(w, list(y)), dot(list(g), list(u))];
      expect(Math.abs(left - right)).toBeLessThanOrEqual(1e-13 * (1 + sizeOf(shape) + y.size));
    });
  }

  test('matrix products, all transpositions and batches, in either operand', () => {
    fc.assert(
      fc.property(products(), ({ a, b, ...transposed }) => {
        expectAdjoint(u => matmul(u, constant(normals(b), b), transposed), a);
        expectAdjoint(u => matmul(constant(normals(a), a), u, transposed), b);
      }),
    );
  });

  test('embedding and scatterAdd are adjoint to each other, repeated indices too', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.array(fc.nat(4), { maxLength: 8 }), (width, picks) =>
        scope(() => {
          const index = tensor(Int32Array.from(picks));
          const [tab, rows] = [
            constant(normals([5, width]), [5, width]),
            constant(normals([picks.length, width]), [picks.length, width]),
          ];
          expect(dot(list(embedding(index, tab)), list(rows))).toBeCloseTo(
            dot(list(tab), list(scatterAdd(rows, index, 5))),
            10,
          );
        }),
      ),
    );
  });
});

describe('nothing stays behind', () => {
  test('after a backward pass only the gradients are alive', () => {
    const before = memory();
    const w = leaf(normals([3, 3]), [3, 3]);
    const loss = (): Tensor =>
      sum(exp(mul(0.1, matmul(w, permute(slice(concat([w, reshape(w, [3, 3])]), 0, 1, 4), [1, 0])))));
    scope(() => {
      const value = loss();
      const held = memory().tensors;
      const gradients = grad(value, [w]);
      expect(memory().tensors - held).toBe(gradients.length);
    });
    w.dispose();
    expect(memory()).toEqual(before);
  });

  test.each(ops.map(op => [op.name, op] as const))('of %s, forward and backward', (_, op) => {
    const { inputs, attributes } = drawInputs(op, random, 3);
    const before = memory();
    scope(() => {
      const xs = inputs.map((x, i) =>
        tensor(x.values, {
          shape: x.shape,
          dtype: x.values instanceof Int32Array ? 'int32' : 'float32',
          requiresGrad: hasGradient(op, x, i),
        }),
      );
      const held = memory().tensors;
      const plain = noGrad(() => apply(op, xs, attributes));
      expect(memory().tensors - held).toBe(plain === xs[0] ? 0 : 1);
      const y = apply(op, xs, attributes);
      const wanted = xs.filter(x => x.requiresGrad);
      if (!y.requiresGrad) return;
      const outputGrad = full(y.shape, 1);
      const forward = memory().tensors;
      const gradients = grad(y, wanted, { outputGrad });
      expect(memory().tensors - forward).toBe(gradients.length);
    });
    expect(memory()).toEqual(before);
  });

  test('integers have no gradient, and tensors that they index do', () => {
    const [x, index] = [leaf([2]), tensor(Int32Array.of(3))];
    expect(list(grad(mul(x, toFloat(index, 'float64')), [x])[0])).toEqual([3]);
  });
});
