/**
 * Tensors and their lifetime.
 *
 * A tensor is a shape, a dtype and a reference to a buffer of some backend. Operations (`ops/`) never write into a
 * tensor; they make new ones. Buffers are not garbage collected: `scope` frees what its function made and did not
 * return, and `memory()` counts what is alive, so that a test can prove that nothing leaks.
 */
import {
  bytesPerElement,
  type Backend,
  type DType,
  type Shape,
  type Storage,
  type TypedArray,
  type View,
} from './backend.ts';
import { formatValues } from './print.ts';
import { checkShape, show, sizeOf } from './shape.ts';

/** @internal Values with a count of the tensors that read them: reshape and alias share, nobody writes. */
export interface Buffer {
  readonly backend: Backend;
  readonly dtype: DType;
  /** Of the tensors that read it. */
  references: number;
  /** Where the backend has the values, for the operation that is about to run. */
  storage(): Storage;
  /** A copy of the values, where it can be had without the backend (`parking.ts`). */
  read?(): TypedArray;
  /** Leaves the backend until the next use: a hint, when a reader has got its own values. */
  evict?(): void;
  /** Gives up all memory; no use after it. */
  free(): void;
}

/** Values that are in the backend's memory. */
function resident(backend: Backend, storage: Storage): Buffer {
  const bytes = storage.size * bytesPerElement[storage.dtype];
  account(bytes);
  return {
    backend,
    dtype: storage.dtype,
    references: 1,
    storage: () => storage,
    free() {
      account(-bytes);
      backend.free(storage);
    },
  };
}

/** For each input of an operation what makes the gradient with respect to it; null where there is none. */
export type Rules = readonly ((() => Tensor) | null)[];

/** How a tensor was computed: the record that `grad` walks. */
export interface Node {
  /** Of the operation. */
  readonly name: string;
  readonly inputs: readonly Tensor[];
  /** Grows with time, so it orders the graph. */
  readonly id: number;
  /**
   * The vector-Jacobian product from `g`, the gradient with respect to `output`; `needed` says which inputs want one.
   */
  vjp(g: Tensor, output: Tensor, needed: readonly boolean[]): Rules;
}

const live = { tensors: 0, bytes: 0 };
let peak = 0;
const scopes: Set<Tensor>[] = [];
let current: Backend | null = null;
let makeDefault: (() => Backend) | null = null;

/** Live tensors and the bytes of the buffers behind them, over all backends. */
export const memory = (): { tensors: number; bytes: number } => ({ ...live });

/** The most bytes that were alive at once since the last call. */
export function peakBytes(): number {
  const most = peak;
  peak = live.bytes;
  return most;
}

/** @internal Counts bytes that a backend has taken or, negative, given back. */
export function account(bytes: number): void {
  live.bytes += bytes;
  peak = Math.max(peak, live.bytes);
}

/** @internal Runs `fn` with separate counts, in which it starts with nothing; gives the most bytes alive in it. */
export function counted(fn: () => void): number {
  const [outside, outsidePeak] = [{ ...live }, peak];
  Object.assign(live, { tensors: 0, bytes: 0 });
  peak = 0;
  try {
    fn();
    return peak;
  } finally {
    Object.assign(live, outside);
    peak = outsidePeak;
  }
}

/** Tensors are made on this backend unless told otherwise; after `null` on the default one. */
export function setBackend(backend: Backend | null): void {
  current = backend;
}

/** @internal What `getBackend` makes when no backend was set. */
export function setDefaultBackend(make: () => Backend): void {
  makeDefault = make;
}

/** The backend that new tensors are made on; `auto` where none was set. */
export function getBackend(): Backend {
  current ??= makeDefault?.() ?? null;
  if (current === null)
    throw new Error('no backend is set: import the engine from engine/index, or call setBackend first');
  return current;
}

/** An array of numbers on a backend, with the record of how it was computed. Its operations are in `ops/`. */
export class Tensor {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly backend: Backend;
  /** Whether operations on this tensor are recorded for `grad`. */
  readonly requiresGrad: boolean;
  /** How this tensor was computed, or null for a leaf. */
  readonly node: Node | null;
  /** What `backward` has added up here; freed with the tensor or by `zeroGrad`. */
  grad: Tensor | null = null;
  private buffer: Buffer | null;

