/** Rows of measurements: their table, their file, and what changed since a kept run. */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../models/node/files.ts';
import { renderTable } from '../models/node/table.ts';
import type { Peak } from './peak.ts';

export interface Measurement {
  readonly op: string;
  /** Scale of the inputs, as the row's `sample` takes it. */
  readonly size: number;
  readonly backend: string;
  /** Another library that did the same work. */
  readonly peer?: string;
  /** Median of one call. */
  readonly seconds: number;
  /** Median absolute deviation over the median. */
  readonly spread: number;
  /** Seconds of the first call, which is not among those; missing where there was but one. */
  readonly first?: number;
  readonly gflops: number;
  readonly gbps: number;
  /** Of the roofline: the peak of the instructions, or the triad where the operation moves more than it computes. */
  readonly shareOfPeak: number;
  /** What else a row counts, tokens or megabytes a second. */
  readonly rate?: { readonly unit: string; readonly value: number };
}

export interface Report {
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly node: string;
    readonly backend: string;
    readonly peak: Peak;
    readonly peakAfter: Peak;
  };
  readonly rows: readonly Measurement[];
}

/** The share of what the machine can do for an operation of so many operations and bytes. */
export function shareOfRoofline(flops: number, bytes: number, seconds: number, peak: Peak): number {
  const compute = 1e9 * (peak.relaxed ?? peak.plain);
  const attainable = bytes > 0 ? Math.min(compute, (flops / bytes) * 1e9 * peak.triad) : compute;
  return flops > 0 ? flops / seconds / attainable : bytes / seconds / (1e9 * peak.triad);
}

const peakDrift = 0.1;

/**
 * A line for a run whose peak was not the same before and after it: something else used the machine. Empty if it was.
 */
export function disturbance(before: Peak, after: Peak): string {
  const drifts = [
    ['multiply and add', before.plain, after.plain, 'GFLOP/s'],
    ['triad', before.triad, after.triad, 'GB/s'],
  ] as const;
  const found = drifts
    .filter(([, a, b]) => Math.abs(a - b) > peakDrift * Math.max(a, b))
    .map(([name, a, b, unit]) => `${name} ${a.toFixed(1)} then ${b.toFixed(1)} ${unit}`);
  return found.length > 0
    ? `\nNOT QUIET: the peaks before and after the run differ (${found.join('; ')}); do not quote shares of ` +
        `peak from it`
    : '';
}

/** A line for work of ours that ran above the peak, which then was measured too low. Empty if none did. */
export function aboveThePeak(rows: readonly Measurement[], { plain, relaxed }: Peak): string {
  const most = 1.01 * (relaxed ?? plain); // medians of a quiet machine differ by less
  const found = rows.filter(r => r.peer === undefined && r.gflops > most).map(r => `${r.op} ${r.size}`);
  return found.length > 0 ? `\nNOT QUIET: faster than the peak: ${found.join(', ')}; it was measured too low` : '';
}

const time = (s: number): string =>
  s < 1e-3 ? `${(s * 1e6).toFixed(1)} µs` : s < 1 ? `${(s * 1e3).toFixed(2)} ms` : `${s.toFixed(2)} s`;
const key = (m: Measurement): string => [m.op, m.size, m.peer ?? m.backend].join(' ');

export function renderReport({ machine, rows }: Report, before?: Report): string {
  const { peak } = machine;
  const reference = new Map(rows.filter(r => r.backend === 'reference' && !r.peer).map(r => [`${r.op} ${r.size}`, r]));
  const old = new Map(before?.rows.map(r => [key(r), r]));
  const cells = rows.map(r => {
    const base = reference.get(`${r.op} ${r.size}`);
    const known = old.get(key(r));
    // Two medians differ by chance by about the root of their squared spreads.
    const margin = known ? 100 * Math.hypot(r.spread, known.spread) : 0;
    return [
      r.op,
      String(r.size),
      r.peer ?? r.backend,
      time(r.seconds),
      `${(100 * r.spread).toFixed(1)}%`,
      r.first === undefined ? '' : time(r.first),
      r.rate
        ? `${r.rate.value.toPrecision(4)} ${r.rate.unit}`
        : r.gflops > 0
          ? `${r.gflops.toPrecision(3)} GFLOP/s`
          : '',
      r.gbps > 0 ? `${r.gbps.toPrecision(3)} GB/s` : '',
      r.shareOfPeak > 0 ? `${(100 * r.shareOfPeak).toFixed(0)}%` : '',
      base && base !== r ? `${(base.seconds / r.seconds).toPrecision(3)}×` : '',
      ...(before ? [known ? `${(100 * (r.seconds / known.seconds - 1)).toFixed(1)}% ± ${margin.toFixed(1)}` : ''] : []),
    ];
  });
  const header = [
    'op',
    'size',
    'by',
    'time',
    'spread',
    'first call',
    'rate',
    'memory',
    'of peak',
    'vs reference',
    ...(before ? ['change'] : []),
  ];
  const peaks = [
    `${peak.plain.toFixed(1)} GFLOP/s multiply and add`,
    ...(peak.relaxed ? [`${peak.relaxed.toFixed(1)} fused`] : []),
    `triad ${peak.triad.toFixed(1)} GB/s${disturbance(peak, machine.peakAfter)}${aboveThePeak(rows, peak)}`,
  ].join(', ');
  const facts = `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}
${machine.backend}
peak on ${peak.threads} thread${peak.threads > 1 ? 's' : ''}: ${peaks}`;
  return `${facts}\n\n${renderTable(header, cells)}`;
}

export async function saveReport(path: string, report: Report): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomic(path, `${JSON.stringify(report, null, 1)}\n`);
}

export const loadReport = async (path: string): Promise<Report | undefined> =>
  readFile(path, 'utf8').then(
    text => JSON.parse(text) as Report,
    () => undefined,
  );
