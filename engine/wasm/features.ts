/**
 * What the machine that runs us offers, looked up at run time: relaxed SIMD by asking the engine to validate a small
 * module, threads by way of `process`, so that nothing here imports from Node and a bundle works in a browser.
 */
import { ModuleBuilder } from './assembler/module.ts';
import { f32x4, v128 } from './assembler/instructions.ts';

/** On by default from Node 22, behind a flag of V8 (--experimental-wasm-relaxed-simd) in Node 20. */
export function detectRelaxedSimd(): boolean {
  const module = new ModuleBuilder({ memory: { shared: false, maximum: 1 }, constants: { start: 0, end: 1024 } });
  module.func('probe', {}, f => f.do(v128.store(0, f32x4.relaxed_madd(f32x4.const(1), f32x4.const(1), f32x4.const(1)))));
  return WebAssembly.validate(module.bytes());
}

/** The part of node:worker_threads that is used. */
interface WorkerThreads {
  readonly Worker: new (code: string, options: { eval: boolean; workerData: unknown }) => { unref(): void; on(event: 'error', listener: (error: Error) => void): void };
}

interface HostProcess {
  getBuiltinModule?(name: 'node:worker_threads'): WorkerThreads;
  getBuiltinModule?(name: 'node:os'): { availableParallelism(): number };
}

export const hostProcess = (): HostProcess | undefined => (globalThis as { process?: HostProcess }).process;

/** More threads than this share one memory bus to little effect. */
const mostThreads = 8;

/** How many threads there could be, and why: one where shared memory or worker_threads is missing. */
export function availableThreads(): { count: number; why: string } {
  const host = hostProcess();
  if (typeof SharedArrayBuffer === 'undefined') return { count: 1, why: 'no shared memory here' };
  if (!host?.getBuiltinModule) return { count: 1, why: 'no worker_threads here' };
  const processors = host.getBuiltinModule('node:os').availableParallelism();
  return { count: Math.min(processors, mostThreads), why: `${processors} processor${processors === 1 ? '' : 's'}` };
}
