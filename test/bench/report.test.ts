/** The arithmetic of the benchmarks' report. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { interleaved, timed } from '../../bench/clock.ts';
import { agree } from '../../bench/peers.ts';
import {
  aboveThePeak,
  disturbance,
  renderReport,
  shareOfRoofline,
  type Measurement,
  type Report,
} from '../../bench/report.ts';

const peak = { threads: 1, plain: 50, relaxed: null, triad: 10 };
const row = (more: Partial<Measurement>): Measurement => ({
  op: 'matmul',
  size: 64,
  backend: 'wasm',
  seconds: 1e-3,
  spread: 0.03,
  gflops: 5,
  gbps: 0.1,
  shareOfPeak: 0.1,
  ...more,
});
const report = (...rows: Measurement[]): Report => ({
  machine: { cpu: 'x', cores: 2, node: '20', backend: 'wasm: …', peak, peakAfter: peak },
  rows,
});

/** A clock that only the work moves, by so many milliseconds. */
function clock(): (milliseconds: number) => void {
  let now = 0;
  const spy = vi.spyOn(performance, 'now').mockImplementation(() => now);
  onTestFinished(() => spy.mockRestore());
  return milliseconds => {
    now += milliseconds;
  };
}

describe('the report', () => {
  test('arithmetic-bound work is compared with the peak, memory-bound work with the triad', () => {
    expect(shareOfRoofline(25e9, 1e9, 1, peak)).toBeCloseTo(0.5); // 25 operations a byte: 50 GFLOP/s attainable
    expect(shareOfRoofline(1e9, 8e9, 1, peak)).toBeCloseTo(0.8); // an eighth: 10 GB/s are 1.25 GFLOP/s
    expect(shareOfRoofline(0, 5e9, 1, peak)).toBeCloseTo(0.5);
    expect(shareOfRoofline(59e9, 0, 1, { ...peak, relaxed: 59 })).toBeCloseTo(1);
  });

  test('ratios are to the reference at the same size, changes to the saved run', () => {
    const text = renderReport(
      report(row({}), row({ backend: 'reference', seconds: 0.02 }), row({ peer: 'other', seconds: 0.002 })),
      report(row({ seconds: 0.8e-3, spread: 0.04 })),
    );
    expect(text).toMatch(/matmul +64 +wasm +1\.00 ms .*20\.0×  25\.0% ± 5\.0/);
    expect(text).toMatch(/other +2\.00 ms .*10\.0×/);
  });

  test('a peak that moved during the run is reported, a steady one is not', () => {
    expect(disturbance(peak, { ...peak, plain: 47 })).toBe('');
    expect(disturbance(peak, { ...peak, plain: 100 })).toMatch(/NOT QUIET.*multiply and add 50\.0 then 100\.0/);
    expect(disturbance(peak, { ...peak, triad: 5 })).toMatch(/NOT QUIET.*triad 10\.0 then 5\.0/);
  });

  test('work above the peak says that the peak was measured too low; a peer says nothing of ours', () => {
    const fused = { ...peak, relaxed: 59 };
    expect(aboveThePeak([row({ gflops: 50.4 })], peak)).toBe('');
    expect(aboveThePeak([row({ gflops: 51.5 })], peak)).toBe(
      '\nNOT QUIET: faster than the peak: matmul 64; it was measured too low',
    );
    expect(aboveThePeak([row({ gflops: 51.5 })], fused)).toBe('');
    expect(aboveThePeak([row({ gflops: 60, size: 8 }), row({ gflops: 60, peer: 'x' })], fused)).toContain('matmul 8;');
    expect(renderReport(report(row({ gflops: 51.5 })))).toContain('faster than the peak');
  });

  test('a peer with a different answer, too few numbers or NaN is rejected', () => {
    expect(() => agree('peer', [1, 2], [1, 2.0001])).not.toThrow();
    expect(() => agree('peer', [1, 2], [1, 2.1])).toThrow('peer gives 2 where ours is 2.1');
    expect(() => agree('peer', [1], [1, 2])).toThrow('1 numbers');
    expect(() => agree('peer', [NaN], [1])).toThrow('NaN');
  });

  test('contenders take turns; one slow call does not count, and first calls are separate', async () => {
    const turns: string[] = [];
    const lasts = clock();
    let calls = 0;
    const [a, b] = await interleaved(
      [
        { name: 'a', run: () => lasts(calls++ === 0 ? 100 : 1) },
        { name: 'b', run: () => lasts(2), once: true },
      ],
      10,
      name => turns.push(name),
    );
    expect(turns).toEqual(['a', 'b', 'a', 'a']);
    expect([a.first, a.seconds, b.first, b.seconds]).toEqual([0.1, 0.001, 0.002, 0.002]);
  });

  test('a timing is a median in seconds, its spread the median distance from it', async () => {
    const lasts = clock();
    const durations = [50, 1, 9, 2, 30, 4];
    const { first, seconds, spread } = await timed('work', () => lasts(durations.shift()!), 46, 5);
    expect([first, seconds, spread]).toEqual([0.05, 0.004, 0.75]); // distances 3, 5, 2, 26 and 0: 3 of 4
  });
});
