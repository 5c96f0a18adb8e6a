/**
 * The backend `wasm`: kernels in WebAssembly SIMD, assembled at run time from TypeScript (`assembler/`), over one
 * linear memory. It has no .wasm file and no other toolchain, and is the default.
 *
 * Results are the same bit for bit on one machine and version of Node, for any number of threads. Without relaxed
 * SIMD they are the same on every machine; with it, a product may round once instead of twice where the hardware fuses.
 */
import type { Backend, DType, View } from '../backend.ts';
import { broadcast, map } from './elementwise.ts';
import { detectRelaxedSimd } from './features.ts';
import { fusedKernels } from './fused/index.ts';
import { concat, gather, oneHot, scatterAdd, strided } from './layout.ts';
import { Machine, singleThread, type KernelFunction, type WasmStorage } from './machine.ts';
import { matmul } from './matmul/index.ts';
import { threadPool } from './pool.ts';
import { compile } from './program.ts';
import { reduce } from './reduce.ts';
import { threadHost } from './threads.ts';

export { listing } from './program.ts';
export { OutOfMemory } from './allocator.ts';
export type { WasmStorage } from './machine.ts';

/** How the backend is made; missing: all memory, all features, all processors up to eight. */
export interface WasmOptions {
  /** Bytes of linear memory at most; 4 GiB less a page is the most there can be, and the default. */
  readonly memoryLimit?: number;
  /** Use relaxed SIMD's fused multiply-add; by default where the engine has it. */
  readonly relaxedSimd?: boolean;
  /** Threads for large kernels; by default the number of processors, at most 8. */
  readonly threads?: number;
}

/** More threads than this share one memory bus to little effect. */
const mostThreads = 8;
const pageBytes = 65536;
/** All of a 32-bit address space but the last page, so that pointers just past a block do not wrap. */
const mostPages = 65535;

/** Makes the backend; throws where an option asks for what the machine does not have. */
export function createWasmBackend({
  memoryLimit = mostPages * pageBytes,
  relaxedSimd = detectRelaxedSimd(),
  threads,
}: WasmOptions = {}): Backend<WasmStorage> {
  const maximumPages = Math.min(Math.floor(memoryLimit / pageBytes), mostPages);
  if (relaxedSimd && !detectRelaxedSimd())
    throw new Error(
      "wasm: relaxedSimd is not supported here; it needs Node 22 or newer, or V8's flag " +
        '--experimental-wasm-relaxed-simd',
    );
  if (!(maximumPages >= 1))
    throw new Error(`wasm: memoryLimit is ${memoryLimit} bytes; it must be at least ${pageBytes}`);
  const { processors, start, why } = threadHost();
  const count = start ? Math.max(1, Math.floor(threads ?? Math.min(processors, mostThreads))) : 1;
  const shared = count > 1;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: maximumPages, shared });
  const module = compile({ relaxedSimd, shared, maximumPages });
  const kernels = new WebAssembly.Instance(module, { env: { memory, pow: Math.pow } }).exports as Record<
    string,
    KernelFunction
  >;
  const machine = new Machine(
    memory,
    maximumPages * pageBytes,
    start && shared ? threadPool(start, module, memory, kernels, count) : singleThread(kernels),
  );
  const features = [
    'WebAssembly ' +
      `SIMD${relaxedSimd ? ' with relaxed multiply-add' : ' (relaxed multiply-add is not there or not wanted)'}`,
    `${count === 1 ? 'one thread' : `${count} threads over shared memory`} ` +
      `(${threads === undefined || !start ? why : 'as asked'})`,
    'float32',
    `at most ${Math.round((maximumPages * pageBytes) / 2 ** 20)} MiB`,
  ];

  return wasmBackend(machine, {
    arithmetic: relaxedSimd ? 'wasm, relaxed SIMD' : 'wasm, plain SIMD',
    memoryLimit: maximumPages * pageBytes,
    description: `wasm: ${features.join(', ')}`,
  });
}

/** @internal The backend over a machine. */
export function wasmBackend(
  machine: Machine,
  facts: { readonly arithmetic: string; readonly memoryLimit?: number; readonly description: string },
): Backend<WasmStorage> {
  const { kernels: fused, ...primitives } = computing(machine);
  return {
    name: 'wasm',
    arithmetic: facts.arithmetic,
    memoryLimit: facts.memoryLimit,
    floats: ['float32'],
    describe: () => facts.description,
    upload: values => machine.compacting(() => machine.upload(values)),
    place: (size, write) => machine.compacting(() => machine.place(size, write)),
    read: async x => machine.read(x),
    readSync: x => machine.read(x),
    free: x => machine.free(x),
    close: () => machine.close(),
    ...machine.allOrNothing(primitives),
    kernels: Object.fromEntries(Object.entries(fused).map(([name, kernel]) => [name, machine.allOrNothing(kernel)])),
  };
}

type Computing = Omit<
  Backend<WasmStorage>,
  | 'name'
  | 'arithmetic'
  | 'memoryLimit'
  | 'floats'
  | 'describe'
  | 'upload'
  | 'place'
  | 'read'
  | 'readSync'
  | 'free'
  | 'close'
>;

/** What makes storages from storages. */
function computing(machine: Machine): Computing {
  return {
    unary: (f, { storage }) => map(machine, f, storage),
    binary: (f, a, b, out) => broadcast(machine, f, [floats(f, a), floats(f, b)], out, 'float32'),
    where: (condition, a, b, out) => {
      const name = condition.storage.dtype === 'int32' ? 'whereInt' : 'where';
      return broadcast(machine, name, [condition, a, b], out, a.storage.dtype);
    },
    toFloat: (x, dtype) => {
      onlyFloat32('toFloat', dtype);
      return map(machine, x.storage.dtype === 'int32' ? 'toFloat' : 'copy', x.storage);
    },
    reduce: (f, { storage }, outer, n, inner) => reduce(machine, f, storage, outer, n, inner),
    matmul: (a, b, transposeA, transposeB, out) => matmul(machine, a, b, transposeA, transposeB, out),
    gather: (table, index) => gather(machine, table.storage, table.shape, index.storage),
    scatterAdd: (rows, index, n) => scatterAdd(machine, rows.storage, rows.shape.at(-1)!, index.storage, n),
    oneHot: (index, n, dtype) => {
      onlyFloat32('oneHot', dtype);
      return oneHot(machine, index.storage, n);
    },
    strided: (x, out, strides, offset) => strided(machine, x.storage, out, strides, offset),
    concat: (xs, outer, lengths, inner) =>
      concat(
        machine,
        xs.map(x => x.storage),
        outer,
        lengths,
        inner,
      ),
    kernels: fusedKernels(machine),
  };
}

function onlyFloat32(op: string, dtype: DType): void {
  if (dtype !== 'float32') throw new Error(`${op}: backend 'wasm' has no ${dtype}; it has float32`);
}

function floats(op: string, x: View<WasmStorage>): View<WasmStorage> {
  if (x.storage.dtype !== 'float32')
    throw new Error(`${op}: needs float32, got ${x.storage.dtype}; convert it with toFloat`);
  return x;
}
