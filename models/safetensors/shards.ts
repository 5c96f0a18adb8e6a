/** A checkpoint in several files: what `model.safetensors.index.json` names. */
import { UserError } from '../errors.ts';
import { quote, type TensorEntry } from './header.ts';
import { type Checkpoint, type TensorSource, tensorSource } from './source.ts';

/**
 * The tensors of all shards, each opened once. `content` is the index as JSON, `index` its path and `path` the
 * checkpoint's, for errors.
 */
export async function openShards(
  path: string,
  index: string,
  content: unknown,
  open: (file: string) => Promise<TensorSource>,
): Promise<Checkpoint> {
  const weightMap = isRecord(content) ? content.weight_map : undefined;
  if (!isRecord(weightMap))
    throw new UserError(`${index}: lacks "weight_map", an object from tensor names to files; download it again`);
  const shards = new Map<string, TensorSource>();
  const owners = new Map<string, TensorSource>();
  const tensors = new Map<string, TensorEntry>();
  for (const [name, file] of Object.entries(weightMap)) {
    // A link to elsewhere is fine (Hugging Face's cache is made of them), a name that leads elsewhere is not.
    if (typeof file !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(file))
      throw new UserError(
        `${index}: weight_map.${quote(name)} is not the name of a .safetensors file beside it; download it again`,
      );
    const shard = shards.get(file) ?? (await open(file));
    shards.set(file, shard);
    const entry = shard.tensors.get(name);
    if (entry === undefined)
      throw new UserError(
        `${index}: weight_map.${quote(name)} names ${file}, which lacks this tensor; download both again`,
      );
    owners.set(name, shard);
    tensors.set(name, entry);
  }
  return { ...tensorSource(path, new Map(), tensors, name => owners.get(name)!.blocks(name)), shards };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
