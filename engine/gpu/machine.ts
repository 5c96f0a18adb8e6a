/**
 * The device as the kernels see it: buffers, kernels, and a queue that runs commands in the order of the program.
 *
 * The engine's operations do not wait, gpu.js's calls do. So an operation only queues its command and returns a storage
 * whose buffer will be there when a later command needs it; frees are queued likewise, so the device holds at any
 * moment what the engine's scopes would hold. The first command that fails (a shader that does not compile, a lost
 * device) fails every later read: there are no values after it.
 */
import type { Storage, TypedArray } from '../backend.ts';
import type {
  Argument,
  DeviceContext,
  Gpu,
  GpuModule,
  GpuMode,
  Handle,
  Helper,
  Kernel,
  KernelSource,
  Thread,
  Values,
} from './gpujs.ts';

/** A buffer on the device, shared by what refers to it. */
interface Buffer {
  handle: Handle | null;
  /** How many dims the kernel had that made it. */
  rank: number;
  references: number;
}

/**
 * Floats live on the device. Indices (int32) live on the host, where they are checked, with a copy as floats made when
 * a kernel needs it.
 */
export interface GpuStorage extends Storage {
  readonly buffer: Buffer | null;
  readonly host: Int32Array<ArrayBuffer> | null;
  copy: GpuStorage | null;
}

/** A number that a kernel takes as a float; plain numbers are whole. */
export interface Real {
  readonly real: number;
}
/** A number as a float argument of a kernel: whole ones would be taken for integers. */
export const real = (value: number): Real => ({ real: value });

/** What a kernel is called with. */
export type KernelArgument = GpuStorage | number | Real;

/** Elements of a tensor. Textures are addressed by floats, which count every whole number up to 2²⁴. */
const mostElements = { webgpu: 2 ** 30, webgl2: 2 ** 24, webasm: 2 ** 24, cpu: 2 ** 24 };
/** Scalars and layouts kept on the device for the next use, at most. */
const mostConstants = 1024;

/** A device's copy of its argument: how values get there. */
function copy(this: Thread, x: Values): number {
  return x[this.thread.x];
}

/** The device: buffers, compiled kernels, and the queue of commands. */
export class Machine {
  readonly mode: GpuMode;
  private readonly gpu: Gpu;
  private readonly Input: GpuModule['Input'];
  /** By source and by the ranks of its arrays: WebGL2 has a class of texture for each, and a kernel takes one. */
  private readonly kernels = new Map<KernelSource, Map<string, Kernel>>();
  private readonly constants = new Map<string, GpuStorage>();
  private commands: (() => unknown)[] = [];
  private draining = false;
  private failure: Error | null = null;
  private live = 0;
  private device: DeviceContext['device'] | null = null;

  /** What kernels call: functions of whole numbers, and functions of floats. */
  constructor({ GPU, Input }: GpuModule, mode: GpuMode, wholeHelpers: readonly Helper[], helpers: readonly Helper[]) {
    this.mode = mode;
    this.Input = Input;
    this.gpu = new GPU({ mode: mode as never }) as Gpu;
    wholeHelpers.forEach(helper =>
      this.gpu.addFunction(helper, { argumentTypes: new Array(helper.length).fill('Integer'), returnType: 'Integer' }),
    );
    helpers.forEach(helper => this.gpu.addFunction(helper, {}));
  }

  /** Kernels compiled and buffers alive, once every command so far has run. */
  counts(): Promise<{ readonly kernels: number; readonly buffers: number }> {
    return new Promise(resolve => {
      this.enqueue(
        () =>
          resolve({ kernels: [...this.kernels.values()].reduce((n, made) => n + made.size, 0), buffers: this.live }),
        true,
      );
    });
  }

