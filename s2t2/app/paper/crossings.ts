/** Where learning curves cross: which of two is lower over which stretch of training. */
import type { CurvePoint } from '../../cell.ts';

/** What a curve is drawn against. */
export type CurveUnit = 'tokens' | 'bytes' | 'seconds';

/** A stretch on which one curve lies below another. */
export interface Stretch {
  /** In the unit, to the next stretch or to where the shorter curve ends. */
  readonly from: number;
  readonly to: number;
  /** Which curve is lower. */
  readonly lower: 'first' | 'second';
  /** Mean of second − first over it, in bits per byte. */
  readonly gap: number;
}

/**
 * The stretches over which one of two curves is lower, as far as both go. Curves are compared at the points of both,
 * by linear interpolation; a stretch of a single point, which noise of batches makes, belongs to the one before it.
 */
export function stretches(first: readonly CurvePoint[], second: readonly CurvePoint[], unit: CurveUnit): Stretch[] {
  if (first.length === 0 || second.length === 0) return [];
  const begin = Math.max(first[0][unit], second[0][unit]);
  const end = Math.min(first.at(-1)![unit], second.at(-1)![unit]);
  const places = [...new Set([...first, ...second].map(p => p[unit]))]
    .filter(x => x >= begin && x <= end)
    .sort((a, b) => a - b);
  const gaps = places.map(x => at(second, unit, x) - at(first, unit, x));
  const runs: { start: number; sign: boolean }[] = [];
  gaps.forEach((gap, i) => {
    const sign = gap >= 0;
    const isAlone = i + 1 < gaps.length && gaps[i + 1] >= 0 !== sign;
    if (runs.length === 0 || (runs.at(-1)!.sign !== sign && !isAlone && i + 1 < gaps.length))
      runs.push({ start: i, sign });
  });
  return runs.map(({ start, sign }, i) => {
    const stop = runs[i + 1]?.start ?? places.length;
    const own = gaps.slice(start, stop);
    return {
      from: places[start],
      to: places[Math.min(stop, places.length - 1)],
      lower: sign ? 'first' : 'second',
      gap: own.reduce((a, b) => a + b, 0) / own.length,
    };
  });
}

/** The value of a curve at a place between its ends. */
function at(curve: readonly CurvePoint[], unit: CurveUnit, x: number): number {
  const right = curve.findIndex(p => p[unit] >= x);
  if (curve[right][unit] === x || right === 0) return curve[right].bitsPerByte;
  const [a, b] = [curve[right - 1], curve[right]];
  return a.bitsPerByte + ((x - a[unit]) / (b[unit] - a[unit])) * (b.bitsPerByte - a.bitsPerByte);
}
