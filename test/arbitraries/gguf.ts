/** GGUF files as their writer sees them: metadata entries and tensors of raw bytes, and lies about them. */
import fc from 'fast-check';
import { ggmlType, ggmlTypeNames, type GgmlType } from '../../models/gguf/types.ts';

/** An entry of the metadata: its key, the number of its type, and its value. */
export type Entry = readonly [key: string, type: number, value: unknown];

export interface TensorRecord {
  readonly name: string;
  /** Row-major. */
  readonly shape: readonly number[];
  readonly type: number;
  readonly bytes: Uint8Array;
  /** Where it claims to begin; by default where it does. */
  readonly offset?: number;
}

export interface GgufContent {
  readonly version?: number;
  readonly entries: readonly Entry[];
  readonly tensors: readonly TensorRecord[];
  /** Claimed in the header in place of the true numbers. */
  readonly tensorCount?: bigint;
  readonly entryCount?: bigint;
}

export const types = { u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10 };
const writers = [
  [1, 'setUint8'],
  [1, 'setInt8'],
  [2, 'setUint16'],
  [2, 'setInt16'],
  [4, 'setUint32'],
  [4, 'setInt32'],
  [4, 'setFloat32'],
  [1, 'setUint8'],
  undefined,
  undefined,
  [8, 'setBigUint64'],
  [8, 'setBigInt64'],
  [8, 'setFloat64'],
] as const;

function scalar(type: number, value: unknown): Uint8Array {
  const [size, write] = writers[type]!;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  (view[write] as (at: number, value: unknown, littleEndian: boolean) => void).call(
    view,
    0,
    size === 8 && type !== 12 ? BigInt(value as number) : Number(value),
    true,
  );
  return bytes;
}

const u32 = (value: number) => scalar(types.u32, value);
const u64 = (value: number | bigint) => scalar(types.u64, value);

function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function valueBytes(type: number, value: unknown): Uint8Array {
  if (type === types.string) return text(value as string);
  if (type !== types.array) return scalar(type, value);
  const [kind, values] = value as readonly [number, readonly unknown[]];
  return Buffer.concat([u32(kind), u64(values.length), ...values.map(v => valueBytes(kind, v))]);
}

/** The bytes of a file. */
export function ggufBytes({ version = 3, entries, tensors, tensorCount, entryCount }: GgufContent): Uint8Array {
  const alignment = Number(entries.find(([key]) => key === 'general.alignment')?.[2] ?? 32);
  const aligned = (length: number) => Math.ceil(length / alignment) * alignment;
  let at = 0;
  const offsets = tensors.map(({ bytes }) => {
    const offset = at;
    at = aligned(at + bytes.length);
    return offset;
  });
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    u32(version),
    u64(tensorCount ?? tensors.length),
    u64(entryCount ?? entries.length),
    ...entries.flatMap(([key, type, value]) => [text(key), u32(type), valueBytes(type, value)]),
    ...tensors.flatMap(({ name, shape, type, offset }, i) => [
      text(name),
      u32(shape.length),
      ...shape.toReversed().map(u64),
      u32(type),
      u64(offset ?? offsets[i]),
    ]),
  ]);
  const file = Buffer.alloc(aligned(head.length) + at);
  head.copy(file);
  tensors.forEach(({ bytes }, i) => file.set(bytes, aligned(head.length) + offsets[i]));
  return new Uint8Array(file);
}

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
const scalarEntry = fc.oneof(
  fc.tuple(fc.constant(types.u8), fc.nat(255)),
  fc.tuple(fc.constant(types.i16), fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 })),
  fc.tuple(fc.constant(types.u32), fc.nat(2 ** 31)),
  fc.tuple(fc.constant(types.f32), fc.float()),
  fc.tuple(fc.constant(types.bool), fc.boolean()),
  fc.tuple(fc.constant(types.u64), fc.maxSafeNat()),
  fc.tuple(fc.constant(types.string), fc.string({ unit: 'binary', maxLength: 20 })),
);
const arrayEntry = scalarEntry.chain(([kind, value]) =>
  fc.array(fc.constant(value), { maxLength: 5 }).map(values => [types.array, [kind, values]] as const),
);

/** The number of a type in the file, by its name. */
export const typeNumber = (name: string): number =>
  Array.from({ length: 64 }, (_, id) => id).find(id => ggmlType(id)?.name === name)!;

const tensor = fc
  .record({
    type: fc.constantFrom(...ggmlTypeNames).map(typeNumber),
    rows: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
    blocks: fc.integer({ min: 1, max: 2 }),
    name: key,
  })
  .chain(({ type, rows, blocks, name }) => {
    const { elements, bytes } = ggmlType(type) as GgmlType;
    const size = rows.reduce((a, b) => a * b, blocks * bytes);
    return bytesOf(size).map(content => ({ name, shape: [...rows, blocks * elements], type, bytes: content }));
  });

/** Any file: metadata of every kind, tensors in every number format, any alignment. */
export const ggufContent: fc.Arbitrary<GgufContent> = fc.record({
  version: fc.constantFrom(2, 3),
  entries: fc
    .tuple(
      fc.uniqueArray(
        fc.tuple(key, fc.oneof(scalarEntry, arrayEntry)).map(([name, [type, value]]): Entry => [name, type, value]),
        { selector: ([name]) => name, maxLength: 6 },
      ),
      fc.option(fc.constantFrom(8, 16, 64, 4096), { nil: undefined }),
    )
    .map(([entries, alignment]) => [
      ...entries,
      ...(alignment === undefined ? [] : [['general.alignment', types.u32, alignment] as const]),
    ]),
  tensors: fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 4 }),
});
