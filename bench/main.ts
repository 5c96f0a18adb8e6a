/** The benchmarks' command line: `npm run bench -- --help`. */
import { availableParallelism, cpus } from 'node:os';
import { Command, Option } from 'commander';
import { add, createReferenceBackend, createWasmBackend, scope, tensor } from '../engine/index.ts';
import { detectRelaxedSimd } from '../engine/wasm/features.ts';
import { progressBar } from '../models/node/progress.ts';
import { measureOperations } from './operations.ts';
import { measurePeak } from './peak.ts';
import { measurePeers } from './peers.ts';
import { loadReport, renderReport, saveReport, type Measurement, type Report } from './report.ts';
import { measureRelaxedStep, measureStep, measureTokenizer } from './work.ts';

const kept = 'runs/bench.json';

interface Flags {
  readonly filter: string;
  readonly sizes: string;
  readonly backend?: string;
  readonly threads: number;
  readonly peers?: boolean;
  readonly work: boolean;
  readonly json?: string;
  readonly save?: boolean;
}

async function main(flags: Flags): Promise<void> {
  const begin = performance.now();
  const wasm = createWasmBackend({ threads: flags.threads });
  scope(() => {
    add(tensor(1, { backend: wasm }), 1).dataSync();
  });
  const firstUse: Measurement = {
    op: 'first use',
    size: 1,
    backend: 'wasm',
    seconds: (performance.now() - begin) / 1000,
    spread: 0,
    gflops: 0,
    gbps: 0,
    shareOfPeak: 0,
  };
  const reference = createReferenceBackend();
  const peak = await measurePeak(flags.threads);
  const bar = progressBar('benchmarks', 1, '');
  const options = {
    sizes: flags.sizes.split(',').map(Number),
    reference,
    peak,
    onRow: (name: string) => bar.update(0, name),
  };
  const rows: Measurement[] = [firstUse];
  rows.push(
    ...(flags.peers
      ? await measurePeers(wasm, peak, flags.threads, options.onRow)
      : await measureOperations({
          ...options,
          filter: new RegExp(flags.filter),
          backends: [wasm, reference].filter(b => !flags.backend || b.name === flags.backend),
        })),
  );
  if (flags.work && !flags.peers) rows.push(await measureStep(wasm, peak), ...(await measureTokenizer()));
  if (flags.work && !detectRelaxedSimd()) rows.push(await measureRelaxedStep(flags.threads));
  bar.stop();
  // A busy neighbour halves what two threads reach, and a peak measured too low flatters every share: measured twice,
  // it shows.
  const peakAfter = await measurePeak(flags.threads);
  const report: Report = {
    machine: {
      cpu: cpus()[0].model.trim(),
      cores: availableParallelism(),
      node: process.versions.node,
      backend: wasm.describe(),
      peak,
      peakAfter,
    },
    rows,
  };
  process.stdout.write(`${renderReport(report, await loadReport(kept))}\n`);
  if (flags.json) await saveReport(flags.json, report);
  if (flags.save) await saveReport(kept, report);
}

await new Command('bench')
  .description('Microbenchmarks of the engine: time, GFLOP/s, GB/s, and the share of what this machine can do.')
  .option('--filter <pattern>', 'operations to run, as a regular expression', '.')
  .option('--sizes <list>', 'sizes of the inputs', '64,128,256,512,1024')
  .addOption(new Option('--backend <name>', 'run only this backend').choices(['wasm', 'reference']))
  .option('--threads <n>', 'threads of the backend and of the peak it is compared with', Number, availableParallelism())
  .option('--peers', 'interleave the same work in other libraries (see bench/README.md)')
  .option('--no-work', 'leave out the training step and the tokenizer')
  .option('--json <file>', 'write the rows to a file')
  .option('--save', 'save this run as the baseline; later runs print what changed')
  .action(main)
  .parseAsync();
