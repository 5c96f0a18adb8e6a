/**
 * What an operation is, and how one is run.
 *
 * An `Op` says what it computes, its shape rule and its vector-Jacobian product. A `Row` of the operation table says
 * besides what tests and benchmarks need to know. `apply` runs an operation and records it for `grad` (`autograd.ts`).
 */
import type { Backend, DType, Shape, Storage, TypedArray, View } from './backend.ts';
import type { Random } from './random.ts';
import { fromStorage, scope, type Tensor } from './tensor.ts';

/** One example input for tests and benchmarks. */
export interface Sample {
  readonly shape: Shape;
  readonly values: TypedArray;
}

export interface Op<A = unknown> {
  readonly name: string;
  /** The shape of the output; throws, in the name of the operation, on shapes that do not fit. */
  shape(shapes: readonly Shape[], attributes: A): Shape;
  /** A primitive row calls the backend. It may return the storage of an input, which is then shared. */
  primitive?(backend: Backend, inputs: readonly View[], attributes: A, out: Shape): Storage;
  /** A fused row is defined by other operations; a backend may override it (`Backend.kernels`). */
  definition?(inputs: readonly Tensor[], attributes: A): Tensor;
  /**
   * The vector-Jacobian product: from `g`, the gradient with respect to the output, one function per input that
   * gives the gradient with respect to it, or null where there is none (indices, masks). Only those that `needed` marks
   * are called. A row with a definition and no vjp is differentiated through its definition; a primitive row without one
   * has no gradient.
   */
  vjp?(
    g: Tensor,
    inputs: readonly Tensor[],
    output: Tensor,
    attributes: A,
    needed: readonly boolean[],
  ): readonly ((() => Tensor) | null)[];
}

/** An operation in the table. */
export interface Row<A = unknown> extends Op<A> {
  /** Float inputs without a gradient: masks. */
  readonly masks?: readonly number[];
  /** For each input the interval of values on which the operation is defined; missing: all numbers. */
  readonly domain?: readonly (readonly [number, number])[];
  /** Distance of the inputs from the nearest point where the derivative jumps; missing: smooth everywhere. */
  kinks?(inputs: readonly Sample[], attributes: A): number;
  /** Valid inputs with dims of about `size`. */
  sample(random: Random, size: number): { inputs: Sample[]; attributes: A };
  /** Floating-point operations of the forward pass, by the textbook count. */
  flops(shapes: readonly Shape[], attributes: A, out: Shape): number;
  /** Bytes that must move, in float32; missing: every input and the output once. */
  bytes?(shapes: readonly Shape[], attributes: A, out: Shape): number;
}

/** How a tensor was computed. `id` grows with time, so it orders the graph. */
export interface Node {
  readonly op: Op;
  readonly inputs: readonly Tensor[];
  readonly attributes: unknown;
  readonly id: number;
}

/** Every row, in the order of the files in `ops/`: gradient checks, backend parity and benchmarks read it. */
export const table: Row[] = [];

/** Enters a row in the table. A user's own operation need not be there: `apply` takes any. */
export function row<A>(op: Row<A>): Row<A> {
  table.push(op as Row);
  return op;
}

let recording = true;
let nextId = 0;

/** Runs `fn` without recording: what it computes has no gradient. */
export function noGrad<R>(fn: () => R): R {
  return withRecording(false, fn);
}

/** @internal Whether operations are recorded now. */
export const isRecording = (): boolean => recording;

/** @internal */
export function withRecording<R>(on: boolean, fn: () => R): R {
  const before = recording;
  recording = on;
  try {
    return fn();
  } finally {
    recording = before;
  }
}

/**
 * Runs an operation on tensors of one backend and one float dtype, and records it where a gradient may be asked for.
 */
export function apply<A>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Tensor {
  const backend = inputs[0].backend;
  checkInputs(op.name, inputs);
  const out = op.shape(
    inputs.map(x => x.shape),
    attributes,
  );
  const record = recording && inputs.some(x => x.requiresGrad) && (op.vjp !== undefined || op.definition !== undefined);
  const views = inputs.map(x => x.view(op.name));

  if (op.definition && record && !op.vjp) return op.definition(inputs, attributes);

  const node: Node | null = record ? { op: op as Op, inputs, attributes, id: nextId++ } : null;
  const storage = op.primitive
    ? op.primitive(backend, views, attributes, out)
    : (backend.kernels[op.name]?.forward?.(views, attributes as never, out) ?? null);
  if (storage === null) {
    const result = noGrad(() => scope(() => op.definition!(inputs, attributes)));
    const output = result.alias(out, node);
    if (!inputs.includes(result)) result.dispose();
    return output;
  }
  const shared = views.findIndex(v => v.storage === storage);
  return shared >= 0 ? inputs[shared].alias(out, node) : fromStorage(backend, storage, out, node);
}

/**
 * A value with a gradient of one's own: `output` is computed from `inputs` in any way, and `vjp` gives, for its
 * gradient and the inputs whose gradients are needed, one function per input, or null. Tensors that `vjp` closes over must live until the gradient is taken.
 */
export function withGradient(
  name: string,
  inputs: readonly Tensor[],
  output: Tensor,
  vjp: (g: Tensor, needed: readonly boolean[]) => readonly ((() => Tensor) | null)[],
): Tensor {
  return apply<null>(
    { name, shape: () => output.shape, definition: () => output, vjp: (g, _, __, ___, needed) => vjp(g, needed) },
    inputs,
    null,
  );
}

function checkInputs(op: string, inputs: readonly Tensor[]): void {
  let float: DType | null = null;
  for (const x of inputs) {
    if (x.backend !== inputs[0].backend)
      throw new Error(`${op}: inputs are on different backends: ${inputs.join(' and ')}`);
    if (x.dtype === 'int32') continue;
    if (float !== null && x.dtype !== float)
      throw new Error(`${op}: inputs have different dtypes: ${inputs.join(' and ')}`);
    float = x.dtype;
  }
}
