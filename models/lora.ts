/**
 * Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): a frozen matrix W (out, in) computes with W + (α/r) B A, and
 * only A (r, in) and B (out, r) learn. B starts at zero, so that at first nothing changes. Gradients and moments exist
 * for A and B alone, which is what lets a model learn of which one layer at a time fits into memory.
 */
import { Parking, written, zeros, type Random, type Tensor } from '../engine/index.ts';
import type { LinearName } from './families.ts';
import type { Linear, Transformer } from './weights.ts';

/** Rank, scale and targets of the low-rank updates (Hu et al. 2021). */
export interface LoraOptions {
  /** r. */
  readonly rank: number;
  /** α: what B A is multiplied by is α/r. */
  readonly alpha: number;
  /** The linear layers of each block that are adapted. */
  readonly targets: readonly LinearName[];
}

/** All linear layers, which Biderman et al. (2024, arXiv 2405.09673) found to learn the most. */
export const loraDefaults: LoraOptions = {
  rank: 16,
  alpha: 32,
  targets: ['q', 'k', 'v', 'o', 'gate', 'up', 'down'],
};

/** A model over the same weights with adapters beside them, and these by name (`layers.0.attention.q.lora.a`). */
export function withLora(
  model: Transformer,
  { rank, alpha, targets }: LoraOptions,
  random: Random,
): { readonly model: Transformer; readonly adapters: Record<string, Tensor> } {
  if (!Number.isSafeInteger(rank) || rank < 1 || !(alpha > 0))
    throw new Error(`lora: rank ${rank} must be a whole number of 1 or more and alpha ${alpha} above 0`);
  const adapters: Record<string, Tensor> = {};
  const adapted = mapLinears(model, (name, linear) => {
    if (!targets.includes(name.slice(name.lastIndexOf('.') + 1) as LinearName)) return linear;
    const [rows, columns] = linear.weight.shape;
    const [bound, own] = [1 / Math.sqrt(columns), random.split(name)];
    const draw = (to: Float32Array) => {
      for (let i = 0; i < to.length; i++) to[i] = bound * (2 * own.uniform() - 1);
    };
    const a = written([rank, columns], draw, { requiresGrad: true });
    const b = zeros([rows, rank], { requiresGrad: true });
    Object.assign(adapters, { [`${name}.lora.a`]: a, [`${name}.lora.b`]: b });
    return { ...linear, lora: { a, b, scale: alpha / rank } };
  });
  if (Object.keys(adapters).length === 0)
    throw new Error(`lora: the model has none of the layers ${targets.join(', ')}; choose others`);
  return { model: adapted, adapters };
}

/**
 * The model with W + (α/r) B A in the place of its adapted matrices. These wait outside the backend's memory and are
 * computed when they are read, so weights and adapters must live as long as they do.
 */
export async function mergeLora(model: Transformer): Promise<Transformer> {
  const merged = new Map<string, Tensor>();
  const parking = new Parking();
  for (const [name, { weight, lora }] of linearsOf(model)) {
    if (!lora) continue;
    const [a, b] = [(await lora.a.data()) as Float32Array, (await lora.b.data()) as Float32Array];
    const values = weight.backend.readSync ? null : await weight.data();
    const write = (to: Float32Array) => {
      to.set(values ?? weight.dataSync());
      addProduct(to, b, a, lora.scale, lora.a.shape[0]);
    };
    merged.set(name, parking.park(write, weight.shape, { backend: weight.backend }));
  }
  return mapLinears(model, (name, { weight, bias }) => ({
    weight: merged.get(name) ?? weight,
    ...(bias && { bias }),
  }));
}

/** to (out, in) += scale · b (out, r) a (r, in). */
function addProduct(to: Float32Array, b: Float32Array, a: Float32Array, scale: number, rank: number): void {
  const columns = a.length / rank;
  for (let row = 0; row < b.length / rank; row++) {
    for (let k = 0; k < rank; k++) {
      const factor = scale * b[row * rank + k];
      if (factor === 0) continue;
      for (let c = 0; c < columns; c++) to[row * columns + c] += factor * a[k * columns + c];
    }
  }
}

/** The linear layers of all blocks by name (`layers.0.attention.q`). */
function linearsOf(model: Transformer): Map<string, Linear> {
  const found = new Map<string, Linear>();
  mapLinears(model, (name, linear) => {
    found.set(name, linear);
    return linear;
  });
  return found;
}

/** The same model with other linear layers in its blocks. */
function mapLinears(model: Transformer, replace: (name: string, linear: Linear) => Linear): Transformer {
  const part = <T extends object>(path: string, members: T): T =>
    Object.fromEntries(
      Object.entries(members as Record<string, Linear>).map(([name, member]) => [
        name,
        member.weight?.shape.length === 2 ? replace(`${path}.${name}`, member) : member,
      ]),
    ) as T;
  const layers = model.layers.map((layer, i) => ({
    ...layer,
    attention: part(`layers.${i}.attention`, layer.attention),
    feedForward: part(`layers.${i}.feedForward`, layer.feedForward),
  }));
  return { ...model, layers };
}
