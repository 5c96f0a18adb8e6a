/**
 * What this machine can do, measured in the same run as everything that is compared with it: float32 operations a
 * second of a WebAssembly loop that touches registers only, and bytes a second of the triad a = b + s · c (McCalpin's
 * STREAM) over arrays of 64 MB each. Both on as many threads as the kernels under test use, all at once.
 */
import { Worker } from 'node:worker_threads';
import { f32x4, i32, v128 } from '../engine/wasm/assembler/instructions.ts';
import { ModuleBuilder } from '../engine/wasm/assembler/module.ts';
import { detectRelaxedSimd } from '../engine/wasm/features.ts';

export interface Peak {
  readonly threads: number;
  /** Multiply and add as two instructions, GFLOP/s. */
  readonly plain: number;
  /** Fused multiply-add of relaxed SIMD, GFLOP/s; null where there is none. */
  readonly relaxed: number | null;
  /** Triad, GB/s, counting three arrays. */
  readonly triad: number;
}

const arrayBytes = 64 * 2 ** 20;
const start = 8192;
const pages = (3 * arrayBytes) / 65536 + 1;
const accumulators = 12;
const unrolled = 4;

/** Functions `plain(n)`, `relaxed(n)` and `triad()`. */
function build(relaxed: boolean): WebAssembly.Module {
  const module = new ModuleBuilder({
    memory: { shared: false, maximum: pages },
    constants: { start: 1024, end: 4096 },
  });
  const registers = (name: string, fused: boolean) =>
    module.func(name, { n: 'i32' }, (f, { n }) => {
      const sums = Array.from({ length: accumulators }, () => f.local('v128'));
      const [a, b] = [f.let(f32x4.const(1.0001)), f.let(f32x4.const(0.9999))];
      f.for(0, n, 1, () => {
        for (let u = 0; u < unrolled; u++) {
          // Half of the registers multiply and half add: no chain waits for another.
          sums.forEach((s, i) =>
            f.set(s, fused ? f32x4.relaxed_madd(a, b, s) : i % 2 === 0 ? f32x4.mul(s, b) : f32x4.add(s, a)),
          );
        }
      });
      sums.forEach((s, i) => f.do(v128.store(16 * i, s))); // so that it is not optimised away
    });
  registers('plain', false);
  if (relaxed) registers('relaxed', true);
  module.func('triad', {}, f => {
    f.for(0, arrayBytes, 64, at => {
      for (let u = 0; u < 64; u += 16) {
        const [a, b, c] = [0, 1, 2].map(k => i32.add(at, start + k * arrayBytes + u));
        f.do(v128.store(a, f32x4.add(v128.load(b), f32x4.mul(v128.load(c), f32x4.const(3)))));
      }
    });
  });
  return new WebAssembly.Module(module.bytes());
}

/** Runs a function `calls` times on every thread at once, a few rounds; the shortest round's seconds. */
async function timeOnAll(module: WebAssembly.Module, name: string, arg: number, threads: number): Promise<number> {
  const code = `
    const { workerData: { module, name, arg, pages, gate }, parentPort } = require('node:worker_threads');
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const f = new WebAssembly.Instance(module, { env: { memory, pow: Math.pow } }).exports[name];
    for (let i = 0; i < 3; i++) f(Math.ceil(arg / 4));
    let best = Infinity;
    for (let round = 1; round <= 8; round++) {
      Atomics.add(gate, 0, 1);
      while (Atomics.load(gate, 0) < round * ${threads});
      const t = performance.now();
      f(arg);
      Atomics.add(gate, 1, 1);
      while (Atomics.load(gate, 1) < round * ${threads});
      best = Math.min(best, performance.now() - t);
    }
    parentPort.postMessage(best / 1000);`;
  const gate = new Int32Array(new SharedArrayBuffer(8));
  const seconds = await Promise.all(
    Array.from(
      { length: threads },
      () =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(code, { eval: true, workerData: { module, name, arg, pages, gate } });
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
    ),
  );
  return Math.max(...seconds);
}

export async function measurePeak(threads: number): Promise<Peak> {
  const relaxed = detectRelaxedSimd();
  const module = build(relaxed);
  const n = 1_000_000;
  const operations = n * accumulators * unrolled * 4 * threads;
  const plain = operations / (await timeOnAll(module, 'plain', n, threads)) / 1e9;
  const fused = relaxed ? (2 * operations) / (await timeOnAll(module, 'relaxed', n, threads)) / 1e9 : null;
  const triad = (3 * arrayBytes * threads) / (await timeOnAll(module, 'triad', 0, threads)) / 1e9;
  return { threads, plain, relaxed: fused, triad };
}
