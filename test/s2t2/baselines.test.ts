/** The baselines of the paper's table: random ends, the unconstrained plan, and the dense plan. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { createReferenceBackend, memory, scope, tensor } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { train } from '../../models/train.ts';
import type { Context } from '../../s2t2/method.ts';
import { methods } from '../../s2t2/methods.ts';
import { tokenMap, tokensShown } from '../../s2t2/translate.ts';
import { denseSinkhorn, sparseSinkhorn, variants } from '../../s2t2/sinkhorn.ts';
import { problems } from '../arbitraries/transport.ts';
import { tinyContext } from './fixture.ts';
import { disposeModel, parameters } from '../../models/weights.ts';

const backend = createReferenceBackend();

let source: LanguageModel;
let context: Context;
beforeAll(async () => {
  context = await tinyContext();
  ({ source } = context);
});

/** Rows and columns of the plans that are learned. */
const rowsOf = ({ target, train: { target: shown } }: Context) =>
  tokenMap(source.tokenizer, target, tokensShown(shown, target.vocabSize));

const rootMeanSquare = (values: ArrayLike<number>) =>
  Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0) / values.length);

describe('random', () => {
  test('has the scale of the source at each end, and another draw for another seed', async () => {
    const [a, b] = [
      (await methods.random.start(context)).model,
      (await methods.random.start({ ...context, settings: { ...context.settings, seed: 1 } })).model,
    ];
    for (const end of ['embedding', 'head'] as const) {
      const [values, wanted] = [a[end].dataSync(), rootMeanSquare(source.model[end].dataSync())];
      // The root mean square of n normal deviates is within 1/√(2n) of its expectation, five times over.
      expect(Math.abs(rootMeanSquare(values) / wanted - 1)).toBeLessThan(5 / Math.sqrt(2 * values.length));
      expect(Array.from(b[end].dataSync())).not.toEqual(Array.from(values));
    }
  });
});

describe.each(['plain', 'dense'])('%s', name => {
  test('with nothing learned and no noise every token begins as the mean of the source', async () => {
    const settings = { ...context.settings, planShare: 0, noise: 0 };
    const { model } = await methods[name].start({ ...context, settings });
    const { targetIds, sourceIds } = rowsOf(context);
    const width = source.model.config.width;
    const [from, to] = [source.model.embedding.dataSync(), model.embedding.dataSync()];
    for (let c = 0; c < width; c++) {
      const mean = sourceIds.reduce((sum, id) => sum + from[id * width + c], 0) / sourceIds.length;
      const largest = Math.max(...Array.from(from, Math.abs));
      for (const id of targetIds)
        expect(Math.abs(to[id * width + c] - mean)).toBeLessThan(largest * 4 * sourceIds.length * 2 ** -24);
    }
    disposeModel(model);
  });

  test('learns its plan with the model frozen, and leaks nothing', async () => {
    const sourceWeights = Array.from(source.model.embedding.dataSync());
    const before = memory();
    let losses: readonly number[] = [];
    const { model, plan, spent } = await methods[name].start({
      ...context,
      runStage: async (_, training) => {
        const result = await train(training);
        losses = Array.from(result.losses);
        return result;
      },
    });
    const mean = (part: readonly number[]) => part.reduce((a, b) => a + b, 0) / part.length;
    expect(mean(losses.slice(-5))).toBeLessThan(mean(losses.slice(0, 5)) - 0.05);
    expect(plan).toBeUndefined();
    expect(spent.tokens).toBeGreaterThanOrEqual(context.settings.budget.amount);
    expect(Object.keys(parameters(model)).length).toBeGreaterThan(2);
    disposeModel(model);
    expect(memory()).toEqual(before);
    expect(Array.from(source.model.embedding.dataSync())).toEqual(sourceWeights);
  });
});

const float64 = (values: ArrayLike<number>, shape: number[]) => tensor(Float64Array.from(values), { shape, backend });

/** Each layer of a cost (u, v), in float64. */
const layers: Record<
  string,
  (cost: readonly number[], u: number, v: number, settings: Context['settings']) => ArrayLike<number>
