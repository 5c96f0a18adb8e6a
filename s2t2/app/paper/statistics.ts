/**
 * Intervals for differences of hundredths of a bit: a bootstrap over held-out sequences crossed with seeds. One set of
 * resamples serves every method, so a difference between two is paired in both.
 */
import { Random } from '../../../engine/index.ts';

/** −ln p of every held-out sequence: one array of N a seed. */
export type Nats = readonly ArrayLike<number>[];

/** What a bootstrap says of a figure: the figure itself, its standard error, and the middle 95 % of resamples. */
export interface Interval {
  readonly mean: number;
  readonly error: number;
  readonly low: number;
  readonly high: number;
}

/** A bootstrap over texts crossed with seeds, the same resamples for all rows. */
export class Bootstrap {
  readonly #bytes: ArrayLike<number>;
  readonly #seeds: number;
  /** Which seeds and which sequences a resample takes. */
  readonly #resamples: readonly { readonly seeds: Int32Array; readonly sequences: Int32Array }[];

  constructor(
    bytes: ArrayLike<number>,
    seeds: number,
    { replicates = 2000, seed = 0 }: { replicates?: number; seed?: number } = {},
  ) {
    const random = new Random(seed).split('bootstrap');
    const draw = (n: number) => Int32Array.from({ length: n }, () => Math.floor(n * random.uniform()));
    this.#bytes = bytes;
    this.#seeds = seeds;
    this.#resamples = Array.from({ length: replicates }, () => ({ seeds: draw(seeds), sequences: draw(bytes.length) }));
  }

  /** Bits per byte of a method. A model without randomness may come as one array of N. */
  bitsPerByte(nats: Nats): Interval {
    return this.#interval(this.#perSeed(nats));
  }

  /** Bits per byte of `a` less those of `b`, paired by seed and sequence. */
  difference(a: Nats, b: Nats): Interval {
    const [x, y] = [this.#perSeed(a), this.#perSeed(b)];
    return this.#interval(x.map((line, s) => Float64Array.from(line, (value, n) => value - y[s][n])));
  }

  #perSeed(nats: Nats): Float64Array[] {
    if (nats.length !== this.#seeds && nats.length !== 1)
      throw new Error(`Bootstrap: ${nats.length} seeds of a method, and ${this.#seeds} of the table`);
    for (const line of nats)
      if (line.length !== this.#bytes.length)
        throw new Error(`Bootstrap: ${line.length} sequences of a method, and ${this.#bytes.length} of the table`);
    return Array.from({ length: this.#seeds }, (_, s) => Float64Array.from(nats[nats.length === 1 ? 0 : s]));
  }

  #interval(nats: readonly Float64Array[]): Interval {
    const N = this.#bytes.length;
    const all = { seeds: Int32Array.from(nats.keys()), sequences: Int32Array.from({ length: N }, (_, n) => n) };
    const mean = this.#ratio(nats, all);
    const values = this.#resamples.map(r => this.#ratio(nats, r)).sort((a, b) => a - b);
    const center = values.reduce((sum, x) => sum + x, 0) / values.length;
    const error = Math.sqrt(values.reduce((sum, x) => sum + (x - center) ** 2, 0) / (values.length - 1));
    const quantile = (q: number) => values[Math.round(q * (values.length - 1))];
    return { mean, error, low: quantile(0.025), high: quantile(0.975) };
  }

  #ratio(
    nats: readonly Float64Array[],
    { seeds, sequences }: { readonly seeds: Int32Array; readonly sequences: Int32Array },
  ): number {
    let [total, bytes] = [0, 0];
    for (const n of sequences) {
      for (const s of seeds) total += nats[s][n];
      bytes += this.#bytes[n];
    }
    return total / (seeds.length * bytes * Math.LN2);
  }
}

/** Pearson's correlation. */
export function correlation(x: readonly number[], y: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  const dot = (f: (i: number) => number) => x.reduce((sum, _, i) => sum + f(i), 0);
  return dot(i => (x[i] - mx) * (y[i] - my)) / Math.sqrt(dot(i => (x[i] - mx) ** 2) * dot(i => (y[i] - my) ** 2));
}

/**
 * Mantel's test: how often the correlation of two symmetric n×n matrices, off the diagonal, is at least as high when
 * the items of one are permuted. p = (1 + times)/(1 + permutations).
 */
export function mantel(
  a: (i: number, j: number) => number,
  b: (i: number, j: number) => number,
  n: number,
  { permutations = 9999, seed = 0 } = {},
): { correlation: number; p: number } {
  const pairs = Array.from({ length: n }, (_, i) => Array.from({ length: i }, (_, j) => [i, j] as const)).flat();
  const fixed = pairs.map(([i, j]) => b(i, j));
  const under = (order: readonly number[]) =>
    correlation(
      pairs.map(([i, j]) => a(order[i], order[j])),
      fixed,
    );
  const items = Array.from({ length: n }, (_, i) => i);
  const observed = under(items);
  const random = new Random(seed).split('mantel');
  let times = 0;
  for (let k = 0; k < permutations; k++) if (under(random.shuffle([...items])) >= observed - 1e-12) times++;
  return { correlation: observed, p: (1 + times) / (1 + permutations) };
}
