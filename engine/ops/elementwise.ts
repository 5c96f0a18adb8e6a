/** Elementwise rows: arithmetic, functions, comparison, selection and activations. NumPy's broadcasting throughout. */
import type { Binary, DType, Shape, Unary } from '../backend.ts';
import { apply, row, type Row, type Sample } from '../op.ts';
import type { Random } from '../random.ts';
import { broadcastShapes, sameShape, sizeOf } from '../shape.ts';
import { full, Tensor } from '../tensor.ts';
import { sum } from './reduce.ts';
import { reshape } from './layout.ts';
import { fromZero, masks, normals, positives } from './samples.ts';

export type Operand = Tensor | number;
type None = Record<string, never>;

/** A number as a tensor that fits `like`. */
const lift = (x: Operand, like: Operand): Tensor => {
  if (x instanceof Tensor) return x;
  if (!(like instanceof Tensor)) throw new Error('an elementwise operation needs at least one tensor');
  return full([], x, { dtype: like.dtype, backend: like.backend });
};

/** The adjoint of broadcasting is the sum: adds `g` up over the dims along which `shape` was stretched. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const pad = g.shape.length - shape.length;
  const dims = g.shape.flatMap((n, i) => (i < pad || (shape[i - pad] === 1 && n !== 1) ? [i] : []));
  return reshape(sum(g, dims), shape);
}

const outSize = (_: readonly Shape[], __: unknown, out: Shape): number => sizeOf(out);

function unary(
  name: Unary,
  derivative: (x: Tensor, y: Tensor) => Tensor,
  domain?: readonly [number, number],
): (x: Tensor) => Tensor {
  const op = row<None>({
    name,
    shape: ([x]) => x,
    primitive: (backend, [x]) => backend.unary(name, x),
    vjp: (g, [x], y) => [() => mul(g, derivative(x, y))],
    domain: domain && [domain],
    sample: (random, size) => ({ inputs: [(domain ? positives : normals)(random, [size, size])], attributes: {} }),
    flops: outSize,
  });
  return x => apply(op, [x], {});
}

/** e^x. */
export const exp = unary('exp', (_, y) => y);
/** Natural logarithm. */
export const log = unary('log', x => div(1, x), [0, Infinity]);
export const sqrt = unary('sqrt', (_, y) => div(0.5, y), [0, Infinity]);
export const tanh = unary('tanh', (_, y) => sub(1, mul(y, y)));
export const sin = unary('sin', x => cos(x));
export const cos = unary('cos', x => neg(sin(x)));
/** The error function, 2/√π ∫₀ˣ e^(−t²) dt. */
export const erf = unary('erf', x => mul(2 / Math.sqrt(Math.PI), exp(neg(mul(x, x)))));

/** Two inputs, the second one broadcast along the first dim, as most uses are. */
const twoInputs = (make: (random: Random, shape: Shape) => Sample) => (random: Random, size: number) => ({
  inputs: [make(random, [size, size]), make(random, [size])],
  attributes: {} as None,
});

function binary(
  name: Binary,
  more: Pick<Row<None>, 'domain' | 'kinks' | 'vjp'> & { sample?: Row<None>['sample'] },
): (a: Operand, b: Operand) => Tensor {
  const op = row<None>({
    name,
    shape: shapes => broadcastShapes(name, ...shapes),
    primitive: (backend, [a, b], _, out) => backend.binary(name, a, b, out),
    sample: twoInputs(normals),
    flops: outSize,
    ...more,
  });
  return (a, b) => apply(op, [lift(a, b), lift(b, a)], {});
}

/** The distance between two broadcast inputs: a kink where they meet. */
const fromEachOther = ([a, b]: readonly Sample[]): number => {
  let least = Infinity;
  for (let i = 0; i < a.values.length; i++)
    least = Math.min(least, Math.abs(a.values[i] - b.values[i % b.values.length]));
  return least;
};

