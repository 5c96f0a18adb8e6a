/** What the machine that runs us offers, found by asking it to validate a small module. */
import { ModuleBuilder } from './assembler/module.ts';
import { f32x4, v128 } from './assembler/instructions.ts';

/** On by default from Node 22, behind a flag of V8 (--experimental-wasm-relaxed-simd) in Node 20. */
export function detectRelaxedSimd(): boolean {
  const module = new ModuleBuilder({ memory: { shared: false, maximum: 1 }, constants: { start: 0, end: 1024 } });
  module.func('probe', {}, f =>
    f.do(v128.store(0, f32x4.relaxed_madd(f32x4.const(1), f32x4.const(1), f32x4.const(1)))),
  );
  return WebAssembly.validate(module.bytes());
}
