/**
 * A rehearsal: code that runs on tensors without values, to learn how much memory it needs. Allocations, their order
 * and their sizes are those of the backend itself, which is the same code over a machine that runs no kernel; so a
 * forecast cannot drift from what it forecasts. It takes milliseconds where the run takes hours.
 */
import type { TypedArray } from './backend.ts';
import { counted, getBackend, setBackend } from './tensor.ts';
import { wasmBackend } from './wasm/index.ts';
import { Machine, type WasmStorage } from './wasm/machine.ts';

class HollowMachine extends Machine {
  constructor(threads: number) {
    super({ buffer: new ArrayBuffer(0), grow: () => 0 }, Infinity, { threads, run() {}, close() {} });
  }

  override upload(values: TypedArray): WasmStorage {
    return this.allocate(values instanceof Int32Array ? 'int32' : 'float32', values.length);
  }

  override place(size: number): WasmStorage {
    return this.allocate('float32', size);
  }

  override read(x: WasmStorage): TypedArray {
    return x.dtype === 'int32' ? new Int32Array(x.size) : new Float32Array(x.size);
  }
}

/** What a rehearsal has found. */
export interface Need {
  /** The most bytes of tensors alive at once, as `peakBytes` counts them. */
  readonly tensors: number;
  /** The most bytes of linear memory in use, with what rounding, packing and gaps between blocks take. */
  readonly memory: number;
}

/**
 * What `fn` needs on the backend `wasm` with so many threads. New tensors in it are on a backend without values, the
 * default one while it runs; what reads values gets zeros.
 */
export function rehearse(threads: number, fn: () => void): Need {
  const machine = new HollowMachine(threads);
  const backend = wasmBackend(machine, { arithmetic: 'none', description: 'rehearsal' });
  const before = getBackend();
  setBackend(backend);
  try {
    const tensors = counted(fn);
    return { tensors, memory: machine.mostBytes };
  } finally {
    setBackend(before);
  }
}
