/**
 * The operations `adamwMean`, `adamwVariance` and `adamwStep` (Loshchilov & Hutter 2019), each in one pass over memory.
 */
import type { AdamwStepAttributes } from '../../attributes.ts';
import type { Kernel } from '../../backend.ts';
import { f32x4 } from '../assembler/instructions.ts';
import type { Kernels } from '../kernel.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import { emitPointwise, pointwise } from './pointwise.ts';

const { add, sub, mul, div, sqrt } = f32x4;

/** Adds the kernels of AdamW to the module. */
export function emitAdamw(kernels: Kernels): void {
  emitPointwise(kernels, 'adamwMean', 2, 1, ['keep', 'renew'], (_, [m, g], [keep, renew]) => [
    add(mul(m, keep), mul(g, renew)),
  ]);
  emitPointwise(kernels, 'adamwVariance', 2, 1, ['keep', 'renew'], (_, [v, g], [keep, renew]) => [
    add(mul(v, keep), mul(mul(g, g), renew)),
  ]);
  // p · keep − step · m / (√(v · scale) + ε), with step = lr / correction1 and scale = 1 / correction2.
  emitPointwise(
    kernels,
    'adamwStep',
    3,
    1,
    ['keep', 'step', 'scale', 'epsilon'],
    (_, [p, m, v], [keep, step, scale, epsilon]) => [
      sub(mul(p, keep), mul(step, div(m, add(sqrt(mul(v, scale)), epsilon)))),
    ],
  );
}

/** The kernels of AdamW. */
export function adamw(machine: Machine): Record<string, Kernel<WasmStorage>> {
  const average = (name: string): Kernel<WasmStorage> => ({
    forward: ([m, g], { beta }: { beta: number }) =>
      pointwise(machine, name, [m.storage, g.storage], 1, [beta, 1 - beta])[0],
  });
  return {
    adamwMean: average('adamwMean'),
    adamwVariance: average('adamwVariance'),
    adamwStep: {
      forward: ([p, m, v], { lr, weightDecay, eps, correction1, correction2 }: AdamwStepAttributes) =>
        pointwise(machine, 'adamwStep', [p.storage, m.storage, v.storage], 1, [
          1 - lr * weightDecay,
          lr / correction1,
          1 / correction2,
          eps,
        ])[0],
    },
  };
}
