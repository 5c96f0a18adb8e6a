/** The prior coupling: feasible for its own marginals, of full support, and fvt as its text says. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { trainBPE } from '../../models/tokenizer/index.ts';
import { textShare } from '../../s2t2/plan.ts';
import { priorCoupling } from '../../s2t2/prior.ts';
import { tokenMap } from '../../s2t2/translate.ts';

const texts = ['MKVLAAGIVGLCAKVLAAGMKKLA', 'AAGIVGLCAMKVLAAGKKLAMKVL'];
const source = trainBPE(['THE MODEL OF A LANGUAGE READS TEXT', ...texts.map(t => t.slice(0, 6))], { vocabSize: 290 });
const target = trainBPE(texts, { vocabSize: 24, alphabet: 'seen' });
const map = tokenMap(source, target);
const [u, v] = [map.targetIds.length, map.sourceIds.length];
const smoothings = fc.double({ min: 1e-6, max: 1, noNaN: true });

test('has full support, rows that sum to μ = 1/u and columns that sum to ν', () => {
  fc.assert(
    fc.property(smoothings, smoothing => {
      const { values, mu, nu } = priorCoupling(source, target, map, smoothing);
      expect(values.every(p => p > 0)).toBe(true);
      const rows = new Float64Array(u);
      const columns = new Float64Array(v);
      values.forEach((p, e) => {
        rows[Math.floor(e / v)] += p;
        columns[e % v] += p;
      });
      // Entries are float32: each is off by half a unit in the last place.
      rows.forEach((sum, i) => {
        expect(Math.abs(sum * u - 1)).toBeLessThan(2 ** -23);
        expect(mu[i]).toBe(Math.fround(1 / u));
      });
      columns.forEach((sum, j) => expect(Math.abs(sum / nu[j] - 1)).toBeLessThan(2 ** -22));
    }),
  );
});

test('is (1 − ε) the share of each source token among the pieces of the text, plus ε the uniform coupling', () => {
  fc.assert(
    fc.property(smoothings, fc.nat(u - 1), (smoothing, i) => {
      const { values } = priorCoupling(source, target, map, smoothing);
      // Unknown tokens have no column; a token made only of those is spread over all.
      const columns = new Set(map.sourceIds);
      const known = [...source.encodeBytes(target.tokenBytes(map.targetIds[i]))].filter(id => columns.has(id));
      const pieces = known.length > 0 ? known : [...map.sourceIds];
      map.sourceIds.forEach((id, j) => {
        const share = pieces.filter(piece => piece === id).length / pieces.length;
        const expected = ((1 - smoothing) * share + smoothing / v) / u;
        expect(Math.abs(values[i * v + j] / expected - 1)).toBeLessThan(2 ** -22);
      });
    }),
  );
});

test('at ε = 1 the text counts for nothing; 0, which empties columns, and more than 1 are errors', () => {
  const { values, nu } = priorCoupling(source, target, map, 1);
  expect(new Set(values)).toEqual(new Set([Math.fround(1 / (u * v))]));
  expect(new Set(nu)).toEqual(new Set([Math.fround(1 / v)]));
  for (const smoothing of [0, -0.1, 1.1, Number.NaN])
    expect(() => priorCoupling(source, target, map, smoothing)).toThrow(`priorCoupling: smoothing is ${smoothing}`);
});

test('the share of the text is read off ν: 1 − ε, and 1 where ν is uniform', () => {
  // Every byte is a token, so that all target tokens have pieces.
  const bytes = trainBPE(texts, { vocabSize: 300, alphabet: 'bytes' });
  const nuOf = (smoothing: number) => priorCoupling(bytes, target, tokenMap(bytes, target), smoothing);
  fc.assert(
    fc.property(fc.double({ min: 1e-6, max: 0.99, noNaN: true }), smoothing => {
      // ν is float32.
      expect(Math.abs(textShare(nuOf(smoothing)) - (1 - smoothing))).toBeLessThan(2 ** -23);
    }),
  );
  expect(textShare(nuOf(1))).toBe(1);
});
