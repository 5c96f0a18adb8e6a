/** Backends by name. */
import type { Backend } from './backend.ts';
import { createReferenceBackend } from './reference.ts';
import { createWasmBackend, type WasmOptions } from './wasm/index.ts';

/** `auto` is the fastest that runs on the processor: WebAssembly where it has SIMD, the reference otherwise. */
export type BackendName = 'auto' | 'wasm' | 'reference' | 'gpu';
/** All names of backends, for options of a command line. */
export const backendNames: readonly BackendName[] = ['auto', 'wasm', 'gpu', 'reference'];

/** A module of one function that is `f32x4.splat` of a constant and drops it: valid where SIMD is. */
const simdProbe = Uint8Array.of(
  0,
  97,
  115,
  109,
  1,
  0,
  0,
  0,
  1,
  4,
  1,
  96,
  0,
  0,
  3,
  2,
  1,
  0,
  10,
  12,
  1,
  10,
  0,
  67,
  0,
  0,
  0,
  0,
  253,
  19,
  26,
  11,
);

/** A backend that opens synchronously; options are for wasm. */
export function createBackend(name: Exclude<BackendName, 'gpu'>, options?: WasmOptions): Backend {
  const simd = typeof WebAssembly === 'object' && WebAssembly.validate(simdProbe);
  if (name === 'wasm' && !simd)
    throw new Error("backend 'wasm' needs WebAssembly with SIMD, which this machine does not have; use 'reference'");
  return name === 'reference' || !simd ? createReferenceBackend() : createWasmBackend(options);
}

/** Any backend; a GPU's device has to be waited for, and its packages are loaded only here. */
export async function openBackend(name: BackendName, options?: WasmOptions): Promise<Backend> {
  return name === 'gpu' ? await (await import('./gpu/open.ts')).openGpuBackend() : createBackend(name, options);
}
