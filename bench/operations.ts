/**
 * The operation table under the clock: every row, at several sizes, on several backends, verified before it is timed.
 */
import { apply, noGrad, scope, ops, type Backend } from '../engine/index.ts';
import { timed } from './clock.ts';
import type { Peak } from './peak.ts';
import { shareOfRoofline, type Measurement } from './report.ts';
import { place, verify, workload } from './workload.ts';

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

export async function measureOperations({
  filter,
  sizes,
  backends,
  reference,
  peak,
  onRow,
}: OperationOptions): Promise<Measurement[]> {
  const rows: Measurement[] = [];
  for (const op of ops.filter(o => filter.test(o.name))) {
    for (const backend of backends) if (backend !== reference) await verify(op, backend, reference);
    for (const size of sizes) {
      const { inputs, attributes, flops, bytes } = workload(op, size);
      for (const backend of backends) {
        if (backend === reference && Math.max(flops, bytes) > patience) continue;
        onRow(`${op.name} ${size} ${backend.name}`);
        const placed = place(inputs, backend);
        const timing = await timed(op.name, () =>
          noGrad(() =>
            scope(() => {
              apply(op, placed, attributes);
            }),
          ),
        );
        placed.forEach(t => t.dispose());
        rows.push({
          op: op.name,
          size,
          backend: backend.name,
          ...timing,
          gflops: flops / timing.seconds / 1e9,
          gbps: bytes / timing.seconds / 1e9,
          shareOfPeak: shareOfRoofline(flops, bytes, timing.seconds, peak),
        });
      }
    }
  }
  return rows;
}
