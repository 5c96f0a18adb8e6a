/**
 * The training step with relaxed SIMD, in a process that was started with V8's flag for it; see `measureRelaxedStep`.
 */
import { createWasmBackend, type Backend } from '../engine/index.ts';
import { measurePeak } from './peak.ts';
import { measureStep } from './work.ts';

const threads = Number(process.argv[2]);
const backend = createWasmBackend({ threads, relaxedSimd: true }) as unknown as Backend;
process.send!({ ...(await measureStep(backend, await measurePeak(threads))), backend: backend.arithmetic });
