/** What the tests run inside a page, bundled for it: `globalThis.inPage`. */
import { makeBackend, type BackendName } from '../../bench/browser/page/backends.ts';
import {
  createWasmBackend,
  matmul,
  mul,
  noGrad,
  ones,
  Random,
  scope,
  softmax,
  ops,
  tensor,
  type Backend,
} from '../../engine/index.ts';
import { hash, hashStart, lossCurve, parity, type Parity } from '../engine/parity.ts';

/** Plain SIMD, whose bits do not depend on the machine. */
const wasm = (threads: number): Backend => createWasmBackend({ threads, relaxedSimd: false });

const made = new Map<BackendName, Backend>([['wasm', wasm(1)]]);

async function backendOf(name: BackendName): Promise<Backend> {
  const backend = made.get(name) ?? (await makeBackend(name));
  made.set(name, backend);
  return backend;
}

/**
 * How often this page has asked a device to run something: where kernels ran, without taking the backend's word for it.
 */
const submissions = { webgpu: 0, webgl2: 0 };

function count<T extends object>(
  name: keyof typeof submissions,
  type: { prototype: T } | undefined,
  method: keyof T,
): void {
  if (!type) return;
  const original = type.prototype[method] as (...args: unknown[]) => unknown;
  type.prototype[method] = function (this: T, ...args: unknown[]) {
    submissions[name]++;
    return original.apply(this, args);
  } as T[keyof T];
}
count('webgpu', (globalThis as { GPUQueue?: { prototype: { submit: unknown } } }).GPUQueue, 'submit');
count('webgl2', WebGL2RenderingContext, 'drawArrays');

export interface Checked {
  /** Of the backend that ran. */
  readonly description: string;
  readonly rows: readonly Parity[];
  readonly submissions: Readonly<typeof submissions>;
}

/** Every row of the table, at some sizes. */
async function check(name: BackendName, of: readonly number[]): Promise<Checked> {
  const backend = await backendOf(name);
  const before = { ...submissions };
  const rows: Parity[] = [];
  for (const op of ops) rows.push(await parity(op, backend, of));
  return {
    description: backend.describe(),
    rows,
    submissions: { webgpu: submissions.webgpu - before.webgpu, webgl2: submissions.webgl2 - before.webgl2 },
  };
}

/** Elements that are wrong when the same kernels make matrices of whole numbers of growing and shrinking sizes. */
async function wrongAfterResizing(name: BackendName): Promise<number> {
  const backend = await backendOf(name);
  let wrong = 0;
  for (const n of [3, 300, 20, 500]) {
    const [doubled, product] = noGrad(() =>
      scope(() => {
        const x = tensor(
          new Float32Array(n * n).map((_, i) => i),
          { shape: [n, n], backend },
        );
        return [mul(x, 2), matmul(ones([n, 1], { backend }), ones([1, n], { backend }))];
      }),
    );
    wrong += Array.from(await doubled.data()).filter((v, i) => v !== 2 * i).length;
    wrong += Array.from(await product.data()).filter(v => v !== 1).length;
    [doubled, product].forEach(t => t.dispose());
  }
  return wrong;
}

const curve = async (name: BackendName, steps: number): Promise<number[]> => lossCurve(await backendOf(name), steps);

/** Work that is worth several threads: a hash of softmax(A Bᵀ) for each round, with turns of the event loop between. */
async function large(threads: number, rounds: number): Promise<{ description: string; bits: number[] }> {
  const backend = wasm(threads);
  const random = new Random(5);
  const place = () =>
    tensor(
      new Float32Array(300 * 400).map(() => random.normal()),
      { shape: [300, 400], backend },
    );
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

export const inPage = { check, curve, large, wrongAfterResizing };

Object.assign(globalThis, { inPage });
