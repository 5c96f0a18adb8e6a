/**
 * Progress where output is no terminal: a line at once, then one every ten seconds, with the rate of this process and
 * the time left.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { progressBar } from '../../../models/node/progress.ts';

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
      'work  11%  100 tokens/s  1 min 29 s left  loss 6\n',
      'work  100%  833 tokens/s  0 s left\n',
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
