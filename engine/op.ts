/**
 * What an operation is, the table of all of them, and how one is run.
 *
 * Adding one takes ten lines in a file of `ops/`:
 *
 *     const softplusOp = defineOp<None>({
 *       name: 'softplus',
 *       shape: ([x]) => x,
 *       definition: ([x]) => x.exp().add(1).log(),
 *       vjp: (g, [x]) => [() => g.mul(x.sigmoid())],
 *       flops: (_, __, out) => 3 * sizeOf(out),
 *     });
 *     // ln(1 + eˣ), element by element.
 *     export const softplus = (x: Tensor): Tensor => apply(softplusOp, [x], {});
 *
 * its name in the list of methods at the end of that file, and example inputs in `ops/samples.ts`:
 *
 *     softplus: given(one),
 *
 * Tests read the table, so they then demand by themselves: a plain formula to compare with (`oracles` in
 * `test/engine/ops.test.ts`); gradients and second derivatives that agree with central differences in float64; values
 * and gradients on every backend within a bound of the reference's; values of NaN and infinity, empty and broadcast
 * shapes; no tensor left behind; a count of operations that matches what the definition does. `npm run bench --
 * softplus` times it. A backend that can do better than the definition gives a kernel of the same name.
 */
import type { Backend, DType, Shape, Storage, View } from './backend.ts';
import { fromStorage, scope, type Node, type Rules, type Tensor } from './tensor.ts';

/** What `apply` needs to run an operation and `grad` to differentiate it. A is the type of its attributes. */
export interface Op<A = unknown> {
  readonly name: string;
  /** The shape of the output; throws, naming the operation, on shapes that do not fit. */
  shape(shapes: readonly Shape[], attributes: A): Shape;
  /** A primitive calls the backend. It may return the storage of an input, which is then shared. */
  primitive?(backend: Backend, inputs: readonly View[], attributes: A, out: Shape): Storage;
  /** A fused operation is defined by others; a backend may have a kernel for it (`Backend.kernels`). */
  definition?(inputs: readonly Tensor[], attributes: A): Tensor;
  /**
   * The vector-Jacobian product: from `g`, the gradient with respect to the output, one function per input that gives
   * the gradient with respect to it, or null where there is none (indices, masks). Only those that `needed` marks are
   * called. A definition without a vjp is differentiated operation by operation; a primitive without one has no
   * gradient.
   */
  vjp?(g: Tensor, inputs: readonly Tensor[], output: Tensor, attributes: A, needed: readonly boolean[]): Rules;
}

/** An operation in the table, with what it costs. */
export interface TableOp<A = unknown> extends Op<A> {
  /** Floating-point operations of the forward pass, by the textbook count. */
  flops(shapes: readonly Shape[], attributes: A, out: Shape): number;
  /** Bytes that must move, in float32; missing: every input and the output once. */
  bytes?(shapes: readonly Shape[], attributes: A, out: Shape): number;
}

const table: TableOp[] = [];

/** The table: every operation, in the order of the files in `ops/`. Tests and benchmarks read it. */
export const ops: readonly TableOp[] = table;

/** Enters an operation in the table. A user's own operation need not be there: `apply` takes any. */
export function defineOp<A>(op: TableOp<A>): TableOp<A> {
  table.push(op as TableOp);
  return op;
}

let recording = true;
let nextId = 0;

/** Runs `fn` without recording: what it computes has no gradient. */
export function noGrad<R>(fn: () => R): R {
  return withRecording(false, fn);
}

/** Whether operations are recorded now, so that gradients can be asked for. */
export const isRecording = (): boolean => recording;

/** @internal Runs `fn` with recording on or off. */
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

  const node = record ? nodeOf(op, inputs, attributes) : null;
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

/** The record of an operation. Its derivative is a kernel's where the backend has one, unless it is to be recorded. */
function nodeOf<A>(op: Op<A>, inputs: readonly Tensor[], attributes: A): Node {
  return {
    name: op.name,
    inputs,
    id: nextId++,
    vjp(g, output, needed) {
      const user = `grad of ${op.name}`;
      const views = inputs.map(x => x.view(user));
      const kernel = recording ? undefined : output.backend.kernels[op.name];
      const storages = kernel?.vjp?.(g.view('grad'), views, output.view(user), attributes as never);
      if (!storages) return op.vjp!(g, inputs, output, attributes, needed);
      const made = storages.map((s, i) => s && fromStorage(output.backend, s, inputs[i].shape));
      return made.map(gx => gx && (() => gx));
    },
  };
}

/**
 * A value with a custom gradient: `output` is computed from `inputs` in any way, and `vjp` gives, for its
 * gradient and the inputs whose gradients are needed, one function per input, or null. Tensors that `vjp` closes over
 * must live until the gradient is taken.
 */
export function withGradient(
  name: string,
  inputs: readonly Tensor[],
  output: Tensor,
  vjp: (g: Tensor, needed: readonly boolean[]) => Rules,
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
      throw new Error(`${op}: inputs are on different backends: ${inputs.map(x => x.describe()).join(' and ')}`);
    if (x.dtype === 'int32') continue;
    if (float !== null && x.dtype !== float)
      throw new Error(`${op}: inputs have different dtypes: ${inputs.map(x => x.describe()).join(' and ')}`);
    float = x.dtype;
  }
}
