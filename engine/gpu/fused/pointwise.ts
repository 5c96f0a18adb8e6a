/** Activations and AdamW: one thread an element, the operation's definition in one expression. */
import type { Kernel } from '../../backend.ts';
import type { AdamwStepAttributes, GeluAttributes } from '../../attributes.ts';
import { sameShape } from '../../shape.ts';
import { erfOf, sigmoidOf, tanhOf } from '../functions.ts';
import type { KernelSource, Thread, Values } from '../gpujs.ts';
import { real, type GpuStorage, type KernelArgument, type Machine } from '../machine.ts';

function sigmoid(this: Thread, x: Values): number {
  return sigmoidOf(x[this.thread.x]);
}
function sigmoidVjp(this: Thread, g: Values, y: Values): number {
  return g[this.thread.x] * y[this.thread.x] * (1 - y[this.thread.x]);
}
function relu(this: Thread, x: Values): number {
  return Math.max(x[this.thread.x], 0);
}
function reluVjp(this: Thread, g: Values, x: Values): number {
  return x[this.thread.x] > 0 ? g[this.thread.x] : 0;
}
function silu(this: Thread, x: Values): number {
  return x[this.thread.x] * sigmoidOf(x[this.thread.x]);
}
function siluVjp(this: Thread, g: Values, x: Values): number {
  return g[this.thread.x] * siluSlope(x[this.thread.x]);
}
function swiglu(this: Thread, gate: Values, up: Values): number {
  return gate[this.thread.x] * sigmoidOf(gate[this.thread.x]) * up[this.thread.x];
}
function swigluGateVjp(this: Thread, g: Values, gate: Values, up: Values): number {
  return g[this.thread.x] * up[this.thread.x] * siluSlope(gate[this.thread.x]);
}
function gelu(this: Thread, x: Values): number {
  return 0.5 * x[this.thread.x] * (1 + erfOf(x[this.thread.x] * 0.7071067811865476));
}
function geluVjp(this: Thread, g: Values, x: Values): number {
  const v = x[this.thread.x];
  return 0.5 * g[this.thread.x] * (1 + erfOf(v * 0.7071067811865476) + v * 0.7978845608028654 * Math.exp(-0.5 * v * v));
}
function geluTanh(this: Thread, x: Values): number {
  const v = x[this.thread.x];
  return 0.5 * v * (1 + tanhOf(0.7978845608028654 * v * (1 + 0.044715 * v * v)));
}
function geluTanhVjp(this: Thread, g: Values, x: Values): number {
  const v = x[this.thread.x];
  const t = tanhOf(0.7978845608028654 * v * (1 + 0.044715 * v * v));
  return 0.5 * g[this.thread.x] * (1 + t + v * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * v * v));
}

/** The derivative of silu. */
export function siluSlope(x: number): number {
  const s = sigmoidOf(x);
  return s * (1 + x * (1 - s));
}

function adamwMean(this: Thread, m: Values, g: Values, beta: number, rest: number): number {
  return m[this.thread.x] * beta + g[this.thread.x] * rest;
}
function adamwVariance(this: Thread, v: Values, g: Values, beta: number, rest: number): number {
  return v[this.thread.x] * beta + g[this.thread.x] * g[this.thread.x] * rest;
}
function adamwStep(
  this: Thread,
  p: Values,
  m: Values,
  v: Values,
  kept: number,
  lr: number,
  eps: number,
  correction1: number,
  correction2: number,
): number {
  return (
    p[this.thread.x] * kept - lr * (m[this.thread.x] / correction1 / (Math.sqrt(v[this.thread.x] / correction2) + eps))
  );
}

/** Kernels of activations and of AdamW. */
export function pointwise(machine: Machine): Record<string, Kernel<GpuStorage>> {
  const run = (kernel: KernelSource, first: GpuStorage, ...rest: KernelArgument[]): GpuStorage =>
    machine.run(kernel, [first.size], [first, ...rest]);
  const unary = (forward: KernelSource, backward: KernelSource): Kernel<GpuStorage> => ({
    forward: ([x]) => run(forward, x.storage),
    vjp: (g, [x]) => [run(backward, g.storage, x.storage)],
  });
  const [exact, approximate] = [unary(gelu, geluVjp), unary(geluTanh, geluTanhVjp)];
  const geluOf = ({ approximate: how }: GeluAttributes): Kernel<GpuStorage> => (how === 'none' ? exact : approximate);
  return {
    sigmoid: { forward: ([x]) => run(sigmoid, x.storage), vjp: (g, _, y) => [run(sigmoidVjp, g.storage, y.storage)] },
    relu: unary(relu, reluVjp),
    silu: unary(silu, siluVjp),
    gelu: {
      forward: (inputs, attributes, out) => geluOf(attributes).forward!(inputs, attributes, out),
      vjp: (g, inputs, y, attributes) => geluOf(attributes).vjp!(g, inputs, y, attributes),
    },
    swiglu: {
      forward: ([gate, up]) => (sameShape(gate.shape, up.shape) ? run(swiglu, gate.storage, up.storage) : null),
      // ∂/∂up is silu(gate) g.
      vjp: (g, [gate, up]) =>
        sameShape(gate.shape, up.shape)
          ? [run(swigluGateVjp, g.storage, gate.storage, up.storage), run(swiglu, gate.storage, g.storage)]
          : null,
    },
    adamwMean: {
      forward: ([m, g], { beta }: { beta: number }) => run(adamwMean, m.storage, g.storage, real(beta), real(1 - beta)),
    },
    adamwVariance: {
      forward: ([v, g], { beta }: { beta: number }) =>
        run(adamwVariance, v.storage, g.storage, real(beta), real(1 - beta)),
    },
    adamwStep: {
      forward: ([p, m, v], { lr, weightDecay, eps, correction1, correction2 }: AdamwStepAttributes) =>
        run(
          adamwStep,
          p.storage,
          m.storage,
          v.storage,
          real(1 - lr * weightDecay),
          real(lr),
          real(eps),
          real(correction1),
          real(correction2),
        ),
    },
  };
}
