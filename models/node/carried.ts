/** What a model that is written anew takes along from the directory it came from. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fieldsOf, withoutTokens, type KeptFields } from '../checkpoint.ts';
import type { Fields } from '../config.ts';
import { lostTokens } from '../roles.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { openModel } from './checkpoint.ts';
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

/** A model that is given another vocabulary, or one that `keeps` all tokens of its own. */
export interface Change {
  readonly source: Tokenizer;
  readonly target: Tokenizer;
  readonly keeps: boolean;
}

/** What an adapted model has of its source, what it lost, and what a person is told of that. */
export interface CarriedOver extends Carried, KeptFields {
  readonly more: Fields;
  /** Special tokens of the chat template that are ordinary text in the new vocabulary. */
  readonly lost: readonly string[];
  readonly notices: readonly string[];
}

/** Fields of `tokenizer_config.json` about the class of a tokenizer and its files, which are others when written. */
const classFields = new Set([
  'tokenizer_class',
  'backend',
  'auto_map',
  'name_or_path',
  'tokenizer_file',
  'vocab_file',
  'merges_file',
  'special_tokens_map_file',
  'added_tokens_decoder',
]);

/**
 * What stays true of a model that is adapted: the licence and all other files of its directory, the chat template, how
 * tokens are drawn, and the tokenizer's options where the vocabulary is kept. `skipped` are the names of files that are
 * too large to be meant.
 */
export async function carriedOver(path: string, { source, target, keeps }: Change): Promise<CarriedOver> {
  const model = await openModel(path);
  const fields = async (name: string): Promise<Fields | undefined> => {
    const text = await model.text(name);
    return text === undefined ? undefined : fieldsOf(text, model.path(name));
  };
  const options = Object.entries((await fields('tokenizer_config.json')) ?? {});
  const isKept = (name: string) => name === 'chat_template' || (keeps && !classFields.has(name));
  const more = Object.fromEntries(options.filter(([name]) => isKept(name)));
  const generation = await fields('generation_config.json');
  const replaced = [weights, vocabulary, written, passing];
  const [files, skipped]: [Record<string, Uint8Array>, string[]] = [{}, []];
  for (const { name, bytes } of await entriesOf(path)) {
    if (bytes === undefined || replaced.some(pattern => pattern.test(name))) continue;
    if (bytes > LARGEST_CARRIED) skipped.push(name);
    else files[name] = await readFile(join(path, name));
  }
  const lost = keeps ? [] : lostTokens(chatTemplates(files, more), source, target);
  return {
    files,
    skipped,
    more,
    generation: keeps || generation === undefined ? generation : withoutTokens(generation),
    lost,
    notices: [
      ...(skipped.length > 0 ? [`not carried over, larger than 1 MB: ${skipped.join(', ')}`] : []),
      ...(lost.length > 0
        ? [`the chat template uses tokens that the new vocabulary does not have, ordinary text now: ${lost.join(', ')}`]
        : []),
    ],
  };
}

/** The texts of all chat templates of a model; `tokenizer_config.json` may have several, by name. */
function chatTemplates(files: Readonly<Record<string, Uint8Array>>, { chat_template }: Fields): string[] {
  const own = typeof chat_template === 'string' ? chat_template : JSON.stringify(chat_template ?? '');
  const others = Object.keys(files).filter(name => name.endsWith('.jinja'));
  return [own, ...others.map(name => new TextDecoder().decode(files[name]))];
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
