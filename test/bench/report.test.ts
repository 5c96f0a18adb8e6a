/** The arithmetic of the benchmarks' report. */
import { describe, expect, test } from 'vitest';
import { interleaved, timed } from '../../bench/clock.ts';
import { agree } from '../../bench/peers.ts';
import { disturbance, renderReport, shareOfRoofline, type Measurement, type Report } from '../../bench/report.ts';

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

describe('the report', () => {
  test('much arithmetic is held against the peak, much memory against the triad', () => {
    expect(shareOfRoofline(25e9, 1e9, 1, peak)).toBeCloseTo(0.5); // 25 operations a byte: 50 GFLOP/s attainable
    expect(shareOfRoofline(1e9, 8e9, 1, peak)).toBeCloseTo(0.8); // an eighth: 10 GB/s are 1.25 GFLOP/s
    expect(shareOfRoofline(0, 5e9, 1, peak)).toBeCloseTo(0.5);
    expect(shareOfRoofline(59e9, 0, 1, { ...peak, relaxed: 59 })).toBeCloseTo(1);
  });

  test('ratios are to the reference at the same size, changes to the kept run', () => {
    const text = renderReport(
      report(row({}), row({ backend: 'reference', seconds: 0.02 }), row({ peer: 'other', seconds: 0.002 })),
      report(row({ seconds: 0.8e-3, spread: 0.04 })),
    );
    expect(text).toMatch(/matmul +64 +wasm +1\.00 ms .*20\.0×  25\.0% ± 5\.0/);
    expect(text).toMatch(/other +2\.00 ms .*10\.0×/);
  });

  test('a peak that moved during the run is said, one that did not is not', () => {
    expect(disturbance(peak, { ...peak, plain: 47 })).toBe('');
    expect(disturbance(peak, { ...peak, plain: 100 })).toMatch(/NOT QUIET.*multiply and add 50\.0 then 100\.0/);
    expect(disturbance(peak, { ...peak, triad: 5 })).toMatch(/NOT QUIET.*triad 10\.0 then 5\.0/);
  });

  test('a peer with another answer, too few numbers or NaN is refused', () => {
    expect(() => agree('peer', [1, 2], [1, 2.0001])).not.toThrow();
    expect(() => agree('peer', [1, 2], [1, 2.1])).toThrow('peer gives 2 where ours is 2.1');
    expect(() => agree('peer', [1], [1, 2])).toThrow('1 numbers');
    expect(() => agree('peer', [NaN], [1])).toThrow('NaN');
  });

  test('contenders take turns; one that is slow only once, and first calls are apart', async () => {
    const turns: string[] = [];
    let calls = 0;
    const warmsUp = () => new Promise(resolve => setTimeout(resolve, calls++ === 0 ? 100 : 1));
    const [a, b] = await interleaved(
      [
        { name: 'a', run: warmsUp },
        { name: 'b', run: () => {}, once: true },
      ],
      10,
      name => turns.push(name),
    );
    expect(turns).toEqual(['a', 'b', 'a', 'a']);
    expect(a.first).toBeGreaterThan(0.09);
    expect(a.seconds).toBeLessThan(0.09);
    expect(b.seconds).toBeLessThan(a.first);
  });

  test('a timing is a median in seconds', async () => {
    const begin = performance.now();
    const { seconds } = await timed('sleep', () => new Promise(resolve => setTimeout(resolve, 10)), 60, 5);
    expect(seconds).toBeGreaterThan(0.008);
    // Of five runs or more, at least three take the median or longer, however slow the machine.
    expect(3 * seconds).toBeLessThan((performance.now() - begin) / 1000);
  });
});
