/**
 * WebAssembly's fused multiply-add (relaxed SIMD). V8 has it on from Node 22; in Node 20 it is complete, one version
 * before that, behind a flag that may be set until the first module is compiled.
 */
import { setFlagsFromString } from 'node:v8';
import { detectRelaxedSimd } from '../../engine/wasm/features.ts';

/** Turns relaxed SIMD on where this Node hides it; gives whether it is there. Call it before a backend is opened. */
export function enableRelaxedSimd(): boolean {
  // The flag's name is that of these versions; elsewhere the instructions are on, or this machine does not have them.
  if (!detectRelaxedSimd() && /^2[01]\./.test(process.versions.node))
    setFlagsFromString('--experimental-wasm-relaxed-simd');
  return detectRelaxedSimd();
}
