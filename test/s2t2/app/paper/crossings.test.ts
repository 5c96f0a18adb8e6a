/** Where curves cross: on curves whose crossings are known, and laws for any two. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CurvePoint } from '../../../../s2t2/cell.ts';
import { stretches } from '../../../../s2t2/app/paper/crossings.ts';

const curve = (points: readonly (readonly [number, number])[]): CurvePoint[] =>
  points.map(([x, bitsPerByte]) => ({ tokens: x, bytes: 2 * x, seconds: 3 * x, bitsPerByte }));
const line = (from: number, slope: number, n = 21) =>
  curve(Array.from({ length: n }, (_, i) => [10 * i, from + slope * 10 * i] as const));
const anyCurve = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: -50, max: 50 })), { minLength: 1, maxLength: 30 })
  .map(steps => {
    let x = 0;
    return curve(steps.map(([dx, y]) => [(x += dx), y] as const));
  });

test('two lines cross where they cross, in every unit', () => {
  fc.assert(
    fc.property(fc.integer({ min: 15, max: 175 }), fc.constantFrom(1, 2, 3), (where, factor) => {
      fc.pre(where % 10 !== 0);
      const unit = (['tokens', 'bytes', 'seconds'] as const)[factor - 1];
      const found = stretches(line(0, 1), line(where / 2, 0.5), unit); // the first is lower until where both are equal
      expect(found.map(s => s.lower)).toEqual(['first', 'second']);
      expect(found[0].from).toBe(0);
      expect(found[0].to).toBe(found[1].from);
      expect(Math.abs(found[1].from / factor - where)).toBeLessThan(10);
      expect(found[1].to).toBe(200 * factor);
      expect(found[0].gap).toBeGreaterThan(0);
      expect(found[1].gap).toBeLessThan(0);
    }),
  );
});

test('curves are piecewise linear: resampling one changes no distance, and a shift is measured as such', () => {
  const places = fc
    .uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 9 })
    .map(inner => [0, ...inner.sort((a, b) => a - b), 100]);
  fc.assert(
    fc.property(places, places, fc.integer({ min: -9, max: 9 }), fc.integer({ min: 1, max: 50 }), (a, b, slope, up) => {
      const [found, ...others] = stretches(
        curve(a.map(x => [x, slope * x])),
        curve(b.map(x => [x, slope * x + up])),
        'bytes',
      );
      expect([found.from, found.to, found.lower, others.length]).toEqual([0, 200, 'first', 0]);
      expect(found.gap).toBeCloseTo(up, 9);
    }),
  );
});

test('one outlier is not a crossing', () => {
  const noisy = line(1, 0).map((p, i) => (i === 7 ? { ...p, bitsPerByte: -5 } : p));
  expect(stretches(line(0, 0), noisy, 'tokens').map(s => s.lower)).toEqual(['first']);
});

test('stretches follow each other by turns over what both curves share, and change sides when the curves do', () => {
  fc.assert(
    fc.property(anyCurve, anyCurve, (a, b) => {
      const found = stretches(a, b, 'tokens');
      const [begin, end] = [Math.max(a[0].tokens, b[0].tokens), Math.min(a.at(-1)!.tokens, b.at(-1)!.tokens)];
      expect(found.length === 0).toBe(begin > end);
      if (begin > end) return;
      expect(found[0].from).toBeGreaterThanOrEqual(begin);
      expect(found.at(-1)!.to).toBeLessThanOrEqual(end);
      for (let i = 1; i < found.length; i++) {
        expect(found[i].from).toBe(found[i - 1].to);
        expect(found[i].lower).not.toBe(found[i - 1].lower);
      }
    }),
  );
  expect(stretches([], line(0, 1), 'tokens')).toEqual([]);
});
