/**
 * The same work in other libraries, in turns with ours. A peer that does not load is a line in the output, never
 * silence.
 *
 * jax-js, tfjs-backend-wasm and onnxruntime-web are installed by hand (`bench/peers/package.json`), so they are
 * imported by path and described here by the few functions that are used.
 */
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { encode as encodeGpt } from 'gpt-tokenizer';
import {
  layerNorm,
  matmul,
  noGrad,
  scope,
  setBackend,
  softmax,
  tensor,
  type Backend,
  type Tensor,
} from '../engine/index.ts';
import { tokenizerToJson } from '../models/tokenizer/index.ts';
import { interleaved, timed } from './clock.ts';
import type { Peak } from './peak.ts';
import { gpuOperations } from './peers-gpu.ts';
import { jaxTrainingStep, type Jax } from './peers-jax.ts';
import { onnxOperations, type Onnx } from './peers-onnx.ts';
import { shareOfRoofline, type Measurement } from './report.ts';
import { stepBatch, stepConfig, trainingStep } from './step.ts';
import { stepRow, tokenizerRow, tokenizerWork } from './work.ts';

/** An operation of one library at one size: `run` ends when the result is there. */
type Runner = (size: number) => { run: () => unknown; read: () => Promise<Float32Array>; free: () => void };
type OpName = 'matmul' | 'softmax' | 'layerNorm';

interface Library {
  readonly name: string;
  readonly operations: Readonly<Record<OpName, Runner>>;
}

/** The one input of every library. */
const values = (size: number) => new Float32Array(size * size).map((_, i) => Math.sin(i));

function ours(backend: Backend): Library {
  const runner =
    (op: (x: Tensor) => Tensor): Runner =>
    size => {
      const x = tensor(values(size), { shape: [size, size], backend });
      return {
        run: () =>
          noGrad(() =>
            scope(() => {
              op(x);
            }),
          ),
        read: async () => noGrad(() => scope(() => Float32Array.from(op(x).dataSync()))),
        free: () => x.dispose(),
      };
    };
  return {
    name: backend.name,
    operations: {
      matmul: runner(x => matmul(x, x)),
      softmax: runner(x => softmax(x)),
      layerNorm: runner(x => layerNorm(x)),
    },
  };
}

/** The folder `bench/peers/node_modules`, from the sources and from `dist` alike. */
function peersFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const candidates = [join(here, 'peers/node_modules'), join(here, '../../bench/peers/node_modules')];
  const found = candidates.find(existsSync);
  if (!found) throw new Error('the peers are not installed; run: npm ci --prefix bench/peers');
  return found;
}

const load = async (name: string): Promise<unknown> =>
  import(pathToFileURL(createRequire(join(peersFolder(), '../package.json')).resolve(name)).href);

interface TfTensor {
  dispose(): void;
  data(): Promise<Float32Array>;
}
interface Tf {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(values: Float32Array, shape: number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  softmax(x: TfTensor): TfTensor;
  moments(x: TfTensor, axis: number, keep: boolean): { mean: TfTensor; variance: TfTensor };
  rsqrt(x: TfTensor): TfTensor;
  add(a: TfTensor, b: number): TfTensor;
  sub(a: TfTensor, b: TfTensor): TfTensor;
  mul(a: TfTensor, b: TfTensor): TfTensor;
  tidy<T>(fn: () => T): T;
}
interface TfWasm {
  setWasmPaths(path: string): void;
  setThreadsCount(n: number): void;
  getThreadsCount(): number;
}

async function tensorflow(threads: number): Promise<Library> {
  const tf = (await load('@tensorflow/tfjs-core')) as Tf;
  const wasm = (await load('@tensorflow/tfjs-backend-wasm')) as TfWasm;
  wasm.setWasmPaths(`${join(peersFolder(), '@tensorflow/tfjs-backend-wasm/wasm-out')}/`);
  wasm.setThreadsCount(threads);
  if (!(await tf.setBackend('wasm'))) throw new Error('its wasm backend did not start');
  await tf.ready();
  const runner =
    (op: (x: TfTensor) => TfTensor): Runner =>
    size => {
      const x = tf.tensor(values(size), [size, size]);
      return {
        run: () =>
          tf.tidy(() => {
            op(x);
          }),
        read: async () => {
          const y = tf.tidy(() => op(x));
          const result = await y.data();
          y.dispose();
          return result;
        },
        free: () => x.dispose(),
      };
    };
  return {
    name: `tfjs-wasm (${wasm.getThreadsCount()} thread${wasm.getThreadsCount() > 1 ? 's' : ''})`,
    operations: {
      matmul: runner(x => tf.matMul(x, x)),
      softmax: runner(x => tf.softmax(x)),
      layerNorm: runner(x => {
        const { mean, variance } = tf.moments(x, 1, true);
        return tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
      }),
    },
  };
}

async function jaxLibrary(jax: Jax): Promise<Library> {
  await jax.init('wasm');
  jax.defaultDevice('wasm');
  const { numpy: np, nn } = jax;
  const runner =
    (op: (x: ReturnType<typeof np.array>) => ReturnType<typeof np.array>): Runner =>
    size => {
      const x = np.array(values(size), { shape: [size, size] });
      const compiled = jax.jit(op);
      return {
        run: async () => {
          const y = await compiled(x.ref).blockUntilReady();
          y.dispose();
        },
        read: async () => (await compiled(x.ref).data()) as Float32Array,
        free: () => x.dispose(),
      };
    };
  return {
    name: 'jax-js',
    operations: {
      matmul: runner(x => np.matmul(x.ref, x)),
      softmax: runner(x => nn.softmax(x, -1)),
      layerNorm: runner(x => nn.standardize(x, -1)),
    },
  };
}

const gpuName = 'gpu.js webasm';

function gpuLibrary(): Library {
  const operations = gpuOperations(values);
  const runner =
    (op: OpName): Runner =>
    size => {
      const { run, free } = operations[op](size);
      const read = async () => {
        const lines = await run();
        return Float32Array.from({ length: size * size }, (_, i) => lines[Math.floor(i / size)][i % size]);
      };
      return { run, read, free };
    };
  return {
    name: gpuName,
    operations: { matmul: runner('matmul'), softmax: runner('softmax'), layerNorm: runner('layerNorm') },
  };
}

/** Throws where a peer has another answer than ours: then it did other work, and its time says nothing. */
export function agree(name: string, actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (actual.length !== expected.length)
    throw new Error(`${name} gives ${actual.length} numbers where ours are ${expected.length}`);
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= 1e-3 * Math.max(1, Math.abs(expected[i]))))
      throw new Error(`${name} gives ${actual[i]} where ours is ${expected[i]}`);
  }
}

