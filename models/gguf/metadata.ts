/** Values of a GGUF file's metadata by key and kind; a missing or wrong one is an error that names file and key. */
import { show, UserError } from '../errors.ts';
import type { MetadataValue } from './header.ts';

/** Metadata that is read key by key; it remembers which keys were requested. */
export class Metadata {
  readonly path: string;
  readonly #values: ReadonlyMap<string, MetadataValue>;
  readonly #asked = new Set<string>();

  constructor(values: ReadonlyMap<string, MetadataValue>, path: string) {
    this.#values = values;
    this.path = path;
  }

  /** Throws the error of a key whose value is not supported. */
  refuse(key: string, what: string): never {
    const value = this.#values.get(key);
    const shown =
      value === undefined
        ? 'missing'
        : typeof value === 'bigint'
          ? value.toString()
          : typeof value === 'object'
            ? `a list of ${value.length}`
            : show(value);
    throw new UserError(`${this.path}: metadata ${show(key)} is ${shown}; ${what}`);
  }

  #find<T extends MetadataValue>(key: string, kind: string, is: (value: MetadataValue) => value is T): T | undefined {
    this.#asked.add(key);
    const value = this.#values.get(key);
    if (value === undefined || is(value)) return value;
    return this.refuse(key, `it must be ${kind}`);
  }

  optionalNumber(key: string): number | undefined {
    return this.#find(key, 'a number', v => typeof v === 'number');
  }

  number(key: string): number {
    return this.optionalNumber(key) ?? this.refuse(key, 'it must be a number');
  }

  optionalText(key: string): string | undefined {
    return this.#find(key, 'a text', v => typeof v === 'string');
  }

  text(key: string): string {
    return this.optionalText(key) ?? this.refuse(key, 'it must be a string');
  }

  flag(key: string, fallback: boolean): boolean {
    return this.#find(key, 'true or false', v => typeof v === 'boolean') ?? fallback;
  }

  texts(key: string): readonly string[] {
    const is = (v: MetadataValue): v is readonly string[] => Array.isArray(v);
    return this.#find(key, 'a list of texts', is) ?? this.refuse(key, 'it must be a list of strings');
  }

  /** Numbers of at most 32 bits, or of 64-bit floats. */
  optionalNumbers(key: string): ArrayLike<number> | undefined {
    const is = (v: MetadataValue): v is ArrayLike<number> =>
      ArrayBuffer.isView(v) && !(v instanceof BigInt64Array || v instanceof BigUint64Array);
    return this.#find(key, 'a list of numbers', is);
  }

  /** The keys that begin so and that nobody has requested. */
  unread(prefix: string): string[] {
    return [...this.#values.keys()].filter(key => key.startsWith(prefix) && !this.#asked.has(key));
  }
}