  /** @internal Made by `fromStorage`, `alias` and the creation functions below. */
  constructor(buffer: Buffer, shape: Shape, node: Node | null, requiresGrad: boolean) {
    this.buffer = buffer;
    this.backend = buffer.backend;
    this.dtype = buffer.dtype;
    this.shape = shape;
    this.node = node;
    this.requiresGrad = requiresGrad;
    live.tensors++;
    scopes.at(-1)?.add(this);
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  get freed(): boolean {
    return this.buffer === null;
  }

  /** @internal The values as a backend sees them; throws, naming `user`, if they were freed. */
  view(user: string): View {
    return { storage: this.live(user).storage(), shape: this.shape };
  }

  /** A tensor over the same buffer. */
  alias(shape: Shape = this.shape, node: Node | null = null, requiresGrad: boolean = node !== null): Tensor {
    const buffer = this.live('alias');
    buffer.references++;
    return new Tensor(buffer, shape, node, requiresGrad);
  }

  /** The same values, outside the graph. */
  detach(): Tensor {
    return this.alias();
  }

  /**
   * Takes over the values of `source`, which is freed: how an optimiser renews a parameter. Shapes and dtypes must
   * match.
   */
  assign(source: Tensor): void {
    const [from, to] = [source.live('assign'), this.live('assign')];
    if (sizeOf(source.shape) !== this.size || source.dtype !== this.dtype || source.backend !== this.backend) {
      throw new Error(`assign: ${source.describe()} does not fit ${this.describe()}`);
    }
    from.references++;
    source.dispose();
    to.evict?.();
    release(to);
    this.buffer = from;
  }

  /** The values, row-major. */
  async data(): Promise<TypedArray> {
    const buffer = this.live('data');
    return buffer.read?.() ?? this.backend.read(buffer.storage());
  }

  /** The values at once, on backends that can. */
  dataSync(): TypedArray {
    const { backend } = this;
    const waiting = this.live('dataSync').read?.();
    if (waiting) return waiting;
    if (!backend.readSync)
      throw new Error(`dataSync: backend '${backend.name}' reads asynchronously; use await tensor.data()`);
    return backend.readSync(this.live('dataSync').storage());
  }

  /** The value of a tensor with one element. */
  async item(): Promise<number> {
    if (this.size !== 1)
      throw new Error(`item: a tensor of shape ${show(this.shape)} does not have exactly one element`);
    return (await this.data())[0];
  }

  /** Frees the tensor now; a second call does nothing. */
  dispose(): void {
    if (this.buffer === null) return;
    live.tensors--;
    release(this.buffer);
    this.buffer = null;
    for (const scope of scopes) scope.delete(this);
    this.zeroGrad();
  }

  /** Takes the tensor out of every scope: it lives until `dispose`. */
  keep(): this {
    for (const scope of scopes) scope.delete(this);
    return this;
  }

  /** Frees what `backward` has added up in `grad`. */
  zeroGrad(): void {
    this.grad?.dispose();
    this.grad = null;
  }

  /** @internal One line for messages: dtype, shape and backend. */
  describe(): string {
    return `${this.dtype} tensor ${show(this.shape)} on ${this.backend.name}`;
  }

  /**
   * The values in PyTorch's manner, cut short, with shape, dtype and backend. Values of a backend that reads
   * asynchronously are left out, as are those of a freed tensor.
   */
  toString(): string {
    const facts = [`shape=${show(this.shape)}`, this.dtype, this.backend.name];
    if (this.requiresGrad) facts.push('requiresGrad');
    if (this.buffer === null) return `tensor(freed, ${facts.join(', ')})`;
    const readable = this.buffer.read !== undefined || this.backend.readSync !== undefined;
    const values = readable ? `${formatValues(this.dataSync(), this.shape)}, ` : 'tensor(';
    return `${values}${facts.join(', ')})`;
  }

  /** What `console.log` shows in Node. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  private live(user: string): Buffer {
    if (this.buffer === null) {
      throw new Error(
        `${user}: a tensor of shape ${show(this.shape)} was freed; return it from the scope that made it to keep it`,
      );
    }
    return this.buffer;
  }
}

function release(buffer: Buffer): void {
  if (--buffer.references === 0) buffer.free();
}

/** @internal A tensor over a fresh storage. */
export function fromStorage(
  backend: Backend,
  storage: Storage,
  shape: Shape,
  node: Node | null = null,
  requiresGrad = node !== null,
): Tensor {
  return new Tensor(resident(backend, storage), shape, node, requiresGrad);
}

/**
 * Runs `fn` and frees every tensor made in it, except those it returns (by themselves or anywhere inside arrays,
 * maps and objects). `fn` is synchronous: a scope cannot tell whose tensors are made while it waits.
 */
export function scope<R>(fn: () => R): R {
  const made = new Set<Tensor>();
  scopes.push(made);
  const kept = new Set<unknown>();
  try {
    const result = fn();
    if (result instanceof Promise)
      throw new Error('scope: the function returned a promise; read values after the scope, not inside it');
    collect(result, kept);
    return result;
  } finally {
    scopes.splice(scopes.indexOf(made), 1);
    for (const tensor of made) {
      if (kept.has(tensor)) scopes.at(-1)?.add(tensor);
      else tensor.dispose();
    }
  }
}

function collect(value: unknown, found: Set<unknown>): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || found.has(value)) return;
  found.add(value);
  if (value instanceof Tensor) return;
  const parts = value instanceof Map ? value.values() : value instanceof Set ? value : Object.values(value);
  for (const part of parts) collect(part, found);
}

