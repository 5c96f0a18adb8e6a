/** All kernels as one module, compiled once for each set of features, and their listings for people. */
import { constantsStart, heapStart } from './machine.ts';
import { ModuleBuilder } from './assembler/module.ts';
import { emitElementwise } from './elementwise.ts';
import { emitFused } from './fused/index.ts';
import type { Features, Kernels } from './kernel.ts';
import { emitLayout } from './layout.ts';
import { emitMatmul } from './matmul/emit.ts';
import { emitReduce } from './reduce.ts';

/** What the module may use. */
export interface ProgramOptions extends Features {
  readonly shared: boolean;
  readonly maximumPages: number;
}

function build({ relaxedSimd, shared, maximumPages }: ProgramOptions, list?: (name: string) => boolean): ModuleBuilder {
  const module = new ModuleBuilder({
    memory: { shared, maximum: maximumPages },
    constants: { start: constantsStart, end: heapStart },
    list,
  });
  const kernels: Kernels = { module, features: { relaxedSimd } };
  emitElementwise(kernels);
  emitReduce(kernels);
  emitLayout(kernels);
  emitFused(kernels, emitMatmul(kernels));
  return module;
}

const compiled = new Map<string, WebAssembly.Module>();

/** Assembles and compiles the module of all kernels; about ten milliseconds. */
export function compile(options: ProgramOptions): WebAssembly.Module {
  const key = JSON.stringify(options);
  const known = compiled.get(key);
  if (known) return known;
  const module = new WebAssembly.Module(build(options).bytes());
  compiled.set(key, module);
  return module;
}

/** The instructions of a kernel, for reading: what the assembler emitted, indented by structure. */
export function listing(name: string, features: Features = { relaxedSimd: false }): string {
  const text = build({ ...features, shared: false, maximumPages: 1 }, n => n === name).listings.get(name);
  if (text === undefined) throw new Error(`listing: no kernel named '${name}'`);
  return text;
}
