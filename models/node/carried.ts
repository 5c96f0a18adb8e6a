/** What a model that has been given another vocabulary takes along from the directory it came from. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldsOf } from '../checkpoint.ts';
import { openModel, type Companions } from './checkpoint.ts';
import { isGguf } from './gguf.ts';

/** Larger files beside a model are no licence and no template. */
const LARGEST_CARRIED = 2 ** 20;
/** Weights, in whatever format, and what is written again for another vocabulary. */
const weights = String.raw`(safetensors|bin)(\.index\.json)?|pt|pth|ckpt|h5|msgpack|onnx|gguf|ot`;
const vocabulary = String.raw`.*tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\..*|merges\.txt`;
const written = String.raw`config\.json|generation_config\.json|README\.md|(record|rates|translation)\.json`;
const passing = String.raw`\..*|.*\.(lock|tmp|old)|(training_args|optimizer)\..*`;
const notCarried = new RegExp(`^(.*\\.(${weights})|${vocabulary}|${written}|${passing})$`);

/**
 * What stays true of a model whose vocabulary is another: the licence and all other files of its directory, and the
 * chat template. `skipped` are the names of files that are too large to be meant.
 */
export async function carriedOver(path: string): Promise<Required<Companions> & { readonly skipped: string[] }> {
  const model = await openModel(path);
  const config = await model.text('tokenizer_config.json');
  const { chat_template } = config === undefined ? {} : fieldsOf(config, model.path('tokenizer_config.json'));
  const files: Record<string, Uint8Array> = {};
  const skipped: string[] = [];
  if (!isGguf(path))
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (notCarried.test(entry.name) || !(await isFile(join(path, entry.name)))) continue;
      if ((await stat(join(path, entry.name))).size > LARGEST_CARRIED) skipped.push(entry.name);
      else files[entry.name] = await readFile(join(path, entry.name));
    }
  return { files, skipped, more: chat_template === undefined ? {} : { chat_template } };
}

const isFile = async (path: string): Promise<boolean> => (await stat(path)).isFile();
