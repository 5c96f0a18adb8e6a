/** The clock in Node: medians by tinybench, the first call apart, and contenders in turns. */
import { Bench } from 'tinybench';

export interface Timing {
  /** Median of a call. */
  readonly seconds: number;
  /** Median absolute deviation over the median. */
  readonly spread: number;
  /** Seconds of the first call, which is not among those. */
  readonly first: number;
}

/** Median and spread of a function over so many milliseconds, but no fewer than so many calls. */
export async function timed(name: string, fn: () => unknown, milliseconds = 250, iterations = 5): Promise<Timing> {
  const begin = performance.now();
  await fn();
  const first = (performance.now() - begin) / 1000;
  const bench = new Bench({
    time: milliseconds,
    iterations,
    warmup: false,
    throws: true,
    now: () => performance.now(),
  });
  bench.add(name, async () => {
    await fn();
  });
  await bench.run();
  const [task] = bench.tasks;
  const result = task.result;
  if (!('latency' in result)) throw new Error(`bench: ${name} did not complete (${result.state})`);
  const { p50, mad } = result.latency; // milliseconds
  return { seconds: p50 / 1000, spread: mad / p50, first };
}

export interface Contender {
  readonly name: string;
  run(): unknown;
  /** Takes part in the first round only. */
  readonly once?: boolean;
}

const rounds = 3;

/**
 * Times contenders in turns, so that a machine that slows down slows everyone down: of each the middle one of its
 * rounds.
 */
export async function interleaved(
  contenders: readonly Contender[],
  milliseconds: number,
  onTurn: (name: string) => void,
): Promise<Timing[]> {
  const timings = contenders.map((): Timing[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { name, run, once }] of contenders.entries()) {
      if (once && round > 0) continue;
      onTurn(name);
      timings[i].push(await timed(name, run, milliseconds, 2));
    }
  }
  return timings.map(list => ({
    ...list.toSorted((a, b) => a.seconds - b.seconds)[Math.floor(list.length / 2)],
    first: list[0].first,
  }));
}