export const add = binary('add', { vjp: (g, [a, b]) => [() => sumTo(g, a.shape), () => sumTo(g, b.shape)] });
export const sub = binary('sub', { vjp: (g, [a, b]) => [() => sumTo(g, a.shape), () => sumTo(neg(g), b.shape)] });
export const mul = binary('mul', {
  vjp: (g, [a, b]) => [() => sumTo(mul(g, b), a.shape), () => sumTo(mul(g, a), b.shape)],
});
export const div = binary('div', {
  vjp: (g, [a, b], y) => [() => sumTo(div(g, b), a.shape), () => sumTo(neg(mul(g, div(y, b))), b.shape)],
  domain: [
    [-Infinity, Infinity],
    [0, Infinity],
  ],
  sample: (random, size) => ({ inputs: [normals(random, [size, size]), positives(random, [size])], attributes: {} }),
});
/** a^b; the gradient with respect to b needs a > 0. */
export const pow = binary('pow', {
  vjp: (g, [a, b], y) => [
    () => sumTo(mul(g, mul(b, pow(a, sub(b, 1)))), a.shape),
    () => sumTo(mul(g, mul(y, log(a))), b.shape),
  ],
  domain: [
    [0, Infinity],
    [-Infinity, Infinity],
  ],
  sample: (random, size) => ({ inputs: [positives(random, [size, size]), normals(random, [size])], attributes: {} }),
});
/** The larger of two; at a tie each takes half of the gradient, as in PyTorch. NaN wins. */
export const maximum = binary('maximum', {
  vjp: (g, [a, b]) => {
    const share = (x: Tensor, y: Tensor) => mul(g, add(less(y, x), mul(0.5, equal(x, y))));
    return [() => sumTo(share(a, b), a.shape), () => sumTo(share(b, a), b.shape)];
  },
  kinks: fromEachOther,
});
/** 1 where a = b, else 0. */
export const equal = binary('equal', {});
/** 1 where a < b, else 0. */
export const less = binary('less', {});

export const minimum = (a: Operand, b: Operand): Tensor => neg(maximum(neg(lift(a, b)), neg(lift(b, a))));
export const greater = (a: Operand, b: Operand): Tensor => less(b, a);
export const lessEqual = (a: Operand, b: Operand): Tensor => maximum(less(a, b), equal(a, b));
export const greaterEqual = (a: Operand, b: Operand): Tensor => lessEqual(b, a);
export const neg = (x: Tensor): Tensor => mul(x, -1);
export const abs = (x: Tensor): Tensor => maximum(x, neg(x));
export const square = (x: Tensor): Tensor => mul(x, x);

const whereOp = row<None>({
  name: 'where',
  shape: shapes => broadcastShapes('where', ...shapes),
  primitive: (backend, [condition, a, b], _, out) => backend.where(condition, a, b, out),
  vjp: (g, [condition, a, b]) => [
    null,
    () => sumTo(where(condition, g, 0), a.shape),
    () => sumTo(where(condition, 0, g), b.shape),
  ],
  masks: [0],
  sample: (random, size) => ({
    inputs: [masks(random, [size, size]), normals(random, [size, size]), normals(random, [size])],
    attributes: {},
  }),
  flops: outSize,
});
/** condition ≠ 0 ? a : b. The branch not taken has no influence, be it NaN or infinite. */
export const where = (condition: Tensor, a: Operand, b: Operand): Tensor =>
  apply(whereOp, [condition, lift(a, condition), lift(b, condition)], {});

const toFloatOp = row<{ dtype: DType }>({
  name: 'toFloat',
  shape: ([x]) => x,
  primitive: (backend, [x], { dtype }) => backend.toFloat(x, dtype),
  sample: (random, size) => ({
    inputs: [{ shape: [size], values: Int32Array.from({ length: size }, () => random.integer(2001) - 1000) }],
    attributes: { dtype: 'float32' },
  }),
  flops: () => 0,
});
/** Indices as floats, for arithmetic on them. */
export const toFloat = (x: Tensor, dtype: DType = 'float32'): Tensor => apply(toFloatOp, [x], { dtype });

