/** The metadata of one architecture, read. */
import { UserError } from '../errors.ts';
import type { GgufHeader } from './header.ts';
import type { Metadata } from './metadata.ts';

/** The metadata of an architecture, its name left out of the keys, and what tensors tell. */
export class Keys {
  readonly path: string;
  readonly ropeFactors: Float32Array | undefined;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly #metadata: Metadata;
  readonly #prefix: string;
  readonly #tensors: GgufHeader['tensors'];

  constructor(metadata: Metadata, prefix: string, tensors: GgufHeader['tensors'], ropeFactors?: Float32Array) {
    this.#metadata = metadata;
    this.#prefix = prefix;
    this.#tensors = tensors;
    this.path = metadata.path;
    this.ropeFactors = ropeFactors;
    this.heads = this.number('attention.head_count');
    this.keyValueHeads = this.optional('attention.head_count_kv') ?? this.heads;
    for (const key of ['heads', 'keyValueHeads'] as const)
      if (!(Number.isSafeInteger(this[key]) && this[key] > 0))
        this.refuse(`attention.head_count${key === 'heads' ? '' : '_kv'}`, 'it must be 1 or more');
  }

  /** Rows of the embedding; the key, where there is one, must not say otherwise. */
  get vocabulary(): number {
    const rows = this.#tensors.get('token_embd.weight')?.shape[0];
    if (rows === undefined)
      throw new UserError(`${this.path}: has no tensor "token_embd.weight"; is it a whole model?`);
    this.must('vocab_size', rows);
    return rows;
  }

  /** Whether the head is the embedding. */
  get tied(): boolean {
    return !this.hasTensor('output.weight');
  }

  hasTensor(name: string): boolean {
    return this.#tensors.has(name);
  }

  number(key: string): number {
    return this.#metadata.number(this.#prefix + key);
  }

  optional(key: string): number | undefined {
    return this.#metadata.optionalNumber(this.#prefix + key);
  }

  /** A number that was written as float32: the shortest decimal fraction that it is. */
  single(key: string): number {
    return shortest(this.number(key));
  }

  optionalSingle(key: string): number | undefined {
    const value = this.optional(key);
    return value === undefined ? undefined : shortest(value);
  }

  optionalText(key: string): string | undefined {
    return this.#metadata.optionalText(this.#prefix + key);
  }

  flag(key: string, fallback: boolean): boolean {
    return this.#metadata.flag(this.#prefix + key, fallback);
  }

  /** A key that may be missing and may have this value only. */
  must(key: string, value: number): void {
    if ((this.optional(key) ?? value) !== value) this.refuse(key, `only ${value} is supported`);
  }

  /** A key that changes nothing in what is computed. */
  ignore(key: string): void {
    this.flag(key, false);
  }

  refuse(key: string, what: string): never {
    return this.#metadata.refuse(this.#prefix + key, what);
  }
}

/** The shortest decimal fraction that is this float32. */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
