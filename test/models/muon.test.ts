/** Muon: what orthogonalising does to singular values, its symmetries, and that everything else is AdamW's. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createReferenceBackend, memory, Random, scope, tensor } from '../../engine/index.ts';
import { AdamW } from '../../models/adamw.ts';
import { Muon, orthogonalise } from '../../models/muon.ts';

const backend = createReferenceBackend();
const matrix = (values: ArrayLike<number>, shape: [number, number]) =>
  tensor(Float64Array.from(values), { shape, backend });
const orthogonal = (values: ArrayLike<number>, shape: [number, number]) =>
  scope(() => Array.from(orthogonalise(matrix(values, shape)).dataSync() as Float64Array));

const twoRows = fc
  .integer({ min: 2, max: 9 })
  .chain(columns =>
    fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 2 * columns, maxLength: 2 * columns }),
  );

/** Singular values of a (2, C) matrix, from the closed form for its 2×2 Gram matrix. */
function singularValues(m: readonly number[]): [number, number] {
  const C = m.length / 2;
  let [a, b, d] = [0, 0, 0];
  for (let c = 0; c < C; c++) [a, b, d] = [a + m[c] ** 2, b + m[c] * m[C + c], d + m[C + c] ** 2];
  const [mean, radius] = [(a + d) / 2, Math.hypot((a - d) / 2, b)];
  return [Math.sqrt(mean + radius), Math.sqrt(Math.max(0, mean - radius))];
}

describe('orthogonalise', () => {
  test('brings singular values that are not tiny near 1', () => {
    fc.assert(
      fc.property(twoRows, m => {
        const [large, small] = singularValues(m);
        fc.pre(large > 1e-3 && small > 0.05 * large);
        for (const s of singularValues(orthogonal(m, [2, m.length / 2]))) {
          expect(s).toBeGreaterThan(0.6);
          expect(s).toBeLessThan(1.3);
        }
      }),
    );
  });

  test('is five steps of its polynomial on each singular value', () => {
    const step = (x: number) => 3.4445 * x - 4.775 * x ** 3 + 2.0315 * x ** 5;
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (a, b) => {
          const norm = Math.hypot(a, b) + 1e-7;
          const [x, , , y] = orthogonal([a, 0, 0, b], [2, 2]);
          for (const [value, s] of [
            [x, a],
            [y, b],
          ])
            expect(value).toBeCloseTo(step(step(step(step(step(s / norm))))), 9);
        },
      ),
    );
  });

  test('commutes with transposition and does not see the scale', () => {
    fc.assert(
      fc.property(twoRows, fc.constantFrom(2, 1024, 2 ** -6), (m, scale) => {
        const C = m.length / 2;
        fc.pre(singularValues(m)[0] > 1e-2);
        const plain = orthogonal(m, [2, C]);
        const transposed = orthogonal(
          Array.from(m, (_, i) => m[(i % 2) * C + Math.floor(i / 2)]),
          [C, 2],
        );
        plain.forEach((value, i) => expect(transposed[(i % C) * 2 + Math.floor(i / C)]).toBeCloseTo(value, 9));
        // The norm is kept from zero by 1e-7, which five steps of slope 3.4 and less can raise by 3.4444⁵ < 500.
        orthogonal(
          m.map(x => scale * x),
          [2, C],
        ).forEach((value, i) =>
          expect(Math.abs(value - plain[i])).toBeLessThan((500 * 1e-7) / Math.min(scale, 1) / 1e-2),
        );
      }),
    );
  });
});

describe('Muon', () => {
  test('moves hidden matrices against the orthogonalised gradient, all else by AdamW at its own rate', () => {
    const random = new Random(3);
    const draw = (n: number) => Array.from({ length: n }, () => random.normal());
    const [w, e] = [draw(12), draw(6)];
    const gradients = Array.from({ length: 4 }, () => [draw(12), draw(6)]);
    const [hidden, other, alone] = [matrix(w, [3, 4]), matrix(e, [2, 3]), matrix(e, [2, 3])];
    const [muon, adamw] = [
      new Muon({ hidden, other }, name => name === 'hidden', { othersRate: 3 }),
      new AdamW({ alone }),
    ];
    let [momentum, expected] = [w.map(() => 0), [...w]];
    for (const [g, h] of gradients) {
      scope(() => muon.update([matrix(g, [3, 4]), matrix(h, [2, 3])], 0.01));
      scope(() => adamw.update([matrix(h, [2, 3])], 3 * 0.01));
      momentum = momentum.map((m, i) => 0.95 * m + g[i]);
      const step = orthogonal(
        g.map((x, i) => x + 0.95 * momentum[i]),
        [3, 4],
      );
      expected = expected.map((x, i) => x * (1 - 0.01 * 0.1) - 0.01 * 0.2 * 2 * step[i]);
    }
    hidden.dataSync().forEach((value: number, i: number) => expect(value).toBeCloseTo(expected[i], 12));
    expect(Array.from(other.dataSync())).toEqual(Array.from(alone.dataSync()));
    expect(Object.keys(muon.state.momentum)).toEqual(['hidden']);
  });

  test('leaks nothing, and rejects a vector', () => {
    const before = memory();
    const [a, b] = [matrix([1, 2, 3, 4], [2, 2]), tensor([1, 2], { backend })];
    const muon = new Muon({ a }, () => true);
    for (let i = 0; i < 3; i++) scope(() => muon.update([matrix([1, 0, 0, 1], [2, 2])], 0.1));
    muon.dispose();
    expect(() => new Muon({ b }, () => true)).toThrow(/b has shape \[2\]; only a matrix/);
    [a, b].forEach(t => t.dispose());
    expect(memory()).toEqual(before);
  });
});
