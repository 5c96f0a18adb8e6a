/**
 * One instance of the kernels' module over one linear memory: what the backend's functions use to place values and to
 * run kernels. Layout of the memory: the first 64 bytes stay unused, then the mailbox of the worker pool, the
 * constants of the module, and from `heapStart` on the blocks of the allocator.
 */
import type { DType, Storage, TypedArray } from '../backend.ts';
import { Allocator, OutOfMemory } from './allocator.ts';

/** Where constants of the module begin, in bytes; below are the mailbox and 64 unused bytes. */
export const constantsStart = 4096;
/** Where blocks of tensors begin, in bytes. */
export const heapStart = 16384;
const pageBytes = 65536;
/** Memory grows by at least this much: growing is a system call, untouched pages cost nothing. */
const leastGrowth = 16 * 1024 * 1024;

/** A block of linear memory. It may move between two calls of the backend, so a pointer is read within one call. */
export interface WasmStorage extends Storage {
  readonly dtype: 'float32' | 'int32';
  readonly pointer: number;
}

/** As this file sees it. */
type Movable = { -readonly [K in keyof WasmStorage]: WasmStorage[K] };

/** How a kernel's work is cut: into `items`, of which at least `grain` make a share worth a thread. */
export interface Split {
  readonly items: number;
  readonly grain: number;
}

/** A kernel as exported: its own arguments, then the items [from, to) and a workspace of this thread's own. */
export type KernelFunction = (...args: number[]) => void;

/** Runs shares of a kernel, on one thread or on several. */
export interface Runner {
  readonly threads: number;
  run(kernel: string, args: readonly number[], split: Split, work: number, workStride: number): void;
  /** Ends all threads but the calling one. */
  close(): void;
}

/** Runs kernels on the calling thread. */
export const singleThread = (kernels: Readonly<Record<string, KernelFunction>>): Runner => ({
  threads: 1,
  run: (kernel, args, { items }, work) => kernels[kernel](...args, 0, items, work),
  close: () => {},
});

/** The memory with its tensors, and the threads that run kernels on it. */
export class Machine {
  readonly memory: Pick<WebAssembly.Memory, 'buffer' | 'grow'>;
  private readonly allocator: Allocator;
  private readonly runner: Runner;
  private floatHeap: Float32Array;
  private intHeap: Int32Array;
  private work = 0;
  private workBytes = 0;
  /** All blocks, by their places. */
  private storages = new Map<number, Movable>();
  /** Blocks allocated by the call that is running; see `allOrNothing`. */
  private made = new Set<WasmStorage>();

  constructor(memory: Machine['memory'], limit: number, runner: Runner) {
    this.memory = memory;
    this.runner = runner;
    this.floatHeap = new Float32Array(memory.buffer);
    this.intHeap = new Int32Array(memory.buffer);
    this.allocator = new Allocator(heapStart, limit, bytes => this.grow(bytes, limit));
  }

  get threads(): number {
    return this.runner.threads;
  }

  get usedBytes(): number {
    return this.allocator.used;
  }

  /** The most bytes of the memory that were handed out at once, gaps between blocks included. */
  get mostBytes(): number {
    return this.allocator.most;
  }

  allocate(dtype: DType, size: number): WasmStorage {
    if (dtype === 'float64') throw new Error("backend 'wasm' has no float64");
    const pointer = this.allocator.allocate(size * 4);
    const x: Movable = { dtype, size, pointer };
    this.storages.set(pointer, x);
    this.made.add(x);
    return x;
  }

  free(x: WasmStorage): void {
    this.made.delete(x);
    this.allocator.free(x.pointer);
    this.storages.delete(x.pointer);
  }

  /** Lets a block live on when the call that allocated it fails. */
  keep(x: WasmStorage): WasmStorage {
    this.made.delete(x);
    return x;
  }

