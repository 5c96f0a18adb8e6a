/** Values of a GGUF file's metadata as they are written: which number format each has is a part of the value. */

/** A number with its format: counts and ids are u32, all else f32. */
export interface WrittenNumber {
  readonly type: 'u32' | 'f32';
  readonly value: number;
}

/** A value to write. */
export type WrittenValue = string | boolean | WrittenNumber | readonly string[] | Int32Array | Float32Array;

/** Metadata to write, in order. */
export type WrittenMetadata = Readonly<Record<string, WrittenValue>>;

/** A count, a length, an id. */
export const u32 = (value: number): WrittenNumber => ({ type: 'u32', value });
/** A number of any kind, rounded to float32. */
export const f32 = (value: number): WrittenNumber => ({ type: 'f32', value });
