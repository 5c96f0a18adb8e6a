/**
 * Recomputation: a function whose inner values are not kept for the backward pass but computed again when their
 * gradients are asked for (gradient checkpointing, Chen et al. 2016, arXiv 1604.06174). It costs one more forward pass
 * of the function and saves the memory of everything between its inputs and its output.
 */
import { grad } from './autograd.ts';
import { isRecording, noGrad, withGradient, withRecording } from './op.ts';
import { scope, type Tensor } from './tensor.ts';

/**
 * `fn(inputs)`, with the same values and gradients. `fn` must compute the same each time, and `inputs` must hold every
 * tensor that a gradient flows to: what `fn` closes over is a constant. Without recording it frees what `fn` made on
 * the way, so it also keeps the memory of a plain forward pass low.
 */
export function checkpoint(fn: (inputs: readonly Tensor[]) => Tensor, inputs: readonly Tensor[]): Tensor {
  const output = noGrad(() => scope(() => fn(inputs).alias()));
  if (!isRecording() || !inputs.some(x => x.requiresGrad)) return output;
  return withGradient('checkpoint', inputs, output, (g, needed) => {
    const wanted = inputs.flatMap((_, i) => (needed[i] ? [i] : []));
    let gradients: Tensor[] | undefined; // all of them come out of one pass, made at the first call
    const gradientOf = (i: number): Tensor => {
      gradients ??= again(fn, inputs, wanted, g);
      return gradients[wanted.indexOf(i)];
    };
    return inputs.map((_, i) => () => gradientOf(i));
  });
}

/** Gradients of the inputs at the positions `wanted`. */
function again(
  fn: (inputs: readonly Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  wanted: readonly number[],
  outputGrad: Tensor,
): Tensor[] {
  const at = (list: readonly Tensor[]): Tensor[] => wanted.map(i => list[i]);
  // Where the gradient itself is differentiated, the graph has to lead back to the inputs.
  if (isRecording()) return grad(fn(inputs), at(inputs), { outputGrad, createGraph: true });
  return withRecording(true, () =>
    scope(() => {
      const leaves = inputs.map((x, i) => x.alias(undefined, null, wanted.includes(i)));
      return grad(fn(leaves), at(leaves), { outputGrad, freeGraph: true });
    }),
  );
}
