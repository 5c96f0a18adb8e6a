/**
 * Random numbers from a counter-based generator: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"). A number is a function of (seed, stream, position), so that a run is fixed by its
 * seed on every backend, a position can be stored and resumed, and streams never overlap.
 */
import type { Shape } from './backend.ts';
import { sizeOf } from './shape.ts';
import { checkFits, tensor, type Tensor, type TensorOptions } from './tensor.ts';

const [M0, M1, W0, W1] = [0xd2511f53, 0xcd9e8d57, 0x9e3779b9, 0xbb67ae85];

/** The high 32 bits, as a signed number, of a product of two unsigned 32-bit numbers. No sum here exceeds 2³². */
function mulHigh(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = (Math.imul(a1, b0) >>> 0) + (Math.imul(a0, b0) >>> 16);
  const carry = (Math.imul(a0, b1) >>> 0) + (middle & 0xffff);
  return (Math.imul(a1, b1) + (middle >>> 16) + (carry >>> 16)) | 0;
}

/** Ten rounds of Philox4x32: four random words from a counter of four and a key of two. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [h0, l0, h1, l1] = [mulHigh(M0, c0), Math.imul(M0, c0), mulHigh(M1, c2), Math.imul(M1, c2)];
    [c0, c1, c2, c3] = [h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0];
    [k0, k1] = [(k0 + W0) | 0, (k1 + W1) | 0];
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/** A stream of random numbers, a function of its seed, stream and position. */
export class Random {
  readonly seed: number;
  readonly stream: number;
  private index: number;
  private block: [number, number, number, number] | null = null;

  constructor(seed: number, stream = 0, position = 0) {
    for (const [what, value, limit] of [
      ['seed', seed, 2 ** 53],
      ['stream', stream, 2 ** 32],
      ['position', position, 2 ** 53],
    ] as const) {
      if (!Number.isSafeInteger(value) || value < 0 || value >= limit)
        throw new Error(`Random: the ${what} must be a whole number from 0 to 2^${Math.log2(limit)} − 1, not ${value}`);
    }
    [this.seed, this.stream, this.index] = [seed, stream, position];
  }

  /** How many words have been drawn: the whole state besides seed and stream. */
  get position(): number {
    return this.index;
  }

  /**
   * A generator with the same seed whose numbers are independent of this one's; `name` tells the streams of a seed
   * apart.
   */
  split(name: string): Random {
    if (name === '') throw new Error('Random: the name of a stream must not be empty');
    let hash = 0x811c9dc5 ^ this.stream; // FNV-1a
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
    return new Random(this.seed, hash >>> 0);
  }

  /** A random 32-bit word. */
  word(): number {
    const index = this.index++;
    if (index % 4 === 0 || this.block === null) {
      const counter = Math.floor(index / 4);
      this.block = philox(
        [counter >>> 0, Math.floor(counter / 2 ** 32), this.stream, 0],
        [this.seed >>> 0, Math.floor(this.seed / 2 ** 32)],
      );
    }
    return this.block[index % 4];
  }

  /** Uniform in [0, 1), with 32 bits. */
  uniform(): number {
    return this.word() / 2 ** 32;
  }

  /** Standard normal, by Box–Muller from two words. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log((this.word() + 1) / 2 ** 32));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** A whole number in [0, n), by multiplication; the bias is below n / 2³². */
  integer(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Shuffles in place (Fisher–Yates) and returns the array. */
  shuffle<A extends unknown[] | Int32Array>(array: A): A {
    for (let i = array.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [array[i], array[j]] = [array[j], array[i]];
    }
    return array;
  }
}

/** Standard normal values. A shape that does not fit is an immediate error. */
export const randn = (random: Random, shape: Shape, options: TensorOptions = {}): Tensor =>
  drawn('randn', shape, options, () => random.normal());

/** Uniform values in [low, high). A shape that does not fit is an immediate error. */
export const uniform = (random: Random, shape: Shape, low = 0, high = 1, options: TensorOptions = {}): Tensor =>
  drawn('uniform', shape, options, () => low + (high - low) * random.uniform());

function drawn(user: string, shape: Shape, options: TensorOptions, draw: () => number): Tensor {
  checkFits(user, shape, options);
  return tensor(Float64Array.from({ length: sizeOf(shape) }, draw), { dtype: 'float32', ...options, shape });
}
