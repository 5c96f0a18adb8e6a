/**
 * The backend `gpu`: kernels in the JavaScript that gpu.js translates, on WebGPU or WebGL2. Nothing here imports gpu.js
 * or Node: the module is handed in (`open.ts` does it in Node), so that the same file runs in a page.
 *
 * Values stay on the device; operations queue commands and return at once (`machine.ts`). Finite normal floats give
 * what the reference gives, within the bounds of `test/engine/gpu/table.test.ts`; NaN, infinities and denormals are the
 * device's, as WGSL allows any result for them (`logsumexp` of a line with infinities is the reference's all the same).
 */
import type { Backend, DType, View } from '../backend.ts';
import { binary, unary, where } from './elementwise.ts';
import { functions } from './functions.ts';
import { fusedKernels } from './fused/index.ts';
import { siluSlope } from './fused/pointwise.ts';
import type { GpuMode, GpuModule } from './gpujs.ts';
import { helpers } from './indexing.ts';
import { concat, gather, oneHot, scatterAdd, strided } from './layout.ts';
import { Machine, type GpuStorage } from './machine.ts';
import { matmul } from './matmul.ts';
import { lineHelpers, reduce } from './reduce.ts';

export type { GpuMode, GpuModule } from './gpujs.ts';
export type { GpuStorage } from './machine.ts';

/** How the backend is made. */
export interface GpuOptions {
  readonly mode: GpuMode;
}

/** The backend, with its mode and what tests count. */
export interface GpuBackend extends Backend<GpuStorage> {
  readonly mode: GpuMode;
  /** Kernels compiled so far, and buffers alive on the device once all commands so far have run. */
  counts(): Promise<{ readonly kernels: number; readonly buffers: number }>;
}

/**
 * Makes the backend and runs one kernel on it; an error when that does not give what it should in the requested mode.
 */
export async function createGpuBackend(gpujs: GpuModule, { mode }: GpuOptions): Promise<GpuBackend> {
  const machine = new Machine(gpujs, mode, [...helpers, ...lineHelpers], [...functions, siluSlope]);
  const device = await machine.probe();
  const only32 = (op: string, dtype: DType): void => {
    if (dtype !== 'float32') throw new Error(`${op}: backend 'gpu' has no ${dtype}; it has float32`);
  };
  const floats = (op: string, x: View<GpuStorage>): View<GpuStorage> => {
    if (x.storage.dtype !== 'float32')
      throw new Error(`${op}: needs float32, got ${x.storage.dtype}; convert it with toFloat`);
    return x;
  };
  return {
    name: 'gpu',
    mode,
    floats: ['float32'],
    arithmetic: `gpu, ${mode}, ${device}`,
    describe: () => `gpu: gpu.js in mode ${mode} on ${device}, float32, no fallback`,
    counts: () => machine.counts(),
    close: () => machine.close(),
    upload: values => machine.upload(values),
    read: x => machine.read(x),
    free: x => machine.free(x),
    unary: (f, x) => unary(machine, f, floats(f, x).storage),
    binary: (f, a, b, out) => binary(machine, f, floats(f, a), floats(f, b), out),
    where: (condition, a, b, out) => where(machine, condition, floats('where', a), floats('where', b), out),
    toFloat: (x, dtype) => {
      only32('toFloat', dtype);
      return strided(machine, machine.floats(x.storage), [x.storage.size], [1], 0);
    },
    reduce: (f, x, outer, n, inner) => reduce(machine, f, floats(f, x).storage, outer, n, inner),
    matmul: (a, b, transposeA, transposeB, out) =>
      matmul(machine, floats('matmul', a), floats('matmul', b), transposeA, transposeB, out),
    gather: (table, index) => gather(machine, table, index.storage),
    scatterAdd: (rows, index, n) => scatterAdd(machine, rows, index.storage, n),
    oneHot: (index, n, dtype) => {
      only32('oneHot', dtype);
      return oneHot(machine, index.storage, n);
    },
    strided: (x, out, strides, offset) => strided(machine, x.storage, out, strides, offset),
    concat: (xs, outer, lengths, inner) =>
      concat(
        machine,
        xs.map(x => x.storage),
        outer,
        lengths,
        inner,
      ),
    kernels: fusedKernels(machine),
  };
}
