/** What a model that is written anew takes along from the directory it came from. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldsOf } from '../checkpoint.ts';
import { openModel, type Companions } from './checkpoint.ts';
import { isGguf } from './gguf.ts';

/** Larger files beside a model are no licence and no template; those of a vocabulary may be. */
const LARGEST_CARRIED = 2 ** 20;
/** Weights, in whatever format. */
const weights = /\.((safetensors|bin)(\.index\.json)?|pt|pth|ckpt|h5|msgpack|onnx|gguf|ot)$/;
const vocabulary = /^(.*tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\..*|merges\.txt)$/;
/** Made again for another vocabulary. */
const written = /^(config\.json|generation_config\.json|README\.md|(record|rates|translation)\.json)$/;
const passing = /^(\..*|.*\.(lock|tmp|old)|(training_args|optimizer)\..*)$/;

/** Files that are carried over, and the names of those that are not, though they are no weights. */
export interface Carried {
  readonly files: Record<string, Uint8Array>;
  readonly skipped: string[];
}

/**
 * What stays true of a model whose vocabulary is another: the licence and all other files of its directory, and the
 * chat template. `skipped` are the names of files that are too large to be meant.
 */
export async function carriedOver(path: string): Promise<Required<Companions> & Carried> {
  const model = await openModel(path);
  const config = await model.text('tokenizer_config.json');
  const { chat_template } = config === undefined ? {} : fieldsOf(config, model.path('tokenizer_config.json'));
  const replaced = [weights, vocabulary, written, passing];
  const [files, skipped]: [Record<string, Uint8Array>, string[]] = [{}, []];
  for (const { name, bytes } of await entriesOf(path)) {
    if (bytes === undefined || replaced.some(pattern => pattern.test(name))) continue;
    if (bytes > LARGEST_CARRIED) skipped.push(name);
    else files[name] = await readFile(join(path, name));
  }
  return { files, skipped, more: chat_template === undefined ? {} : { chat_template } };
}

/**
 * What stays true of a model that is written in another dtype: everything but its safetensors files and `config.json`.
 * `skipped` are folders, weights in other formats, and files that are too large to be meant.
 */
export async function carriedAlong(path: string): Promise<Carried> {
  const converted = [/\.safetensors(\.index\.json)?$/, /^(config|translation)\.json$/, /^\..*$/, /\.(lock|tmp|old)$/];
  const [files, skipped]: [Record<string, Uint8Array>, string[]] = [{}, []];
  for (const { name, bytes } of await entriesOf(path)) {
    if (converted.some(pattern => pattern.test(name))) continue;
    const isMeant = bytes !== undefined && (vocabulary.test(name) || bytes <= LARGEST_CARRIED);
    if (isMeant && !weights.test(name) && !passing.test(name)) files[name] = await readFile(join(path, name));
    else skipped.push(name);
  }
  return { files, skipped };
}

/** The entries of a model directory by name, with the bytes of those that are files; a GGUF file has none. */
async function entriesOf(path: string): Promise<{ readonly name: string; readonly bytes?: number }[]> {
  if (isGguf(path)) return [];
  return Promise.all(
    (await readdir(path)).sort().map(async name => {
      const info = await stat(join(path, name)).catch(() => undefined); // a link to nothing
      return info?.isFile() ? { name, bytes: info.size } : { name };
    }),
  );
}
