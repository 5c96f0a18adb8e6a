/**
 * What the tests of the backend share: the backend under test, the reference, values, and tolerances by size of sum.
 */
import { expect } from 'vitest';
import type { Backend, Shape, Storage, TypedArray, View } from '../../../engine/backend.ts';
import { createReferenceBackend } from '../../../engine/index.ts';
import { sizeOf } from '../../../engine/shape.ts';
import { createWasmBackend, type WasmStorage } from '../../../engine/wasm/index.ts';
import { randomOfTests } from '../../random.ts';

export const wasm = createWasmBackend({ threads: 1 });
export const reference = createReferenceBackend();
export const random = randomOfTests('wasm');

export const normals = (shape: Shape): Float32Array<ArrayBuffer> =>
  new Float32Array(sizeOf(shape)).map(() => random.normal());
export const indices = (size: number, n: number): Int32Array<ArrayBuffer> =>
  new Int32Array(size).map(() => random.integer(n));

export interface Values {
  readonly values: TypedArray;
  readonly shape: Shape;
}

/** Runs `fn` on a backend with the values placed there, reads the result and frees everything. */
export function on<S extends Storage>(
  backend: Backend<S>,
  inputs: readonly Values[],
  fn: (backend: Backend<S>, views: View<S>[]) => S,
): TypedArray {
  const views = inputs.map(x => ({ storage: backend.upload(x.values), shape: x.shape }));
  const result = fn(backend, views);
  const values = backend.readSync!(result);
  for (const storage of new Set([...views.map(v => v.storage), result])) backend.free(storage);
  return values;
}

type Both = <S extends Storage>(backend: Backend<S>, views: View<S>[]) => S;

/** The unit roundoff of float32. */
export const unit = 2 ** -24;

/**
 * Holds `wasm` against the reference in double precision. `tolerance` is in units of roundoff, relative to `scale`
 * (per element; by default the size of the reference's value). NaN and infinities must agree exactly.
 */
export function expectParity(
  inputs: readonly Values[],
  fn: Both,
  tolerance: number,
  scale?: (i: number) => number,
): void {
  const actual = on(wasm, inputs, fn as (b: Backend<WasmStorage>, v: View<WasmStorage>[]) => WasmStorage);
  const exact = on(
    reference,
    inputs.map(x => ({ ...x, values: x.values instanceof Float32Array ? Float64Array.from(x.values) : x.values })),
    fn,
  );
  expectClose(actual, exact, tolerance, scale);
}

export function expectClose(
  actual: ArrayLike<number>,
  exact: ArrayLike<number>,
  tolerance: number,
  scale: (i: number) => number = i => Math.abs(exact[i]),
): void {
  expect(actual.length).toBe(exact.length);
  for (let i = 0; i < actual.length; i++) {
    const [a, e] = [actual[i], Math.fround(exact[i])];
    if (Object.is(a, e) || a === e) continue;
    const error = Math.abs(a - exact[i]);
    if (!(error <= tolerance * unit * scale(i) + 1e-45))
      expect.fail(
        `element ${i}: ${a}, should be ${exact[i]}; off by ${error / (unit * scale(i))} roundoffs where ` +
          `${tolerance} are allowed`,
      );
  }
}