  /**
   * The same functions; one that fails frees every block it has allocated. One that runs out of memory, or would take
   * much more than its tensors need, is called again with all blocks moved together.
   */
  allOrNothing<F extends object>(functions: F): F {
    const wrap =
      (fn: (...args: unknown[]) => unknown) =>
      (...args: unknown[]) =>
        this.compacting(() => {
          this.made.clear();
          try {
            return fn(...args);
          } catch (error) {
            for (const x of this.made) this.free(x);
            throw error;
          }
        });
    return Object.fromEntries(Object.entries(functions).map(([name, fn]) => [name, wrap(fn)])) as F;
  }

  /** Calls `work`, which leaves nothing behind if it fails; once more with all blocks moved together, if that helps. */
  compacting<R>(work: () => R): R {
    this.allocator.thrifty = true;
    try {
      return work();
    } catch (error) {
      if (!(error instanceof OutOfMemory) || !this.allocator.fitsCompacted(error.requested)) throw error;
    } finally {
      this.allocator.thrifty = false;
    }
    this.compact();
    return work();
  }

  private compact(): void {
    const moved = new Map<number, Movable>();
    for (const { from, to, bytes } of this.allocator.compact()) {
      this.floatHeap.copyWithin(to / 4, from / 4, (from + bytes) / 4);
      const x = this.storages.get(from);
      if (x === undefined) {
        this.work = to; // the only block that is no storage
        continue;
      }
      this.storages.delete(from);
      x.pointer = to;
      moved.set(to, x);
    }
    for (const [pointer, x] of moved) this.storages.set(pointer, x);
  }

  /** Memory that `use` may write to while it runs. */
  scratch<R>(bytes: number, use: (pointer: number) => R): R {
    const pointer = this.allocator.allocate(bytes);
    try {
      return use(pointer);
    } finally {
      this.allocator.free(pointer);
    }
  }

  upload(values: TypedArray): WasmStorage {
    if (values instanceof Float64Array)
      throw new Error("backend 'wasm' has no float64; make the tensor with dtype float32");
    const x = this.allocate(values instanceof Int32Array ? 'int32' : 'float32', values.length);
    this.view(x).set(values);
    return x;
  }

  /** A storage that `write` fills where it lies. */
  place(size: number, write: (to: Float32Array) => void): WasmStorage {
    const x = this.allocate('float32', size);
    try {
      write(this.floats(x.pointer, size));
    } catch (error) {
      this.free(x);
      throw error;
    }
    return x;
  }

  read(x: WasmStorage): TypedArray {
    const copy = x.dtype === 'int32' ? new Int32Array(x.size) : new Float32Array(x.size);
    copy.set(this.view(x));
    return copy;
  }

  /** The values where they are; valid until the memory grows. */
  view(x: WasmStorage): Float32Array | Int32Array {
    return x.dtype === 'int32' ? this.ints(x.pointer, x.size) : this.floats(x.pointer, x.size);
  }

  floats(pointer: number, size: number): Float32Array {
    return this.floatHeap.subarray(pointer / 4, pointer / 4 + size);
  }

  ints(pointer: number, size: number): Int32Array {
    return this.intHeap.subarray(pointer / 4, pointer / 4 + size);
  }

  /** Runs a kernel over [0, split.items), with `workBytes` of workspace for each thread. */
  run(kernel: string, args: readonly number[], split: Split, workBytes = 64): void {
    if (split.items === 0) return;
    const stride = Math.ceil(workBytes / 64) * 64;
    if (stride > this.workBytes) {
      if (this.work) this.allocator.free(this.work);
      [this.work, this.workBytes] = [0, 0]; // stays so if there is no room
      this.work = this.allocator.allocate(stride * this.runner.threads);
      this.workBytes = stride;
    }
    this.runner.run(kernel, args, split, this.work, this.workBytes);
  }

  /** Ends the threads. */
  close(): void {
    this.runner.close();
  }

  private grow(bytes: number, limit: number): boolean {
    const have = this.memory.buffer.byteLength;
    if (bytes <= have) return true;
    const wanted = Math.min(Math.max(bytes, have + leastGrowth), limit);
    try {
      this.memory.grow(Math.ceil((wanted - have) / pageBytes));
    } catch {
      return false; // the system has no more to give
    }
    this.floatHeap = new Float32Array(this.memory.buffer);
    this.intHeap = new Int32Array(this.memory.buffer);
    return true;
  }
}
