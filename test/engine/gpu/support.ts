/**
 * The backend `gpu` for tests: WebGPU in Node, on SwiftShader (a Vulkan device in software that Debian's chromium
 * brings) unless VK_ICD_FILENAMES names another driver. Where there is none the tests skip, and a line says so.
 */
import { existsSync } from 'node:fs';
import { afterAll, describe } from 'vitest';
import type { GpuBackend } from '../../../engine/gpu/index.ts';
import { openGpuBackend } from '../../../engine/gpu/open.ts';

const swiftshader = '/usr/lib/chromium/vk_swiftshader_icd.json';
if (process.env.VK_ICD_FILENAMES === undefined && existsSync(swiftshader)) process.env.VK_ICD_FILENAMES = swiftshader;

/** Opens a device for the tests of a file, and closes it after them: an open one takes processor time. */
export async function gpuForTests(): Promise<{
  /** `describe` where there is a device. */
  readonly describeGpu: ReturnType<typeof describe.skipIf>;
  /** The backend, where there is a device. */
  readonly gpu: GpuBackend;
}> {
  try {
    const gpu = await openGpuBackend('webgpu');
    afterAll(() => gpu.close?.());
    return { describeGpu: describe.skipIf(false), gpu };
  } catch (error) {
    process.stderr.write(`SKIPPED: GPU tests; ${(error as Error).message}\n`);
    return { describeGpu: describe.skipIf(true), gpu: null as unknown as GpuBackend };
  }
}
