/** What is timed, with what it counts, wherever it runs: rows of the operation table. Nothing here needs Node. */
import { apply, noGrad, Random, scope, tensor, type Backend, type Row, type Sample, type Tensor } from '../engine/index.ts';
import { sizeOf } from '../engine/shape.ts';

export interface Workload {
  readonly inputs: readonly Sample[];
  readonly attributes: unknown;
  readonly flops: number;
  /** Bytes that must move: by default every input and the output once. */
  readonly bytes: number;
}

/** A row at a scale, on the inputs that every backend is timed on. */
export function workload(op: Row, size: number): Workload {
  const { inputs, attributes } = op.sample(new Random(2), size);
  const shapes = inputs.map(x => x.shape);
  const out = op.shape(shapes, attributes);
  const bytes = op.bytes?.(shapes, attributes, out) ?? 4 * [...shapes, out].reduce((n, shape) => n + sizeOf(shape), 0);
  return { inputs, attributes, flops: op.flops(shapes, attributes, out), bytes };
}

export const place = (inputs: readonly Sample[], backend: Backend): Tensor[] =>
  inputs.map(x => tensor(x.values, { shape: x.shape, backend, dtype: x.values instanceof Int32Array ? 'int32' : 'float32' }));

/** Throws where a backend's result is not the reference's: a wrong kernel has no speed. */
export async function verify(op: Row, backend: Backend, reference: Backend): Promise<void> {
  const { inputs, attributes } = op.sample(new Random(1), 24);
  const result = async (b: Backend) => {
    const y = noGrad(() => scope(() => apply(op, place(inputs, b), attributes)));
    try {
      return await y.data();
    } finally {
      y.dispose();
    }
  };
  const [actual, expected] = [await result(backend), await result(reference)];
  let scale = 1;
  for (const v of expected) scale = Math.max(scale, Math.abs(v));
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs(actual[i] - expected[i]);
    if (!(off <= 64 * 2 ** -24 * scale)) throw new Error(`bench: ${op.name} on ${backend.name} gives ${actual[i]} where the reference has ${expected[i]}`);
  }
}
