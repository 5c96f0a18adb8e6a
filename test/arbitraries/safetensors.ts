/** Safetensors files as their writer sees them: named tensors of every dtype with numbers, and metadata. */

import fc from 'fast-check';
import type { TensorData } from '../../models/safetensors/write.ts';
import type { SafetensorsDType } from '../../models/safetensors/header.ts';
import { bfloat16ToFloat32, float16ToFloat32 } from '../../models/float16.ts';

export interface SafetensorsContent {
  readonly tensors: ReadonlyMap<
    string,
    TensorData & { readonly data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> }
  >;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Values that a dtype holds exactly, so that a file gives back what was written. */
const element: Partial<Record<SafetensorsDType, fc.Arbitrary<number>>> = {
  F32: fc.float(),
  F64: fc.float(),
  F16: fc.nat({ max: 0xffff }).map(bits => float16ToFloat32(Uint16Array.of(bits))[0]),
  BF16: fc.nat({ max: 0xffff }).map(bits => bfloat16ToFloat32(Uint16Array.of(bits))[0]),
  BOOL: fc.nat({ max: 1 }),
  U8: fc.nat({ max: 2 ** 8 - 1 }),
  U16: fc.nat({ max: 2 ** 16 - 1 }),
  U32: fc.nat({ max: 2 ** 31 - 1 }),
  U64: fc.nat({ max: 2 ** 31 - 1 }),
  I8: fc.integer({ min: -(2 ** 7), max: 2 ** 7 - 1 }),
  I16: fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }),
  I32: fc.integer(),
  I64: fc.integer(),
};

/** Any text; names that JavaScript objects treat in their own way come often. */
const name = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', '0', '12', '__proto__', 'constructor', '"', '\\', 'a\nb', 'é漢😀'),
);

const tensor = fc
  .record({
    dtype: fc.constantFrom(...(Object.keys(element) as SafetensorsDType[])),
    shape: fc.array(fc.nat({ max: 4 }), { maxLength: 4 }),
  })
  .chain(({ dtype, shape }) => {
    const size = shape.reduce((product, dimension) => product * dimension, 1);
    return fc.array(element[dtype]!, { minLength: size, maxLength: size }).map(values => ({
      dtype,
      shape,
      data: /F/.test(dtype) ? Float32Array.from(values) : Int32Array.from(values),
    }));
  });

export const safetensorsContent: fc.Arbitrary<SafetensorsContent> = fc.record({
  tensors: fc
    .uniqueArray(fc.tuple(name, tensor), { selector: ([key]) => key, maxLength: 6 })
    .map(entries => new Map(entries)),
  metadata: fc.dictionary(name, fc.string({ unit: 'binary' }), { maxKeys: 3 }),
});
