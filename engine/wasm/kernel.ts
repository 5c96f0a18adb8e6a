/**
 * What every kernel is made of: a function of the module that ends with a share of the work, and a loop over its items.
 */
import type { I32, Local, ValueType } from './assembler/code.ts';
import { i32 } from './assembler/instructions.ts';
import type { Func, FuncRef, Locals, ModuleBuilder } from './assembler/module.ts';

/** Every kernel ends with these parameters: the items [from, to) of this call and a workspace of this thread's own. */
const share = { from: 'i32', to: 'i32', work: 'i32' } as const;
/** What part of the items a thread takes, and where it has room to work. */
export type Share = Locals<typeof share>;

/** What emission may depend on. */
export interface Features {
  readonly relaxedSimd: boolean;
}

/** The module that kernels are added to, with the features they may use. */
export interface Kernels {
  readonly module: ModuleBuilder;
  readonly features: Features;
}

/** Adds a kernel to the module. */
export function kernel<P extends Record<string, ValueType>>(
  { module }: Kernels,
  name: string,
  params: P,
  build: (f: Func, p: Locals<P>, share: Share) => void,
): FuncRef {
  return module.func(name, { ...params, ...share }, (f, p) => build(f, p as Locals<P>, p as Share));
}

/** A variable that starts at `base + from · stride` and moves by `stride` with every item. */
export interface Moving {
  readonly base: I32;
  readonly stride: I32 | number;
}

/** For each item of the share, with pointers that move along. */
export function eachItem<const M extends readonly Moving[]>(
  f: Func,
  { from, to }: Share,
  moving: M,
  body: (pointers: { [K in keyof M]: Local<'i32'> }, item: Local<'i32'>) => void,
): void {
  const pointers = moving.map(m => f.let(i32.add(m.base, i32.mul(from, m.stride))));
  f.for(from, to, 1, item => {
    body(pointers as { [K in keyof M]: Local<'i32'> }, item);
    pointers.forEach((p, i) => f.set(p, i32.add(p, moving[i].stride)));
  });
}
