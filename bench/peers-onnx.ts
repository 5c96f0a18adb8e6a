/**
 * onnxruntime-web, which runs a graph in ONNX's format: each operation is a model of one node, written here byte by
 * byte in protobuf (field numbers from onnx.proto). Its session copies the result out of its own memory; the copy
 * counts towards its time, since it has no call without one.
 */
const utf8 = new TextEncoder();

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))]);
const number = (field: number, n: number): number[] => [...varint(field << 3), ...varint(n)];
const message = (field: number, bytes: readonly number[]): number[] => [
  ...varint((field << 3) | 2),
  ...varint(bytes.length),
  ...bytes,
];
const string = (field: number, text: string): number[] => message(field, [...utf8.encode(text)]);

/** ValueInfoProto of an n×n float32 tensor (element type 1). */
function matrix(name: string, shape: readonly number[]): number[] {
  const dims = shape.flatMap(n => message(1, number(1, n)));
  return [...string(1, name), ...message(2, message(1, [...number(1, 1), ...message(2, dims)]))];
}

/** ModelProto of `y = op(inputs)` over n×n matrices, opset 17; inputs beside x are (n). */
function oneNode(op: string, inputs: readonly string[], n: number): Uint8Array {
  const node = [...inputs.flatMap(name => string(1, name)), ...string(2, 'y'), ...string(4, op)];
  const graph = [
    ...message(1, node),
    ...string(2, op),
    ...[...new Set(inputs)].flatMap(name => message(11, matrix(name, name === 'x' ? [n, n] : [n]))),
    ...message(12, matrix('y', [n, n])),
  ];
  return Uint8Array.from([...number(1, 8), ...message(7, graph), ...message(8, number(2, 17))]);
}

interface OnnxTensor {
  readonly data: Float32Array;
  dispose(): void;
}
interface Session {
  run(feeds: Readonly<Record<string, OnnxTensor>>): Promise<Record<string, OnnxTensor>>;
  release(): Promise<void>;
}
/** The few functions of onnxruntime-web that are used. */
export interface Onnx {
  readonly env: { readonly wasm: { numThreads?: number } };
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => OnnxTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: { readonly executionProviders: readonly string[] }): Promise<Session>;
  };
}

const graphs = {
  matmul: { op: 'MatMul', inputs: ['x', 'x'] },
  softmax: { op: 'Softmax', inputs: ['x'] },
  layerNorm: { op: 'LayerNormalization', inputs: ['x', 'scale', 'shift'] },
} as const;

/** Operations on an n×n matrix, on `threads` threads; `values(n)` is the input. */
export async function onnxOperations(onnx: Onnx, values: (n: number) => Float32Array, threads: number) {
  onnx.env.wasm.numThreads = threads;
  // Its first session starts its threads and leaves `globalThis.Worker` behind, by which jax-js chooses its memory.
  const scope = globalThis as { Worker?: unknown };
  const { Worker } = scope;
  await onnx.InferenceSession.create(oneNode('MatMul', ['x', 'x'], 8), { executionProviders: ['wasm'] });
  if (Worker === undefined) delete scope.Worker;
  return (name: keyof typeof graphs) => (n: number) => {
    const { op, inputs } = graphs[name];
    const session = onnx.InferenceSession.create(oneNode(op, inputs, n), { executionProviders: ['wasm'] });
    const feeds: Record<string, OnnxTensor> = { x: new onnx.Tensor('float32', values(n), [n, n]) };
    if (name === 'layerNorm') {
      feeds.scale = new onnx.Tensor('float32', new Float32Array(n).fill(1), [n]);
      feeds.shift = new onnx.Tensor('float32', new Float32Array(n), [n]);
    }
    return {
      run: async () => (await session).run(feeds),
      read: async () => (await (await session).run(feeds)).y.data,
      free: () => void session.then(s => s.release()),
    };
  };
}
