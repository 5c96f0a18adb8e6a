/**
 * Progress of long work on standard error: a bar with rate and time left on a terminal, a plain line every ten
 * seconds elsewhere. The bar is cli-progress's.
 */
import { SingleBar } from 'cli-progress';

/** Work that is under way, shown on standard error until `stop`. */
export interface ProgressBar {
  /** Work done so far, and a short remark. */
  update(done: number, note?: string): void;
  stop(): void;
}

const duration = (seconds: number): string => {
  if (!Number.isFinite(seconds)) return '?';
  const s = Math.round(seconds);
  return s < 60
    ? `${s} s`
    : s < 3600
      ? `${Math.floor(s / 60)} min ${s % 60} s`
      : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
};

/** Shows work of `total` units: done so far, units a second, time left. */
export function progressBar(label: string, total: number, unit: string): ProgressBar {
  const started = performance.now();
  let first: number | null = null; // where this process began, after a resume
  const figures = (done: number) => {
    first ??= done;
    const rate = (done - first) / ((performance.now() - started) / 1000);
    return {
      rate: rate > 0 ? `${Math.round(rate).toLocaleString('en')} ${unit}/s` : '',
      left: rate > 0 ? `${duration((total - done) / rate)} left` : '',
    };
  };
  if (!process.stderr.isTTY) {
    let last = -Infinity;
    return {
      update(done, note = '') {
        const { rate, left } = figures(done);
        if (performance.now() - last < 10_000 && done < total) return;
        last = performance.now();
        process.stderr.write(
          `${[label, `${Math.floor((100 * done) / total)}%`, rate, left, note].filter(Boolean).join('  ')}\n`,
        );
      },
      stop() {},
    };
  }
  const bar = new SingleBar({
    format: '{label} {bar} {percentage}%  {rate}  {left}  {note}',
    hideCursor: true,
    barsize: 24,
    clearOnComplete: false,
    gracefulExit: false,
  });
  bar.start(total, 0, { label: label.padEnd(22), rate: '', left: '', note: '' });
  return {
    update: (done, note = '') => bar.update(done, { ...figures(done), note }),
    stop: () => bar.stop(),
  };
}
