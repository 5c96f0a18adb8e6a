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
import { AdamW } from '../../../models/adamw.ts';
import type { Sequence } from '../../../models/batches.ts';
import type { TransformerConfig } from '../../../models/transformer-config.ts';
import { pack, storedTensors, unpack } from '../../../models/stored.ts';
import { parseConfig } from '../../../models/config.ts';
import { batchLoss } from '../../../models/score.ts';
import { train } from '../../../models/train.ts';
import { fromParameters, parameters, parameterShapes } from '../../../models/weights.ts';

const here = new URL('.', import.meta.url).pathname;

/** Norm, and inner product with cos 1, cos 2, …. */
type Numbers = readonly [norm: number, product: number];
type ByName = Readonly<Record<string, Numbers>>;

interface Oracle {
  readonly steps: number;
  readonly warmup: number;
  readonly rate: number;
  readonly sequences: readonly (readonly number[])[];
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

function numbers(values: Float64Array): Numbers {
  let [squares, product] = [0, 0];
  values.forEach((x, i) => {
    squares += x * x;
    product += x * Math.cos(i + 1);
  });
  return [Math.sqrt(squares), product];
}

/** What is known of weights or their gradients, in the order of `parameters`, by the names of a checkpoint. */
function byName(config: TransformerConfig, tensors: readonly Tensor[]): ByName {
  const names = Object.keys(parameterShapes(config));
  const values = (name: string) => tensors[names.indexOf(name)].dataSync() as Float64Array<ArrayBuffer>;
  return Object.fromEntries(
    storedTensors(config).map(stored => [
      stored.name,
      numbers(
        pack(
          stored,
          stored.parts.map(part => values(part.name)),
        ),
      ),
    ]),
  );
}

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
  const model = fromParameters(config, weights);
  const sequences: Sequence[] = oracle.sequences.map(ids => ({ ids: Int32Array.from(ids), bytes: 1 }));
  const gradients: ByName[] = [];
  class Recording extends AdamW {
    override update(given: readonly Tensor[], rate: number): void {
      gradients.push(byName(config, given));
      super.update(given, rate);
    }
  }
  const { losses } = await train({
    parameters: parameters(model),
    batches: Array.from({ length: oracle.steps }, (_, step) => [0, 1, 2].map(i => sequences[(step + i) % 4])),
    loss: batch => batchLoss(model, batch),
    rate: oracle.rate,
    warmup: oracle.warmup,
    optimizer: members => new Recording(members),
  });
  return { losses, gradients, weights: byName(config, Object.values(parameters(model))) };
}

/** Every number within `tolerance`, in units of its tensor's norm. */
function expectClose(actual: ByName, expected: ByName, tolerance: number, where: string): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, [norm, product]] of Object.entries(expected)) {
    const off = Math.max(Math.abs(actual[name][0] - norm), Math.abs(actual[name][1] - product)) / norm;
    expect(off, `${where}, ${name}`).toBeLessThan(tolerance);
  }
}

describe.each(Object.keys(oracle.families))('%s', family => {
  const expected = oracle.families[family];

  test("in double precision all numbers are PyTorch's", async () => {
    const actual = await trainHere(family, createReferenceBackend() as unknown as Backend, 'float64');
    // The loop keeps losses in single precision.
    actual.losses.forEach((loss, step) => expect(loss, `step ${step}`).toBe(Math.fround(expected.losses[step])));
    actual.gradients.forEach((gradient, step) =>
      expectClose(gradient, expected.gradients[step], 1e-9, `gradient of step ${step}`),
    );
    expectClose(actual.weights, expected.weights, 1e-10, 'weights');
  });

  test('on wasm they are to single precision', async () => {
    const actual = await trainHere(family, createWasmBackend({ threads: 1 }) as unknown as Backend, 'float32');
    // AdamW divides by the size of a gradient: an entry that is all rounding still moves by the rate, so errors grow.
    actual.losses.forEach((loss, step) =>
      expect(Math.abs(loss - expected.losses[step]), `step ${step}`).toBeLessThan(2e-3),
    );
    expectClose(actual.gradients[0], expected.gradients[0], 256 * 2 ** -24, 'first gradient');
    expectClose(actual.weights, expected.weights, 0.05, 'weights');
  });
});
