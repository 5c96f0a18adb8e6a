/**
 * The contract between the engine and a machine: what a backend must do, and no more.
 *
 * It is: a small set of functions on flat, contiguous, row-major buffers with static shapes. Shapes arrive
 * checked, outputs are fresh, inputs are never written. Broadcasting, differentiation, scopes and names of
 * operations live above, in `tensor.ts`, `autograd.ts` and `ops/`.
 *
 * It is not: a graph, a compiler or an allocator policy. A backend that can do better than a composition of these
 * primitives offers `kernels`, keyed by the name of an operation; the operation's definition in primitives stays the
 * kernel's specification, and `test/engine/wasm/table.test.ts` holds one against the other.
 *
 * Calls are synchronous and only `read` waits, so a device may queue its work.
 */

/** Types of elements. Gradients exist for the floats; int32 holds indices. */
export type DType = 'float32' | 'float64' | 'int32';
/** Lengths of the dims, outermost first; [] is a scalar. */
export type Shape = readonly number[];
/** Values on the host, one type for each dtype. */
export type TypedArray = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** A backend's handle on the values of a tensor. Backends extend it with where the values are. */
export interface Storage {
  readonly dtype: DType;
  /** Number of elements. */
  readonly size: number;
}

/** Values and how to read them: contiguous, row-major. */
export interface View<S extends Storage = Storage> {
  readonly storage: S;
  readonly shape: Shape;
}

/** Functions of one float: 7 primitives. `erf` is the error function. */
export type Unary = 'exp' | 'log' | 'sqrt' | 'tanh' | 'erf' | 'sin' | 'cos';

/** Functions of two floats of one dtype: 8 primitives. `equal` and `less` give 1 or 0; `maximum` propagates NaN. */
export type Binary = 'add' | 'sub' | 'mul' | 'div' | 'maximum' | 'pow' | 'equal' | 'less';

/** Reductions: 2 primitives. `max` propagates NaN. Sums err no more than pairwise summation does. */
export type Reduction = 'sum' | 'max';

/** A machine that computes. S is its handle on values. */
export interface Backend<S extends Storage = Storage> {
  readonly name: string;
  /**
   * Dtypes that floating-point primitives accept. int32 (indices) is always accepted by gather, scatterAdd, oneHot,
   * toFloat, strided, concat.
   */
  readonly floats: readonly DType[];
  /** One line for people: what runs, with which features, and why. */
  describe(): string;
  /** What the bits of a result depend on: on one machine, backends of one `arithmetic` give the same bits. */
  readonly arithmetic: string;
  /** Bytes of tensors that can be alive at once, where the backend has its own limit. */
  readonly memoryLimit?: number;

  // Storage: 3 primitives, and a synchronous read where the machine has one.
  /** Copies `values` in. */
  upload(values: TypedArray): S;
  /** A float32 storage whose values `write` puts in place, where the machine can spare the copy that `upload` makes. */
  place?(size: number, write: (to: Float32Array) => void): S;
  /** Copies the values out. */
  read(x: S): Promise<TypedArray>;
  readSync?(x: S): TypedArray;
  free(x: S): void;
  /** Gives back what outlives the tensors: threads, a device. Only `free` may be called after it. */
  close?(): void;

  // Elementwise: `out` is the NumPy broadcast of the input shapes.
  unary(f: Unary, x: View<S>): S;
  binary(f: Binary, a: View<S>, b: View<S>, out: Shape): S;
  /** condition ≠ 0 ? a : b. */
  where(condition: View<S>, a: View<S>, b: View<S>, out: Shape): S;
  /** int32 → float. */
  toFloat(x: View<S>, dtype: DType): S;

  /**
   * Reduces the middle of a buffer seen as (outer, n, inner) to (outer, inner). The empty sum is 0, the empty max −∞.
   */
  reduce(f: Reduction, x: View<S>, outer: number, n: number, inner: number): S;

  /**
   * Batched product over the last two dims, either operand transposed in place of a copy:
   * a (…, m, k) or, transposed, (…, k, m); b (…, k, n) or (…, n, k); batch dims broadcast; out (…, m, n).
   */
  matmul(a: View<S>, b: View<S>, transposeA: boolean, transposeB: boolean, out: Shape): S;

  /**
   * Rows of `table` (n, width) named by `index` (int32, any shape): (index size, width). An index outside [0, n) is a
   * RangeError.
   */
  gather(table: View<S>, index: View<S>): S;
  /**
   * The adjoint of gather: sums `rows` (index size, width) into (n, width) by `index`; order of addition is by
   * position, so it is reproducible.
   */
  scatterAdd(rows: View<S>, index: View<S>, n: number): S;
  /** (index size, n): 1 at the index, 0 elsewhere. A negative index gives a row of zeros; index ≥ n is a RangeError. */
  oneHot(index: View<S>, n: number, dtype: DType): S;

  // Layout: 2 primitives.
  /**
   * Copies a strided view out, contiguous: out[i…] = x[offset + Σ i·strides]. Transpose, slice and broadcast are cases
   * of it.
   */
  strided(x: View<S>, out: Shape, strides: readonly number[], offset: number): S;
  /** Joins views (outer, nᵢ, inner) along the middle: (outer, Σ nᵢ, inner). `lengths` are the nᵢ. */
  concat(xs: readonly View<S>[], outer: number, lengths: readonly number[], inner: number): S;

  /** Fast kernels, each overriding the definition of the operation of that name. */
  readonly kernels: Readonly<Record<string, Kernel<S>>>;
}

/** A backend's own version of a fused operation. Attributes are the operation's; outputs are fresh buffers. */
export interface Kernel<S extends Storage = Storage> {
  /** May decline (null) what it does not cover, for instance a dtype; the definition then runs. */
  forward?(inputs: readonly View<S>[], attributes: never, out: Shape): S | null;
  /** Gradients with respect to every input (null where there is none to give), or null to decline. */
  vjp?(gradient: View<S>, inputs: readonly View<S>[], output: View<S>, attributes: never): readonly (S | null)[] | null;
}

/** Bytes that one element takes. */
export const bytesPerElement: Readonly<Record<DType, number>> = { float32: 4, float64: 8, int32: 4 };
