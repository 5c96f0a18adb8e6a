/**
 * Elementwise operations: arithmetic, functions, comparison, selection and activations. NumPy's broadcasting
 * throughout.
 */
import type { GeluAttributes } from '../attributes.ts';
import type { Binary, DType, Shape, Unary } from '../backend.ts';
import { addMethods, type Methods } from '../methods.ts';
import { apply, defineOp, type Op } from '../op.ts';
import { broadcastShapes, sameShape, sizeOf } from '../shape.ts';
import { full, Tensor } from '../tensor.ts';

/** A tensor, or a number that stands for a scalar of the other operand's dtype and backend. */
export type Operand = Tensor | number;
type None = Record<string, never>;
type UnaryFunction = (x: Tensor) => Tensor;
type BinaryFunction = (a: Operand, b: Operand) => Tensor;

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
  return g.sum(dims).reshape(shape);
}

const outSize = (_: readonly Shape[], __: unknown, out: Shape): number => sizeOf(out);

function unary(name: Unary, derivative: (x: Tensor, y: Tensor) => Tensor): UnaryFunction {
  const op = defineOp<None>({
    name,
    shape: ([x]) => x,
    primitive: (backend, [x]) => backend.unary(name, x),
    vjp: (g, [x], y) => [() => g.mul(derivative(x, y))],
    flops: outSize,
  });
  return x => apply(op, [x], {});
}

/** e^x. */
export const exp: UnaryFunction = unary('exp', (_, y) => y);
/** Natural logarithm. */
export const log: UnaryFunction = unary('log', x => div(1, x));
/** √x. */
export const sqrt: UnaryFunction = unary('sqrt', (_, y) => div(0.5, y));
/** Hyperbolic tangent. */
export const tanh: UnaryFunction = unary('tanh', (_, y) => sub(1, y.square()));
/** Sine of x in radians. */
export const sin: UnaryFunction = unary('sin', x => x.cos());
/** Cosine of x in radians. */
export const cos: UnaryFunction = unary('cos', x => x.sin().neg());
/** The error function, 2/√π ∫₀ˣ e^(−t²) dt. */
export const erf: UnaryFunction = unary('erf', x => mul(2 / Math.sqrt(Math.PI), x.square().neg().exp()));

/** `vjp` is missing where there is no gradient. */
function binary(name: string, primitive: Binary, vjp?: Op<None>['vjp']): BinaryFunction {
  const op = defineOp<None>({
    name,
    shape: shapes => broadcastShapes(name, ...shapes),
    primitive: (backend, [a, b], _, out) => backend.binary(primitive, a, b, out),
    vjp,
    flops: outSize,
  });
  return (a, b) => apply(op, [lift(a, b), lift(b, a)], {});
}

/** a + b. */
export const add: BinaryFunction = binary('add', 'add', (g, [a, b]) => [
  () => sumTo(g, a.shape),
  () => sumTo(g, b.shape),
]);
/** a − b. */
export const sub: BinaryFunction = binary('sub', 'sub', (g, [a, b]) => [
  () => sumTo(g, a.shape),
  () => sumTo(g.neg(), b.shape),
]);
/** a b, element by element. */
export const mul: BinaryFunction = binary('mul', 'mul', (g, [a, b]) => [
  () => sumTo(g.mul(b), a.shape),
  () => sumTo(g.mul(a), b.shape),
]);
/** a / b. */
export const div: BinaryFunction = binary('div', 'div', (g, [a, b], y) => [
  () => sumTo(g.div(b), a.shape),
  () => sumTo(g.mul(y.div(b)).neg(), b.shape),
]);
/** a^b; the gradient with respect to b needs a > 0. */
export const pow: BinaryFunction = binary('pow', 'pow', (g, [a, b], y) => [
  () => sumTo(g.mul(b.mul(a.pow(b.sub(1)))), a.shape),
  () => sumTo(g.mul(y.mul(a.log())), b.shape),
]);
/** The larger of two; at a tie each takes half of the gradient, as in PyTorch. NaN wins. */
export const maximum: BinaryFunction = binary('maximum', 'maximum', (g, [a, b]) => {
  const share = (x: Tensor, y: Tensor) => g.mul(y.lt(x).add(mul(0.5, x.eq(y))));
  return [() => sumTo(share(a, b), a.shape), () => sumTo(share(b, a), b.shape)];
});
/** 1 where a = b, else 0. No gradient. */
export const eq: BinaryFunction = binary('eq', 'equal');
/** 1 where a < b, else 0. No gradient. */
export const lt: BinaryFunction = binary('lt', 'less');

/** The smaller of two; ties and NaN as in `maximum`. */
export const minimum: BinaryFunction = (a, b) => neg(maximum(neg(lift(a, b)), neg(lift(b, a))));
/** 1 where a > b, else 0. No gradient. */
export const gt: BinaryFunction = (a, b) => lt(b, a);
/** 1 where a ≤ b, else 0. No gradient. */
export const le: BinaryFunction = (a, b) => maximum(lt(a, b), eq(a, b));
/** 1 where a ≥ b, else 0. No gradient. */
export const ge: BinaryFunction = (a, b) => le(b, a);
/** −x. */
export const neg: UnaryFunction = x => mul(x, -1);
/** |x|, with derivative 0 at 0. */
export const abs: UnaryFunction = x => x.maximum(x.neg());
/** x². */
export const square: UnaryFunction = x => x.mul(x);

