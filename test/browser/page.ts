/** What the tests run inside a page, bundled for it: `globalThis.inPage`. */
import { makeBackend, type BackendName } from '../../bench/browser/page/backends.ts';
import { createWasmBackend, matmul, noGrad, Random, scope, softmax, table, tensor, type Backend } from '../../engine/index.ts';
import { hash, hashStart, lossCurve, parity, sizes, type Parity } from './parity.ts';

/** Plain SIMD, whose bits do not depend on the machine. */
const wasm = (threads: number): Backend => createWasmBackend({ threads, relaxedSimd: false }) as unknown as Backend;

const made = new Map<BackendName, Backend>([['wasm', wasm(1)]]);

async function backendOf(name: BackendName): Promise<Backend> {
  const backend = made.get(name) ?? (await makeBackend(name));
  made.set(name, backend);
  return backend;
}

export interface Checked {
  /** Of the backend that ran. */
  readonly description: string;
  readonly rows: readonly Parity[];
}

/** Every row of the table. */
async function check(name: BackendName): Promise<Checked> {
  const backend = await backendOf(name);
  const rows: Parity[] = [];
  for (const op of table) rows.push(await parity(op, backend, sizes));
  return { description: backend.describe(), rows };
}

const curve = async (name: BackendName, steps: number): Promise<number[]> => lossCurve(await backendOf(name), steps);

/** Work that is worth several threads: a hash of softmax(A Bᵀ) for each round, with turns of the event loop between. */
async function large(threads: number, rounds: number): Promise<{ description: string; bits: number[] }> {
  const backend = wasm(threads);
  const random = new Random(5);
  const place = () => tensor(new Float32Array(300 * 400).map(() => random.normal()), { shape: [300, 400], backend });
  const [a, b] = [place(), place()];
  const bits: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const y = noGrad(() => scope(() => softmax(matmul(a, b, { transposeB: true }))));
    bits.push(hash(hashStart, await y.data()));
    y.dispose();
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  return { description: backend.describe(), bits };
}

export const inPage = { check, curve, large };

Object.assign(globalThis, { inPage });
