/**
 * A training step of the benchmark's transformer in jax-js: forward, backward and plain SGD. It has less to do than
 * ours: no rotary embedding, and no moments in the update.
 *
 * Run without `jit`, because that is faster: compiled as a whole, this step takes over one and a half times as long. It
 * may still not be the best that jax-js can do (others have measured more on such machines); the ratio is an upper
 * bound.
 */
import { Random } from '../engine/index.ts';
import { stepBatch, stepConfig } from './step.ts';

/** The part of jax-js that is used. An array passed to a function is spent; `ref` keeps it. */
export interface JaxArray {
  readonly ref: JaxArray;
  readonly shape: number[];
  add(x: JaxArray | number): JaxArray;
  sub(x: JaxArray | number): JaxArray;
  mul(x: JaxArray | number): JaxArray;
  sum(): JaxArray;
  reshape(shape: number[]): JaxArray;
  transpose(): JaxArray;
  dispose(): void;
  blockUntilReady(): Promise<JaxArray>;
  data(): Promise<ArrayLike<number>>;
}
export interface Jax {
  init(device: string): Promise<string[]>;
  defaultDevice(device: string): string;
  jit<F>(f: F): F;
  valueAndGrad<P>(f: (p: P) => JaxArray): (p: P) => [JaxArray, P];
  readonly numpy: {
    array(values: Float32Array, options: { shape: number[] }): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
  };
  readonly nn: {
    softmax(x: JaxArray, axis: number): JaxArray;
    logSoftmax(x: JaxArray, axis: number): JaxArray;
    silu(x: JaxArray): JaxArray;
    standardize(x: JaxArray, axis: number): JaxArray;
    dotProductAttention(q: JaxArray, k: JaxArray, v: JaxArray, options: { isCausal: boolean }): JaxArray;
  };
}

type Params = Record<string, JaxArray>;

/** Node 20 has no iterator helpers, and jax-js's einsum wants two. */
function polyfillIteratorHelpers(): void {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as {
    map?: unknown;
    filter?: unknown;
  };
  prototype.map ??= function* <T, U>(this: Iterable<T>, f: (value: T) => U): Generator<U> {
    for (const value of this) yield f(value);
  };
  prototype.filter ??= function* <T>(this: Iterable<T>, f: (value: T) => boolean): Generator<T> {
    for (const value of this) if (f(value)) yield value;
  };
}

/** A function that makes one step and waits for it. */
export function jaxTrainingStep({ numpy: np, nn, valueAndGrad }: Jax): () => Promise<void> {
  polyfillIteratorHelpers();
  const { width: C, layers, heads: H, feedForward: F, vocabSize: V } = stepConfig;
  const { rows: B, length: T } = stepBatch;
  const random = new Random(3);
  const matrix = (n: number, m: number) =>
    np.array(
      new Float32Array(n * m).map(() => 0.02 * random.normal()),
      { shape: [n, m] },
    );
  let params: Params = { embedding: matrix(V, C), head: matrix(C, V) };
  for (let i = 0; i < layers; i++) {
    for (const name of ['q', 'k', 'v', 'o']) params[`${name}${i}`] = matrix(C, C);
    Object.assign(params, { [`gate${i}`]: matrix(C, F), [`up${i}`]: matrix(C, F), [`down${i}`]: matrix(F, C) });
  }
  const oneHot = (ids: number[]) => {
    const values = new Float32Array(ids.length * V);
    ids.forEach((id, i) => {
      values[i * V + id] = 1;
    });
    return np.array(values, { shape: [ids.length, V] });
  };
  const ids = Array.from({ length: B * T }, () => random.integer(V));
  const [inputs, targets] = [oneHot(ids), oneHot([...ids.slice(1), 0])];

  const loss = (p: Params): JaxArray => {
    let x = np.matmul(inputs.ref, p.embedding); // (B·T, C)
    for (let i = 0; i < layers; i++) {
      const n = nn.standardize(x.ref, -1);
      const project = (name: string) => np.matmul(n.ref, p[`${name}${i}`]).reshape([B, T, H, C / H]);
      const mixed = nn
        .dotProductAttention(project('q'), project('k'), project('v'), { isCausal: true })
        .reshape([B * T, C]);
      n.dispose();
      x = x.add(np.matmul(mixed, p[`o${i}`]));
      const m = nn.standardize(x.ref, -1);
      x = x.add(np.matmul(nn.silu(np.matmul(m.ref, p[`gate${i}`])).mul(np.matmul(m, p[`up${i}`])), p[`down${i}`]));
    }
    return nn
      .logSoftmax(np.matmul(nn.standardize(x, -1), p.head), -1)
      .mul(targets.ref)
      .sum()
      .mul(-1 / (B * T));
  };
  const step = (p: Params): [JaxArray, Params] => {
    const kept = Object.fromEntries(Object.entries(p).map(([name, w]) => [name, w.ref]));
    const [value, gradients] = valueAndGrad(loss)(p);
    return [
      value,
      Object.fromEntries(Object.entries(kept).map(([name, w]) => [name, w.sub(gradients[name].mul(1e-3))])),
    ];
  };
  return async () => {
    const [value, next] = step(params);
    params = next;
    await Promise.all([value, ...Object.values(params)].map(a => a.blockUntilReady()));
    value.dispose();
  };
}
