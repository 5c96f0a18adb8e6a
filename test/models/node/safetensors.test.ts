/**
 * Safetensors: what is written is read, as every other program reads it; and no file, however hostile, gives half an
 * object.
 */

import { mkdir, readFile, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../../models/sha256.ts';
import { sha256File } from '../../../models/node/files.ts';
import { UserError } from '../../../models/errors.ts';
import { DTYPE_BYTES } from '../../../models/safetensors/header.ts';
import { openCheckpoint, readSafetensors, writeSafetensors } from '../../../models/node/safetensors.ts';
import { safetensorsFromBytes } from '../../../models/safetensors/source.ts';
import { type TensorData } from '../../../models/safetensors/write.ts';
import { safetensorsContent } from '../../arbitraries/safetensors.ts';
import { refusal, temporaryDirectory } from '../temporary.ts';
import { cpuTime } from '../../cpu.ts';

const directory = temporaryDirectory();
const path = join(directory, 'a.safetensors');

/** A file from its header's JSON and its data, however wrong. */
async function fileOf(header: unknown, dataBytes = 0, target = path): Promise<string> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await writeFile(target, Buffer.concat([length, json, Buffer.alloc(dataBytes)]));
  return target;
}

const small: Record<string, TensorData> = {
  a: { dtype: 'F32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  b: { dtype: 'I64', shape: [2], data: Int32Array.of(-1, 7) },
};

describe('writing', () => {
  test('an element takes as many bits as its name says', () => {
    for (const [dtype, bytes] of Object.entries(DTYPE_BYTES))
      expect([dtype, 8 * bytes]).toEqual([dtype, Number(/\d+/.exec(dtype)?.[0] ?? 8)]);
  });

  test('read(write(x)) = x for all names, shapes, dtypes and metadata, in the order given', async () => {
    await fc.assert(
      fc.asyncProperty(safetensorsContent, async ({ tensors, metadata }) => {
        await writeSafetensors(path, tensors, metadata);
        const file = await readSafetensors(path);
        expect([...file.tensors.keys()]).toEqual([...tensors.keys()]);
        expect(file.metadata).toEqual(new Map(Object.entries(metadata)));
        for (const [name, { dtype, shape, data }] of tensors) {
          expect(file.tensors.get(name)).toMatchObject({ dtype, shape });
          expect(await file.read(name)).toEqual(data);
        }
      }),
    );
  });

  test('gives these bytes', async () => {
    await writeSafetensors(path, { x: { dtype: 'BF16', shape: [2], data: Float32Array.of(1, -2) } }, { by: 'us' });
    const header = '{"__metadata__":{"by":"us"},"x":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}';
    expect(await readFile(path, 'latin1')).toBe(`\x58\0\0\0\0\0\0\0${header.padEnd(88)}\x80\x3f\x00\xc0`);
  });

  test('copies bytes from another file, in blocks', async () => {
    const large = Float32Array.from({ length: 2 ** 21 + 5 }, (_, i) => i); // a block and some of a second
    await writeSafetensors(path, { large: { dtype: 'F32', shape: [large.length], data: large }, ...small });
    const file = await readSafetensors(path);
    const copy = join(directory, 'copy.safetensors');
    await writeSafetensors(
      copy,
      new Map(
        [...file.tensors].map(([name, { dtype, shape }]) => [name, { dtype, shape, data: () => file.blocks(name) }]),
      ),
    );
    expect(await sha256File(copy)).toBe(await sha256File(path));
    expect(sha256(new Uint8Array((await file.readFloats('large')).buffer))).toBe(sha256(new Uint8Array(large.buffer)));
  });

  test.each(['F32', 'F16', 'BF16', 'F64', 'I32'] as const)(
    'chunks of numbers become %s as an array does',
    async dtype => {
      const values = dtype === 'I32' ? Int32Array.of(1, -2, 3, 4, 5) : Float32Array.of(1, -2, 0.5, 4, 5);
      const tensor = { dtype, shape: [5] };
      const chunks = function* () {
        for (const part of [values.subarray(0, 2), values.subarray(2, 5)]) yield part;
      };
      const [whole, inTurn] = [join(directory, 'whole'), join(directory, 'in-turn')];
      await writeSafetensors(whole, { x: { ...tensor, data: values } });
      await writeSafetensors(inTurn, { x: { ...tensor, data: chunks } });
      expect(await sha256File(inTurn)).toBe(await sha256File(whole));
    },
  );

  test.each([
    [
      'a length that is not the shape',
      { dtype: 'F32', shape: [3], data: new Float32Array(2) },
      'x: 2 values for the shape [3] of F32',
    ],
    [
      'a dimension that is not whole',
      { dtype: 'F32', shape: [0.5, 4], data: new Float32Array(2) },
      'x: [0.5, 4] is not a shape',
    ],
    ['ints as floats', { dtype: 'F32', shape: [2], data: new Int32Array(2) }, 'x: F32 does not hold Int32Array'],
    ['too few bytes', { dtype: 'F32', shape: [2], data: () => [new Uint8Array(4)] }, 'x: 4 bytes were given for 8'],
    [
      'a chunk of ints as floats',
      { dtype: 'F32', shape: [2], data: () => [new Int32Array(2)] },
      'x: F32 does not hold Int32Array',
    ],
    [
      'a float too large for F16, in a chunk',
      { dtype: 'F16', shape: [1], data: () => [Float32Array.of(65520)] },
      `${path}: tensor "x" holds a value that F16 cannot; write a wider dtype`,
    ],
    [
      'a float too large for F16',
      { dtype: 'F16', shape: [1], data: Float32Array.of(65520) },
      `${path}: tensor "x" holds a value that F16 cannot; write a wider dtype`,
    ],
    [
      'a float too large for BF16',
      { dtype: 'BF16', shape: [1], data: Float32Array.of(3.4e38) },
      `${path}: tensor "x" holds a value that BF16 cannot; write a wider dtype`,
    ],
    [
      'an int too large for U8',
      { dtype: 'U8', shape: [1], data: Int32Array.of(256) },
      `${path}: tensor "x" holds a value that U8 cannot; write a wider dtype`,
    ],
    [
      'a negative int as U64',
      { dtype: 'U64', shape: [1], data: Int32Array.of(-1) },
      `${path}: tensor "x" holds a value that U64 cannot; write a wider dtype`,
    ],
  ] as [string, TensorData, string][])('rejects %s, and leaves the old file', async (_, tensor, message) => {
    await writeSafetensors(path, small);
    const before = await readFile(path);
    await expect(writeSafetensors(path, { x: tensor })).rejects.toThrow(message);
    expect(await readFile(path)).toEqual(before);
  });
});

describe('hostile files', () => {
  test('a long name is shown by its first 80 characters', async () => {
    const name = Array.from({ length: 81 }, (_, i) => String.fromCharCode(0x61 + (i % 26))).join('');
    for (const [length, shown] of [
      [80, name.slice(0, 80)],
      [81, `${name.slice(0, 80)}…`],
    ] as const) {
      await expect(
        writeSafetensors(path, { [name.slice(0, length)]: { dtype: 'F16', shape: [1], data: Float32Array.of(65520) } }),
      ).rejects.toThrow(`tensor "${shown}" holds`);
    }
  });

  test('truncated at every offset', async () => {
    await writeSafetensors(path, small, { by: 'us' });
    const bytes = await readFile(path);
    for (let length = bytes.length - 1; length >= 0; length--) {
      await truncate(path, length);
      expect(await refusal(readSafetensors(path))).toMatch(`${path}: not a valid safetensors file: `);
    }
  });

  test('with bytes of the header changed, the file is rejected or read as a whole', async () => {
    await writeSafetensors(path, small, { by: 'us' });
    const original = await readFile(path);
    const headerEnd = 8 + Number(original.readBigUInt64LE());
    const change = fc.record({
      at: fc.nat({ max: headerEnd - 1 }),
      to: fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...Buffer.from('{}[]",:0123456789- \\'))),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async changes => {
        const bytes = Buffer.from(original);
        for (const { at, to } of changes) bytes[at] = to;
        await writeFile(path, bytes);
        try {
          const file = await readSafetensors(path);
          for (const [name, { shape }] of file.tensors)
            expect(await file.read(name)).toHaveLength(shape.reduce((a, b) => a * b, 1));
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("a file too short to hold the header's length is reported as such", async () => {
    for (const size of [0, 7, 8]) {
      await writeFile(path, Buffer.alloc(size));
      expect(
        (await refusal(readSafetensors(path))).includes(`${size} bytes are too few for a header`),
        String(size),
      ).toBe(size < 8);
    }
  });

  test('arbitrary bytes, and arbitrary text as a header', async () => {
    const bytes = fc.uint8Array({ maxLength: 100 });
    const header = fc.oneof(fc.json(), fc.string({ unit: 'binary' })).map(text => {
      const json = Buffer.from(text);
      return Buffer.concat([Buffer.from(BigUint64Array.of(BigInt(json.length)).buffer), json]);
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(bytes, header), async content => {
        fc.pre(!/^\s*\{\s*\}\s*$/.test(Buffer.from(content.subarray(8)).toString()));
        await writeFile(path, content);
        await refusal(readSafetensors(path));
      }),
    );
  });

  const f32 = (shape: unknown, ...offsets: unknown[]) => ({ dtype: 'F32', shape, data_offsets: offsets });
  test.each([
    [
      'overlapping tensors',
      { a: f32([2], 0, 8), b: f32([2], 4, 12) },
      'tensor "b" begins at byte 4, inside another tensor',
    ],
    ['a hole', { a: f32([1], 0, 4), b: f32([1], 8, 12) }, 'tensor "b" begins at byte 8, after a gap'],
    ['data after the end', { a: f32([1], 0, 4) }, '8 bytes after the last tensor belong to none'],
    ['offsets out of range', { a: f32([4], 0, 16) }, 'tensor "a" ends at byte 16 of 12 bytes of data'],
    [
      'offsets in reverse',
      { a: f32([3], 12, 0) },
      'tensor "a" (F32, shape [3]) claims the bytes 12 to 0, not the 12 it takes',
    ],
    [
      'a length that is not the shape',
      { a: f32([2], 0, 12) },
      'tensor "a" (F32, shape [2]) claims the bytes 0 to 12, not the 8 it takes',
    ],
    [
      'a shape whose size overflows',
      { a: f32([2 ** 52, 2 ** 52], 0, 12) },
      'tensor "a" (F32, shape [4503599627370496, 4503599627370496]) claims the bytes 0 to 12, not the ' +
        '8.112963841460668e+31 it takes',
    ],
    [
      'a negative dimension',
      { a: f32([-3], 0, 12) },
      'the shape of tensor "a" holds something other than whole numbers from 0 to 2^53 - 1',
    ],
    [
      'a dimension that is not whole',
      { a: f32([1.5], 0, 12) },
      'the shape of tensor "a" holds something other than whole numbers from 0 to 2^53 - 1',
    ],
    [
      'a huge dimension',
      '{"a":{"dtype":"F32","shape":[9007199254740992],"data_offsets":[0,12]}}',
      'the shape of tensor "a" holds something other than whole numbers from 0 to 2^53 - 1',
    ],
    ['a rank of 65', { a: f32(Array(65).fill(1), 0, 12) }, 'the shape of tensor "a" holds more than 64 numbers'],
    ['three offsets', { a: f32([3], 0, 12, 12) }, 'data_offsets of tensor "a" holds more than 2 numbers'],
    ['one offset', { a: f32([3], 0) }, 'tensor "a" lacks its dtype, shape or two data_offsets'],
    ['an unknown dtype', { a: { ...f32([3], 0, 12), dtype: 'F31' } }, 'tensor "a" has the unknown dtype "F31"'],
    [
      'a dtype named as a property of all objects',
      { a: { ...f32([3], 0, 12), dtype: 'toString' } },
      'tensor "a" has the unknown dtype "toString"',
    ],
    [
      'an unknown field',
      { a: { ...f32([3], 0, 12), color: 'red' } },
      'tensor "a" has the field "color", unknown or given twice',
    ],
    [
      'a field twice',
      '{"a":{"dtype":"F32","shape":[7],"shape":[3],"data_offsets":[0,12]}}',
      'tensor "a" has the field "shape", unknown or given twice',
    ],
    [
      'a name twice',
      JSON.stringify({ a: f32([3], 0, 12), b: f32([3], 0, 12) }).replace('"b"', '"\\u0061"'),
      'the name "a" appears twice',
    ],
    ['metadata twice', '{"__metadata__":{},"__metadata__":{}}', 'the name "__metadata__" appears twice'],
    ['a metadata name twice', '{"__metadata__":{"x":"1","x":"2"}}', 'the metadata name "x" appears twice'],
    ['metadata that is not text', { __metadata__: { x: 1 } }, 'its header has "1" where " belongs, at character 21'],
    ['a header that is not an object', [1], 'its header has "[" where { belongs, at character 0'],
    ['a header that goes on', '{} {}', 'its header has trailing data, at character 3'],
    ['a header with a trailing comma', '{"__metadata__":{},}', 'its header has "}" where " belongs, at character 19'],
    ['a header that stops', '{"a":', 'its header has its end where { belongs, at character 5'],
  ])('%s', async (_, header, message) => {
    expect(await refusal(readSafetensors(await fileOf(header, 12)))).toBe(
      `${path}: not a valid safetensors file: ${message}; copy or download it again`,
    );
  });

  test.each(['F4', 'F6_E2M3', 'F6_E3M2'])('%s, a dtype of the format that takes no whole bytes', async dtype => {
    const header = { a: { dtype, shape: [4], data_offsets: [0, (4 * Number(dtype[1])) / 8] } };
    expect(await refusal(readSafetensors(await fileOf(header, header.a.data_offsets[1])))).toBe(
      `${path}: tensor "a" has the dtype ${dtype}, which this version does not read; convert it to F32, F16 or BF16`,
    );
  });

  test('more tensors than any model has', async () => {
    const empty = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}';
    const header = `{${Array.from({ length: 2 ** 18 + 1 }, (_, i) => `"${i}":${empty}`).join(',')}}`;
    expect(await refusal(readSafetensors(await fileOf(header)))).toContain('its header has more than 262144 tensors');
  });

  test('a header that is not UTF-8', async () => {
    await fileOf({ é: f32([0], 0, 0) });
    await writeFile(
      path,
      (await readFile(path)).map(byte => (byte === 0xc3 ? 0xff : byte)),
    );
    expect(await refusal(readSafetensors(path))).toMatch('its header is not UTF-8');
  });

  test('a header of brackets, as deep as it is long, ends at its first wrong character', async () => {
    await fileOf(`{"a":${'['.repeat(20_000_000)}`);
    const start = cpuTime();
    expect(await refusal(readSafetensors(path))).toMatch('its header has "[" where { belongs, at character 5');
    expect(cpuTime() - start).toBeLessThan(2000);
  });

  test.each([
    [1n << 40n, 'its header claims 1099511627776 bytes, more than the 100000000 allowed'],
    [(1n << 64n) - 1n, 'its header claims 18446744073709551615 bytes, more than the 100000000 allowed'],
    [50_000_000n, 'its header claims 50000000 bytes, and 2 follow'],
  ])('a header of %d bytes that are not there', async (length, message) => {
    await writeFile(path, Buffer.concat([Buffer.from(BigUint64Array.of(length).buffer), Buffer.from('{}')]));
    expect(await refusal(readSafetensors(path))).toMatch(message);
  });

  test('something other than a file', async () => {
    expect(await refusal(readSafetensors(join(directory, 'none')))).toBe(
      `${directory}/none: no such file or directory; check the path`,
    );
    expect(await refusal(readSafetensors(directory))).toBe(`${directory}: is a directory; give a file`);
    expect(await refusal(readSafetensors('/dev/zero'))).toBe(
      '/dev/zero: is not a regular file; copy its contents into one',
    );
  });
});

describe('reading', () => {
  test("from memory, also from a Buffer of Node's at an odd place, gives what the file gives", async () => {
    await fc.assert(
      fc.asyncProperty(safetensorsContent, fc.nat(7), async (content, at) => {
        await writeSafetensors(path, content.tensors, content.metadata);
        const [bytes, file] = [await readFile(path), await readSafetensors(path)];
        const moved = Buffer.concat([Buffer.alloc(at), bytes]).subarray(at);
        for (const held of [Uint8Array.from(bytes), moved]) {
          const source = safetensorsFromBytes(held, 'memory');
          for (const name of file.tensors.keys()) expect(await source.read(name)).toEqual(await file.read(name));
        }
      }),
      { numRuns: 20 },
    );
  });

  test('what others write: white space, any order of fields and tensors, empty tensors, scalars', async () => {
    await fileOf(
      '{ "s" : {"data_offsets": [0, 4], "shape": [ ], "dtype": ' +
        '"F32"},\n"e":{"shape":[0,7],"dtype":"I64","data_offsets":[4,4]}}   ',
      4,
    );
    const file = await readSafetensors(path);
    expect(await file.read('s')).toEqual(Float32Array.of(0));
    expect(await file.read('e')).toEqual(new Int32Array(0));

    const huge = Array(32).fill(2 ** 52);
    await fileOf(
      {
        x: { dtype: 'F32', shape: [1], data_offsets: [0, 4] },
        e: { dtype: 'F32', shape: [...huge, 0], data_offsets: [0, 0] },
      },
      4,
    );
    expect((await readSafetensors(path)).tensors.get('e')).toEqual({
      dtype: 'F32',
      shape: [...huge, 0],
      begin: 0,
      end: 0,
    });
  });

  test.each([
    ['I64', BigInt64Array.of(2n ** 31n)],
    ['I64', BigInt64Array.of(-(2n ** 31n) - 1n)],
    ['U64', BigUint64Array.of(2n ** 64n - 1n)],
    ['U32', Uint32Array.of(2 ** 31)],
  ] as const)('an integer outside int32 is an error (%s)', async (dtype, values) => {
    await writeSafetensors(path, { x: { dtype, shape: [1], data: new Uint8Array(values.buffer) } });
    const file = await readSafetensors(path);
    expect(await refusal(file.read('x'))).toBe(
      `${path}: tensor "x" is ${dtype} and holds an integer outside int32; this engine cannot use it`,
    );
  });

  test('F64 rounds to float32', async () => {
    await writeSafetensors(path, {
      x: { dtype: 'F64', shape: [3], data: new Uint8Array(Float64Array.of(0.1, 1e300, -1e-300).buffer) },
    });
    expect(await (await readSafetensors(path)).read('x')).toEqual(Float32Array.of(0.1, Infinity, -0));
  });

  test('an unknown name, an unwanted dtype, an unsupported one', async () => {
    await writeSafetensors(path, { ...small, f8: { dtype: 'F8_E4M3', shape: [1], data: Uint8Array.of(1) } });
    const file = await readSafetensors(path);
    expect(await refusal(file.read('c'))).toBe(`${path}: has no tensor "c" among its 3; does it belong to this model?`);
    expect(await refusal(file.readFloats('b'))).toBe(`${path}: tensor "b" is I64 where floats are needed`);
    expect(await refusal(file.read('f8'))).toBe(
      `${path}: tensor "f8" is F8_E4M3 and can be copied but not read as numbers; convert it to F32`,
    );
  });

  test.each([
    ['F8_E8M0', 1],
    ['F8_E4M3FNUZ', 1],
    ['F8_E5M2FNUZ', 1],
    ['C64', 8],
  ] as const)('%s is copied but not read as numbers', async (dtype, size) => {
    const data = Uint8Array.from({ length: 3 * size }, (_, i) => i + 1);
    await writeSafetensors(path, { x: { dtype, shape: [3], data } });
    const file = await readSafetensors(path);
    const blocks: Uint8Array[] = [];
    for await (const block of file.blocks('x')) blocks.push(block.slice());
    expect(Uint8Array.from(Buffer.concat(blocks))).toEqual(data);
    expect(await refusal(file.read('x'))).toMatch(`tensor "x" is ${dtype} and can be copied but not read as numbers`);
  });

  test('a file that changes after it was opened is noticed', async () => {
    await writeSafetensors(path, small);
    const file = await readSafetensors(path);
    await utimes(path, 1, 1);
    expect(await refusal(file.read('a'))).toBe(`${path}: was changed while it was read; run again`);
  });
});

describe('checkpoints', () => {
  /** A model directory with these files in it. */
  async function checkpoint(
    name: string,
    index: unknown,
    shards: Record<string, Record<string, TensorData>>,
  ): Promise<string> {
    const model = join(directory, name);
    await mkdir(model);
    await writeFile(
      join(model, 'model.safetensors.index.json'),
      typeof index === 'string' ? index : JSON.stringify(index),
    );
    for (const [file, tensors] of Object.entries(shards)) await writeSafetensors(join(model, file), tensors);
    return model;
  }

  test('several shards are one set of names', async () => {
    const { a, b } = small;
    const model = await checkpoint(
      'sharded',
      { metadata: { total_size: 40 }, weight_map: { a: '1.safetensors', b: '2.safetensors' } },
      { '1.safetensors': { a }, '2.safetensors': { b } },
    );
    const source = await openCheckpoint(model);
    expect([...source.tensors.keys()]).toEqual(['a', 'b']);
    expect(await source.read('a')).toEqual(a.data);
    expect(await source.read('b')).toEqual(b.data);
    expect(await refusal(source.read('c'))).toMatch(`${model}: has no tensor "c"`);
  });

  test('a single file is a checkpoint, even where it is a link', async () => {
    await writeSafetensors(path, small);
    await mkdir(join(directory, 'linked'));
    await symlink(path, join(directory, 'linked', 'model.safetensors'));
    expect(await (await openCheckpoint(join(directory, 'linked'))).readFloats('a')).toEqual(small.a.data);
  });

  const bad = 'is not the name of a .safetensors file beside it; download it again';
  test.each([
    [
      'missing',
      { weight_map: { a: 'none.safetensors' } },
      '/none.safetensors: no such file or directory; check the path',
    ],
    ['above', { weight_map: { a: '../a.safetensors' } }, `/model.safetensors.index.json: weight_map."a" ${bad}`],
    ['absolute', { weight_map: { a: '/etc/passwd' } }, `/model.safetensors.index.json: weight_map."a" ${bad}`],
    ['number', { weight_map: { a: 7 } }, `/model.safetensors.index.json: weight_map."a" ${bad}`],
    [
      'lying',
      { weight_map: { z: '1.safetensors' } },
      '/model.safetensors.index.json: weight_map."z" names 1.safetensors, which lacks this tensor; download both again',
    ],
    [
      'list',
      { weight_map: [] },
      '/model.safetensors.index.json: lacks "weight_map", an object from tensor names to files; download it again',
    ],
    [
      'deep',
      '['.repeat(1_000_000),
      '/model.safetensors.index.json: JSON nested deeper than 64 levels; is it the right file?',
    ],
  ])('an index that is wrong: %s', async (name, index, message) => {
    const model = await checkpoint(`index-${name}`, index, { '1.safetensors': small });
    expect(await refusal(openCheckpoint(model))).toBe(model + message);
  });

  test('a directory without a model', async () => {
    await mkdir(join(directory, 'empty'));
    expect(await refusal(openCheckpoint(join(directory, 'empty')))).toBe(
      `${directory}/empty: holds neither model.safetensors nor model.safetensors.index.json; give a Hugging Face ` +
        'model directory',
    );
    await mkdir(join(directory, 'pickled'));
    await writeFile(join(directory, 'pickled', 'pytorch_model.bin'), 'PK');
    expect(await refusal(openCheckpoint(join(directory, 'pickled')))).toBe(
      `${directory}/pickled: holds pytorch_model.bin and no safetensors file; a .bin file is a program that ` +
        'Python runs, so convert it there: python -c "from transformers import AutoModelForCausalLM as M; ' +
        `M.from_pretrained('${directory}/pickled').save_pretrained('${directory}/pickled')"`,
    );
    expect(await refusal(openCheckpoint(join(directory, 'none')))).toBe(
      `${directory}/none: no such directory; give a Hugging Face model directory`,
    );
  });
});
