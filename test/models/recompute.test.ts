/** Recomputing layers changes neither losses nor gradients, in any family; frozen weights may wait outside. */
import { expect, test } from 'vitest';
import { grad, Parking, Random, scope, tensor, type Tensor } from '../../engine/index.ts';
import { makeBatch } from '../../models/batches.ts';
import { familyNames } from '../../models/families.ts';
import { float32ToBfloat16, float32ToFloat16, bfloat16ToFloat32, float16ToFloat32 } from '../../models/float16.ts';
import { initTransformer } from '../../models/init.ts';
import { parkedWeight } from '../../models/parked.ts';
import { batchLoss } from '../../models/score.ts';
import { fromParameters, parameters } from '../../models/weights.ts';
import { randomOfTests } from '../random.ts';

const random = randomOfTests('recompute');
const batch = makeBatch(
  [9, 14].map(length => ({ ids: Int32Array.from({ length }, () => random.integer(40)), bytes: 0 })),
);
const bits = (ts: readonly Tensor[]) => ts.map(t => Array.from(t.dataSync()));

const configOf = (family: (typeof familyNames)[number]) => ({
  family,
  vocabSize: 40,
  width: 16,
  layers: 3,
  heads: 4,
  keyValueHeads: 4,
  feedForward: 20,
  context: 32,
  rotaryBase: 10000,
  normEps: 1e-5,
  tied: true,
});

test.each(familyNames)('%s: the same bits when layers are computed again', family => {
  scope(() => {
    const model = initTransformer(configOf(family), new Random(1));
    const weights = Object.values(parameters(model));
    const run = (recompute: boolean) => {
      const loss = batchLoss(model, batch, model, recompute);
      return bits([loss, ...grad(loss, weights)]);
    };
    expect(run(true)).toEqual(run(false));
  });
});

test.each([
  ['BF16', float32ToBfloat16, bfloat16ToFloat32],
  ['F16', float32ToFloat16, float16ToFloat32],
  ['F32', null, null],
] as const)('a frozen model parked as %s: the gradients of its ends, bit for bit', (dtype, narrow, widen) => {
  scope(() => {
    const own = initTransformer({ ...configOf('llama'), tied: false }, new Random(2));
    const values = Object.fromEntries(
      Object.entries(parameters(own)).map(([name, w]) => {
        const floats = w.dataSync() as Float32Array<ArrayBuffer>;
        return [name, { floats: narrow ? widen(narrow(floats)) : floats, shape: w.shape }];
      }),
    );
    const place = (make: (floats: Float32Array<ArrayBuffer>, shape: readonly number[]) => Tensor) => {
      const isEnd = (name: string) => name === 'embedding' || name === 'head';
      const weights = Object.entries(values).map(([name, { floats, shape }]) => [
        name,
        isEnd(name) ? tensor(floats, { shape, requiresGrad: true }) : make(floats, shape),
      ]);
      return fromParameters(own.config, Object.fromEntries(weights));
    };
    const parking = new Parking(0); // nothing stays longer than it must
    const run = (model: ReturnType<typeof place>) => {
      const loss = batchLoss(model, batch, model, true);
      return bits([loss, ...grad(loss, [model.embedding, model.head])]);
    };
    expect(run(place((floats, shape) => parkedWeight(parking, floats, shape, dtype)))).toEqual(
      run(place((floats, shape) => tensor(floats, { shape }))),
    );
  });
});
