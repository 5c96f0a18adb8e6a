/**
 * All figures of the GPU in one run of eight minutes at most: `npm run bench:gpu -- --help`.
 *
 * Matrix products in GFLOP/s and memory-bound rows in GB/s, each as a share of what the card can do: of its data sheet
 * where `--peak` and `--bandwidth` give it, of a loop of multiply-adds and a copy measured in the same run otherwise.
 * Then training steps and the main job, in turns with wasm on the same machine. On SwiftShader, a device in software,
 * the same script runs on tiny inputs, and its figures check the script and nothing else.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { apply, createReferenceBackend, createWasmBackend, noGrad, scope, ops, type Backend } from '../engine/index.ts';
import type { Thread, Values } from '../engine/gpu/gpujs.ts';
import { Machine } from '../engine/gpu/machine.ts';
import { loadGpuJs, openGpuBackend } from '../engine/gpu/open.ts';
import { writeFileAtomic } from '../models/node/files.ts';
import type { TransformerConfig } from '../models/transformer-config.ts';
import { renderTable } from '../models/node/table.ts';
import { secondsOf } from './browser/page/measure.ts';
import { stepBatch, stepConfig, trainingStep } from './step.ts';
import { compute, place, verify, verifyValues, workload } from './workload.ts';

interface Figure {
  readonly what: string;
  readonly size: string;
  readonly backend: string;
  readonly seconds: number;
  readonly value: number;
  readonly unit: 'GFLOP/s' | 'GB/s' | 'tokens/s' | 's';
  /** Of the card's peak or bandwidth. */
  readonly share?: number;
  /** Times the value of wasm on this machine. */
  readonly overWasm?: number;
}

/** How large everything is: for a card, and for a device in software. */
interface Scale {
  readonly matmul: readonly number[];
  readonly memory: readonly number[];
  readonly memoryRows: readonly string[];
  readonly steps: readonly {
    readonly config: TransformerConfig;
    readonly batch: { readonly rows: number; readonly length: number };
  }[];
  /** Threads and rounds of the loop of multiply-adds, elements of the copy. */
  readonly peak: { readonly threads: number; readonly rounds: number; readonly elements: number };
  /** Training tokens of each row of the main job, 0 to leave it out. */
  readonly jobTokens: number;
}

const memoryRows = ['add', 'gelu', 'permute', 'sum', 'softmax', 'rmsNorm', 'adamwStep'];
const card: Scale = {
  matmul: [256, 512, 1024, 2048, 4096],
  memory: [1024, 4000],
  memoryRows,
  steps: [
    { config: stepConfig, batch: stepBatch },
    { config: stepConfig, batch: { rows: 32, length: 256 } },
  ],
  peak: { threads: 2 ** 20, rounds: 4096, elements: 2 ** 24 },
  jobTokens: 20_000,
};
const software: Scale = {
  matmul: [32, 64],
  memory: [64],
  memoryRows,
  steps: [
    {
      config: {
        ...stepConfig,
        vocabSize: 64,
        width: 24,
        layers: 1,
        heads: 2,
        keyValueHeads: 2,
        feedForward: 48,
        context: 16,
      },
      batch: { rows: 2, length: 16 },
    },
  ],
  peak: { threads: 2 ** 10, rounds: 64, elements: 2 ** 14 },
  jobTokens: 0,
};

/** Eight chains of multiply-adds, 16 operations a round; `x` keeps the compiler from knowing them. */
function multiplyAdds(this: Thread, x: Values, rounds: number): number {
  const factor = x[0];
  const term = x[1];
  let a = this.thread.x;
  let b = a + 1;
  let c = a + 2;
  let d = a + 3;
  let e = a + 4;
  let f = a + 5;
  let g = a + 6;
  let h = a + 7;
  for (let i = 0; i < rounds; i++) {
    a = a * factor + term;
    b = b * factor + term;
    c = c * factor + term;
    d = d * factor + term;
    e = e * factor + term;
    f = f * factor + term;
    g = g * factor + term;
    h = h * factor + term;
  }
  return a + b + c + d + e + f + g + h;
}
function copied(this: Thread, x: Values): number {
  return x[this.thread.x];
}

