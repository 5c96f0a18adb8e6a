/**
 * The fused operations that this backend has kernels for; each one's specification is its definition in `ops/`.
 */
import type { Kernel } from '../../backend.ts';
import type { Kernels } from '../kernel.ts';
import type { Machine, WasmStorage } from '../machine.ts';
import type { MatmulFunctions } from '../matmul/emit.ts';
import { adamw, emitAdamw } from './adamw.ts';
import { attention, emitAttention } from './attention.ts';
import { emitNorms, norms } from './norm.ts';
import { activations, emitActivations } from './pointwise.ts';
import { emitRotary, rotary } from './rotary.ts';
import { emitSimplex, simplex } from './simplex.ts';
import { emitSoftmax, softmaxes } from './softmax.ts';
import { emitSparse, sparseProducts } from './sparse.ts';

/** Adds the kernels of all fused operations to the module. */
export function emitFused(kernels: Kernels, matmul: MatmulFunctions): void {
  emitActivations(kernels);
  emitAdamw(kernels);
  emitAttention(kernels, matmul, emitSoftmax(kernels));
  emitNorms(kernels);
  emitRotary(kernels);
  emitSimplex(kernels);
  emitSparse(kernels);
}

/** All kernels of fused operations on a machine, by name. */
export const fusedKernels = (machine: Machine): Record<string, Kernel<WasmStorage>> => ({
  ...activations(machine),
  ...adamw(machine),
  ...attention(machine),
  ...norms(machine),
  ...rotary(machine),
  ...simplex(machine),
  ...softmaxes(machine),
  ...sparseProducts(machine),
});