  /** Sends a few numbers there and back, and names the device. From here on its errors are ours. */
  async probe(): Promise<string> {
    const sent = [1.5, -2, 3];
    const x = this.upload(Float32Array.from(sent));
    const back = await this.read(x);
    if (back.join() !== sent.join())
      throw new Error(`gpu: mode '${this.mode}' gives ${back.join()} for ${sent.join()}`);
    const { handle } = x.buffer!;
    this.free(x);
    if (this.mode === 'webgpu') {
      const { adapter, device } = (handle as Exclude<Handle, Float32Array>).context!;
      this.device = device;
      device.addEventListener('uncapturederror', ({ error }) => {
        this.failure ??= new Error(`gpu: ${error.message}`);
      });
      const { vendor, architecture, description } = adapter.info;
      return [vendor, architecture, description].filter(part => part !== '').join(' ');
    }
    if (this.mode === 'webgl2') {
      const gl = this.variants(copy).get('')!.kernel.context as WebGL2RenderingContext;
      const names = gl.getExtension('WEBGL_debug_renderer_info');
      return String(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
    }
    return 'the processor (for tests)';
  }

  /** Gives the device back: without it a process does not end. Its buffers are gone. */
  close(): void {
    this.failure ??= new Error('gpu: the backend was closed');
    this.device?.destroy();
    if (this.mode !== 'webgpu') this.gpu.destroy();
  }

  /** Whether pipeline results stay on a device. */
  private get onDevice(): boolean {
    return this.mode === 'webgpu' || this.mode === 'webgl2';
  }

  /** Whether a thread may give several values that lie one after another in the buffer. Textures hold them apart. */
  get packs(): boolean {
    return this.mode === 'webgpu';
  }

  upload(values: TypedArray): GpuStorage {
    if (values instanceof Int32Array)
      return { dtype: 'int32', size: values.length, buffer: null, host: values.slice(), copy: null };
    if (!(values instanceof Float32Array)) throw new Error("upload: backend 'gpu' has no float64; it has float32");
    if (values.length !== 1) return this.send(values.slice());
    const [value] = values;
    return this.constant(Object.is(value, -0) ? '-0' : String(value), () => Float32Array.of(value));
  }

  /** An array that is the same in many calls (a scalar, a layout, angles), kept on the device under its name. */
  constant(name: string, values: () => Float32Array<ArrayBuffer>): GpuStorage {
    let kept = this.constants.get(name);
    if (!kept) {
      if (this.constants.size === mostConstants) {
        this.constants.forEach(old => this.free(old));
        this.constants.clear();
      }
      kept = this.send(values());
      this.constants.set(name, kept);
    }
    kept.buffer!.references++;
    return { ...kept };
  }

  filled(size: number, value: number): GpuStorage {
    return this.send(new Float32Array(size).fill(value));
  }

  private send(values: Float32Array<ArrayBuffer>): GpuStorage {
    const input = new this.Input(values as never, [values.length] as never);
    return this.output(values.length, buffer => this.call(copy, [values.length], [input], ['Input'], '', buffer));
  }

  /** The floats of a storage on the device. */
  floats(x: GpuStorage): GpuStorage {
    return x.host === null ? x : (x.copy ??= this.send(Float32Array.from(x.host)));
  }

  /**
   * Runs a kernel once for every element of an output of up to three dims, x fastest; `each` is how many values one
   * thread gives.
   */
  run(source: KernelSource, dims: readonly number[], args: readonly KernelArgument[], each = 1): GpuStorage {
    const size = dims.reduce((n, d) => n * d, each);
    const buffers = args.map(a => (typeof a === 'object' && 'size' in a ? this.floats(a).buffer : null));
    return this.output(size, buffer => {
      const values = args.map((a, i) => buffers[i]?.handle ?? (typeof a === 'number' ? a : (a as Real).real));
      const types = args.map((a, i) => (buffers[i] ? typeOf(values[i]) : typeof a === 'number' ? 'Integer' : 'Float'));
      const ranks = this.mode === 'webgl2' ? buffers.map(b => b?.rank).join() : '';
      return this.call(source, dims, values, types, ranks, buffer);
    });
  }

  private output(size: number, fill: (buffer: Buffer) => Promise<void>): GpuStorage {
    if (size > mostElements[this.mode])
      throw new RangeError(
        `gpu: a tensor of ${size} elements, where mode '${this.mode}' has at most ${mostElements[this.mode]}`,
      );
    const buffer: Buffer = { handle: null, rank: 1, references: 1 };
    if (size > 0) this.enqueue(() => fill(buffer));
    return { dtype: 'float32', size, buffer, host: null, copy: null };
  }

  private async call(
    source: KernelSource,
    dims: readonly number[],
    values: Argument[],
    types: string[],
    ranks: string,
    into: Buffer,
  ): Promise<void> {
    const variants = this.variants(source);
    let kernel = variants.get(ranks);
    const fresh = kernel === undefined;
    kernel ??= this.compile(source, dims, types);
    variants.set(ranks, kernel);
    kernel.setOutput(dims);
    const result = await kernel(...values);
    if (fresh) this.assertMode(kernel, source.name);
    into.handle = this.onDevice ? (result as Handle) : flat(result);
    into.rank = dims.length;
    if (this.packs) unpack(result as PackedHandle);
    this.live++;
  }

  private variants(source: KernelSource): Map<string, Kernel> {
    let variants = this.kernels.get(source);
    if (!variants) this.kernels.set(source, (variants = new Map()));
    return variants;
  }

  private compile(source: KernelSource, dims: readonly number[], types: string[]): Kernel {
    return this.gpu.createKernel(source, {
      output: dims,
      argumentTypes: types,
      pipeline: this.onDevice,
      immutable: this.onDevice,
      dynamicOutput: true,
      dynamicArguments: true,
      precision: 'single',
      // Without it WebGL2 takes a shader of lower precision for small outputs, and keeps the old size when it changes
      // to another.
      tactic: 'precision',
      // A loop that is bounded by an argument would stop at 1000 in silence.
      loopMaxIterations: 2 ** 30,
    });
  }

  /** gpu.js replaces a kernel that a mode cannot run by one on the CPU, and says nothing. */
  private assertMode({ kernel }: Kernel, name: string): void {
    const mode = modeOf(kernel);
    if (mode !== this.mode || kernel.fallbackReason) {
      throw new Error(
        `gpu: the kernel ${name} ran in gpu.js's mode '${mode}', not ` +
          `'${this.mode}'${kernel.fallbackReason ? `: ${kernel.fallbackReason}` : ''}`,
      );
    }
  }

  read(x: GpuStorage): Promise<TypedArray> {
    if (x.host !== null) return Promise.resolve(x.host.slice());
    if (x.size === 0) return Promise.resolve(new Float32Array(0));
    return new Promise((resolve, reject) => {
      this.enqueue(() => {
        if (this.failure) return reject(this.failure);
        const handle = x.buffer!.handle!;
        // Not awaited: the copy is in the device's queue already, so later commands may follow.
        const values = handle instanceof Float32Array ? handle : handle.toArray();
        Promise.resolve(values).then(v => (this.failure ? reject(this.failure) : resolve(flat(v).slice())), reject);
      }, true);
    });
  }

  free(x: GpuStorage): void {
    if (x.copy) this.free(x.copy);
    const { buffer } = x;
    if (!buffer || --buffer.references > 0) return;
    this.enqueue(() => {
      if (buffer.handle === null) return;
      if (!(buffer.handle instanceof Float32Array)) buffer.handle.delete();
      buffer.handle = null;
      this.live--;
    }, true);
  }

  private enqueue(command: () => unknown, always = false): void {
    this.commands.push(always ? command : () => (this.failure ? undefined : command()));
    if (!this.draining) void this.drain();
  }

  private async drain(): Promise<void> {
    this.draining = true;
    await Promise.resolve(); // the caller goes on first
    while (this.commands.length > 0) {
      const batch = this.commands;
      this.commands = [];
      for (const command of batch) {
        try {
          await command();
        } catch (error) {
          this.failure ??= error instanceof Error ? error : new Error(String(error));
        }
      }
    }
    this.draining = false;
  }
}

/** gpu.js names both versions of WebGL 'gpu'. */
function modeOf({ constructor: { mode }, context }: Kernel['kernel']): string {
  if (mode !== 'gpu') return mode;
  return context instanceof WebGL2RenderingContext ? 'webgl2' : 'webgl';
}

/** What gpu.js keeps of a WebGPU result. */
type PackedHandle = { output: number[]; componentCount: number };

/**
 * Several floats of a thread follow each other in a WebGPU buffer: flat, it is an array like any other, which gpu.js
 * would refuse as an argument.
 */
function unpack(handle: PackedHandle): void {
  handle.output = [handle.output.reduce((n, d) => n * d, handle.componentCount)];
  handle.componentCount = 1;
}

const typeOf = (handle: Argument): string =>
  handle instanceof Float32Array ? 'Array' : (handle as { type: string }).type;

/** Values of an output of any rank, in one array. */
function flat(values: unknown): Float32Array<ArrayBuffer> {
  if (values instanceof Float32Array) return values as Float32Array<ArrayBuffer>;
  const parts = (values as unknown[]).map(flat);
  const joined = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
