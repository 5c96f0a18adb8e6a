/** What is timed, with what it counts, wherever it runs: rows of the operation table. Nothing here needs Node. */
import {
  apply,
  noGrad,
  Random,
  scope,
  tensor,
  type Backend,
  type TableOp,
  type Tensor,
  type TypedArray,
} from '../engine/index.ts';
import { type Sample, samplingOf } from '../engine/ops/samples.ts';
import { sizeOf } from '../engine/shape.ts';

export interface Workload {
  readonly inputs: readonly Sample[];
  readonly attributes: unknown;
  readonly flops: number;
  /** Bytes that must move: by default every input and the output once. */
  readonly bytes: number;
}

/** A row at a scale, on the inputs that every backend is timed on. */
export function workload(op: TableOp, size: number): Workload {
  const { inputs, attributes } = samplingOf(op).draw(new Random(2), size);
  const shapes = inputs.map(x => x.shape);
  const out = op.shape(shapes, attributes);
  const bytes = op.bytes?.(shapes, attributes, out) ?? 4 * [...shapes, out].reduce((n, shape) => n + sizeOf(shape), 0);
  return { inputs, attributes, flops: op.flops(shapes, attributes, out), bytes };
}

export const place = (inputs: readonly Sample[], backend: Backend): Tensor[] =>
  inputs.map(x =>
    tensor(x.values, { shape: x.shape, backend, dtype: x.values instanceof Int32Array ? 'int32' : 'float32' }),
  );

/** A row's values on a backend. */
export async function compute(
  op: TableOp,
  backend: Backend,
  { inputs, attributes }: Pick<Workload, 'inputs' | 'attributes'>,
): Promise<TypedArray> {
  const y = noGrad(() => scope(() => apply(op, place(inputs, backend), attributes)));
  try {
    return await y.data();
  } finally {
    y.dispose();
  }
}

/** Throws where values are not what they should be: a wrong kernel has no speed. */
export function verifyValues(op: TableOp, backend: Backend, actual: TypedArray, expected: TypedArray): void {
  if (actual.length !== expected.length)
    throw new Error(
      `bench: ${op.name} on ${backend.name} gives ${actual.length} values, the reference ${expected.length}`,
    );
  let scale = 1;
  for (const v of expected) scale = Math.max(scale, Math.abs(v));
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs(actual[i] - expected[i]);
    if (!(off <= 64 * 2 ** -24 * scale))
      throw new Error(`bench: ${op.name} on ${backend.name} gives ${actual[i]}, the reference ${expected[i]}`);
  }
}

/** The same on a small input, with the reference's values. */
export async function verify(op: TableOp, backend: Backend, reference: Backend): Promise<void> {
  const small = samplingOf(op).draw(new Random(1), 24);
  verifyValues(op, backend, await compute(op, backend, small), await compute(op, reference, small));
}
