/** The header of a GGUF file: what a writer put there is read, and every lie is told in one line. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../../models/errors.ts';
import { MAX_GGUF_HEADER_BYTES, parseGguf } from '../../../models/gguf/index.ts';
import { ggufBytes, ggufContent, types, typeNumber, type GgufContent } from '../../arbitraries/gguf.ts';

const parse = (bytes: Uint8Array) => parseGguf(bytes, bytes.length, 'm.gguf')!;

/** The message of the error that a file is answered with. */
function complaint(bytes: Uint8Array, fileBytes = bytes.length): string {
  try {
    parseGguf(bytes, fileBytes, 'm.gguf');
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.message).not.toMatch(/[\n\r]/);
    return error.message
      .replace(/^m\.gguf: (not a valid GGUF file: )?/, '')
      .replace(/; copy or download it again$/, '');
  }
  return expect.fail('nothing was rejected');
}

test('metadata and tensors come back as they were written', () => {
  fc.assert(
    fc.property(ggufContent, content => {
      const bytes = ggufBytes(content);
      const { metadata, tensors } = parse(bytes);
      expect(metadata.size).toBe(content.entries.length);
      for (const [key, type, value] of content.entries) {
        const read = metadata.get(key)!;
        const expected = type === types.array ? (value as [number, unknown[]])[1].map(v => Number(v) || v) : value;
        const plain = typeof read === 'object' ? Array.from(read as ArrayLike<unknown>, v => Number(v) || v) : read;
        if (type === types.array && (value as [number, unknown[]])[0] !== types.string)
          expect((plain as unknown[]).map(Number)).toEqual((value as [number, unknown[]])[1].map(Number));
        else expect(plain).toEqual(expected);
      }
      expect([...tensors.keys()]).toEqual(content.tensors.map(t => t.name));
      for (const { name, shape, bytes: raw } of content.tensors) {
        const { begin, end, shape: own } = tensors.get(name)!;
        expect(own).toEqual(shape);
        expect(bytes.slice(begin, end)).toEqual(raw);
      }
    }),
  );
});

test('a cut header asks for more bytes, wherever it is cut, and then reads the same', () => {
  fc.assert(
    fc.property(ggufContent, fc.double({ min: 0, max: 1, noNaN: true }), (content, share) => {
      const bytes = ggufBytes(content);
      const whole = parse(bytes);
      const part = bytes.subarray(0, Math.floor(share * bytes.length));
      expect([undefined, whole]).toContainEqual(parseGguf(part, bytes.length, 'm.gguf'));
      if (part.length < 24) expect(parseGguf(part, bytes.length, 'm.gguf')).toBeUndefined();
    }),
  );
});

test('a file that ends in its header or its tensors is rejected', () => {
  fc.assert(
    fc.property(ggufContent, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (content, share) => {
      const bytes = ggufBytes(content);
      const last = Math.max(24, ...Array.from(parse(bytes).tensors.values(), t => t.end));
      expect(complaint(bytes.slice(0, Math.floor(share * last)))).toMatch(/left|ends|claims/);
    }),
  );
});

describe('lies', () => {
  const one = { name: 'w', shape: [2, 32], type: typeNumber('Q4_0'), bytes: new Uint8Array(36) };
  const file = (content: Partial<GgufContent>) => ggufBytes({ entries: [], tensors: [one], ...content });
  const arrayOf = (kind: number, length: bigint) => {
    const bytes = file({ entries: [['a', types.array, [kind, []]]], tensors: [] });
    new DataView(bytes.buffer).setBigUint64(24 + 8 + 1 + 4 + 4, length, true);
    return bytes;
  };
  test.each<[string, Uint8Array, RegExp]>([
    ['another format', new Uint8Array(64), /does not begin with "GGUF"/],
    ['an empty file', new Uint8Array(), /takes 4 bytes and the file has 0 left/],
    ['a version of the future', file({ version: 4 }), /version 4; supported are versions 2 and 3/],
    ['the first version', file({ version: 1 }), /version 1/],
    ['big-endian', file({ version: 0x03000000 }), /big-endian/],
    ['a bomb of tensors', file({ tensorCount: 2n ** 60n }), /the number of tensors is 1152921504606846976/],
    ['tensors for which there is no place', file({ tensorCount: 2n ** 17n }), /claims 131072 tensors/],
    ['a bomb of entries', file({ entryCount: 2n ** 40n }), /claims 1099511627776 metadata entries/],
    ['an array of numbers beyond the file', arrayOf(types.f32, 2n ** 50n), /"a" takes 4503599627370496 bytes/],
    ['an array of texts beyond the file', arrayOf(types.string, 2n ** 50n), /"a" claims 1125899906842624 strings/],
    ['an array of arrays', arrayOf(types.array, 1n), /array of arrays/],
    ['an unknown kind of value', arrayOf(99, 1n), /unknown type 99/],
    ['a boolean of 2', file({ entries: [['a', types.bool, 2]] }), /boolean of the value 2/],
    [
      'a key twice',
      file({
        entries: [
          ['a', 0, 1],
          ['a', 0, 1],
        ],
      }),
      /the metadata key "a" appears twice/,
    ],
    ['a tensor twice', file({ tensors: [one, one] }), /the tensor "w" appears twice/],
    ['a part of a model', file({ entries: [['split.count', types.u16, 3]] }), /one of 3 parts; join them/],
    ['an odd alignment', file({ entries: [['general.alignment', types.u32, 12]] }), /alignment is 12/],
    [
      'an unknown number format',
      file({ tensors: [{ ...one, type: 10 }] }),
      /"w" is Q2_K, which is not supported; use a file/,
    ],
    ['a format of the future', file({ tensors: [{ ...one, type: 77 }] }), /of the unknown type 77/],
    ['half a block', file({ tensors: [{ ...one, shape: [2, 31] }] }), /impossible shape \[2, 31\]/],
    ['no rows', file({ tensors: [{ ...one, shape: [0, 32] }] }), /impossible shape/],
    ['dimensions beyond all numbers', file({ tensors: [{ ...one, shape: [2 ** 40, 2 ** 30] }] }), /impossible shape/],
    ['more dimensions than ggml has', file({ tensors: [{ ...one, shape: [1, 1, 1, 2, 32] }] }), /5 dimensions/],
    ['an offset beyond the file', file({ tensors: [{ ...one, offset: 2 ** 40 }] }), /ends at byte 1099511627908/],
    ['an offset between alignments', file({ tensors: [{ ...one, offset: 4 }] }), /not a multiple of the alignment 32/],
    [
      'tensors over one another',
      file({ tensors: [one, { ...one, name: 'v', offset: 32 }] }),
      /"v" begins at byte \d+, inside tensor "w"/,
    ],
    [
      'a name that is not text',
      (() => {
        const b = file({});
        b[32] = 0xff;
        return b;
      })(),
      /the name of a tensor is not UTF-8/,
    ],
  ])('%s', (_, bytes, message) => {
    expect(complaint(bytes)).toMatch(message);
  });

  test('a header longer than the limit', () => {
    const bytes = new Uint8Array(MAX_GGUF_HEADER_BYTES);
    bytes.set(file({ entryCount: 1n, tensors: [], entries: [] }).subarray(0, 24));
    new DataView(bytes.buffer).setBigUint64(24, BigInt(MAX_GGUF_HEADER_BYTES), true);
    expect(complaint(bytes, 2 ** 40)).toMatch(/its header is longer than 67108864 bytes/);
  });
});