/** x held within [min, max]; no gradient flows where it was moved. */
export function clamp(x: Tensor, { min = -Infinity, max = Infinity }: { min?: number; max?: number }): Tensor {
  if (!(min <= max)) throw new Error(`clamp: min ${min} is above max ${max}`);
  const raised = min === -Infinity ? x : where(lt(x, min), min, x);
  return max === Infinity ? raised : where(lt(max, raised), max, raised);
}

const whereOp = defineOp<None>({
  name: 'where',
  shape: shapes => broadcastShapes('where', ...shapes),
  primitive: (backend, [condition, a, b], _, out) => backend.where(condition, a, b, out),
  vjp: (g, [condition, a, b]) => [
    null,
    () => sumTo(where(condition, g, 0), a.shape),
    () => sumTo(where(condition, 0, g), b.shape),
  ],
  flops: outSize,
});
/** condition ≠ 0 ? a : b. The branch not taken has no influence, even if NaN or infinite. */
export const where = (condition: Tensor, a: Operand, b: Operand): Tensor =>
  apply(whereOp, [condition, lift(a, condition), lift(b, condition)], {});

const toFloatOp = defineOp<{ dtype: DType }>({
  name: 'toFloat',
  shape: ([x]) => x,
  primitive: (backend, [x], { dtype }) => backend.toFloat(x, dtype),
  flops: () => 0,
});
/** Indices as floats, for arithmetic on them. */
export const toFloat = (x: Tensor, dtype: DType = 'float32'): Tensor => apply(toFloatOp, [x], { dtype });

/** A fused function of one tensor, defined by others. `flops` per element. */
function activation<A>(
  name: string,
  flops: number,
  attributes: A,
  rules: Pick<Op<A>, 'definition' | 'vjp'>,
): (x: Tensor, attributes?: A) => Tensor {
  const op = defineOp<A>({
    name,
    shape: ([x]) => x,
    flops: (_, __, out) => flops * sizeOf(out),
    ...rules,
  });
  return (x, a = attributes) => apply(op, [x], a);
}

/** 1 / (1 + e^−x). */
export const sigmoid: UnaryFunction = activation<None>(
  'sigmoid',
  4,
  {},
  {
    definition: ([x]) => div(1, add(1, x.neg().exp())),
    vjp: (g, _, y) => [() => g.mul(y.mul(sub(1, y)))],
  },
);

/** max(x, 0), with derivative 0 at 0. */
export const relu: UnaryFunction = activation<None>(
  'relu',
  1,
  {},
  {
    definition: ([x]) => x.maximum(0),
    vjp: (g, [x]) => [() => where(lt(0, x), g, 0)],
  },
);

/** x · sigmoid(x), also called swish. */
export const silu: UnaryFunction = activation<None>(
  'silu',
  5,
  {},
  {
    definition: ([x]) => x.mul(x.sigmoid()),
    vjp: (g, [x]) => {
      const s = x.sigmoid();
      return [() => g.mul(s.mul(add(1, x.mul(sub(1, s)))))];
    },
  },
);

/** 1 + erf(x/√2) or its approximation, and the derivative of that: gelu is half of x times it. */
function twicePhi(x: Tensor, { approximate }: GeluAttributes): { value: Tensor; derivative: () => Tensor } {
  if (approximate === 'none') {
    return {
      value: add(1, x.mul(Math.SQRT1_2).erf()),
      derivative: () => mul(Math.sqrt(2 / Math.PI), mul(-0.5, x.square()).exp()),
    };
  }
  const t = mul(Math.sqrt(2 / Math.PI), x.mul(add(1, mul(0.044715, x.square())))).tanh();
  return {
    value: add(1, t),
    derivative: () => sub(1, t.square()).mul(mul(Math.sqrt(2 / Math.PI), add(1, mul(3 * 0.044715, x.square())))),
  };
}

/** x Φ(x), Φ the normal distribution function. */
export const gelu: (x: Tensor, attributes?: GeluAttributes) => Tensor = activation<GeluAttributes>(
  'gelu',
  8,
  { approximate: 'none' },
  {
    definition: ([x], attributes) => mul(0.5, x).mul(twicePhi(x, attributes).value),
    vjp: (g, [x], _, attributes) => {
      const phi = twicePhi(x, attributes);
      return [() => mul(0.5, g).mul(phi.value.add(x.mul(phi.derivative())))];
    },
  },
);

const swigluOp = defineOp<None>({
  name: 'swiglu',
  shape: shapes => broadcastShapes('swiglu', ...shapes),
  definition: ([gate, up]) => gate.silu().mul(up),
  vjp: (g, [gate, up]) => {
    const s = gate.sigmoid();
    return [
      () => sumTo(g.mul(up).mul(s.mul(add(1, gate.mul(sub(1, s))))), gate.shape),
      () => sumTo(g.mul(gate.mul(s)), up.shape),
    ];
  },
  flops: (_, __, out) => 6 * sizeOf(out),
});
/** silu(gate) · up (Shazeer 2020, "GLU variants improve transformer"). */
export const swiglu = (gate: Tensor, up: Tensor): Tensor => apply(swigluOp, [gate, up], {});

const methods = {
  exp,
  log,
  sqrt,
  tanh,
  sin,
  cos,
  erf,
  add,
  sub,
  mul,
  div,
  pow,
  maximum,
  minimum,
  eq,
  lt,
  gt,
  le,
  ge,
  neg,
  abs,
  square,
  clamp,
  toFloat,
  sigmoid,
  relu,
  silu,
  gelu,
  swiglu,
  /** `x` where the condition is not 0, else `other`. */
  where: (x: Tensor, condition: Tensor, other: Operand): Tensor => where(condition, x, other),
};
declare module '../tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
