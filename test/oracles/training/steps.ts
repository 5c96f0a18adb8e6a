/** Ten training steps that an oracle has made: the same steps here, and what is kept of them. */
import type { Tensor } from '../../../engine/index.ts';
import { AdamW } from '../../../models/adamw.ts';
import { batchLoss } from '../../../models/score.ts';
import { pack, storedTensors } from '../../../models/stored.ts';
import { train } from '../../../models/train.ts';
import type { TransformerConfig } from '../../../models/transformer-config.ts';
import { parameters, parameterShapes, type Transformer } from '../../../models/weights.ts';

/** Of a tensor: its norm, and its inner product with cos 1, cos 2, …. */
export type Numbers = readonly [norm: number, product: number];
export type ByName = Readonly<Record<string, Numbers>>;

/** What an oracle's file says of the steps: three of four sequences in a batch, in turns. */
export interface Recipe {
  readonly sequences: readonly (readonly number[])[];
  readonly rate: number;
  readonly warmup: number;
}

export interface Steps {
  readonly losses: readonly number[];
  /** Of every step, before clipping. */
  readonly gradients: readonly ByName[];
  /** After the last step. */
  readonly weights: ByName;
}

function numbers(values: Float64Array): Numbers {
  let [squares, product] = [0, 0];
  values.forEach((x, i) => {
    squares += x * x;
    product += x * Math.cos(i + 1);
  });
  return [Math.sqrt(squares), product];
}

/** What is kept of weights or their gradients, in the order of `parameters`, by the names of a checkpoint. */
function byName(config: TransformerConfig, tensors: readonly Tensor[]): ByName {
  const names = Object.keys(parameterShapes(config));
  const values = (name: string) => tensors[names.indexOf(name)].dataSync() as Float64Array<ArrayBuffer>;
  return Object.fromEntries(
    storedTensors(config).map(stored => {
      const parts = stored.parts.map(part => values(part.name));
      return [stored.name, numbers(pack(stored, parts))];
    }),
  );
}

/** Trains the model for ten steps. Losses are in the precision of its weights. */
export async function tenSteps(model: Transformer, recipe: Recipe): Promise<Steps> {
  const { config } = model;
  const sequences = recipe.sequences.map(ids => ({ ids: Int32Array.from(ids), bytes: 1 }));
  const losses: number[] = [];
  const gradients: ByName[] = [];
  class Recording extends AdamW {
    override update(given: readonly Tensor[], rate: number): void {
      gradients.push(byName(config, given));
      super.update(given, rate);
    }
  }
  await train({
    parameters: parameters(model),
    batches: Array.from({ length: 10 }, (_, step) => [0, 1, 2].map(i => sequences[(step + i) % 4])),
    loss: batch => {
      const loss = batchLoss(model, batch);
      losses.push(loss.dataSync()[0]);
      return loss;
    },
    rate: recipe.rate,
    warmup: recipe.warmup,
    optimizer: members => new Recording(members),
  });
  return { losses, gradients, weights: byName(config, Object.values(parameters(model))) };
}

/** The largest difference of any number, in units of its tensor's norm, and the tensor where it is. */
export function worstOf(actual: ByName, expected: ByName): { readonly name: string; readonly error: number } {
  const errors = Object.entries(expected).map(([name, [norm, product]]) => ({
    name,
    // A tensor that the other side lacks is as wrong as can be.
    error: Math.max(Math.abs(actual[name]?.[0] - norm), Math.abs(actual[name]?.[1] - product)) / norm,
  }));
  return errors.reduce((worst, e) => (e.error <= worst.error ? worst : e));
}
