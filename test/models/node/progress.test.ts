/**
 * Progress where output is not a terminal: a line at once, then one every ten seconds, with the rate of this process
 * and the time left.
 */
import type { Params } from 'cli-progress';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { progressBar, renderBar, runProgress } from '../../../models/node/progress.ts';

describe('progress in plain lines', () => {
  let written: string[] = [];
  let now = 0;
  const isTTY = Object.getOwnPropertyDescriptor(process.stderr, 'isTTY');
  beforeEach(() => {
    [written, now] = [[], 5_000];
    Object.defineProperty(process.stderr, 'isTTY', { value: false, configurable: true });
    vi.spyOn(process.stderr, 'write').mockImplementation(text => written.push(String(text)) > 0);
    vi.spyOn(performance, 'now').mockImplementation(() => now);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    if (isTTY) Object.defineProperty(process.stderr, 'isTTY', isTTY);
    else delete (process.stderr as { isTTY?: boolean }).isTTY;
  });
  const after = (seconds: number) => {
    now += 1000 * seconds;
  };

  test('a line every ten seconds and at the end', () => {
    const bar = progressBar('work', 10_000, 'tokens');
    after(1);
    bar.update(0, 'loss 7');
    after(9.9);
    bar.update(500);
    after(0.1);
    bar.update(1100, 'loss 6');
    after(1);
    bar.update(10_000);
    bar.stop();
    expect(written).toEqual([
      'work  0%  loss 7\n',
      'work  11%  110 tokens/s  1 min 21 s left  loss 6\n',
      'work  100%  909 tokens/s  0 s left\n',
    ]);
  });

  test('after a resume the rate is that of this process', () => {
    const bar = progressBar('work', 10_000, 'MB');
    bar.update(9_000);
    after(10);
    bar.update(9_010);
    expect(written.at(-1)).toBe('work  90%  1 MB/s  16 min 30 s left\n');
  });

  test.each([
    [60, '1 min 0 s'],
    [59.4, '59 s'],
    [3_599, '59 min 59 s'],
    [3_600, '1 h 0 min'],
    [9_000, '2 h 30 min'],
  ])('%d seconds left are %s', (left, text) => {
    const bar = progressBar('work', 10 * (left + 10), 'tokens');
    bar.update(0);
    after(10);
    bar.update(100);
    expect(written.at(-1)).toBe(`work  ${Math.floor(1000 / (left + 10))}%  10 tokens/s  ${text} left\n`);
  });
});

describe('progress of a run', () => {
  let written: string[] = [];
  let now = 0;
  beforeEach(() => {
    [written, now] = [[], 0];
    vi.spyOn(process.stderr, 'write').mockImplementation(text => written.push(String(text)) > 0);
    vi.spyOn(performance, 'now').mockImplementation(() => now);
  });
  afterEach(() => void vi.restoreAllMocks());

  test('one estimate for all stages; work of an earlier process takes no time', () => {
    const run = runProgress(1000);
    const read = run.stage('source before', 100, 'tokens');
    read.stop(); // came back from a file
    const training = run.stage('source.finetune', 300, 'tokens', 3);
    now += 1000;
    training.update(100); // resumed here
    now += 10_000;
    training.update(150, 'loss 2');
    training.update(300);
    training.stop();
    expect(written).toEqual([
      'source.finetune 33%  run 40%\n',
      'source.finetune 50%  run 55%  30 s left  5 tokens/s  loss 2\n',
      'source.finetune 100%  run 100%  0 s left  20 tokens/s\n',
    ]);
  });
});

test('neither what is prepared before a stage nor its first report counts as slow work', () => {
  const written: string[] = [];
  let now = 0;
  vi.spyOn(process.stderr, 'write').mockImplementation(text => written.push(String(text)) > 0);
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const run = runProgress(1000);
  now += 60_000;
  const scoring = run.stage('fvt before', 100, 'tokens');
  now += 20_000;
  scoring.update(20);
  now += 10_000;
  scoring.update(50);
  vi.restoreAllMocks();
  // 30 in ten seconds, and 950 are left.
  expect(written).toEqual(['fvt before 20%  run 2%\n', 'fvt before 50%  run 5%  5 min 17 s left  3 tokens/s\n']);
});

test('the bar fits the terminal: parts are left out from the end', () => {
  const columns = Object.getOwnPropertyDescriptor(process.stderr, 'columns');
  const parts = ['s2t2.finetune 40%', '3 min 20 s left', '1,234 tokens/s', 'loss \u001b[31m3.2'];
  try {
    for (let width = 1; width <= 120; width++) {
      Object.defineProperty(process.stderr, 'columns', { value: width, configurable: true });
      const line = renderBar({}, { progress: 0.4, total: 10, value: 4 } as Params, { parts });
      expect(line.length).toBeLessThan(Math.max(2, width));
      expect(line).not.toContain('\u001b');
      if (width === 80) expect(line).toContain('40%  s2t2.finetune 40%  3 min 20 s left');
    }
    // A terminal that does not say is taken for one of 80.
    const of = (width: number | undefined) => {
      Object.defineProperty(process.stderr, 'columns', { value: width, configurable: true });
      return renderBar({}, { progress: 0.4, total: 10, value: 4 } as Params, { parts });
    };
    expect([of(0), of(undefined)]).toEqual([of(80), of(80)]);
  } finally {
    if (columns) Object.defineProperty(process.stderr, 'columns', columns);
    else delete (process.stderr as { columns?: number }).columns;
  }
});
