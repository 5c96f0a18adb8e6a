/** Fused kernels at sizes that the table's samples do not reach, and at the edges of what they accept. */
import { describe, expect, test } from 'vitest';
import {
  attention,
  crossEntropy,
  grad,
  sampledMatmul,
  scope,
  simplexProjection,
  simplexThreshold,
  slice,
  sparseMatmul,
  sparsemax,
  sum,
  mul,
  ops,
  tensor,
  type Tensor,
} from '../../../engine/index.ts';
import { expectClose, normals, reference, unit, wasm } from './support.ts';

const both = <R>(
  fn: (make: (values: Float32Array<ArrayBuffer>, shape: number[], requiresGrad?: boolean) => Tensor) => R,
): [R, R] => [
  fn((values, shape, requiresGrad = false) => tensor(values, { shape, backend: wasm, requiresGrad })),
  fn((values, shape, requiresGrad = false) =>
    tensor(Float64Array.from(values), { shape, backend: reference, dtype: 'float64', requiresGrad }),
  ),
];

describe('attention over several blocks of queries', () => {
  test.each([
    [2, 150, 150, 4, 4, 8],
    [1, 70, 200, 6, 2, 12],
    [1, 1, 130, 2, 1, 32],
  ])('B %i T %i S %i H %i G %i D %i', (B, T, S, H, G, D) => {
    const [q, k, v, w] = [normals([B, T, H, D]), normals([B, S, G, D]), normals([B, S, G, D]), normals([B, T, H, D])];
    const [actual, exact] = both(make =>
      scope(() => {
        const inputs = [make(q, [B, T, H, D], true), make(k, [B, S, G, D], true), make(v, [B, S, G, D], true)];
        const y = attention(inputs[0], inputs[1], inputs[2]);
        return [y, ...grad(sum(mul(y, make(w, [B, T, H, D]))), inputs)].map(t => t.dataSync());
      }),
    );
    // Each output mixes up to S values of order 1; gradients of k and v add up T · H/G of them.
    exact.forEach((e, i) => expectClose(actual[i], e, 64, () => (i < 2 ? 1 : Math.sqrt((T * H) / G))));
  });
});

describe('crossEntropy', () => {
  test('a vocabulary with a ragged end, large logits, ignored targets', () => {
    const [N, V] = [37, 2051];
    const logits = normals([N, V]).map(x => 20 * x);
    const targets = Int32Array.from({ length: N }, (_, i) => (i % 5 === 0 ? -100 : (i * 577) % V));
    const [actual, exact] = both(make =>
      scope(() => {
        const x = make(logits, [N, V], true);
        const loss = crossEntropy(x, tensor(targets, { backend: x.backend }));
        return [loss, grad(sum(loss), [x])[0]].map(t => t.dataSync());
      }),
    );
    expectClose(actual[0], exact[0], 4, () => 100);
    expectClose(actual[1], exact[1], 64, () => 1);
  });

  test('a target outside the vocabulary is a RangeError', () => {
    const x = tensor(normals([2, 5]), { shape: [2, 5], backend: wasm });
    expect(() => crossEntropy(x, tensor(Int32Array.of(0, 5), { backend: wasm }))).toThrow(
      new RangeError('crossEntropy: index 5 at position 1 is outside [0, 5)'),
    );
    x.dispose();
  });
});

