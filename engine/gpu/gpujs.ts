/** What this backend uses of gpu.js, typed: gpu.js's own types leave out modes, pipeline results and their handles. */

/**
 * Modes of gpu.js. The first two are devices; `webasm` and `cpu` run the same kernels where there is none, for tests.
 */
export type GpuMode = 'webgpu' | 'webgl2' | 'webasm' | 'cpu';

/** A buffer or texture on the device that a kernel gave, or plain values in the modes without a device. */
export type Handle =
  | { toArray(): unknown; delete(): void; readonly type: string; readonly context?: DeviceContext }
  | Float32Array;

/** What a WebGPU handle knows of its device. */
export interface DeviceContext {
  readonly adapter: {
    readonly info: {
      readonly vendor: string;
      readonly architecture: string;
      readonly device: string;
      readonly description: string;
    };
  };
  readonly device: {
    addEventListener(
      type: 'uncapturederror',
      listener: (event: { readonly error: { readonly message: string } }) => void,
    ): void;
    destroy(): void;
  };
}

/** What a call of a kernel takes: a result on the device, a number, or values. */
export type Argument = Handle | number | object;

/** A compiled kernel. */
export interface Kernel {
  (...inputs: Argument[]): Promise<unknown>;
  setOutput(output: readonly number[]): void;
  /** The kernel that really runs: gpu.js may have replaced the one asked for. */
  readonly kernel: {
    readonly constructor: { readonly mode: string };
    readonly fallbackReason: string | null;
    readonly context?: object;
  };
}

/** How gpu.js is to compile a kernel. */
export interface KernelSettings {
  readonly output: readonly number[];
  readonly argumentTypes: readonly string[];
  readonly pipeline: boolean;
  readonly immutable: boolean;
  readonly dynamicOutput: true;
  readonly dynamicArguments: true;
  readonly precision: 'single';
  readonly tactic: 'precision';
  readonly loopMaxIterations: number;
}

/** An instance of gpu.js. */
export interface Gpu {
  createKernel(source: KernelSource, settings: KernelSettings): Kernel;
  addFunction(
    helper: Helper,
    settings: { readonly argumentTypes?: readonly string[]; readonly returnType?: string },
  ): void;
  destroy(): unknown;
}

/** A function that kernels call. */
export type Helper = (...args: never[]) => number;

/** The module `gpu.js`. It is handed to the backend, so that the engine imports it only where a GPU is requested. */
export interface GpuModule {
  readonly GPU: new (settings: { mode: never }) => unknown;
  readonly Input: new (values: never, size: never) => object;
}

/**
 * A kernel: what the thread (x, y, z) of an output (x fastest) computes, in the JavaScript that gpu.js translates. It
 * reads arrays flat. What gpu.js makes of it, and so how kernels here are written:
 * - locals are floats on a device, exact up to 2²⁴: they hold rows, columns and lines, and what may be larger, an index
 *   into a tensor, is made where it is used by functions of whole numbers (`indexing.ts`);
 * - loops from a literal count in integers (`i++`), others in floats (`i += 1`), and two loops of one function need two
 * counters;
 * - no index holds an array's element (WebGL2): that comes into a local first;
 * - an `if` with a block is never all of a loop's body: a bundler drops the loop's braces, and gpu.js then the `if`'s;
 * - an array `a` excludes the names `aSize` and `aDim` (WebGL2);
 * - a bundler may strip whitespace, but not rename or rewrite: gpu.js reads a kernel as text.
 */
export type KernelSource = (this: Thread, ...args: never[]) => number | readonly number[];
/** What `this` is inside a kernel. */
export interface Thread {
  readonly thread: { readonly x: number; readonly y: number; readonly z: number };
}
/** An array on the device. */
export type Values = readonly number[];
