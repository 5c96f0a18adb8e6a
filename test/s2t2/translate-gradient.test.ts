/** The sparse products of the translation give the layer the gradient that dense ones would. */
import { expect, test } from 'vitest';
import { add, concat, div, grad, matmul, mul, Random, scope, sum, tensor, type Tensor } from '../../engine/index.ts';
import { sparseSinkhorn, variants } from '../../s2t2/sinkhorn.ts';
import { translateEnds } from '../../s2t2/translate.ts';

const [u, v, width] = [24, 160, 5];
const ids = (n: number) => Int32Array.from({ length: n }, (_, i) => i);

// Each column has three rows that it prefers, or none. That makes a dual plan sparse; the others are not after few
// rounds.
const heads = ['columns', 'rows'] as const;
test.each(
  variants.flatMap(variant =>
    [0, 0.006].flatMap(preference => heads.map(headNormalisation => ({ variant, preference, headNormalisation }))),
  ),
)(
  '$variant, preference $preference, head divided by $headNormalisation',
  ({ variant, preference, headNormalisation }) =>
    scope(() => {
      const random = new Random(7);
      const normals = (shape: number[]) =>
        tensor(
          new Float32Array(shape.reduce((a, b) => a * b)).map(() => random.normal()),
          { shape },
        );
      const x = tensor(
        new Float32Array(u * v).map(
          (_, e) => 2e-4 * random.normal() + ([0, 1, 5].includes(((e % v) + Math.floor(e / v)) % u) ? preference : 0),
        ),
        { shape: [u, v], requiresGrad: true },
      );
      const [mu, nu] = [tensor(new Float32Array(u).fill(1 / u)), tensor(new Float32Array(v).fill(1 / v))];
      const [embedding, head] = [normals([v + 1, width]), normals([v + 1, width])]; // row v is a special token
      const [ge, gh] = [normals([u + 2, width]), normals([u + 2, width])];
      // A special token, and one that is never shown, of two pieces.
      const [specials, unseen] = [Int32Array.of(u, v), Int32Array.of(u + 1, 0, u + 1, v - 1)];
      const map = { sourceIds: ids(v), targetIds: ids(u), specials, unseen, targetSize: u + 2 };
      const values = (translate: (plan: Tensor) => { embedding: Tensor; head: Tensor }) => {
        const { plan } = sparseSinkhorn(x, mu, nu, { variant, iterations: 3 });
        const ends = translate(plan);
        const loss = add(sum(mul(ends.embedding, ge)), sum(mul(ends.head, gh)));
        return {
          density: plan.dataSync().filter(p => p > 0).length / plan.size,
          results: [ends.embedding, ends.head, grad(loss, [x])[0]].map(t => t.dataSync()),
        };
      };
      const sparse = values(plan =>
        translateEnds(plan, mu, nu, { embedding, head }, map, { rowNormalisation: 'actual', headNormalisation }),
      );
      const inner = tensor(ids(v));
      const withSpecial = (translated: Tensor, end: Tensor) => {
        const mean = tensor(Int32Array.of(0, v - 1))
          .embedding(end)
          .mean(0, { keepdim: true });
        return concat([translated, tensor(Int32Array.of(v)).embedding(end), mean]);
      };
      const dense = values(plan => ({
        embedding: withSpecial(
          div(matmul(plan, inner.embedding(embedding)), sum(plan, 1, { keepdim: true })),
          embedding,
        ),
        head: withSpecial(
          matmul(
            div(plan, headNormalisation === 'columns' ? nu : sum(plan, 1, { keepdim: true })),
            inner.embedding(head),
          ),
          head,
        ),
      }));
      // Kernels take a plan of which less than a quarter is positive; for others the definition runs.
      expect(sparse.density < 0.25).toBe(variant === 'dual' && preference > 0);
      dense.results.forEach((expected, k) => {
        const largest = Math.max(...Array.from(expected, Math.abs));
        expected.forEach((y, i) =>
          expect(Math.abs(sparse.results[k][i] - y)).toBeLessThanOrEqual((k === 2 ? 256 : 32) * 2 ** -24 * largest),
        );
      });
    }),
);
