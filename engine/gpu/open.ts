/**
 * Where the backend comes from in Node: gpu.js and the package `webgpu`, both optional, are imported when a GPU is
 * asked for.
 */
import { createGpuBackend, type GpuBackend, type GpuMode, type GpuModule } from './index.ts';

const install =
  'Install what is missing: npm install gpu.js@2.24.1 webgpu@0.4.0, a Vulkan loader (Debian: libvulkan1) and a ' +
  'driver for the card; or use --backend wasm';

/** Opens the backend, or says what was looked for and what to install. */
export async function openGpuBackend(mode: GpuMode = 'webgpu'): Promise<GpuBackend> {
  const probed: string[] = [];
  const attempt = async <R>(what: string, fn: () => Promise<R>): Promise<R> => {
    try {
      const result = await fn();
      probed.push(`${what}: found`);
      return result;
    } catch (error) {
      probed.push(`${what}: ${(error instanceof Error ? error.message : String(error)).split('\n')[0]}`);
      throw new Error(`backend 'gpu' does not work here. Probed:\n  ${probed.join('\n  ')}\n${install}`, {
        cause: error,
      });
    }
  };
  const gpujs = await attempt('package gpu.js', loadGpuJs);
  if (mode === 'webgpu' && !globalThis.navigator?.gpu) await attempt('package webgpu', installWebGpu);
  return attempt(`adapter (mode ${mode})`, () => createGpuBackend(gpujs, { mode }));
}

/** The package gpu.js; an error where it is not installed. */
export const loadGpuJs = async (): Promise<GpuModule> =>
  ((await import('gpu.js')) as unknown as { default: GpuModule }).default;

/** Gives Node the `navigator.gpu` that browsers have. */
async function installWebGpu(): Promise<void> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([]);
  if (globalThis.navigator) Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
}
