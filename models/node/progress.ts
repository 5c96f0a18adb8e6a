/**
 * Progress of long work on standard error: one bar with the time left on a terminal, a plain line every ten seconds
 * elsewhere. The bar is cli-progress's; a line of it is made here, so that it fits the terminal.
 */
import { SingleBar, type Options, type Params } from 'cli-progress';
import { columnsOf, cutToColumns, printable } from '../printable.ts';
import { columnsAt } from './table.ts';

/** The progress of one piece of work. */
export interface ProgressBar {
  /** Work done so far, and a short remark. */
  update(done: number, note?: string): void;
  stop(): void;
}

/** The progress of a run of several stages under one bar. */
export interface RunProgress {
  /** Begins a stage; `weight` is the work of one of its units, in those of the run. */
  stage(label: string, total: number, unit: string, weight?: number): ProgressBar;
  stop(): void;
}

let hidden = false;

/** Whether progress is shown from now on. */
export function showProgress(shown: boolean): void {
  hidden = !shown;
}

const nothing: ProgressBar = { update() {}, stop() {} };

/** A time for people: seconds, minutes or hours. */
export const duration = (seconds: number): string => {
  if (!Number.isFinite(seconds)) return '?';
  const s = Math.round(seconds);
  return s < 60
    ? `${s} s`
    : s < 3600
      ? `${Math.floor(s / 60)} min ${s % 60} s`
      : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
};

/**
 * Work done by this process from its first report on: what an earlier one had done before a resume counts neither for
 * rate nor for time left, nor does the time until that report, which cannot be told from it.
 */
class Meter {
  #started: number;
  #earlier: number | null;

  /** `earlier`: the work already done; null, the work of the first report. */
  constructor(earlier: number | null = null) {
    this.#started = performance.now();
    this.#earlier = earlier;
  }

  /** Units a second, NaN before any are done. */
  rate(done: number): number {
    if (this.#earlier === null) [this.#earlier, this.#started] = [done, performance.now()];
    const rate = (done - this.#earlier) / ((performance.now() - this.#started) / 1000);
    return rate > 0 ? rate : Number.NaN;
  }

  /** Takes work as done that this process did not do, and milliseconds as spent on something else. */
  skip(work: number, time = 0): void {
    this.#earlier = (this.#earlier ?? 0) + work;
    this.#started += time;
  }
}

const rateText = (rate: number, unit: string): string =>
  rate > 0 ? `${Math.round(rate).toLocaleString('en')} ${unit}/s` : '';
const leftText = (rate: number, work: number): string => (rate > 0 ? `${duration(work / rate)} left` : '');
const percent = (done: number, total: number): number => (total > 0 ? Math.floor((100 * done) / total) : 100);

/** Shows the progress of `total` units of work. */
export function progressBar(label: string, total: number, unit: string): ProgressBar {
  if (hidden) return nothing;
  const meter = new Meter();
  const line = openLine(total);
  return {
    update(done, note = '') {
      const rate = meter.rate(done);
      line.show(done, done >= total, [label, rateText(rate, unit), leftText(rate, total - done), note]);
    },
    stop: () => line.stop(),
  };
}

/** Shows the progress of a run of `total` units of work, stage by stage. */
export function runProgress(total: number): RunProgress {
  if (hidden) return { stage: () => nothing, stop() {} };
  let meterOfRun: Meter | undefined; // from the first stage on: what was prepared before it is not done again
  const line = openLine(total, 'run ');
  let before = 0; // work of finished stages
  return {
    stage(label, stageTotal, unit, weight = 1) {
      const meter = new Meter();
      const run = (meterOfRun ??= new Meter(0));
      const opened = performance.now();
      let isFirst = true;
      let done = 0;
      return {
        update(now, note = '') {
          if (isFirst && now < stageTotal) run.skip(weight * now, performance.now() - opened);
          isFirst = false;
          done = now;
          const work = Math.min(total, before + weight * now);
          line.show(work, work >= total || now >= stageTotal, [
            `${label} ${percent(now, stageTotal)}%`,
            leftText(run.rate(work), total - work),
            rateText(meter.rate(now), unit),
            note,
          ]);
        },
        stop() {
          if (isFirst) run.skip(weight * stageTotal); // read back from an earlier run
          before += weight * Math.max(done, isFirst ? stageTotal : 0);
        },
      };
    },
    stop: () => line.stop(),
  };
}

interface Line {
  /** Shows the work done; `now` where it is not to wait for its turn. The first part names the work. */
  show(done: number, now: boolean, parts: readonly string[]): void;
  stop(): void;
}

/** A line that is drawn over itself on a terminal, and one every ten seconds elsewhere. */
function openLine(total: number, what = ''): Line {
  if (!process.stderr.isTTY || process.env.TERM === 'dumb') {
    let last = -Infinity;
    return {
      show(done, now, [label, ...rest]) {
        if (performance.now() - last < 10_000 && !now) return;
        last = performance.now();
        const text = [label, `${what}${percent(done, total)}%`, ...rest].filter(Boolean).join('  ');
        process.stderr.write(`${printable(text)}\n`);
      },
      stop() {},
    };
  }
  const bar = new SingleBar({ format: renderBar, hideCursor: false, clearOnComplete: false, gracefulExit: false });
  bar.start(total, 0, { parts: [''] });
  return {
    show: (done, _, parts) => bar.update(Math.min(done, total), { parts }),
    stop: () => bar.stop(),
  };
}

const barColumns = 24;

/** One line of a terminal: parts are left out from the end, then the bar, until it fits. */
export function renderBar(
  _: Options,
  { progress, total, value }: Params,
  { parts }: { parts: readonly string[] },
): string {
  const most = columnsAt(process.stderr) - 1;
  const [label, ...rest] = parts.map(printable);
  const filled = Math.round(barColumns * progress);
  const bar = `${'█'.repeat(filled)}${'░'.repeat(barColumns - filled)}`;
  const head = `${percent(value, total)}%  ${label}`;
  const candidates = rest.map((__, i) =>
    [`${bar} ${head}`, ...rest.slice(0, rest.length - i).filter(Boolean)].join('  '),
  );
  return [...candidates, `${bar} ${head}`, head].find(text => columnsOf(text) <= most) ?? cutToColumns(head, most);
}
