/** Fresh models. */
import { tensor, type Random, type Tensor } from '../engine/index.ts';
import { storedTensors, unpack } from './stored.ts';
import { checkConfig, type TransformerConfig } from './transformer-config.ts';
import { fromParameters, type Transformer } from './weights.ts';

/**
 * A fresh model: normal weights of deviation 0.02, smaller by √(2 layers) where they write into the residual stream
 * (GPT-2); scales are 1, shifts 0. Each tensor is drawn as it would be stored, from a stream of its stored name.
 */
export function initTransformer(config: TransformerConfig, random: Random): Transformer {
  checkConfig(config);
  const weights: Record<string, Tensor> = {};
  for (const stored of storedTensors(config)) {
    const [{ name }] = stored.parts;
    const values = new Float32Array(stored.shape.reduce((a, b) => a * b, 1));
    if (stored.shape.length === 1) values.fill(name.endsWith('.bias') ? 0 : 1);
    else {
      const intoStream = /\.(attention\.o|feedForward\.down)\.weight$/.test(name);
      const deviation = intoStream ? 0.02 / Math.sqrt(2 * config.layers) : 0.02;
      const own = random.split(stored.name);
      values.forEach((_, i) => {
        values[i] = deviation * own.normal();
      });
    }
    unpack(stored, values).forEach((part, i) => {
      const { name: partName, shape } = stored.parts[i];
      weights[partName] = tensor(part, { shape, requiresGrad: true });
    });
  }
  return fromParameters(config, weights);
}