/** What kernels of gpu.js reach on this device: GFLOP/s in registers, GB/s of a copy, the best of five. */
async function measurePeak({
  threads,
  rounds,
  elements,
}: Scale['peak']): Promise<{ gflops: number; bandwidth: number }> {
  const machine = new Machine(await loadGpuJs(), 'webgpu', [], []);
  const [x, large] = [machine.upload(Float32Array.of(0.999, 0.001)), machine.upload(new Float32Array(elements))];
  const best = async (run: () => ReturnType<Machine['run']>): Promise<number> => {
    let least = Infinity;
    for (let i = 0; i < 6; i++) {
      const start = performance.now();
      const calls = 8;
      for (let n = 0; n < calls; n++) machine.free(run());
      await machine.read(x); // the queue is in order
      if (i > 0) least = Math.min(least, (performance.now() - start) / 1000 / calls);
    }
    return least;
  };
  const gflops = (16 * rounds * threads) / (await best(() => machine.run(multiplyAdds, [threads], [x, rounds]))) / 1e9;
  const bandwidth = (8 * elements) / (await best(() => machine.run(copied, [elements], [large]))) / 1e9;
  [x, large].forEach(t => machine.free(t));
  return { gflops, bandwidth };
}

interface Flags {
  readonly minutes: number;
  readonly peak?: number;
  readonly bandwidth?: number;
  readonly json?: string;
}

async function main(flags: Flags): Promise<void> {
  const end = performance.now() + flags.minutes * 60_000;
  const gpu = await openGpuBackend();
  const wasm = createWasmBackend();
  const reference = createReferenceBackend();
  const isSoftware = /swiftshader|llvmpipe/i.test(gpu.describe());
  const scale = isSoftware ? software : card;
  const label = isSoftware
    ? 'SOFTWARE DEVICE: these figures show that the script works; they say nothing about any GPU.\n'
    : '';
  const figures: Figure[] = [];
  const leftOut: string[] = [];
  /** One line of progress for each measurement, and none is begun after the end. */
  const within = async (what: string, measure: () => Promise<void>): Promise<void> => {
    if (performance.now() > end) return void leftOut.push(what);
    process.stderr.write(`${what}\n`);
    await measure();
  };

  const measured = await measurePeak(scale.peak);
  const peak = { gflops: flags.peak ?? measured.gflops, bandwidth: flags.bandwidth ?? measured.bandwidth };

  const measureRow = async (name: string, size: number, unit: 'GFLOP/s' | 'GB/s'): Promise<void> => {
    const op = ops.find(row => row.name === name)!;
    const work = workload(op, size);
    verifyValues(op, gpu, await compute(op, gpu, work), await compute(op, wasm, work)); // the size that is timed
    const { inputs, attributes, flops, bytes } = work;
    const placed = place(inputs, gpu);
    const seconds = await secondsOf(gpu, () =>
      noGrad(() =>
        scope(() => {
          apply(op, placed, attributes);
        }),
      ),
    );
    placed.forEach(t => t.dispose());
    const value = (unit === 'GFLOP/s' ? flops : bytes) / seconds / 1e9;
    figures.push({
      what: name,
      size: inputs.map(x => x.shape.join('×')).join(', '),
      backend: 'gpu',
      seconds,
      value,
      unit,
      share: value / (unit === 'GFLOP/s' ? peak.gflops : peak.bandwidth),
    });
  };
  for (const name of ['matmul', ...scale.memoryRows]) await verify(ops.find(row => row.name === name)!, gpu, reference);
  for (const size of scale.matmul) await within(`matmul ${size}`, () => measureRow('matmul', size, 'GFLOP/s'));
  for (const name of scale.memoryRows)
    for (const size of scale.memory) await within(`${name} ${size}`, () => measureRow(name, size, 'GB/s'));

  for (const { config, batch } of scale.steps) {
    await within(`training step ${batch.rows}×${batch.length}`, async () => {
      const tokensPerSecond = async (backend: Backend): Promise<Figure> => {
        const work = trainingStep(backend, config, batch);
        const seconds = await secondsOf(backend, () => work.run().dispose());
        work.dispose();
        return {
          what: 'training step',
          size: `${batch.rows}×${batch.length}, width ${config.width}, ${config.layers} layers`,
          backend: backend.name,
          seconds,
          value: work.tokens / seconds,
          unit: 'tokens/s',
        };
      };
      const [onWasm, onGpu] = [await tokensPerSecond(wasm), await tokensPerSecond(gpu)];
      figures.push(onWasm, { ...onGpu, overWasm: onGpu.value / onWasm.value });
    });
  }
  if (scale.jobTokens === 0) leftOut.push('the main job (hours on a device in software)');
  else {
    await within(`main job, ${scale.jobTokens} tokens a row`, async () => {
      const [onWasm, onGpu] = [await jobSeconds('wasm', scale.jobTokens), await jobSeconds('gpu', scale.jobTokens)];
      const job = (backend: string, seconds: number): Figure => ({
        what: 'main job: source, s2t2',
        size: `${scale.jobTokens} tokens a row`,
        backend,
        seconds,
        value: seconds,
        unit: 's',
      });
      figures.push(job('wasm', onWasm), { ...job('gpu', onGpu), overWasm: onWasm / onGpu });
    });
  }

  const cells = figures.map(f => [
    f.what,
    f.size,
    f.backend,
    `${(1000 * f.seconds).toPrecision(4)} ms`,
    `${f.value.toPrecision(4)} ${f.unit}`,
    f.share ? `${(100 * f.share).toFixed(1)}%` : '',
    f.overWasm ? `${f.overWasm.toPrecision(3)}×` : '',
  ]);
  const source = (given: number | undefined): string => (given === undefined ? 'measured' : 'as given');
  const arithmetic = `peak ${peak.gflops.toPrecision(4)} GFLOP/s (${source(flags.peak)})`;
  const memory = `memory ${peak.bandwidth.toPrecision(4)} GB/s (${source(flags.bandwidth)})`;
  process.stdout.write(`${label}${gpu.describe()}\n${wasm.describe()}
${arithmetic}, ${memory}

${renderTable(['what', 'size', 'backend', 'time', 'rate', 'of peak', 'over wasm'], cells)}
${leftOut.map(what => `\nleft out: ${what}`).join('')}\n`);
  if (flags.json) {
    const report = { device: gpu.describe(), software: isSoftware, measured, peak, figures, leftOut };
    await writeFileAtomic(flags.json, `${JSON.stringify(report, null, 1)}\n`);
  }
  gpu.close?.();
}

