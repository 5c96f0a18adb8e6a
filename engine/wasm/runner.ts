/** Runs kernels on this thread alone. */
import type { KernelFunction, Runner } from './machine.ts';

export function singleThread(kernels: Readonly<Record<string, KernelFunction>>): Runner {
  return {
    threads: 1,
    run: (kernel, args, { items }, work) => kernels[kernel](...args, 0, items, work),
  };
}
