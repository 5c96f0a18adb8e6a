/** ONNX's operators (opset 17) in terms of the engine's operations: what the two have in common. */
import {
  abs,
  add,
  adamwMean,
  adamwStep,
  adamwVariance,
  broadcastTo,
  concat,
  cos,
  crossEntropy,
  div,
  eq,
  erf,
  exp,
  embedding,
  gt,
  ge,
  layerNorm,
  lt,
  le,
  log,
  logSoftmax,
  logsumexp,
  matmul,
  amax,
  maximum,
  mean,
  minimum,
  mul,
  neg,
  oneHot,
  permute,
  pow,
  relu,
  reshape,
  scatterAdd,
  sigmoid,
  sin,
  slice,
  softmax,
  sqrt,
  square,
  sub,
  sum,
  tanh,
  tensor,
  toFloat,
  where,
  type DType,
  type Tensor,
} from '../../../engine/index.ts';
import { broadcastShapes, sizeOf } from '../../../engine/shape.ts';

export interface Values {
  /** `integer`: any of ONNX's integers, and booleans as 0 and 1. */
  readonly type: 'float' | 'integer';
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

type Attributes = Readonly<Record<string, number | string | readonly number[]>>;

/** One of ONNX's node tests. */
export interface Case {
  readonly name: string;
  readonly operator: string;
  readonly opset: number;
  readonly attributes: Attributes;
  /** In the order of the operator's inputs; null where an optional one is missing. */
  readonly inputs: readonly (Values | null)[];
  readonly outputs: readonly Values[];
}

/** What an operator sees: the inputs as tensors, and integers also as numbers. */
interface Call {
  readonly xs: readonly Tensor[];
  readonly given: readonly (Values | null)[];
  readonly attributes: Attributes;
  readonly opset: number;
  readonly dtype: DType;
}

/** The outputs that the engine can compute, the first ones of the operator's; null for a case it does not cover. */
type Operator = (call: Call) => Tensor[] | null;

const flag = (attributes: Attributes, name: string, otherwise: number): number =>
  (attributes[name] as number | undefined) ?? otherwise;
const from = (dim: number, rank: number): number => (dim < 0 ? dim + rank : dim);
const integers = (v: Values | null | undefined): readonly number[] | undefined =>
  v?.type === 'integer' ? v.values : undefined;

/** On numbers of any type, as floats. */
const elementwise =
  (f: (...xs: Tensor[]) => Tensor): Operator =>
  ({ xs, dtype }) => [f(...xs.map(x => (x.dtype === 'int32' ? toFloat(x, dtype) : x)))];
/**
 * On floats: ONNX's integers wrap and truncate. Not by the old rule of broadcasting (before version 7), which had to be
 * asked for.
 */
const floating =
  (f: (...xs: Tensor[]) => Tensor): Operator =>
  call =>
    call.given.every(v => v?.type === 'float') && !call.attributes.broadcast ? elementwise(f)(call) : null;
const chained = (f: (a: Tensor, b: Tensor) => Tensor) => floating((...xs) => xs.reduce(f));

/** Axes come as an attribute or, in newer versions, as an input; without any, all are meant. */
const reduction =
  (f: (x: Tensor, dims: readonly number[]) => Tensor): Operator =>
  ({ xs: [x], given, attributes }) => {
    const named = (attributes.axes as number[] | undefined) ?? integers(given[1]);
    if (!named?.length && flag(attributes, 'noop_with_empty_axes', 0)) return [x];
    const dims = (named?.length ? named : x.shape.map((_, i) => i)).map(d => from(d, x.shape.length));
    const kept = f(x, dims);
    return [
      flag(attributes, 'keepdims', 1)
        ? kept
        : reshape(
            kept,
            x.shape.filter((_, i) => !dims.includes(i)),
          ),
    ];
  };

/** Along one axis; before version 13, over all from that axis on. */
const normalised =
  (f: (x: Tensor, dim: number) => Tensor): Operator =>
  ({ xs: [x], attributes, opset }) => {
    const axis = from(flag(attributes, 'axis', opset < 13 ? 1 : -1), x.shape.length);
    return [opset < 13 ? reshape(f(reshape(x, [sizeOf(x.shape.slice(0, axis)), -1]), -1), x.shape) : f(x, axis)];
  };

/** Moves dim `at` to the end. */
const toEnd = (x: Tensor, at: number): Tensor => permute(x, [...x.shape.keys()].filter(d => d !== at).concat(at));
/** Moves the last dim to `at`. */
const fromEnd = (x: Tensor, at: number): Tensor =>
  permute(x, [...x.shape.keys()].slice(0, -1).toSpliced(at, 0, x.shape.length - 1));

/** Losses of scores (N, C, …) at labels (N, …), weighed by class, summed up as `reduction` says. */
const loss =
  (each: (scores: Tensor, labels: Tensor) => Tensor): Operator =>
  ({ xs: [x, , weights], given: [, labels], attributes, dtype }) => {
    const ignored = attributes.ignore_index as number | undefined;
    const index = tensor(
      Int32Array.from(labels!.values, label => (label === ignored ? -1 : label)),
      { backend: x.backend },
    );
    const scores = reshape(toEnd(x, 1), [index.size, x.shape[1]]);
    const counted = sub(1, lt(toFloat(index, dtype), 0));
    const weight = weights
      ? mul(
          counted,
          reshape(
            embedding(
              tensor(
                Int32Array.from(labels!.values, label => (label === ignored ? 0 : label)),
                { backend: x.backend },
              ),
              reshape(weights, [-1, 1]),
            ),
            [-1],
          ),
        )
      : counted;
    const losses = mul(each(scores, index), weight);
    const logs = toEnd(x, 1);
    return [
      attributes.reduction === 'none'
        ? reshape(losses, labels!.shape)
        : attributes.reduction === 'sum'
          ? sum(losses)
          : div(sum(losses), sum(weight)),
      fromEnd(logSoftmax(logs), 1),
    ];
  };

export const operators: Readonly<Record<string, Operator>> = {
  Exp: elementwise(exp),
  Log: elementwise(log),
  Sqrt: elementwise(sqrt),
  Tanh: elementwise(tanh),
  Sin: elementwise(sin),
  Cos: elementwise(cos),
  Erf: elementwise(erf),
  Sigmoid: elementwise(x => sigmoid(x)),
  Relu: elementwise(x => relu(x)),
  Neg: floating(neg),
  Abs: floating(abs),
  Reciprocal: floating(x => div(1, x)),

  Add: floating(add),
  Sub: floating(sub),
  Mul: floating(mul),
  Div: floating(div),
  Pow: call => (call.given[0]?.type === 'float' ? elementwise(pow)(call) : null),
  Max: chained(maximum),
  Min: chained(minimum),
  Sum: chained(add),
  Mean: floating((...xs) =>
    div(
      xs.reduce((a, b) => add(a, b)),
      xs.length,
    ),
  ),
  // The bounds are inputs, before version 11 attributes.
  Clip: ({ xs: [x, low, high], given, attributes }) => {
    if (given[0]?.type !== 'float') return null;
    return [minimum(maximum(x, low ?? flag(attributes, 'min', -Infinity)), high ?? flag(attributes, 'max', Infinity))];
  },
  Equal: elementwise(eq),
  Less: elementwise(lt),
  Greater: elementwise(gt),
  LessOrEqual: elementwise(le),
  GreaterOrEqual: elementwise(ge),
  Where: elementwise(where),

  Reshape: ({ xs: [x], given: [, shape], attributes }) => {
    const keep = !flag(attributes, 'allowzero', 0);
    return [
      reshape(
        x,
        shape!.values.map((n, i) => (n === 0 && keep ? x.shape[i] : n)),
      ),
    ];
  },
  Transpose: ({ xs: [x], attributes }) => [
    permute(x, (attributes.perm as number[] | undefined) ?? [...x.shape.keys()].reverse()),
  ],
  Slice: ({ xs: [x], given, attributes }) => {
    const [starts, ends, axes, steps] = ['starts', 'ends', 'axes', 'steps'].map(
      (name, i) => integers(given[i + 1]) ?? (attributes[name] as number[] | undefined),
    );
    if (steps?.some(step => step !== 1)) return null;
    return [
      starts!.reduce((y, _, i) => {
        const dim = from(axes ? axes[i] : i, x.shape.length);
        const n = x.shape[dim];
        const [start, end] = [starts![i], ends![i]].map(at => Math.min(n, Math.max(0, from(at, n))));
        return slice(y, dim, start, Math.max(start, end));
      }, x),
    ];
  },
  Split: ({ xs: [x], given, attributes }) => {
    const dim = flag(attributes, 'axis', 0);
    const lengths = integers(given[1]) ?? (attributes.split as number[] | undefined);
    if (!lengths) return null; // the number of outputs, which only the model knows, divides the dim
    const ends = lengths.map((_, i) => lengths.slice(0, i + 1).reduce((a, b) => a + b, 0));
    return ends.map((end, i) => slice(x, dim, end - lengths[i], end));
  },
  Concat: ({ xs, attributes }) => [concat(xs, from(flag(attributes, 'axis', 1), xs[0].shape.length))],
  Expand: ({ xs: [x], given: [, shape] }) => [broadcastTo(x, broadcastShapes('Expand', x.shape, shape!.values))],

  MatMul: ({ xs: [a, b] }) => (a.shape.length < 2 || b.shape.length < 2 ? null : [matmul(a, b)]),
  Gemm: ({ xs: [a, b, c], attributes }) => {
    const product = mul(
      flag(attributes, 'alpha', 1),
      matmul(a, b, {
        transposeA: flag(attributes, 'transA', 0) === 1,
        transposeB: flag(attributes, 'transB', 0) === 1,
      }),
    );
    return [c ? add(product, mul(flag(attributes, 'beta', 1), c)) : product];
  },
  Gather: ({ xs: [x], given: [, index], attributes }) => {
    const [rank, dim] = [x.shape.length, from(flag(attributes, 'axis', 0), x.shape.length)];
    const rest = [...x.shape.keys()].filter(d => d !== dim);
    const n = x.shape[dim];
    const rows = embedding(
      tensor(
        Int32Array.from(index!.values, i => from(i, n)),
        { shape: index!.shape, backend: x.backend },
      ),
      reshape(permute(x, [dim, ...rest]), [n, -1]),
    );
    // (…index, …rest) → the index's dims where the axis was.
    const m = index!.shape.length;
    const order = rest.map((_, i) => m + i).toSpliced(dim, 0, ...index!.shape.keys());
    return rank === 0 ? null : [permute(reshape(rows, [...index!.shape, ...rest.map(d => x.shape[d])]), order)];
  },
  ScatterND: ({ xs: [x, , updates], given: [, index], attributes }) => {
    if (attributes.reduction !== 'add' || index!.shape.at(-1) !== 1) return null;
    const rows = reshape(updates, [index!.values.length, -1]);
    return [
      add(
        x,
        reshape(scatterAdd(rows, tensor(Int32Array.from(index!.values), { backend: x.backend }), x.shape[0]), x.shape),
      ),
    ];
  },
  OneHot: ({ xs, given: [index, depth, values], attributes, dtype }) => {
    const n = depth!.values[0];
    const hot = oneHot(
      tensor(
        Int32Array.from(index!.values, i => (i >= -n && i < n ? from(i, n) : -1)),
        { shape: index!.shape, backend: xs[0].backend },
      ),
      n,
      dtype,
    );
    const [off, on] = values!.values;
    return [fromEnd(add(mul(hot, on - off), off), from(flag(attributes, 'axis', -1), hot.shape.length))];
  },

  ReduceSum: reduction((x, dims) => sum(x, dims, { keepdim: true })),
  ReduceMax: reduction((x, dims) => amax(x, dims, { keepdim: true })),
  ReduceMin: reduction((x, dims) => neg(amax(neg(x), dims, { keepdim: true }))),
  ReduceMean: reduction((x, dims) => mean(x, dims, { keepdim: true })),
  ReduceSumSquare: reduction((x, dims) => sum(square(x), dims, { keepdim: true })),
  ReduceL1: reduction((x, dims) => sum(abs(x), dims, { keepdim: true })),
  ReduceL2: reduction((x, dims) => sqrt(sum(square(x), dims, { keepdim: true }))),
  ReduceLogSum: reduction((x, dims) => log(sum(x, dims, { keepdim: true }))),
  ReduceLogSumExp: reduction((x, dims) => dims.reduce((y, dim) => logsumexp(y, dim, { keepdim: true }), x)),
  Softmax: normalised(softmax),
  LogSoftmax: normalised(logSoftmax),

  LayerNormalization: ({ xs: [x, scale, bias], attributes }) => {
    const axis = from(flag(attributes, 'axis', -1), x.shape.length);
    const y = reshape(
      layerNorm(reshape(x, [sizeOf(x.shape.slice(0, axis)), -1]), flag(attributes, 'epsilon', 1e-5)),
      x.shape,
    );
    return [bias ? add(mul(y, scale), bias) : mul(y, scale)];
  },
  SoftmaxCrossEntropyLoss: loss(crossEntropy),
  NegativeLogLikelihoodLoss: call =>
    loss((scores, labels) => neg(sum(mul(scores, oneHot(labels, scores.shape[1], call.dtype)), -1)))(call)?.slice(
      0,
      1,
    ) ?? null,
  // The gradient of a weight decay that is not decoupled, and no correction at step 0.
  Adam: ({ xs: [rate, , ...state], given, attributes }) => {
    if (given[1]!.values[0] !== 0 || flag(attributes, 'norm_coefficient_post', 0) !== 0) return null;
    const n = state.length / 4;
    const updated = state.slice(0, n).map((x, i) => {
      const g = add(state[n + i], mul(flag(attributes, 'norm_coefficient', 0), x));
      const m = adamwMean(state[2 * n + i], g, flag(attributes, 'alpha', 0.9));
      const v = adamwVariance(state[3 * n + i], g, flag(attributes, 'beta', 0.999));
      return [
        adamwStep(x, m, v, {
          lr: given[0]!.values[0],
          weightDecay: 0,
          eps: flag(attributes, 'epsilon', 1e-6),
          correction1: 1,
          correction2: 1,
        }),
        m,
        v,
      ];
    });
    return rate.size === 1 ? [0, 1, 2].flatMap(k => updated.map(u => u[k])) : null;
  },
};
