/** From numbers to places on an axis, and the round numbers to name there. */

/** A scale of an axis: from values to places, with its ticks. */
export interface Scale {
  readonly min: number;
  readonly max: number;
  readonly log: boolean;
}

/** The place of `x`, 0 at `min` and 1 at `max`. */
export function place({ min, max, log }: Scale, x: number): number {
  const f = log ? Math.log : (y: number) => y;
  return max > min ? (f(x) - f(min)) / (f(max) - f(min)) : 0.5;
}

/** A place as SVG's percentage. */
export const percent = (fraction: number): string => `${Number((100 * fraction).toFixed(2))}%`;

/** Round numbers on the scale, about `count` of them; none where nothing was measured. */
export function ticks({ min, max, log }: Scale, count: number): number[] {
  if (!(max > min)) return [min].filter(Number.isFinite);
  if (log && max / min >= 10) {
    const decades = Array.from(
      { length: Math.floor(Math.log10(max)) - Math.ceil(Math.log10(min)) + 1 },
      (_, i) => 10 ** (Math.ceil(Math.log10(min)) + i),
    );
    return decades.flatMap(d => (decades.length > 2 ? [d] : [d, 2 * d, 5 * d])).filter(t => t <= max);
  }
  const rough = (max - min) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find(m => m * power >= rough) ?? 10);
  const first = Math.ceil(min / step);
  return Array.from({ length: Math.floor(max / step) - first + 1 }, (_, i) => (first + i) * step);
}

/** A tick's name: 1500 as 1.5k, and decimals as the step needs. */
export function tickLabel(value: number): string {
  const [size, suffix] =
    Math.abs(value) >= 1e9
      ? [1e9, 'G']
      : Math.abs(value) >= 1e6
        ? [1e6, 'M']
        : Math.abs(value) >= 1e3
          ? [1e3, 'k']
          : [1, ''];
  return `${Number((value / size).toPrecision(4))}${suffix}`;
}
