/**
 * The same work in other libraries, interleaved with ours: each size is measured in one, then the other, so that a
 * machine that slows down slows everyone down. A peer that does not load is a line in the output, never silence.
 *
 * jax-js and tfjs-backend-wasm are installed by hand (`bench/peers/package.json`), so they are imported by path and
 * described here by the few functions that are used.
 */
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Tokenizer as HuggingFace } from '@huggingface/tokenizers';
import { encode as encodeGpt } from 'gpt-tokenizer';
import { layerNorm, matmul, noGrad, scope, setBackend, softmax, tensor, type Backend, type Tensor } from '../engine/index.ts';
import { gpt2Pattern, tokenizerToJson, trainBPE } from '../models/tokenizer/index.ts';
import { forwardFlops } from '../models/transformer.ts';
import { timed } from './operations.ts';
import type { Peak } from './peak.ts';
import { gpuOperations } from './peers-gpu.ts';
import { jaxTrainingStep, type Jax } from './peers-jax.ts';
import { shareOfRoofline, type Measurement } from './report.ts';
import { stepBatch, stepConfig } from './step.ts';
import { measureStep, measureTokenizer, syntheticText } from './work.ts';

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
  const runner = (op: (x: Tensor) => Tensor): Runner => size => {
    const x = tensor(values(size), { shape: [size, size], backend });
    return {
      run: () => noGrad(() => scope(() => { op(x); })),
      read: async () => noGrad(() => scope(() => Float32Array.from(op(x).dataSync()))),
      free: () => x.dispose(),
    };
  };
  return { name: backend.name, operations: { matmul: runner(x => matmul(x, x)), softmax: runner(x => softmax(x)), layerNorm: runner(x => layerNorm(x)) } };
}

/** The folder `bench/peers/node_modules`, from the sources and from `dist` alike. */
function peersFolder(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const candidates = [join(here, 'peers/node_modules'), join(here, '../../bench/peers/node_modules')];
  const found = candidates.find(existsSync);
  if (!found) throw new Error('the peers are not installed; run: npm ci --prefix bench/peers');
  return found;
}

const load = async (name: string): Promise<unknown> => import(pathToFileURL(createRequire(join(peersFolder(), '../package.json')).resolve(name)).href);

interface TfTensor { dispose(): void; data(): Promise<Float32Array> }
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
interface TfWasm { setWasmPaths(path: string): void; setThreadsCount(n: number): void; getThreadsCount(): number }

async function tensorflow(threads: number): Promise<Library> {
  const tf = (await load('@tensorflow/tfjs-core')) as Tf;
  const wasm = (await load('@tensorflow/tfjs-backend-wasm')) as TfWasm;
  wasm.setWasmPaths(`${join(peersFolder(), '@tensorflow/tfjs-backend-wasm/wasm-out')}/`);
  wasm.setThreadsCount(threads);
  if (!(await tf.setBackend('wasm'))) throw new Error('its wasm backend did not start');
  await tf.ready();
  const runner = (op: (x: TfTensor) => TfTensor): Runner => size => {
    const x = tf.tensor(values(size), [size, size]);
    return {
      run: () => tf.tidy(() => { op(x); }),
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
  const runner = (op: (x: ReturnType<typeof np.array>) => ReturnType<typeof np.array>): Runner => size => {
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
    operations: { matmul: runner(x => np.matmul(x.ref, x)), softmax: runner(x => nn.softmax(x, -1)), layerNorm: runner(x => nn.standardize(x, -1)) },
  };
}

function gpuLibrary(): Library {
  const operations = gpuOperations(values);
  const runner = (op: OpName): Runner => size => {
    const { run, free } = operations[op](size);
    const read = async () => {
      const lines = await run();
      return Float32Array.from({ length: size * size }, (_, i) => lines[Math.floor(i / size)][i % size]);
    };
    return { run, read, free };
  };
  return { name: 'gpu.js webasm', operations: { matmul: runner('matmul'), softmax: runner('softmax'), layerNorm: runner('layerNorm') } };
}

/** Throws where a peer has another answer than ours: then it did other work, and its time says nothing. */
export function agree(name: string, actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (actual.length !== expected.length) throw new Error(`${name} gives ${actual.length} numbers where ours are ${expected.length}`);
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= 1e-3 * Math.max(1, Math.abs(expected[i])))) throw new Error(`${name} gives ${actual[i]} where ours is ${expected[i]}`);
  }
}

