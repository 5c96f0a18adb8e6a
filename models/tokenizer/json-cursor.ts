/**
 * A place in a parsed JSON file: reading a field checks its type, and every complaint names file, field and what to do.
 */
import { show, UserError } from '../errors.ts';

/** A value within a file, with its path. */
export class Cursor {
  readonly value: unknown;
  private readonly file: string;
  private readonly path: string;

  constructor(value: unknown, file: string, path = '') {
    this.value = value;
    this.file = file;
    this.path = path;
  }

  refuse(what: string): never {
    // A path may hold a token's name, any text; most are plain and stay as they are.
    const path = /^[\w.[\]<>▁-]{1,100}$/.test(this.path) ? this.path : show(this.path);
    throw new UserError(`${this.file}: ${this.path === '' ? 'file' : path}: ${what}`);
  }

  /** The value for a message, cut where it is long. */
  get shown(): string {
    if (this.isObject) return 'an object';
    return Array.isArray(this.value) ? 'a list' : show(this.value);
  }

  get isNull(): boolean {
    return this.value === null || this.value === undefined;
  }

  private get isObject(): boolean {
    return typeof this.value === 'object' && this.value !== null && !Array.isArray(this.value);
  }

  object(): Readonly<Record<string, unknown>> {
    return this.isObject
      ? (this.value as Record<string, unknown>)
      : this.refuse(`is ${this.shown} and must be an object`);
  }

  /** A field; absent ones read as undefined. */
  get(key: string): Cursor {
    const fields = this.object();
    return new Cursor(
      Object.hasOwn(fields, key) ? fields[key] : undefined,
      this.file,
      this.path ? `${this.path}.${key}` : key,
    );
  }

  list(): readonly unknown[] {
    return Array.isArray(this.value) ? this.value : this.refuse(`is ${this.shown} and must be a list`);
  }

  items(): Cursor[] {
    return this.list().map((_, i) => this.item(i));
  }

  item(i: number): Cursor {
    return new Cursor(this.list()[i], this.file, `${this.path}[${i}]`);
  }

  text(): string {
    return typeof this.value === 'string' ? this.value : this.refuse(`is ${this.shown} and must be a string`);
  }

  flag(fallback: boolean): boolean {
    if (this.isNull) return fallback;
    return typeof this.value === 'boolean' ? this.value : this.refuse(`is ${this.shown} and must be true or false`);
  }

  /** A whole number from 0 up to, not including, `end`. */
  index(end: number): number {
    return isIndex(this.value, end)
      ? this.value
      : this.refuse(`is ${this.shown} and must be a whole number below ${end}`);
  }

  /** Rejects a value that is none of these. */
  mustBe(...allowed: readonly unknown[]): void {
    if (!allowed.includes(this.value))
      this.refuse(
        `is ${this.shown}; only ${allowed
          .filter(a => a !== undefined)
          .map(a => JSON.stringify(a))
          .join(' or ')} is supported`,
      );
  }
}

/** Whether a value is a whole number from 0 up to and without `end`. */
export const isIndex = (value: unknown, end: number): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < end;
