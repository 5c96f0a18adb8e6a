/** What the tests run inside a page, bundled for it: `globalThis.inPage`. */
import { createWasmBackend, matmul, noGrad, Random, scope, softmax, table, tensor, type Backend } from '../../engine/index.ts';
import { hash, hashStart, parity, sizes, type Parity } from './parity.ts';

export interface Checked {
  /** Of the backend that ran. */
  readonly description: string;
  readonly rows: readonly Parity[];
}

async function check(backend: Backend): Promise<Checked> {
  const rows: Parity[] = [];
  for (const op of table) rows.push(await parity(op, backend, sizes));
  return { description: backend.describe(), rows };
}

/** Plain SIMD, whose bits do not depend on the machine. */
const wasm = (threads: number): Backend => createWasmBackend({ threads, relaxedSimd: false }) as unknown as Backend;

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

export const inPage = { wasm: (): Promise<Checked> => check(wasm(1)), large };

Object.assign(globalThis, { inPage });
