/** What finetuning changes of a model: all of it, its two ends, or the ends and low-rank adapters in its layers. */
import { Random, type Tensor } from '../engine/index.ts';
import { loraDefaults, mergeLora, withLora } from '../models/lora.ts';
import type { TransformerConfig } from '../models/transformer-config.ts';
import { parameters, type Transformer } from '../models/weights.ts';
import { ratedWidth, type TrainSettings } from './settings.ts';

/** A model under finetuning, and the parameters that change. */
export interface Trained {
  /** Computes with the same weights, and with adapters where there are any. */
  readonly model: Transformer;
  readonly parameters: Readonly<Record<string, Tensor>>;
  /** The model with plain weights, when it has learned. */
  readonly plain: () => Promise<Transformer>;
  /** Frees what was made here; `model` and `plain` are over then. */
  readonly dispose: () => void;
}

/** Everything that is not among the parameters stays as it is, bit for bit. */
export function trained(model: Transformer, { seed, train = 'all', lora = loraDefaults }: TrainSettings): Trained {
  const plain = async () => model;
  if (train === 'all') return { model, parameters: parameters(model), plain, dispose: () => {} };
  const ends = { embedding: model.embedding, ...(model.head !== model.embedding && { head: model.head }) };
  if (train === 'ends') return { model, parameters: ends, plain, dispose: () => {} };
  const adapted = withLora(model, lora, new Random(seed).split('lora'));
  return {
    model: adapted.model,
    parameters: { ...ends, ...adapted.adapters },
    plain: () => mergeLora(adapted.model),
    dispose: () => Object.values(adapted.adapters).forEach(t => t.dispose()),
  };
}

/**
 * The share of the learning rate that a parameter takes: what lies between the ends learns at its own. A step of Adam
 * changes each weight by about the rate, and so what a matrix makes of C inputs in proportion to C. In a wider model,
 * the layers and the head learn at a rate that is lower by as much; a row of the embedding is read alone, where it is
 * no head as well (µP: Yang et al. 2021, table 3).
 */
export const rateOf =
  (bodyRate: number, { width, tied }: Pick<TransformerConfig, 'width' | 'tied'>) =>
  (name: string): number => {
    if (name.includes('.lora.') || (name === 'embedding' && !tied)) return 1;
    return Math.min(1, ratedWidth / width) * (name === 'embedding' || name === 'head' ? 1 : bodyRate);
  };