describe('simplex', () => {
  test.each([
    [300, 517],
    [64, 4099],
    [1, 7],
    [7, 1],
  ])('%i × %i along both dims, masses from small to large', (rows, columns) => {
    for (const dim of [0, 1]) {
      const lines = dim === 0 ? [1, columns] : [rows, 1];
      const masses = normals(lines).map(x => Math.exp(3 * x));
      const x = normals([rows, columns]);
      const w = normals([rows, columns]);
      const [actual, exact] = both(make =>
        scope(() => {
          const inputs = [make(x, [rows, columns], true), make(masses, lines, true)];
          const y = simplexProjection(inputs[0], inputs[1], dim);
          return [
            y,
            simplexThreshold(inputs[0], inputs[1], dim),
            ...grad(sum(mul(y, make(w, [rows, columns]))), inputs),
          ].map(t => t.dataSync());
        }),
      );
      const massOf = (i: number) => 8 + masses[dim === 0 ? i % columns : Math.floor(i / columns)];
      expectClose(actual[0], exact[0], 8, massOf);
      expectClose(actual[1], exact[1], 8, i => 8 + masses[i]);
      // Gradients jump where an entry is at the edge of the support; compare lines whose supports agree.
      const agree = (i: number) => {
        const line = dim === 0 ? i % columns : Math.floor(i / columns);
        const at = (j: number) => (dim === 0 ? j * columns + line : line * columns + j);
        return Array.from({ length: dim === 0 ? rows : columns }, (_, j) => at(j)).every(
          p => actual[0][p] > 0 === exact[0][p] > 0,
        );
      };
      const sure = Array.from(exact[2].keys()).filter(i => i % 97 === 0 && agree(i));
      expectClose(
        sure.map(i => actual[2][i]),
        sure.map(i => exact[2][i]),
        64,
        () => 4,
      );
    }
  });

  test('is exact far from zero', () => {
    for (const dim of [0, 1]) {
      const shape = dim === 0 ? [3, 2] : [2, 3];
      const line = [1e8 + 8, 1e8, 1e8 - 1e6];
      const values = Float32Array.from(dim === 0 ? line.flatMap(v => [v, v]) : [...line, ...line]);
      const y = scope(() => simplexProjection(tensor(values, { shape, backend: wasm }), 16, dim).dataSync());
      expect([...y].sort()).toEqual([0, 0, 12, 12, 4, 4]);
    }
  });

  test('ties, a tiny mass, and sums to the mass', () => {
    for (const mass of [1e-45, 1e-30, 1, 1e30]) {
      const y = scope(() =>
        simplexProjection(tensor(new Float32Array(6), { shape: [2, 3], backend: wasm }), mass, 1).dataSync(),
      );
      for (const v of y)
        expect(Math.abs(v - Math.fround(mass) / 3)).toBeLessThanOrEqual(Math.fround(mass) * unit + 1e-45);
    }
  });

  test('a line without a finite maximum and an invalid mass are errors', () => {
    const bad = (values: number[], dim: number) => () =>
      scope(() => {
        sparsemax(tensor(Float32Array.from(values), { shape: [2, 2], backend: wasm }), dim);
      });
    expect(bad([0, 1, NaN, 2], 1)).toThrow(/^sparsemax: line 1 .* has no finite maximum/);
    expect(bad([0, 1, NaN, 2], 0)).toThrow(/^sparsemax: line 0 /);
    expect(bad([-Infinity, -Infinity, 1, 2], 1)).toThrow(/^sparsemax: line 0 /);
    expect(bad([-Infinity, 3, 1, 2], 1)).not.toThrow();
    expect(() =>
      scope(() => {
        simplexProjection(tensor([[1, 2]], { backend: wasm }), 0);
      }),
    ).toThrow(/mass 0 is 0; it must be positive/);
  });
});

describe('sparse products', () => {
  // Widths around the block of 32 columns; lines of several tiles (of 64 columns at d = 1030), with a ragged end.
  test.each([
    [3, 5, 1],
    [7, 130, 31],
    [5, 64, 33],
    [9, 203, 70],
    [4, 333, 1030],
    [2, 3, 0],
    [2, 0, 3],
  ])('(%i, %i) by width %i: empty lines, NaN, and what lies beyond an end', (u, v, d) => {
    const a = normals([u, v]).map((x, i) => (i < v || x < 1.2 ? -Math.abs(x) : x)); // line 0 is empty
    const [b, l] = [normals([v, d]), normals([u, d])];
    const [actual, exact] = both(make =>
      scope(() =>
        [
          sparseMatmul(make(a, [u, v]), make(b, [v, d])),
          sampledMatmul(make(l, [u, d]), make(b, [v, d]), make(a, [u, v])),
        ].map(t => t.dataSync()),
      ),
    );
    expectClose(actual[0], exact[0], 32, () => Math.sqrt(v));
    expectClose(actual[1], exact[1], 32, () => Math.sqrt(d));
    expect([...actual[1]].every((y, i) => y === 0 || a[i] > 0)).toBe(true);
  });

  test('NaN in the sparse factor is not lost, infinities beside its zeros have no effect', () => {
    const [y, z] = scope(() => {
      const a = tensor(Float32Array.of(NaN, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), {
        shape: [2, 8],
        backend: wasm,
      });
      const b = tensor(Float32Array.of(1, 2, Infinity, 4, 5, 6, 7, NaN), { shape: [8, 1], backend: wasm });
      return [sparseMatmul(a, b), sampledMatmul(slice(b, 0, 0, 2), b, a)].map(t => Array.from(t.dataSync()));
    });
    expect(y).toEqual([NaN, 2]);
    expect(z).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0]);
  });

  test('a dense factor is declined', () => {
    const dense = { storage: wasm.upload(new Float32Array(64).fill(1)), shape: [8, 8] };
    expect(wasm.kernels.sparseMatmul.forward!([dense, dense], {} as never, [8, 8])).toBeNull();
    expect(wasm.kernels.sampledMatmul.forward!([dense, dense, dense], {} as never, [8, 8])).toBeNull();
    wasm.free(dense.storage);
  });
});

test('every fused row of the table has a kernel, but for logsumexp', () => {
  const fused = ops.filter(op => op.definition).map(op => op.name);
  expect(fused.filter(name => !(name in wasm.kernels))).toEqual(['logsumexp']);
});
