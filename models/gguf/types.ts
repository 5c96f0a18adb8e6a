/**
 * The number formats of ggml that a GGUF file holds, each a block of elements in a fixed number of bytes, and how a
 * block becomes float32. A scale d and a minimum m are float16; q are the small integers:
 *
 *     Q4_0, Q5_0     32 elements   d (q − 8), d (q − 16)      elements j and j + 16 share a byte
 *     Q4_1, Q5_1     32            d q + m
 *     Q8_0           32            d q                        q signed
 *     Q4_K, Q5_K    256            d s q − m' t               eight groups of 32, s and t of 6 bits each
 *     Q6_K          256            d s (q − 32)               sixteen groups of 16, s signed, 8 bits
 *
 * Source: ggml's block structures (ggml-common.h). All products before the last operation are exact in float64, so a
 * value is rounded once, as in ggml's own float32 arithmetic, and the results are the same bit for bit.
 */
import { bfloat16ToFloat32, float16ToFloat32 } from '../float16.ts';

/** One block from `bytes[at]` on to `out[to]` on. */
type DecodeBlock = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

/** A number format: how a block of elements is stored and decoded. */
export interface GgmlType {
  readonly name: string;
  /** Elements of a block; a row of a tensor is whole blocks. */
  readonly elements: number;
  /** Bytes of a block. */
  readonly bytes: number;
  readonly decode: DecodeBlock;
}

/** All 65,536 values of float16: a scale is looked up where it is needed. */
const halves = float16ToFloat32(Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits));
const half = (bytes: Uint8Array, at: number): number => halves[bytes[at] | (bytes[at + 1] << 8)];

const word = new Float32Array(1);
const wordBytes = new Uint8Array(word.buffer);
const pair = new Uint16Array(1);

/**
 * A nibble of each of 16 bytes: elements 0 to 15 are the lower ones, 16 to 31 the upper. `high` holds a fifth bit of
 * each. A minimum of −0 changes no sum, not even that of −0.
 */
function nibbles(
  bytes: Uint8Array,
  at: number,
  high: number,
  scale: number,
  offset: number,
  minimum: number,
  out: Float32Array,
  to: number,
): void {
  for (let j = 0; j < 16; j++) {
    const byte = bytes[at + j];
    out[to + j] = scale * (((byte & 15) | (((high >>> j) & 1) << 4)) - offset) + minimum;
    out[to + 16 + j] = scale * (((byte >> 4) | (((high >>> (16 + j)) & 1) << 4)) - offset) + minimum;
  }
}

const word32 = (bytes: Uint8Array, at: number): number =>
  bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);

/** Scale `i` of the eight in the 12 bytes of a K block, and its minimum four bytes further on: 6 bits each. */
const sixBits = (bytes: Uint8Array, at: number, i: number, shift: 0 | 4): number =>
  i < 4
    ? bytes[at + shift + i] & 63
    : ((bytes[at + 8 + i - 4] >> shift) & 15) | ((bytes[at + shift + i - 4] >> 6) << 4);

/** Q4_K, and Q5_K whose fifth bits lie in 32 bytes at `high`. */
function decodeK(
  bytes: Uint8Array,
  at: number,
  high: number | undefined,
  low: number,
  out: Float32Array,
  to: number,
): void {
  const [d, dmin] = [half(bytes, at), half(bytes, at + 2)];
  for (let i = 0; i < 8; i++) {
    const scale = d * sixBits(bytes, at + 4, i, 0);
    const minimum = dmin * sixBits(bytes, at + 4, i, 4);
    const from = low + 32 * (i >> 1);
    for (let j = 0; j < 32; j++) {
      const q = i % 2 === 0 ? bytes[from + j] & 15 : bytes[from + j] >> 4;
      const fifth = high === undefined ? 0 : ((bytes[high + j] >> i) & 1) << 4;
      out[to + 32 * i + j] = scale * (q | fifth) - minimum;
    }
  }
}

