/** The baselines of the paper's table: random ends, the unconstrained plan, the dense plan, and a plan started from pieces. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { createReferenceBackend, memory, scope, tensor, type Tensor } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { train } from '../../models/train.ts';
import { endsOf } from '../../models/transformer.ts';
import { methods, tokenMap, type Context } from '../../s2t2/methods.ts';
import { rowSums } from '../../s2t2/plan.ts';
import { denseSinkhorn } from '../../s2t2/sinkhorn.ts';
import { problems } from '../arbitraries/transport.ts';
import { tinyContext } from './fixture.ts';

const backend = createReferenceBackend() as unknown as Tensor['backend'];

let source: LanguageModel;
let context: Context;
beforeAll(async () => {
  context = await tinyContext();
  ({ source } = context);
});

const rootMeanSquare = (values: ArrayLike<number>) => Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0) / values.length);

describe('random', () => {
  test('has the scale of the source at each end, and another draw for another seed', async () => {
    const [a, b] = [(await methods.random.start(context)).model, (await methods.random.start({ ...context, settings: { ...context.settings, seed: 1 } })).model];
    for (const end of ['embedding', 'head'] as const) {
      const [values, wanted] = [endsOf(a)[end].dataSync(), rootMeanSquare(endsOf(source.model)[end].dataSync())];
      // The root mean square of n normal deviates is within 1/√(2n) of its expectation, five times over.
      expect(Math.abs(rootMeanSquare(values) / wanted - 1)).toBeLessThan(5 / Math.sqrt(2 * values.length));
      expect(Array.from(endsOf(b)[end].dataSync())).not.toEqual(Array.from(values));
    }
  });
});

describe.each(['plain', 'dense'])('%s', name => {
  test('learns its plan with the model frozen, and leaks nothing', async () => {
    const sourceWeights = Array.from(endsOf(source.model).embedding.dataSync());
    const before = memory();
    let losses: readonly number[] = [];
    const { model, plan, spent } = await methods[name].start({ ...context, runStage: async (_, training) => {
      const result = await train(training);
      losses = Array.from(result.losses);
      return result;
    } });
    const mean = (part: readonly number[]) => part.reduce((a, b) => a + b, 0) / part.length;
    expect(mean(losses.slice(-5))).toBeLessThan(mean(losses.slice(0, 5)) - 0.05);
    expect(plan).toBeUndefined();
    expect(spent).toBeGreaterThanOrEqual(context.settings.budget.amount);
    expect(Object.keys(model.weights).length).toBeGreaterThan(2);
    Object.values(model.weights).forEach(w => w.dispose());
    expect(memory()).toEqual(before);
    expect(Array.from(endsOf(source.model).embedding.dataSync())).toEqual(sourceWeights);
  });
});

test('started from the pieces of each token, these hold several times their uniform share before anything is learned', async () => {
  const settings = { ...context.settings, noise: 0, planRate: 1e-30, budget: { unit: 'tokens' as const, amount: 64 } };
  const { sourceIds, targetIds } = tokenMap(source.tokenizer, context.target);
  const piecesOf = (id: number) => new Set(source.tokenizer.encodeBytes(context.target.tokenBytes(id)));
  const massOnPieces = async (init: 'noise' | 'pieces') => {
    const plan = (await methods.s2t2.start({ ...context, settings: { ...settings, init } })).plan!;
    const totals = rowSums(plan);
    return Array.from(targetIds).reduce((sum, id, i) => {
      const pieces = piecesOf(id);
      for (let e = plan.pointers[i]; e < plan.pointers[i + 1]; e++) if (pieces.has(sourceIds[plan.columns[e]])) sum += plan.values[e] / totals[i];
      return sum;
    }, 0);
  };
  const uniform = Array.from(targetIds).reduce((sum, id) => sum + piecesOf(id).size / sourceIds.length, 0);
  expect(await massOnPieces('noise')).toBeCloseTo(uniform, 4);
  expect(await massOnPieces('pieces')).toBeGreaterThan(3 * uniform);
});

describe('denseSinkhorn', () => {
  test('is positive, has column sums ν after any number of rounds and row sums μ after many', () => {
    // Each round shrinks the error by tanh(osc X / 4)² in Hilbert's metric (Franklin & Lorenz 1989), below 0.6 for |X| ≤ 1.
    fc.assert(fc.property(problems({ scale: 1 }), ({ u, v, x, mu, nu }) => {
      const float64 = (values: number[], shape: number[]) => tensor(Float64Array.from(values), { shape, backend });
      for (const iterations of [1, 200]) {
        const P = scope(() => Array.from(denseSinkhorn(float64(x, [u, v]), float64(mu, [u, 1]), float64(nu, [1, v]), iterations).plan.dataSync() as Float64Array));
        expect(Math.min(...P)).toBeGreaterThan(0);
        const sum = (pick: (i: number, j: number) => boolean) => P.reduce((total, p, e) => total + (pick(Math.floor(e / v), e % v) ? p : 0), 0);
        nu.forEach((wanted, j) => expect(sum((_, c) => c === j)).toBeCloseTo(wanted, 12));
        if (iterations > 1) mu.forEach((wanted, i) => expect(sum(r => r === i)).toBeCloseTo(wanted, 12));
      }
    }), { numRuns: 30 });
  });
});
