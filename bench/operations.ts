/** The operation table under the clock: every row, at several sizes, on several backends, verified before it is timed. */
import { Bench } from 'tinybench';
import { apply, noGrad, Random, scope, table, tensor, type Backend, type Row, type Sample, type Tensor } from '../engine/index.ts';
import { sizeOf } from '../engine/shape.ts';
import type { Peak } from './peak.ts';
import { shareOfRoofline, type Measurement } from './report.ts';

export interface Timing {
  readonly seconds: number;
  readonly spread: number;
}

/** Median and spread of a function, after a first call that is not counted. */
export async function timed(name: string, fn: () => unknown, milliseconds = 250): Promise<Timing> {
  await fn();
  const bench = new Bench({ time: milliseconds, iterations: 5, warmup: false, throws: true });
  bench.add(name, async () => { await fn(); });
  await bench.run();
  const [task] = bench.tasks;
  const result = task.result;
  if (!('latency' in result)) throw new Error(`bench: ${name} did not complete (${result.state})`);
  const { p50, mad } = result.latency; // milliseconds
  return { seconds: p50 / 1000, spread: mad / p50 };
}

const place = (inputs: readonly Sample[], backend: Backend): Tensor[] =>
  inputs.map(x => tensor(x.values, { shape: x.shape, backend, dtype: x.values instanceof Int32Array ? 'int32' : 'float32' }));

const defaultBytes = (inputs: readonly Sample[], out: readonly number[]): number => 4 * (inputs.reduce((n, x) => n + sizeOf(x.shape), 0) + sizeOf(out));

/** Throws where a backend's result is not the reference's: a wrong kernel has no speed. */
function verify(op: Row, backend: Backend, reference: Backend): void {
  const { inputs, attributes } = op.sample(new Random(1), 24);
  const [actual, expected] = [backend, reference].map(b => noGrad(() => scope(() => apply(op, place(inputs, b), attributes).dataSync())));
  let scale = 1;
  for (const v of expected) scale = Math.max(scale, Math.abs(v));
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs(actual[i] - expected[i]);
    if (!(off <= 64 * 2 ** -24 * scale)) throw new Error(`bench: ${op.name} on ${backend.name} gives ${actual[i]} where the reference has ${expected[i]}`);
  }
}

export interface OperationOptions {
  readonly filter: RegExp;
  readonly sizes: readonly number[];
  readonly backends: readonly Backend[];
  readonly reference: Backend;
  readonly peak: Peak;
  readonly onRow: (name: string) => void;
}

/** A reference call that would take longer than this is left out. */
const patience = 1e8;

export async function measureOperations({ filter, sizes, backends, reference, peak, onRow }: OperationOptions): Promise<Measurement[]> {
  const rows: Measurement[] = [];
  for (const op of table.filter(o => filter.test(o.name))) {
    for (const backend of backends) if (backend !== reference) verify(op, backend, reference);
    for (const size of sizes) {
      const { inputs, attributes } = op.sample(new Random(2), size);
      const shapes = inputs.map(x => x.shape);
      const out = op.shape(shapes, attributes);
      const [flops, bytes] = [op.flops(shapes, attributes, out), op.bytes?.(shapes, attributes, out) ?? defaultBytes(inputs, out)];
      for (const backend of backends) {
        if (backend === reference && Math.max(flops, bytes) > patience) continue;
        onRow(`${op.name} ${size} ${backend.name}`);
        const placed = place(inputs, backend);
        const timing = await timed(op.name, () => noGrad(() => scope(() => { apply(op, placed, attributes); })));
        placed.forEach(t => t.dispose());
        rows.push({
          op: op.name, size, backend: backend.name, ...timing,
          gflops: flops / timing.seconds / 1e9,
          gbps: bytes / timing.seconds / 1e9,
          shareOfPeak: shareOfRoofline(flops, bytes, timing.seconds, peak),
        });
      }
    }
  }
  return rows;
}
