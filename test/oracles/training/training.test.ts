/**
 * Ten training steps against PyTorch (`make.py`): losses, every gradient of every step, and the weights at the end.
 * Forward pass, reverse mode, loss over padded batches, clipping, AdamW, schedule and training loop in one.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  createReferenceBackend,
  createWasmBackend,
  setBackend,
  tensor,
  type Backend,
  type Tensor,
} from '../../../engine/index.ts';
import { parseConfig } from '../../../models/config.ts';
import { storedTensors, unpack } from '../../../models/stored.ts';
import { fromParameters } from '../../../models/weights.ts';
import { someDirectories, trainAsThere } from '../families.ts';
import { tenSteps, worstOf, type ByName, type Recipe } from './steps.ts';

const here = new URL('.', import.meta.url).pathname;

interface Oracle extends Recipe {
  readonly families: Readonly<
    Record<
      string,
      {
        readonly config: Readonly<Record<string, unknown>>;
        readonly losses: readonly number[];
        readonly gradients: readonly ByName[];
        readonly weights: ByName;
      }
    >
  >;
}

const oracle = JSON.parse(readFileSync(join(here, 'steps.json'), 'utf8')) as Oracle;

/** The linear congruence of `make.py`: numbers from −½ to ½. */
function draws(state: number): () => number {
  return () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

/** The same ten steps here. */
async function trainHere(family: string, backend: Backend, dtype: 'float32' | 'float64') {
  setBackend(backend);
  const config = parseConfig(oracle.families[family].config, 'steps.json');
  const weights: Record<string, Tensor> = {};
  storedTensors(config)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .forEach((stored, n) => {
      const draw = draws(n + 1);
      const isScale = stored.shape.length === 1 && stored.name.endsWith('weight');
      const values = Float64Array.from({ length: stored.shape.reduce((a, b) => a * b, 1) }, () =>
        isScale ? draw() + 1 : draw(),
      );
      unpack(stored, values).forEach((part, i) => {
        const { name, shape } = stored.parts[i];
        weights[name] = tensor(dtype === 'float64' ? part : Float32Array.from(part), { shape, requiresGrad: true });
      });
    });
  return tenSteps(fromParameters(config, weights), oracle);
}

/** Every number within `tolerance`, in units of its tensor's norm. */
function expectClose(actual: ByName, expected: ByName, tolerance: number, where: string): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  const { name, error } = worstOf(actual, expected);
  expect(error, `${where}, ${name}`).toBeLessThan(tolerance);
}

describe.each(Object.keys(oracle.families))('%s', family => {
  const expected = oracle.families[family];

  test("in double precision all numbers are PyTorch's", async () => {
    const actual = await trainHere(family, createReferenceBackend(), 'float64');
    actual.losses.forEach((loss, step) => expect(loss, `step ${step}`).toBeCloseTo(expected.losses[step], 9));
    actual.gradients.forEach((gradient, step) =>
      expectClose(gradient, expected.gradients[step], 1e-9, `gradient of step ${step}`),
    );
    expectClose(actual.weights, expected.weights, 1e-10, 'weights');
  });

  test('on wasm they are to single precision', async () => {
    const actual = await trainHere(family, createWasmBackend({ threads: 1 }), 'float32');
    // AdamW divides by the size of a gradient: an entry that is all rounding still moves by the rate, so errors grow.
    actual.losses.forEach((loss, step) =>
      expect(Math.abs(loss - expected.losses[step]), `step ${step}`).toBeLessThan(2e-3),
    );
    expectClose(actual.gradients[0], expected.gradients[0], 256 * 2 ** -24, 'first gradient');
    expectClose(actual.weights, expected.weights, 0.05, 'weights');
  });
});

describe.each(someDirectories)('%s, as transformers trains it', name => {
  test('in double precision all numbers are PyTorch’s', async () => {
    const { actual, expected } = await trainAsThere(name);
    actual.losses.forEach((loss, step) => expect(loss, `step ${step}`).toBeCloseTo(expected.losses[step], 9));
    expectClose(actual.gradients[0], expected.gradients, 1e-9, 'first gradient');
    expectClose(actual.weights, expected.weights, 1e-8, 'weights');
  });
});
