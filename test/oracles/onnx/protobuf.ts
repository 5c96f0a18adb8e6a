/** The few messages of onnx.proto3 that a node test is made of, read from protocol buffers. */
import type { Case, Values } from './operators.ts';

/** A field is one variable-length integer, or bytes. */
interface Field {
  readonly number: number;
  readonly integer?: bigint;
  readonly bytes: Uint8Array;
}

/** Variable-length integers, one after the other. */
function* integersIn(bytes: Uint8Array): Generator<bigint> {
  let [value, shift] = [0n, 0n];
  for (const byte of bytes) {
    value |= BigInt(byte & 127) << shift;
    shift += 7n;
    if (byte < 128) {
      yield value;
      [value, shift] = [0n, 0n];
    }
  }
}

/** The fields of a message. */
function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  let at = 0;
  const varint = (): bigint => {
    const end = bytes.findIndex((byte, i) => i >= at && byte < 128) + 1;
    const [value] = integersIn(bytes.subarray(at, end));
    at = end;
    return value;
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const [number, wire] = [key >> 3, key & 7];
    if (wire === 0) yield { number, integer: varint(), bytes: new Uint8Array() };
    else {
      const length = wire === 2 ? Number(varint()) : wire === 1 ? 8 : 4;
      yield { number, bytes: bytes.subarray(at, (at += length)) };
    }
  }
}

const all = (message: Uint8Array, number: number): Field[] => [...fieldsOf(message)].filter(f => f.number === number);
const text = (f: Field | undefined): string => new TextDecoder().decode(f?.bytes);
const signed = (value: bigint): number => Number(BigInt.asIntN(64, value));
const dataView = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Repeated integers, packed or one by one. */
const integersOf = (message: Uint8Array, number: number): number[] =>
  all(message, number).flatMap(f => (f.integer === undefined ? [...integersIn(f.bytes)] : [f.integer]).map(signed));

/** Repeated floats, packed or one by one. */
const floatsOf = (message: Uint8Array, number: number, width: 4 | 8): number[] =>
  all(message, number).flatMap(({ bytes }) =>
    Array.from({ length: bytes.length / width }, (_, i) =>
      width === 4 ? dataView(bytes).getFloat32(4 * i, true) : dataView(bytes).getFloat64(8 * i, true),
    ),
  );

type Reader = (view: DataView, at: number) => number;
/** TensorProto.DataType: the element's width in raw data, how it is read, what it is here. */
const types: Readonly<Record<number, readonly [number, Reader, Values['type']]>> = {
  1: [4, (v, at) => v.getFloat32(at, true), 'float'],
  2: [1, (v, at) => v.getUint8(at), 'integer'],
  3: [1, (v, at) => v.getInt8(at), 'integer'],
  6: [4, (v, at) => v.getInt32(at, true), 'integer'],
  7: [8, (v, at) => Number(v.getBigInt64(at, true)), 'integer'],
  9: [1, (v, at) => v.getUint8(at), 'integer'],
  11: [8, (v, at) => v.getFloat64(at, true), 'float'],
};

/** A TensorProto; null of a type that the engine has nothing like, such as strings and half floats. */
export function tensorOf(message: Uint8Array): { name: string; values: Values } | null {
  const type = types[integersOf(message, 2)[0]];
  if (!type) return null;
  const [width, read, kind] = type;
  const raw = all(message, 9)[0]?.bytes;
  const values = raw
    ? Array.from({ length: raw.length / width }, (_, i) => read(dataView(raw), i * width))
    : [...floatsOf(message, 4, 4), ...integersOf(message, 5), ...integersOf(message, 7), ...floatsOf(message, 10, 8)];
  return { name: text(all(message, 8)[0]), values: { type: kind, shape: integersOf(message, 1), values } };
}

/** An AttributeProto: a float, an integer, a text, or several numbers. */
function attributeOf(message: Uint8Array): [string, number | string | number[]] {
  const name = text(all(message, 1)[0]);
  switch (integersOf(message, 20)[0]) {
    case 1:
      return [name, floatsOf(message, 2, 4)[0]];
    case 2:
      return [name, integersOf(message, 3)[0]];
    case 3:
      return [name, text(all(message, 4)[0])];
    case 6:
      return [name, floatsOf(message, 7, 4)];
    default:
      return [name, integersOf(message, 8)];
  }
}

/** A model of one node, and the names by which its test's files go. */
export interface NodeModel extends Pick<Case, 'operator' | 'opset' | 'attributes'> {
  /** The node's inputs; '' is one that is missing. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** The model's inputs, in the order of the files. */
  readonly fed: readonly string[];
  readonly constants: ReadonlyMap<string, Values>;
}

/** A ModelProto; null when it is not one node. */
export function modelOf(message: Uint8Array): NodeModel | null {
  const graph = all(message, 7)[0].bytes;
  const nodes = all(graph, 1);
  if (nodes.length !== 1) return null;
  const node = nodes[0].bytes;
  const constants = new Map(
    all(graph, 5)
      .map(f => tensorOf(f.bytes))
      .filter(t => t !== null)
      .map(t => [t.name, t.values]),
  );
  return {
    operator: text(all(node, 4)[0]),
    opset: Math.max(...all(message, 8).map(f => integersOf(f.bytes, 2)[0])),
    attributes: Object.fromEntries(all(node, 5).map(f => attributeOf(f.bytes))),
    inputs: all(node, 1).map(text),
    outputs: all(node, 2).map(text),
    fed: all(graph, 11)
      .map(f => text(all(f.bytes, 1)[0]))
      .filter(name => !constants.has(name)),
    constants,
  };
}
