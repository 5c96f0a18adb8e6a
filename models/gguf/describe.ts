/**
 * What a GGUF file's model is called in Hugging Face's checkpoints: `config.json` from the metadata, and for every
 * tensor its name there and how its rows lie. A key of the architecture that is not read, or a tensor that is not in
 * the table, is an error: it may change what the model computes.
 */
import { show, UserError } from '../errors.ts';
import { architectures } from './architectures.ts';
import type { GgufHeader, GgufTensor } from './header.ts';
import { Keys } from './keys.ts';
import { layoutOf, type Layout } from './layout.ts';
import { Metadata } from './metadata.ts';
import { ropeFactorsName } from './rope.ts';

/** A tensor of the file, and how its elements lie in Hugging Face's. */
export interface PlacedTensor {
  readonly tensor: GgufTensor;
  readonly layout: Layout;
}

/** A GGUF file's model in Hugging Face's terms. */
export interface GgufModel {
  /** The fields of `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By Hugging Face's name. */
  readonly tensors: ReadonlyMap<string, PlacedTensor>;
}

/** Reads metadata and tensor table; `ropeFactors` are the values of `rope_freqs.weight` where the file has it. */
export function describeModel(header: GgufHeader, path: string, ropeFactors?: Float32Array): GgufModel {
  const metadata = new Metadata(header.metadata, path);
  const name = metadata.text('general.architecture');
  if (!Object.hasOwn(architectures, name))
    return metadata.refuse('general.architecture', `supported are ${Object.keys(architectures).join(', ')}`);
  const architecture = architectures[name];
  const keys = new Keys(metadata, `${name}.`, header.tensors, ropeFactors);
  for (const key of ['expert_count', 'expert_used_count']) keys.must(key, 0);
  const config = architecture.config(keys);
  const [unread] = metadata.unread(`${name}.`);
  if (unread !== undefined) metadata.refuse(unread, 'this key is not supported, and it may change what is computed');

  const tensors = new Map<string, PlacedTensor>();
  for (const [stored, tensor] of header.tensors) {
    if (stored === ropeFactorsName && ropeFactors !== undefined) continue;
    const [, base, part] = /^(.*)\.(weight|bias)$/.exec(stored) ?? ['', stored, ''];
    const layer = /^blk\.(\d+)\./.exec(base)?.[1];
    const pattern = base.replace(/^blk\.\d+\./, 'blk.{}.');
    if (!Object.hasOwn(architecture.names, pattern) || part === '')
      throw new UserError(
        `${path}: has a tensor ${show(stored)}, which a model of the architecture ${show(name)} does not have`,
      );
    const { shape } = tensor;
    const layout = layoutOf(architecture.layout, pattern, shape, keys);
    if (layout.kind === 'rows' && shape[0] % layout.unit !== 0)
      throw new UserError(
        `${path}: tensor ${show(stored)} has ${shape[0]} rows, which are not divided evenly among ${keys.heads} heads`,
      );
    tensors.set(`${architecture.names[pattern].replace('{}', layer ?? '')}.${part}`, { tensor, layout });
  }
  return { config, tensors };
}
