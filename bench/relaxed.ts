/**
 * The training step with relaxed SIMD, in a process that was started with V8's flag for it; see `measureRelaxedStep`.
 */
import { createWasmBackend } from '../engine/index.ts';
import { measurePeak } from './peak.ts';
import { measureStep } from './work.ts';

const threads = Number(process.argv[2]);
const backend = createWasmBackend({ threads, relaxedSimd: true });
process.send!({ ...(await measureStep(backend, await measurePeak(threads))), backend: backend.arithmetic });