/** Seconds of the command line's main job in a separate process, in a directory that is gone afterwards. */
async function jobSeconds(backend: string, tokens: number): Promise<number> {
  const out = await mkdtemp(join(tmpdir(), 's2t2-bench-'));
  try {
    const start = performance.now();
    const cli = fileURLToPath(new URL('../s2t2/app/cli.js', import.meta.url));
    const code = await new Promise((resolve, reject) => {
      spawn(
        process.execPath,
        [
          cli,
          'start',
          '--backend',
          backend,
          '--tokens',
          String(tokens),
          '--methods',
          'source,s2t2',
          '--out',
          join(out, 'run'),
        ],
        { stdio: ['ignore', 'ignore', 'inherit'] },
      )
        .on('error', reject)
        .on('exit', resolve);
    });
    if (code !== 0) throw new Error(`bench: the main job on ${backend} ended with code ${String(code)}`);
    return (performance.now() - start) / 1000;
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

await new Command('bench:gpu')
  .description('Every figure of the GPU backend: matrix products, memory-bound rows, training steps, the main job.')
  .option('--minutes <n>', 'start no measurement after this many minutes', Number, 7)
  .option('--peak <n>', "the card's float32 peak in GFLOP/s, from its data sheet; otherwise measured", Number)
  .option('--bandwidth <n>', "the card's memory bandwidth in GB/s, from its data sheet; otherwise measured", Number)
  .option('--json <file>', 'write the figures to a file')
  .action(main)
  .parseAsync();