const matmulSizes = [64, 128, 256, 512, 1024];
const rowSizes = [256, 1024];
const rounds = 3;
/** gpu.js's textbook matmul takes over a second above this. */
const gpuLimit = 512;

export async function measurePeers(backend: Backend, peak: Peak, threads: number, onRow: (name: string) => void): Promise<Measurement[]> {
  setBackend(backend);
  const libraries: Library[] = [ours(backend)];
  let jax: Jax | null = null;
  const peer = async (name: string, open: () => Promise<void>) => {
    await open().catch((error: Error) => process.stdout.write(`MISSING ${name}: ${error.message.split('\n')[0]}\n`));
  };
  await peer('tfjs-backend-wasm', async () => { libraries.push(await tensorflow(threads)); });
  await peer('jax-js', async () => {
    jax = (await load('@jax-js/jax')) as Jax;
    libraries.push(await jaxLibrary(jax));
  });
  await peer('gpu.js', async () => { libraries.push(gpuLibrary()); });

  const rows: Measurement[] = [];
  for (const op of ['matmul', 'softmax', 'layerNorm'] as const) {
    for (const size of op === 'matmul' ? matmulSizes : rowSizes) {
      const flops = op === 'matmul' ? 2 * size ** 3 : (op === 'softmax' ? 5 : 7) * size ** 2;
      const bytes = (op === 'matmul' ? 12 : 8) * size ** 2;
      const placed = libraries.map(l => ({ library: l, ...l.operations[op](size), timings: [] as { seconds: number; spread: number }[] }));
      const expected = await placed[0].read();
      for (const p of placed) agree(`${p.library.name} ${op} ${size}`, await p.read(), expected);
      for (let round = 0; round < rounds; round++) {
        for (const p of placed) {
          if (p.library.name === 'gpu.js webasm' && size > gpuLimit && round > 0) continue; // seconds a call
          onRow(`${op} ${size} ${p.library.name}`);
          p.timings.push(await timed(op, p.run, 150));
        }
      }
      for (const { library, timings, free } of placed) {
        free();
        const { seconds, spread } = timings.sort((a, b) => a.seconds - b.seconds)[Math.floor(timings.length / 2)];
        rows.push({
          op, size, backend: 'wasm', ...(library.name === backend.name ? {} : { peer: library.name }), seconds, spread,
          gflops: flops / seconds / 1e9, gbps: bytes / seconds / 1e9, shareOfPeak: shareOfRoofline(flops, bytes, seconds, peak),
        });
      }
    }
  }
  onRow('training step');
  rows.push(await measureStep(backend, peak));
  if (jax) await peer('jax-js training step', async () => {
    const tokens = stepBatch.rows * stepBatch.length;
    const timing = await timed('training step', jaxTrainingStep(jax!), 4000);
    const gflops = (3 * tokens * forwardFlops(stepConfig, stepBatch.length / 2)) / timing.seconds / 1e9;
    rows.push({ op: 'training step', size: tokens, backend: 'wasm', peer: 'jax-js', ...timing, gflops, gbps: 0, shareOfPeak: gflops / (peak.relaxed ?? peak.plain), rate: { unit: 'tokens/s', value: tokens / timing.seconds } });
  });
  onRow('tokenizers');
  return [...rows, ...(await measureTokenizer()), ...(await measureTokenizerPeers())];
}

async function measureTokenizerPeers(): Promise<Measurement[]> {
  const text = syntheticText(2_000_000);
  const documents = text.match(/.{1,2000}/g)!;
  const other = new HuggingFace(JSON.parse(tokenizerToJson(trainBPE(documents, { vocabSize: 2048, pattern: gpt2Pattern }))), {});
  const row = async (peer: string, run: () => unknown): Promise<Measurement> => {
    const timing = await timed(peer, run, 1000);
    return { op: 'BPE encoding', size: text.length, backend: 'javascript', peer, ...timing, gflops: 0, gbps: 0, shareOfPeak: 0, rate: { unit: 'MB/s', value: text.length / 1e6 / timing.seconds } };
  };
  return [
    await row('@huggingface/tokenizers', () => { for (const d of documents) other.encode(d); }),
    await row('gpt-tokenizer (o200k)', () => { for (const d of documents) encodeGpt(d); }),
  ];
}
