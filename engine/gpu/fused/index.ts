/**
 * The fused operations that this backend has kernels for; each one's specification is its definition in `ops/`.
 */
import type { Kernel } from '../../backend.ts';
import type { GpuStorage, Machine } from '../machine.ts';
import { attention } from './attention.ts';
import { alongLines } from './lines.ts';
import { pointwise } from './pointwise.ts';
import { rotation } from './rotary.ts';
import { simplex } from './simplex.ts';

/** All kernels of fused operations on a device, by name. */
export const fusedKernels = (machine: Machine): Record<string, Kernel<GpuStorage>> => ({
  ...alongLines(machine),
  ...attention(machine),
  ...pointwise(machine),
  ...rotation(machine),
  ...simplex(machine),
});
