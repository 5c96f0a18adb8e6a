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

const found = await openGpuBackend('webgpu').then(
  gpu => ({ gpu }),
  (error: Error) => ({ error }),
);
if ('error' in found) process.stderr.write(`SKIPPED: GPU tests; ${found.error.message}\n`);
else afterAll(() => found.gpu.close?.());

/** `describe` where there is a device; `gpu` is then the backend. */
export const describeGpu = describe.skipIf('error' in found);
export const gpu = ('gpu' in found ? found.gpu : null) as GpuBackend;