/** A fused function of one tensor, defined by others. `flops` per element. */
function activation<A>(
  name: string,
  flops: number,
  attributes: A,
  more: Pick<Row<A>, 'definition' | 'vjp' | 'kinks'>,
): (x: Tensor, a?: A) => Tensor {
  const op = row<A>({
    name,
    shape: ([x]) => x,
    sample: (random, size) => ({ inputs: [normals(random, [size, size])], attributes }),
    flops: (_, __, out) => flops * sizeOf(out),
    ...more,
  });
  return (x, a = attributes) => apply(op, [x], a);
}

/** 1 / (1 + e^−x). */
export const sigmoid = activation<None>(
  'sigmoid',
  4,
  {},
  {
    definition: ([x]) => div(1, add(1, exp(neg(x)))),
    vjp: (g, _, y) => [() => mul(g, mul(y, sub(1, y)))],
  },
);

/** max(x, 0), with derivative 0 at 0. */
export const relu = activation<None>(
  'relu',
  1,
  {},
  {
    definition: ([x]) => maximum(x, 0),
    vjp: (g, [x]) => [() => where(less(0, x), g, 0)],
    kinks: fromZero,
  },
);

/** x · sigmoid(x), also called swish. */
export const silu = activation<None>(
  'silu',
  5,
  {},
  {
    definition: ([x]) => mul(x, sigmoid(x)),
    vjp: (g, [x]) => {
      const s = sigmoid(x);
      return [() => mul(g, mul(s, add(1, mul(x, sub(1, s)))))];
    },
  },
);

export interface GeluAttributes {
  /** 'none': x Φ(x); 'tanh': the approximation of Hendrycks & Gimpel 2016 that GPT-2 uses. */
  readonly approximate: 'none' | 'tanh';
}

/** 1 + erf(x/√2) or its approximation, and the derivative of that: gelu is half of x times it. */
function twicePhi(x: Tensor, { approximate }: GeluAttributes): { value: Tensor; derivative: () => Tensor } {
  if (approximate === 'none') {
    return {
      value: add(1, erf(mul(x, Math.SQRT1_2))),
      derivative: () => mul(Math.sqrt(2 / Math.PI), exp(mul(-0.5, square(x)))),
    };
  }
  const t = tanh(mul(Math.sqrt(2 / Math.PI), mul(x, add(1, mul(0.044715, square(x))))));
  return {
    value: add(1, t),
    derivative: () => mul(sub(1, square(t)), mul(Math.sqrt(2 / Math.PI), add(1, mul(3 * 0.044715, square(x))))),
  };
}

/** x Φ(x), Φ the normal distribution function. */
export const gelu = activation<GeluAttributes>(
  'gelu',
  8,
  { approximate: 'none' },
  {
    definition: ([x], attributes) => mul(mul(0.5, x), twicePhi(x, attributes).value),
    vjp: (g, [x], _, attributes) => {
      const phi = twicePhi(x, attributes);
      return [() => mul(mul(0.5, g), add(phi.value, mul(x, phi.derivative())))];
    },
  },
);

const swigluOp = row<None>({
  name: 'swiglu',
  shape: shapes => broadcastShapes('swiglu', ...shapes),
  definition: ([gate, up]) => mul(silu(gate), up),
  vjp: (g, [gate, up]) => {
    const s = sigmoid(gate);
    return [
      () => sumTo(mul(mul(g, up), mul(s, add(1, mul(gate, sub(1, s))))), gate.shape),
      () => sumTo(mul(g, mul(gate, s)), up.shape),
    ];
  },
  sample: (random, size) => ({
    inputs: [normals(random, [size, size]), normals(random, [size, size])],
    attributes: {},
  }),
  flops: (_, __, out) => 6 * sizeOf(out),
});
/** silu(gate) · up (Shazeer 2020, "GLU variants improve transformer"). */
export const swiglu = (gate: Tensor, up: Tensor): Tensor => apply(swigluOp, [gate, up], {});