/** How a tensor is made; missing: float32, the backend that is set, no gradient. */
export interface TensorOptions {
  readonly dtype?: DType;
  readonly backend?: Backend;
  /** Record operations on this tensor so that `grad` can differentiate with respect to it. */
  readonly requiresGrad?: boolean;
}

type Nested = number | readonly Nested[];

const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array };

/**
 * A tensor from a number, nested arrays (the shape is theirs) or a flat array with `shape`.
 * The dtype is that of a typed array, float32 otherwise.
 */
export function tensor(values: Nested | TypedArray, options: TensorOptions & { shape?: Shape } = {}): Tensor {
  const flat: number[] | TypedArray = ArrayBuffer.isView(values) ? values : [];
  const inferred = ArrayBuffer.isView(values) ? [values.length] : flatten(values, flat as number[]);
  const shape = options.shape ?? inferred;
  checkShape('tensor', shape);
  if (sizeOf(shape) !== flat.length) throw new Error(`tensor: ${flat.length} values do not fill shape ${show(shape)}`);
  const dtype = options.dtype ?? dtypeOf(values);
  const array = arrays[dtype];
  const backend = options.backend ?? getBackend();
  if (dtype !== 'int32' && !backend.floats.includes(dtype))
    throw new Error(`tensor: backend '${backend.name}' has no ${dtype}; it has ${backend.floats.join(', ')}`);
  if (dtype === 'int32' && options.requiresGrad) throw new Error('tensor: an int32 tensor has no gradient');
  return fromStorage(
    backend,
    backend.upload(flat instanceof array ? flat : array.from(flat)),
    [...shape],
    null,
    options.requiresGrad ?? false,
  );
}

function dtypeOf(values: Nested | TypedArray): DType {
  return values instanceof Float64Array ? 'float64' : values instanceof Int32Array ? 'int32' : 'float32';
}

/** Appends the numbers of nested arrays to `into` and returns the shape. */
function flatten(values: Nested, into: number[]): number[] {
  if (typeof values === 'number') {
    into.push(values);
    return [];
  }
  const shapes = values.map(v => flatten(v, into));
  if (!shapes.every(s => s.join() === shapes[0].join()))
    throw new Error('tensor: nested arrays are ragged: rows differ in length');
  return [values.length, ...(shapes[0] ?? [])];
}

/**
 * A float32 tensor whose values `write` puts in place, all of them: it spares the copy that `tensor` makes of an array.
 */
export function written(shape: Shape, write: (to: Float32Array) => void, options: TensorOptions = {}): Tensor {
  checkShape('written', shape);
  const { backend = getBackend(), requiresGrad = false } = options;
  if (backend.place) return fromStorage(backend, backend.place(sizeOf(shape), write), [...shape], null, requiresGrad);
  const values = new Float32Array(sizeOf(shape));
  write(values);
  return tensor(values, { shape, backend, requiresGrad });
}

/**
 * A tensor of one value everywhere, float32 unless `dtype` says otherwise. Memory is asked for before anything is
 * written: a shape that does not fit is an immediate error.
 */
export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  checkFits('full', shape, options);
  const { dtype = 'float32', backend = getBackend() } = options;
  const size = sizeOf(shape);
  if (dtype === 'float32' && backend.floats.includes(dtype)) return written(shape, to => to.fill(value), options);
  return tensor(new arrays[dtype](size).fill(value), { ...options, shape });
}

/** Where a backend names no limit: what one typed array can hold in today's engines. */
const mostBytes = 2 ** 32;

/** @internal Throws, naming `user`, where a shape is none or takes more memory than its backend has. */
export function checkFits(user: string, shape: Shape, options: TensorOptions): void {
  checkShape(user, shape);
  const { dtype = 'float32', backend = getBackend() } = options;
  const bytes = sizeOf(shape) * bytesPerElement[dtype];
  const limit = backend.memoryLimit ?? mostBytes;
  if (bytes > limit)
    throw new RangeError(`${user}: shape ${show(shape)} needs ${bytes} bytes; backend '${backend.name}' has ${limit}`);
}

/** A tensor of zeros; `full` says the rest. */
export const zeros = (shape: Shape, options?: TensorOptions): Tensor => full(shape, 0, options);
/** A tensor of ones; `full` says the rest. */
export const ones = (shape: Shape, options?: TensorOptions): Tensor => full(shape, 1, options);

/** 0, 1, … n−1; `full` says the rest. */
export function arange(n: number, options: TensorOptions = {}): Tensor {
  checkFits('arange', [n], options);
  return tensor(
    new arrays[options.dtype ?? 'float32'](n).map((_, i) => i),
    options,
  );
}
