/** Laws of the projection on the simplex, on both backends and along both dims: sparsemax and its scaled relatives. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createReferenceBackend,
  createWasmBackend,
  grad,
  noGrad,
  randn,
  scope,
  simplexProjection,
  simplexThreshold,
  sparsemax,
  ops,
  tensor,
  transpose,
  type Tensor,
} from '../../engine/index.ts';
import { samples } from '../../engine/ops/samples.ts';
import { matrices, ordinary, type Matrix } from '../arbitraries/tensors.ts';
import { randomOfTests } from '../random.ts';

const random = randomOfTests('simplex');
const reference = createReferenceBackend();
const wasm = createWasmBackend({ threads: 1 });

/** How precise each is: a few roundings of a sum of up to seven terms of size 4. */
const kinds = [
  { name: 'reference, float64', backend: reference, dtype: 'float64' as const, eps: 1e-14 },
  { name: 'reference, float32', backend: reference, dtype: 'float32' as const, eps: 2 ** -20 },
  { name: 'wasm, float32', backend: wasm, dtype: 'float32' as const, eps: 2 ** -20 },
].flatMap(kind => [
  { ...kind, dim: 0 },
  { ...kind, dim: 1 },
]);

const total = (line: readonly number[]) => line.reduce((a, b) => a + b, 0);
const distance = (a: readonly number[], b: readonly number[]) => Math.sqrt(total(a.map((x, i) => (x - b[i]) ** 2)));
const widest = (a: readonly number[], b: readonly number[]) => Math.max(0, ...a.map((x, i) => Math.abs(x - b[i])));

/** τ by sorting (Held, Wolfe & Crowder 1974), in double precision. */
function bySorting(line: readonly number[], mass = 1): number[] {
  const z = line.toSorted((a, b) => b - a);
  let [sum, tau] = [0, 0];
  z.forEach((v, i) => {
    sum += v;
    if ((i + 1) * v > sum - mass) tau = (sum - mass) / (i + 1);
  });
  return line.map(v => Math.max(0, v - tau));
}