function decodeQ6K(bytes: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = half(bytes, at + 208);
  for (let part = 0; part < 2; part++) {
    const [low, high, scales] = [at + 64 * part, at + 128 + 32 * part, at + 192 + 8 * part];
    for (let group = 0; group < 4; group++) {
      for (let j = 0; j < 32; j++) {
        const byte = bytes[low + 32 * (group % 2) + j];
        const q = (group < 2 ? byte & 15 : byte >> 4) | (((bytes[high + j] >> (2 * group)) & 3) << 4);
        const scale = (bytes[scales + 2 * group + (j >> 4)] << 24) >> 24;
        out[to + 128 * part + 32 * group + j] = d * scale * (q - 32);
      }
    }
  }
}

/** By the number that stands for a type in the file. */
const types: Readonly<Record<number, GgmlType>> = {
  0: {
    name: 'F32',
    elements: 1,
    bytes: 4,
    decode(bytes, at, out, to) {
      for (let i = 0; i < 4; i++) wordBytes[i] = bytes[at + i];
      out[to] = word[0];
    },
  },
  1: { name: 'F16', elements: 1, bytes: 2, decode: (bytes, at, out, to) => void (out[to] = half(bytes, at)) },
  30: {
    name: 'BF16',
    elements: 1,
    bytes: 2,
    decode(bytes, at, out, to) {
      pair[0] = bytes[at] | (bytes[at + 1] << 8);
      out[to] = bfloat16ToFloat32(pair, word)[0];
    },
  },
  2: {
    name: 'Q4_0',
    elements: 32,
    bytes: 18,
    decode: (bytes, at, out, to) => nibbles(bytes, at + 2, 0, half(bytes, at), 8, -0, out, to),
  },
  3: {
    name: 'Q4_1',
    elements: 32,
    bytes: 20,
    decode: (bytes, at, out, to) => nibbles(bytes, at + 4, 0, half(bytes, at), 0, half(bytes, at + 2), out, to),
  },
  6: {
    name: 'Q5_0',
    elements: 32,
    bytes: 22,
    decode: (bytes, at, out, to) => nibbles(bytes, at + 6, word32(bytes, at + 2), half(bytes, at), 16, -0, out, to),
  },
  7: {
    name: 'Q5_1',
    elements: 32,
    bytes: 24,
    decode: (bytes, at, out, to) =>
      nibbles(bytes, at + 8, word32(bytes, at + 4), half(bytes, at), 0, half(bytes, at + 2), out, to),
  },
  8: {
    name: 'Q8_0',
    elements: 32,
    bytes: 34,
    decode(bytes, at, out, to) {
      const d = half(bytes, at);
      for (let j = 0; j < 32; j++) out[to + j] = d * ((bytes[at + 2 + j] << 24) >> 24);
    },
  },
  12: {
    name: 'Q4_K',
    elements: 256,
    bytes: 144,
    decode: (bytes, at, out, to) => decodeK(bytes, at, undefined, at + 16, out, to),
  },
  13: {
    name: 'Q5_K',
    elements: 256,
    bytes: 176,
    decode: (bytes, at, out, to) => decodeK(bytes, at, at + 16, at + 48, out, to),
  },
  14: { name: 'Q6_K', elements: 256, bytes: 210, decode: decodeQ6K },
};

/** Names of the types that are not read, for errors. */
const others: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
  40: 'NVFP4',
};

/** The type that a number stands for; undefined for one that is not read. */
export const ggmlType = (id: number): GgmlType | undefined => (Object.hasOwn(types, id) ? types[id] : undefined);

/** What to call a type that is not read. */
export const ggmlTypeName = (id: number): string => others[id] ?? `of the unknown type ${id}`;

/** Names of the types that are read. */
export const ggmlTypeNames: readonly string[] = Object.values(types).map(type => type.name);

/** Whole blocks as float32. `out` has the length that the bytes' blocks have elements. */
export function decodeBlocks({ elements, bytes: size, decode }: GgmlType, bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, to = 0; at < bytes.length; at += size, to += elements) decode(bytes, at, out, to);
}
