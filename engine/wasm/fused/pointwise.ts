/**
 * Fused functions of floats at one position, forward and backward, in one pass over memory: the operations `sigmoid`,
 * `silu`, `relu`, `gelu` and `swiglu`. Inputs and outputs are flat buffers of one size; broadcasting is declined.
 */
import type { Kernel } from '../../backend.ts';
import { sameShape } from '../../shape.ts';
import type { F32, Local, V128 } from '../assembler/code.ts';
import { f32x4, v128 } from '../assembler/instructions.ts';
import type { Func } from '../assembler/module.ts';
import { floatGrain } from '../elementwise.ts';
import { eachItem, kernel, type Kernels } from '../kernel.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import * as math from '../math.ts';

const { add, sub, mul } = f32x4;
type Vector = Local<'v128'>;

/**
 * A kernel of `inputs` vectors, `scalars` and as many outputs as `fn` returns expressions. Items are vectors of four;
 * the slack of blocks takes what is beyond the end.
 */
export function emitPointwise(
  kernels: Kernels,
  name: string,
  inputs: number,
  outputs: number,
  scalars: readonly string[],
  fn: (f: Func, x: Vector[], scalars: V128[]) => readonly V128[],
): void {
  const pointers = Array.from({ length: inputs + outputs }, (_, i) => [`p${i}`, 'i32'] as const);
  const params = Object.fromEntries([...pointers, ...scalars.map(s => [s, 'f32'] as const)]);
  kernel(kernels, name, params, (f, p, share) => {
    const splats = scalars.map(s => f.let(f32x4.splat(p[s] as F32)));
    eachItem(
      f,
      share,
      pointers.map(([key]) => ({ base: p[key] as Local<'i32'>, stride: 16 })),
      moving => {
        const x = moving.slice(0, inputs).map(pointer => f.let(v128.load(pointer)));
        fn(f, x, splats)
          .map(y => f.let(y))
          .forEach((y, i) => f.do(v128.store(moving[inputs + i], y)));
      },
    );
  });
}

/** Runs a kernel made by `emitPointwise`; its outputs have the size of the first input. */
export function pointwise(
  machine: Machine,
  name: string,
  inputs: readonly WasmStorage[],
  outputs: number,
  scalars: readonly number[] = [],
): WasmStorage[] {
  const { size } = inputs[0];
  const made = Array.from({ length: outputs }, () => machine.allocate('float32', size));
  machine.run(name, [...inputs, ...made].map(x => x.pointer).concat(scalars), {
    items: Math.ceil(size / 4),
    grain: floatGrain / 4,
  });
  return made;
}

/** x σ(x) and its derivative σ (1 + x (1 − σ)). */
function siluParts(f: Func, x: Vector): { value: V128; derivative: V128 } {
  const s = f.let(math.sigmoid(f, x));
  return { value: mul(x, s), derivative: mul(s, add(mul(x, sub(1, s)), 1)) };
}

/** 2Φ(x), Φ the normal distribution function, or its approximation by tanh, and the derivative of that. */
const twicePhi = {
  none: (f: Func, x: Vector) => ({
    value: add(math.erf(f, f.let(mul(x, Math.SQRT1_2))), 1),
    derivative: () => mul(math.exp(f, mul(mul(x, x), -0.5)), Math.sqrt(2 / Math.PI)),
  }),
  tanh: (f: Func, x: Vector) => {
    const square = f.let(mul(x, x));
    const t = f.let(math.tanh(f, f.let(mul(mul(x, add(mul(square, 0.044715), 1)), Math.sqrt(2 / Math.PI)))));
    return {
      value: add(t, 1),
      derivative: () => mul(sub(1, mul(t, t)), mul(add(mul(square, 3 * 0.044715), 1), Math.sqrt(2 / Math.PI))),
    };
  },
};

/** Adds the kernels of activations to the module. */
export function emitActivations(kernels: Kernels): void {
  emitPointwise(kernels, 'sigmoid', 1, 1, [], (f, [x]) => [math.sigmoid(f, x)]);
  emitPointwise(kernels, 'sigmoidVjp', 2, 1, [], (_, [g, y]) => [mul(g, mul(y, sub(1, y)))]);
  emitPointwise(kernels, 'relu', 1, 1, [], (_, [x]) => [f32x4.pmax(x, 0)]);
  emitPointwise(kernels, 'reluVjp', 2, 1, [], (_, [g, x]) => [v128.and(g, f32x4.gt(x, 0))]);
  emitPointwise(kernels, 'silu', 1, 1, [], (f, [x]) => [siluParts(f, x).value]);
  emitPointwise(kernels, 'siluVjp', 2, 1, [], (f, [g, x]) => [mul(g, siluParts(f, x).derivative)]);
  emitPointwise(kernels, 'swiglu', 2, 1, [], (f, [gate, up]) => [mul(siluParts(f, gate).value, up)]);
  emitPointwise(kernels, 'swigluVjp', 3, 2, [], (f, [g, gate, up]) => {
    const { value, derivative } = siluParts(f, gate);
    return [mul(mul(g, up), derivative), mul(g, value)];
  });
  for (const approximate of ['none', 'tanh'] as const) {
    emitPointwise(kernels, `gelu-${approximate}`, 1, 1, [], (f, [x]) => [
      mul(mul(x, 0.5), twicePhi[approximate](f, x).value),
    ]);
    emitPointwise(kernels, `gelu-${approximate}Vjp`, 2, 1, [], (f, [g, x]) => {
      const { value, derivative } = twicePhi[approximate](f, x);
      const phi = f.let(value);
      return [mul(mul(g, 0.5), add(phi, mul(x, derivative())))];
    });
  }
}

/** The kernels of activations. */
export function activations(machine: Machine): Record<string, Kernel<WasmStorage>> {
  const gelu: Kernel<WasmStorage> = {
    forward: ([x], { approximate }: { approximate: 'none' | 'tanh' }) =>
      pointwise(machine, `gelu-${approximate}`, [x.storage], 1)[0],
    vjp: (g, [x], _, { approximate }: { approximate: 'none' | 'tanh' }) =>
      pointwise(machine, `gelu-${approximate}Vjp`, [g.storage, x.storage], 1),
  };
  const ofInput = (name: string): Kernel<WasmStorage> => ({
    forward: ([x]) => pointwise(machine, name, [x.storage], 1)[0],
    vjp: (g, [x]) => pointwise(machine, `${name}Vjp`, [g.storage, x.storage], 1),
  });
  return {
    sigmoid: {
      forward: ([x]) => pointwise(machine, 'sigmoid', [x.storage], 1)[0],
      vjp: (g, _, y) => pointwise(machine, 'sigmoidVjp', [g.storage, y.storage], 1),
    },
    relu: ofInput('relu'),
    silu: ofInput('silu'),
    gelu,
    swiglu: {
      forward: ([gate, up]) =>
        sameShape(gate.shape, up.shape) ? pointwise(machine, 'swiglu', [gate.storage, up.storage], 1)[0] : null,
      vjp: (g, [gate, up]) =>
        sameShape(gate.shape, up.shape)
          ? pointwise(machine, 'swigluVjp', [g.storage, gate.storage, up.storage], 2)
          : null,
    },
  };
}