describe.each(kinds.map(kind => [kind.name, kind.dim, kind] as const))(
  'sparsemax on %s, dim %i',
  (_, __, { backend, dtype, dim, eps }) => {
    const round = dtype === 'float32' ? Math.fround : (x: number) => x;

    /** Runs `f` on lines that lie along `dim`, and gives lines back. */
    function onLines(lines: readonly (readonly number[])[], f: (x: Tensor, dim: number) => Tensor): number[][] {
      return scope(() => {
        const x = tensor(
          lines.map(l => [...l]),
          { backend, dtype },
        );
        const y = f(dim === 0 ? transpose(x) : x, dim);
        const values = Array.from((dim === 0 ? transpose(y) : y).dataSync());
        const n = values.length / lines.length;
        return lines.map((_, i) => values.slice(i * n, (i + 1) * n));
      });
    }
    const project = (lines: readonly (readonly number[])[]) => onLines(lines, sparsemax);
    const linesOf = ({ rows, columns, values }: Matrix) =>
      Array.from({ length: rows }, (_, i) => values.slice(i * columns, (i + 1) * columns).map(round));
    const inputs = matrices().map(linesOf);
    const point = (n: number) =>
      fc
        .array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: n, maxLength: n })
        .map(w => (total(w) > 0 ? w.map(x => x / total(w)) : w.map(() => 1 / n)));

    test('lies on the simplex', () => {
      fc.assert(
        fc.property(inputs, lines => {
          for (const p of project(lines)) {
            expect(Math.min(...p)).toBeGreaterThanOrEqual(0);
            expect(Math.abs(total(p) - 1)).toBeLessThanOrEqual(8 * eps);
          }
        }),
      );
    });

    test('⟨x − p, q − p⟩ ≤ 0 for every q of the simplex: p is the nearest point', () => {
      fc.assert(
        fc.property(
          inputs.chain(lines => fc.tuple(fc.constant(lines), point(lines[0].length))),
          ([lines, q]) => {
            project(lines).forEach((p, i) => {
              const vertices = p.map((_, k) => p.map((___, j) => (j === k ? 1 : 0)));
              for (const other of [q, ...vertices])
                expect(total(p.map((pj, j) => (lines[i][j] - pj) * (other[j] - pj)))).toBeLessThanOrEqual(100 * eps);
            });
          },
        ),
      );
    });

    test('does not change when a line is shifted', () => {
      fc.assert(
        fc.property(inputs, fc.integer({ min: -64, max: 64 }), (lines, shift) => {
          const [p, shifted] = [project(lines), project(lines.map(l => l.map(x => x + shift)))];
          p.forEach((line, i) => expect(widest(line, shifted[i])).toBeLessThanOrEqual(64 * 2 * eps));
        }),
      );
    });

    test('permutes with the line', () => {
      fc.assert(
        fc.property(
          inputs.chain(lines =>
            fc.tuple(
              fc.constant(lines),
              fc.shuffledSubarray(
                lines[0].map((_, i) => i),
                { minLength: lines[0].length },
              ),
            ),
          ),
          ([lines, order]) => {
            const [p, permuted] = [project(lines), project(lines.map(l => order.map(i => l[i])))];
            p.forEach((line, i) =>
              expect(
                widest(
                  order.map(j => line[j]),
                  permuted[i],
                ),
              ).toBeLessThanOrEqual(8 * eps),
            );
          },
        ),
      );
    });

    test('keeps the order, and equal entries equal', () => {
      fc.assert(
        fc.property(inputs, lines => {
          project(lines).forEach((p, i) =>
            p.forEach((a, j) =>
              p.forEach((b, k) => {
                if (lines[i][j] <= lines[i][k]) expect(a).toBeLessThanOrEqual(b);
              }),
            ),
          );
        }),
      );
    });

    test('is idempotent', () => {
      fc.assert(
        fc.property(inputs, lines => {
          const p = project(lines);
          project(p).forEach((again, i) => expect(widest(again, p[i])).toBeLessThanOrEqual(8 * eps));
        }),
      );
    });

    test('is 1-Lipschitz: ‖p − q‖ ≤ ‖x − y‖', () => {
      const pairs = fc
        .integer({ min: 1, max: 7 })
        .chain(n =>
          fc.tuple(...[0, 1].map(() => fc.array(ordinary.map(round), { minLength: n, maxLength: n }))),
        ) as fc.Arbitrary<[number[], number[]]>;
      fc.assert(
        fc.property(pairs, ([x, y]) => {
          const [p, q] = project([x, y]);
          expect(distance(p, q)).toBeLessThanOrEqual(distance(x, y) + 16 * eps);
        }),
      );
    });

    test('selection, sort and bisection find the same point', () => {
      const op = ops.find(o => o.name === 'simplexThreshold')!;
      fc.assert(
        fc.property(inputs, lines => {
          const selected = project(lines);
          // The definition of the row, 30 or 60 halvings; the mass has the shape of the lines or is one number.
          const tau = onLines(lines, (x, d) =>
            noGrad(() => op.definition!([x, tensor(1, { backend, dtype })], { dim: d })),
          );
          lines.forEach((line, i) => {
            expect(widest(selected[i], bySorting(line))).toBeLessThanOrEqual(16 * eps);
            expect(
              widest(
                selected[i],
                line.map(x => Math.max(0, x - tau[i][0])),
              ),
            ).toBeLessThanOrEqual(16 * eps);
          });
        }),
      );
    });

    test('with a mass of its own for every line: mass · sparsemax(x / mass), and Σ max(x − τ, 0) = mass', () => {
      const withMasses = inputs.chain(lines =>
        fc.tuple(
          fc.constant(lines),
          fc.array(fc.double({ min: 0.01, max: 20, noNaN: true }).map(round), {
            minLength: lines.length,
            maxLength: lines.length,
          }),
        ),
      );
      fc.assert(
        fc.property(withMasses, ([lines, masses]) => {
          const mass = () =>
            tensor(masses, { shape: dim === 0 ? [1, masses.length] : [masses.length, 1], backend, dtype });
          const y = onLines(lines, (x, d) => simplexProjection(x, mass(), d));
          const tau = onLines(lines, (x, d) => simplexThreshold(x, mass(), d));
          lines.forEach((line, i) => {
            const tolerance = 16 * eps * (1 + masses[i]);
            expect(widest(y[i], bySorting(line, masses[i]))).toBeLessThanOrEqual(tolerance);
            expect(Math.abs(total(y[i]) - masses[i])).toBeLessThanOrEqual(tolerance);
            expect(Math.abs(total(line.map(x => Math.max(0, x - tau[i][0]))) - masses[i])).toBeLessThanOrEqual(
              8 * tolerance,
            );
          });
        }),
      );
    });

    test('masked by −∞ equals sliced', () => {
      fc.assert(
        fc.property(
          inputs.chain(lines =>
            fc.tuple(
              fc.constant(lines),
              fc.subarray(
                lines[0].map((_, i) => i),
                { minLength: 1 },
              ),
            ),
          ),
          ([lines, kept]) => {
            const masked = project(lines.map(l => l.map((x, j) => (kept.includes(j) ? x : -Infinity))));
            const sliced = project(lines.map(l => kept.map(j => l[j])));
            masked.forEach((p, i) => {
              expect(
                widest(
                  kept.map(j => p[j]),
                  sliced[i],
                ),
              ).toBeLessThanOrEqual(8 * eps);
              expect(p.filter((x, j) => !kept.includes(j) && x !== 0)).toEqual([]);
            });
          },
        ),
      );
    });

    test('the Jacobian is diag(1_S) − 1_S 1_Sᵀ/|S| on the support S: symmetric, idempotent, 0 on constants', () => {
      fc.assert(
        fc.property(inputs, lines => {
          const n = lines[0].length;
          const inside = project([lines[0]])[0].map(x => (x > 0 ? 1 : 0));
          const size = total(inside);
          const J = Array.from({ length: n }, (_, k) =>
            scope(() => {
              const x = tensor([...lines[0]], {
                backend,
                dtype,
                shape: dim === 0 ? [n, 1] : [1, n],
                requiresGrad: true,
              });
              const direction = tensor(
                Array.from({ length: n }, (___, j) => (j === k ? 1 : 0)),
                { shape: x.shape, backend, dtype },
              );
              return Array.from(grad(sparsemax(x, dim), [x], { outputGrad: direction })[0].dataSync());
            }),
          );
          for (let i = 0; i < n; i++) {
            expect(Math.abs(total(J[i]))).toBeLessThanOrEqual(8 * eps);
            for (let j = 0; j < n; j++) {
              expect(Math.abs(J[i][j] - inside[i] * inside[j] * ((i === j ? 1 : 0) - 1 / size))).toBeLessThanOrEqual(
                4 * eps,
              );
              expect(Math.abs(J[i][j] - J[j][i])).toBeLessThanOrEqual(4 * eps);
              expect(Math.abs(total(J[i].map((x, k) => x * J[k][j])) - J[i][j])).toBeLessThanOrEqual(8 * eps);
            }
          }
        }),
        { numRuns: 50 },
      );
    });

    test('far from zero it is exact where the differences are', () => {
      fc.assert(
        fc.property(
          fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 7 }),
          fc.constantFrom(1e8, -1e8),
          (steps, far) => {
            const line = steps.map(k => round(far + 8 * k)); // 8 is a unit of float32 at 10⁸
            const [p] = project([line]);
            expect(widest(p, bySorting(line.map(x => x - Math.max(...line))))).toBeLessThanOrEqual(8 * eps);
          },
        ),
      );
    });

    test('ties share: k equal entries get 1/k, whatever lies a mass below', () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 40 }),
          fc.nat(9),
          fc.integer({ min: -100, max: 100 }),
          (k, below, top) => {
            const [p] = project([[...new Array(k).fill(top), ...new Array(below).fill(top - 1)]]);
            p.forEach((x, j) => expect(Math.abs(x - (j < k ? 1 / k : 0))).toBeLessThanOrEqual(8 * eps));
          },
        ),
      );
    });

    test('a line of one entry is 1', () => {
      fc.assert(
        fc.property(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e30, max: 1e30 }), x => {
          expect(project([[x], [-x]])).toEqual([[1], [1]]);
        }),
      );
    });

    test('a vertex where one entry leads by 1 or more', () => {
      expect(
        project([
          [0, 3, 2],
          [-1e30, 1e30, 0],
        ]),
      ).toEqual([
        [0, 1, 0],
        [0, 1, 0],
      ]);
    });

    test.each([
      ['all −∞', -Infinity],
      ['NaN', NaN],
      ['+∞', Infinity],
    ])('%s is an error that names the operation and the line', (_, bad) => {
      const lines = [[1, 2], [0, 0], bad === -Infinity ? [bad, bad] : [0, bad], [3, 4]];
      const message = (op: string) =>
        new RegExp(`^${op}: line 2 of a tensor \\[(4,2|2,4)\\] along dim ${dim} has no finite maximum`);
      expect(() => project(lines)).toThrow(message('sparsemax'));
      expect(() => onLines(lines, (x, d) => simplexProjection(x, 1, d))).toThrow(message('simplexProjection'));
      expect(() => onLines(lines, (x, d) => simplexThreshold(x, 1, d))).toThrow(message('simplexThreshold'));
    });

    test.each([0, -1, NaN, Infinity])('a mass of %d is an error that names the operation and the mass', mass => {
      expect(() =>
        onLines(
          [
            [1, 2],
            [3, 4],
          ],
          (x, d) => simplexThreshold(x, mass, d),
        ),
      ).toThrow(/^simplexThreshold: mass 0 is /);
      expect(() =>
        onLines(
          [
            [1, 2],
            [3, 4],
          ],
          (x, d) => simplexProjection(x, mass, d),
        ),
      ).toThrow(/^simplexProjection: mass 0 is /);
    });

    test('a mass that does not fit the lines is an error', () => {
      expect(() =>
        onLines(
          [
            [1, 2],
            [3, 4],
          ],
          (x, d) => simplexProjection(x, tensor([1, 2, 3], { backend, dtype }), d),
        ),
      ).toThrow(/simplexProjection: /);
    });
  },
);