> = {
  plain: (cost, u, v) => cost.map(c => (1 - c) / (u * v)),
  dense: (cost, u, v, { iterations }) =>
    scope(() =>
      denseSinkhorn(
        float64(
          cost.map(c => -c),
          [u, v],
        ),
        float64(new Array<number>(u).fill(1 / u), [u]),
        float64(new Array<number>(v).fill(1 / v), [v]),
        iterations,
      ).plan.dataSync(),
    ),
  paper: (cost, u, v, { alpha, iterations, variant }) =>
    scope(() =>
      sparseSinkhorn(
        float64(
          cost.map(c => -c / (alpha * u * v)),
          [u, v],
        ),
        float64(new Array<number>(u).fill(1 / u), [u]),
        float64(new Array<number>(v).fill(1 / v), [v]),
        { variant, iterations },
      ).plan.dataSync(),
    ),
};

test.each([['plain', 'dual'], ['dense', 'dual'], ...variants.map(variant => ['paper', variant] as const)] as const)(
  'the ends of %s (%s) are E′ = diag(1/μ) P E and L′ = P diag(1/ν) L of the layer of the learned cost',
  async (name, variant) => {
    const settings = { ...context.settings, variant, noise: 0.3, budget: { unit: 'tokens' as const, amount: 400 } };
    let cost: readonly number[] = [];
    const { model, finetuned } = await methods[name].start({
      ...context,
      settings,
      runStage: async (_, training) => {
        const result = await train(training);
        cost = Array.from(training.parameters.cost.dataSync());
        return result;
      },
    });
    expect(finetuned).toBeUndefined();
    const { targetIds, sourceIds } = rowsOf(context);
    const [u, v] = [targetIds.length, sourceIds.length];
    const P = layers[name](cost, u, v, settings);
    // An entry of the plan is off by some roundings of X, which is of the order of Ĉ/u, in each of the rounds; a sum
    // has v of them.
    const roundings = 4 * settings.iterations * v * 2 ** -24 * Math.max(1, ...cost.map(Math.abs));
    for (const end of ['embedding', 'head'] as const) {
      const [from, to] = [source.model[end].dataSync(), model[end].dataSync()];
      const largest = Math.max(...Array.from(from, Math.abs));
      const divisor = end === 'head' ? 1 / v : 1 / u;
      Array.from(targetIds).forEach((id, i) => {
        for (let c = 0; c < 32; c += 5) {
          const expected =
            Array.from(sourceIds).reduce((sum, j, k) => sum + P[i * v + k] * from[j * 32 + c], 0) / divisor;
          expect(Math.abs(to[id * 32 + c] - expected), `${end} of ${id}`).toBeLessThan(
            (roundings * largest * (1 / u)) / divisor,
          );
        }
      });
    }
  },
);

describe('denseSinkhorn', () => {
  test('is positive, has column sums ν after any number of rounds and row sums μ after many', () => {
    // Each round shrinks the error by tanh(osc X / 4)² in Hilbert's metric (Franklin & Lorenz 1989), below 0.6 for |X|
    // ≤ 1.
    fc.assert(
      fc.property(problems({ scale: 1 }), ({ u, v, x, mu, nu }) => {
        for (const iterations of [1, 200]) {
          const P = scope(() =>
            Array.from(
              denseSinkhorn(
                float64(x, [u, v]),
                float64(mu, [u]),
                float64(nu, [v]),
                iterations,
              ).plan.dataSync() as Float64Array,
            ),
          );
          expect(Math.min(...P)).toBeGreaterThan(0);
          const sum = (pick: (i: number, j: number) => boolean) =>
            P.reduce((total, p, e) => total + (pick(Math.floor(e / v), e % v) ? p : 0), 0);
          nu.forEach((wanted, j) => expect(sum((_, c) => c === j)).toBeCloseTo(wanted, 12));
          if (iterations > 1) mu.forEach((wanted, i) => expect(sum(r => r === i)).toBeCloseTo(wanted, 12));
        }
      }),
      { numRuns: 30 },
    );
  });
});