const matmulSizes = [64, 128, 256, 512, 1024];
const rowSizes = [256, 1024];
/** gpu.js's textbook matmul takes over a second above this. */
const gpuLimit = 512;

export async function measurePeers(
  backend: Backend,
  peak: Peak,
  threads: number,
  onRow: (name: string) => void,
): Promise<Measurement[]> {
  setBackend(backend);
  const libraries: Library[] = [ours(backend)];
  let jax = null as Jax | null;
  const peer = async (name: string, open: () => Promise<void>) => {
    await open().catch((error: Error) => process.stdout.write(`MISSING ${name}: ${error.message.split('\n')[0]}\n`));
  };
  await peer('tfjs-backend-wasm', async () => {
    libraries.push(await tensorflow(threads));
  });
  await peer('jax-js', async () => {
    jax = (await load('@jax-js/jax')) as Jax;
    libraries.push(await jaxLibrary(jax));
  });
  await peer('onnxruntime-web', async () => {
    const operations = await onnxOperations((await load('onnxruntime-web')) as Onnx, values, threads);
    const [matmul, softmax, layerNorm] = (['matmul', 'softmax', 'layerNorm'] as const).map(operations);
    libraries.push({
      name: `onnxruntime-web (${threads} thread${threads > 1 ? 's' : ''})`,
      operations: { matmul, softmax, layerNorm },
    });
  });
  await peer('gpu.js', async () => {
    libraries.push(gpuLibrary());
  });

  const rows: Measurement[] = [];
  for (const op of ['matmul', 'softmax', 'layerNorm'] as const) {
    for (const size of op === 'matmul' ? matmulSizes : rowSizes) {
      const flops = op === 'matmul' ? 2 * size ** 3 : (op === 'softmax' ? 5 : 7) * size ** 2;
      const bytes = (op === 'matmul' ? 12 : 8) * size ** 2;
      const placed = libraries.map(({ name, operations }) => ({
        name,
        once: name === gpuName && size > gpuLimit,
        ...operations[op](size),
      }));
      const expected = await placed[0].read();
      for (const p of placed) agree(`${p.name} ${op} ${size}`, await p.read(), expected);
      const timings = await interleaved(placed, 150, name => onRow(`${op} ${size} ${name}`));
      timings.forEach((timing, i) =>
        rows.push({
          op,
          size,
          backend: 'wasm',
          ...(i > 0 ? { peer: placed[i].name } : {}),
          ...timing,
          gflops: flops / timing.seconds / 1e9,
          gbps: bytes / timing.seconds / 1e9,
          shareOfPeak: shareOfRoofline(flops, bytes, timing.seconds, peak),
        }),
      );
      for (const p of placed) p.free();
    }
  }
  return [...rows, ...(await measureSteps(backend, peak, jax, onRow)), ...(await measureTokenizers(onRow))];
}

async function measureSteps(
  backend: Backend,
  peak: Peak,
  jax: Jax | null,
  onRow: (name: string) => void,
): Promise<Measurement[]> {
  const step = trainingStep(backend, stepConfig, stepBatch);
  const contenders = [
    { name: backend.name, run: () => step.run().dispose() },
    ...(jax ? [{ name: 'jax-js', run: jaxTrainingStep(jax) }] : []),
  ];
  const timings = await interleaved(contenders, 2000, name => onRow(`training step ${name}`));
  step.dispose();
  return timings.map((timing, i) => stepRow(step, 'wasm', timing, peak, i > 0 ? contenders[i].name : undefined));
}

async function measureTokenizers(onRow: (name: string) => void): Promise<Measurement[]> {
  const { bytes, documents, tokenizer, train, encode } = tokenizerWork();
  const huggingFace = new HuggingFace(JSON.parse(tokenizerToJson(tokenizer)), {});
  const encoders = [
    { name: 'ours', run: encode },
    {
      name: '@huggingface/tokenizers',
      run: () => {
        for (const d of documents) huggingFace.encode(d);
      },
    },
    {
      name: 'gpt-tokenizer (o200k)',
      run: () => {
        for (const d of documents) encodeGpt(d);
      },
    },
  ];
  const timings = await interleaved(encoders, 500, name => onRow(`BPE encoding ${name}`));
  return [
    tokenizerRow('BPE training', bytes, await timed('BPE training', train, 1000)),
    ...timings.map((timing, i) => tokenizerRow('BPE encoding', bytes, timing, i > 0 ? encoders[i].name : undefined)),
  ];
}