test('the declared distance from a kink is the least |x − τ|; no step below half of it changes the support', () => {
  const kinks = samples.sparsemax.kinks!;
  const line = fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 2, maxLength: 8 });
  fc.assert(
    fc.property(
      line,
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 }),
      (x, direction) => {
        const far = kinks([{ values: Float64Array.from(x), shape: [1, x.length] }], { dim: 1 });
        const support = (z: readonly number[]) => bySorting(z).map(p => p > 0);
        // τ moves by no more than the line does, so |x − τ| by no more than twice as much.
        const half = 0.4999 * far;
        expect(support(x.map((v, i) => v + half * direction[i]))).toEqual(support(x));
        const tau = Math.max(...x.map((v, i) => (support(x)[i] ? v - bySorting(x)[i] : -Infinity)));
        const nearest = x.reduce((best, v, i) => (Math.abs(v - tau) < Math.abs(x[best] - tau) ? i : best), 0);
        expect(far).toBeCloseTo(Math.abs(x[nearest] - tau), 12);
      },
    ),
  );
});

test('masses of the lines are a vector, whatever dim the lines go along', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), fc.nat(1), (u, v, dim) =>
      scope(() => {
        const draw = (shape: number[]) => randn(random, shape, { dtype: 'float64', backend: reference });
        const x = draw([u, v]);
        const mass = draw([dim === 1 ? u : v])
          .square()
          .add(0.1);
        const lines = mass.reshape(dim === 1 ? [u, 1] : [1, v]);
        const y = x.simplexProjection(mass, dim);
        expect(Array.from(y.dataSync())).toEqual(Array.from(x.simplexProjection(lines, dim).dataSync()));
        const tau = (m: Tensor) => Array.from(x.simplexThreshold(m, dim).dataSync());
        expect(tau(mass)).toEqual(tau(lines));
        const total = y.sum(dim).sub(mass).abs().amax().dataSync()[0];
        expect(total).toBeLessThan(1e-12);
      }),
    ),
  );
});
