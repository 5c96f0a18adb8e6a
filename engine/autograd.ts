/**
 * Reverse-mode differentiation: `grad` walks the record that `apply` (`op.ts`) keeps, last operation first, and adds
 * up for every tensor what its uses contribute. `backward` is `grad` for those who come from PyTorch.
 */
import { addMethods, type Methods } from './methods.ts';
import { withRecording } from './op.ts';
import { sameShape, show } from './shape.ts';
import { full, scope, type Tensor } from './tensor.ts';

/** What `grad` starts from, and what becomes of the graph. */
export interface GradOptions {
  /** Gradient with respect to `output` itself; missing: 1, and `output` must have one element. */
  readonly outputGrad?: Tensor;
  /** Record the backward pass, so that its result can be differentiated again. */
  readonly createGraph?: boolean;
  /**
   * Free every value between inputs and output as soon as the pass is done with it (PyTorch's `retain_graph=False`), so
   * that gradients fill the memory that activations leave. The graph cannot be walked again.
   */
  readonly freeGraph?: boolean;
}

/**
 * Gradients of `output` with respect to `inputs`, each of the shape of its input. A tensor used several times
 * receives the sum of its uses.
 */
export function grad(
  output: Tensor,
  inputs: readonly Tensor[],
  { outputGrad, createGraph = false, freeGraph = false }: GradOptions = {},
): Tensor[] {
  if (!outputGrad && output.size !== 1)
    throw new Error(`grad: an output of shape ${show(output.shape)} is not a scalar; reduce it, or give outputGrad`);
  if (outputGrad && !sameShape(outputGrad.shape, output.shape))
    throw new Error(
      `grad: outputGrad ${show(outputGrad.shape)} does not have the output's shape ${show(output.shape)}`,
    );
  if (createGraph && freeGraph) throw new Error('grad: createGraph needs the graph that freeGraph would free');
  const order = nodesBetween(output, inputs);
  inputs.forEach((x, i) => {
    if (x !== output && !order.reaches.has(x)) {
      throw new Error(
        `grad: input ${i}, a ${x.describe()}, is not connected to the output: ` +
          `${x.requiresGrad ? 'no operation leads from it to the output' : 'it was made without requiresGrad'}`,
      );
    }
  });

  if (order.nodes.some(t => t.freed || t.node!.inputs.some(x => x.freed)))
    throw new Error(
      `grad: the graph behind the output (${show(output.shape)}) was freed: ` +
        'a scope keeps what its function returns, not ' +
        'what that was computed from. Take the gradient inside the scope; a second one needs a first without freeGraph',
    );

  // A graph refers to its intermediate values, so a recorded backward pass leaves them to the caller's scope.
  const within = createGraph ? <R>(fn: () => R): R => fn() : scope;
  return withRecording(createGraph, () =>
    within(() => {
      const gradients = new Map<Tensor, Tensor>();
      const wanted = new Set(inputs);
      // A product with 1, not an alias: a leaf given as outputGrad can then be differentiated by.
      const given = outputGrad && (createGraph ? outputGrad.mul(1) : outputGrad.alias());
      gradients.set(output, given ?? full(output.shape, 1, { dtype: output.dtype, backend: output.backend }));
      for (const y of order.nodes) {
        const g = gradients.get(y);
        if (!g) continue; // it only decided something, as the condition of a where does
        for (const [x, gx] of within(() => contributions(y, g, order.reaches))) {
          const before = gradients.get(x);
          gradients.set(x, before ? before.add(gx) : gx);
          if (before && !createGraph) [before, gx].forEach(t => t.dispose());
        }
        if (!wanted.has(y) && !createGraph) g.dispose();
        if (freeGraph && y !== output && !wanted.has(y)) y.dispose();
      }
      return inputs.map(x => gradients.get(x) ?? full(x.shape, 0, { dtype: x.dtype, backend: x.backend }));
    }),
  );
}

/**
 * Adds the gradients of `output` up in `grad` of every leaf with `requiresGrad` that it was computed from, as
 * PyTorch's `loss.backward()`. A gradient lives as long as its leaf, whatever scope `backward` was called in;
 * `leaf.zeroGrad()` frees it before the next step.
 */
export function backward(output: Tensor, options: GradOptions = {}): void {
  const leaves = leavesOf(output);
  if (leaves.length === 0)
    throw new Error(`backward: no tensor with requiresGrad leads to the output, a ${output.describe()}`);
  const gradients = grad(output, leaves, options);
  leaves.forEach((x, i) => {
    const total = (x.grad?.add(gradients[i]) ?? gradients[i]).keep();
    if (total !== gradients[i]) gradients[i].dispose();
    x.zeroGrad();
    x.grad = total;
  });
}

/** Tensors with `requiresGrad` that no operation has made. */
function leavesOf(output: Tensor): Tensor[] {
  const seen = new Set<Tensor>([output]);
  for (const t of seen) for (const x of t.node?.inputs ?? []) if (x.requiresGrad) seen.add(x); // grows while walked
  return [...seen].filter(t => t.requiresGrad && t.node === null);
}

/** The vector-Jacobian product of one node, as pairs of an input and its share of the gradient. */
function contributions(y: Tensor, g: Tensor, reaches: ReadonlySet<Tensor>): [Tensor, Tensor][] {
  const { name, inputs } = y.node!;
  const needed = inputs.map(x => reaches.has(x));
  const rules = y.node!.vjp(g, y, needed);
  const given = [g, y, ...inputs];
  return inputs.flatMap((x, i): [Tensor, Tensor][] => {
    const rule = rules[i];
    if (!needed[i] || !rule) return [];
    const gx = rule();
    if (!sameShape(gx.shape, x.shape))
      throw new Error(
        `grad of ${name}: gradient ${show(gx.shape)} does not have the shape ${show(x.shape)} of input ${i}`,
      );
    return [[x, given.includes(gx) ? gx.alias(undefined, gx.node, gx.requiresGrad) : gx]];
  });
}

/** The computed tensors on paths from `inputs` to `output`, last first, and every tensor that leads from `inputs`. */
function nodesBetween(output: Tensor, inputs: readonly Tensor[]): { nodes: Tensor[]; reaches: Set<Tensor> } {
  const reachable: Tensor[] = [];
  const seen = new Set<Tensor>([output]);
  const stack = [output];
  for (let t = stack.pop(); t; t = stack.pop()) {
    if (!t.node) continue;
    reachable.push(t);
    for (const x of t.node.inputs) {
      if (!x.requiresGrad || seen.has(x)) continue;
      seen.add(x);
      stack.push(x);
    }
  }
  reachable.sort((a, b) => a.node!.id - b.node!.id);
  const reaches = new Set<Tensor>(inputs.filter(x => seen.has(x) && x.requiresGrad));
  for (const t of reachable) if (t.node!.inputs.some(x => reaches.has(x))) reaches.add(t);
  const nodes = reachable.filter(t => t.node!.inputs.some(x => reaches.has(x))).reverse();
  return { nodes, reaches };
}

const methods = { backward };
declare module './tensor.ts' {
  interface Tensor extends Methods<typeof methods> {}
}
addMethods(methods);
