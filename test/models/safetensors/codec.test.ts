/** Bytes of floats: NaN and infinities are found among them, in every dtype and at every place. */
import { expect, test } from 'vitest';
import { areFinite, FLOAT_CODECS } from '../../../models/safetensors/codec.ts';
import { DTYPE_BYTES } from '../../../models/safetensors/header.ts';
import { randomOfTests } from '../../random.ts';

const dtypes = ['F32', 'F64', 'F16', 'BF16'] as const;
const random = randomOfTests('codec');
const bytesOf = (array: ArrayBufferView<ArrayBuffer>) => new Uint8Array(array.buffer, 0, array.byteLength);

test.each(['F16', 'BF16'] as const)('every value of %s, alone and beside another', dtype => {
  const out = new Float32Array(1);
  for (let bits = 0; bits < 2 ** 16; bits++) {
    const one = Uint16Array.of(bits);
    FLOAT_CODECS[dtype]!.decode(one.buffer, out);
    const finite = Number.isFinite(out[0]);
    for (const array of [one, Uint16Array.of(bits, 1), Uint16Array.of(0x8001, bits), Uint16Array.of(0, 0, bits)])
      if (areFinite(dtype, bytesOf(array)) !== finite) expect.fail(`${[...array]} as ${dtype}`);
  }
});

test.each(dtypes)('any bits as %s, and what is not finite at any place', dtype => {
  for (let trial = 0; trial < 2000; trial++) {
    const n = 1 + random.integer(7);
    const words = Int32Array.from({ length: Math.ceil((n * DTYPE_BYTES[dtype]) / 4) }, () => random.word());
    const bytes = new Uint8Array(words.buffer, 0, n * DTYPE_BYTES[dtype]);
    // Not as float32, to which a float64 can be too large.
    const values = dtype === 'F64' ? new Float64Array(words.buffer) : new Float32Array(n);
    if (values instanceof Float32Array) FLOAT_CODECS[dtype]!.decode(words.buffer, values);
    expect(areFinite(dtype, bytes)).toBe(values.every(Number.isFinite));

    const floats = Float32Array.from({ length: n }, () => random.normal());
    expect(areFinite(dtype, bytesOf(FLOAT_CODECS[dtype]!.encode(floats)!))).toBe(true);
    floats[random.integer(n)] = [NaN, Infinity, -Infinity][random.integer(3)];
    expect(areFinite(dtype, bytesOf(FLOAT_CODECS[dtype]!.encode(floats)!))).toBe(false);
  }
  expect(areFinite(dtype, new Uint8Array())).toBe(true);
});
