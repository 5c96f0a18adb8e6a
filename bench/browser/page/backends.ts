/** The backends of this browser, each made or with the reason why it is not here. */
import { openGpuBackend } from '../../../engine/gpu/open.ts';
import { createWasmBackend, type Backend } from '../../../engine/index.ts';

export const backendNames = ['wasm', 'webgpu', 'webgl2'] as const;
export type BackendName = (typeof backendNames)[number];

export interface Candidate {
  readonly name: BackendName;
  readonly backend: Backend | null;
  /** What runs, or why nothing does. */
  readonly description: string;
}

/** Pages share their memory with others; phones refuse to reserve more than this. */
const memoryLimit = 2 ** 30;

async function gpu(mode: 'webgpu' | 'webgl2'): Promise<Backend> {
  if (mode === 'webgpu' && !('gpu' in navigator)) throw new Error('this browser has no WebGPU');
  return await openGpuBackend(mode);
}

const makers: Readonly<Record<BackendName, () => Promise<Backend>>> = {
  wasm: async () => createWasmBackend({ memoryLimit }),
  webgpu: () => gpu('webgpu'),
  webgl2: () => gpu('webgl2'),
};

export const makeBackend = (name: BackendName): Promise<Backend> => makers[name]();

export async function findBackends(): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const name of backendNames) {
    try {
      const backend = await makeBackend(name);
      found.push({ name, backend, description: backend.describe() });
    } catch (error) {
      found.push({
        name,
        backend: null,
        description: `${name}: ${error instanceof Error ? error.message : String(error)}`,
      });
    }
  }
  return found;
}
