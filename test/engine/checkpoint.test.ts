/** Recomputation changes memory and nothing else. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  add,
  checkpoint,
  createReferenceBackend,
  exp,
  grad,
  matmul,
  memory,
  mul,
  noGrad,
  peakBytes,
  scope,
  setBackend,
  square,
  sum,
  tanh,
  tensor,
  type Tensor,
} from '../../engine/index.ts';
import { randomOfTests } from '../random.ts';

setBackend(createReferenceBackend());

const n = 5;
const random = randomOfTests('checkpoint');
const matrix = (requiresGrad: boolean) =>
  tensor(
    Float64Array.from({ length: n * n }, () => random.normal()),
    { shape: [n, n], requiresGrad },
  );
const layer = ([x, w]: readonly Tensor[]): Tensor => add(x, tanh(mul(matmul(tanh(matmul(x, w)), w), 0.5)));
const plain = (x: Tensor, ws: readonly Tensor[]) => ws.reduce((y, w) => layer([y, w]), x);
const recomputed = (x: Tensor, ws: readonly Tensor[]) => ws.reduce((y, w) => checkpoint(layer, [y, w]), x);
const values = (ts: readonly Tensor[]) => ts.map(t => Array.from(t.dataSync()));

describe('checkpoint', () => {
  test('values and gradients equal those without it, bit for bit, whichever inputs learn', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 2, maxLength: 5 }), learns =>
        scope(() => {
          fc.pre(learns.some(Boolean));
          const [x, ...ws] = learns.map(matrix);
          const inputs = [x, ...ws].filter(t => t.requiresGrad);
          const results = [plain, recomputed].map(run => {
            const y = run(x, ws);
            return values([y, ...grad(sum(square(y)), inputs)]);
          });
          expect(results[1]).toEqual(results[0]);
        }),
      ),
    );
  });

  test('keeps nothing of a layer but its output', () => {
    const [x, ...ws] = Array.from({ length: 9 }, () => matrix(true));
    const kept = (run: typeof plain) =>
      scope(() => {
        const before = memory().bytes;
        run(x, ws);
        return memory().bytes - before;
      });
    expect(kept(recomputed)).toBe(ws.length * n * n * 8);
    expect(kept(plain)).toBeGreaterThan(4 * kept(recomputed));
    for (const t of [x, ...ws]) t.dispose();
  });

  test('at peak memory a backward pass holds one layer and the outputs of the others', () => {
    const [x, ...ws] = Array.from({ length: 17 }, () => matrix(false));
    const learned = matrix(true);
    const peak = (run: typeof plain) => {
      const before = memory().bytes;
      peakBytes();
      scope(() => {
        grad(sum(run(add(x, learned), ws)), [learned], { freeGraph: true });
      });
      return (peakBytes() - before) / (n * n * 8);
    };
    // Outputs of 16 layers, one layer's values and gradients (fewer than 20 matrices), the ends of the pass.
    expect(peak(recomputed)).toBeLessThan(16 + 20 + 4);
    expect(peak(plain)).toBeGreaterThan(16 * 5);
    for (const t of [x, learned, ...ws]) t.dispose();
  });

  test('a gradient can be differentiated again', () => {
    const second = (run: typeof plain) =>
      scope(() => {
        const x = tensor(Float64Array.of(0.3, -1), { shape: [1, 2], requiresGrad: true });
        const f = ([y]: readonly Tensor[]) => exp(mul(y, y));
        const [g] = grad(sum(run === plain ? f([x]) : checkpoint(f, [x])), [x], { createGraph: true });
        return values([g, ...grad(sum(g), [x])]);
      });
    expect(second(recomputed)).toEqual(second(plain));
  });

  test('an input that comes out as it is, and a pass without recording', () => {
    const before = memory();
    scope(() => {
      const x = matrix(true);
      const same = checkpoint(([y]) => y, [x]);
      expect(values(grad(sum(same), [x]))).toEqual([new Array(n * n).fill(1)]);
      expect(noGrad(() => recomputed(x, [x])).requiresGrad).toBe(false);
    });
    expect(memory()).toEqual(before);
  });
});
