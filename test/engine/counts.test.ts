/** What the table says that an operation costs, against what a backend is asked to do when it runs its definition. */
import { describe, expect, test } from 'vitest';
import { apply, createReferenceBackend, noGrad, scope, ops, tensor, type Backend } from '../../engine/index.ts';
import { samplingOf } from '../../engine/ops/samples.ts';
import { sizeOf } from '../../engine/shape.ts';
import { randomOfTests } from '../random.ts';

const random = randomOfTests('counts');
let flops = 0;

/**
 * The reference, which counts: one for an element of an elementwise function or of a sum, two for a product and its
 * sum.
 */
const plain: Backend = createReferenceBackend();
const counting: Backend = {
  ...plain,
  unary: (...args) => {
    flops += args[1].storage.size;
    return plain.unary(...args);
  },
  binary: (...args) => {
    flops += sizeOf(args[3]);
    return plain.binary(...args);
  },
  where: (...args) => {
    flops += sizeOf(args[3]);
    return plain.where(...args);
  },
  reduce: (...args) => {
    flops += args[1].storage.size;
    return plain.reduce(...args);
  },
  scatterAdd: (...args) => {
    flops += args[0].storage.size;
    return plain.scatterAdd(...args);
  },
  matmul: (...args) => {
    const [a, , transposed, , out] = args;
    flops += 2 * sizeOf(out) * a.shape.at(transposed ? -2 : -1)!;
    return plain.matmul(...args);
  },
};

describe('on a backend that counts', () => {
  test.each(ops.map(op => [op.name, op] as const))('%s', (_, op) => {
    for (const size of [1, 3, 8, 16]) {
      const { inputs, attributes } = samplingOf(op).draw(random, size);
      const shapes = inputs.map(x => x.shape);
      const out = op.shape(shapes, attributes);
      flops = 0;
      scope(() =>
        noGrad(() => {
          const xs = inputs.map(x =>
            tensor(x.values instanceof Int32Array ? x.values : Float32Array.from(x.values), {
              shape: x.shape,
              backend: counting,
            }),
          );
          if (op.definition) op.definition(xs, attributes);
          else apply(op, xs, attributes);
        }),
      );
      const stated = op.flops(shapes, attributes, out);
      if (!op.definition) expect(stated).toBe(flops);
      else {
        // The textbook's count: what is computed twice counts once, a search in the
        // definition is none in a kernel, and what is known to be 0 is left out.
        expect(stated).toBeGreaterThanOrEqual(sizeOf(out) / 2); // a product by a sparse matrix is a quarter of its own
        expect(stated).toBeLessThanOrEqual(2 * flops);
      }
      // All that is read and written, once; less where a part is read, more where a part is read again, none where
      // nothing moves.
      const [whole, written] = [4 * [...shapes, out].reduce((n, shape) => n + sizeOf(shape), 0), 4 * sizeOf(out)];
      const bytes = op.bytes?.(shapes, attributes, out) ?? whole;
      if (bytes > 0) expect(bytes).toBeGreaterThanOrEqual(written);
      expect(bytes).toBeLessThanOrEqual(Math.max(whole, 2 * written));
    }
  });

  test('only a view moves no bytes', () => {
    const still = ops.filter(op => {
      const { inputs, attributes } = samplingOf(op).draw(random, 4);
      const shapes = inputs.map(x => x.shape);
      return op.bytes?.(shapes, attributes, op.shape(shapes, attributes)) === 0;
    });
    expect(still.map(op => op.name)).toEqual(['reshape']);
  });
});
