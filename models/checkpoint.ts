/**
 * A checkpoint: the files of a Hugging Face model directory (`config.json`, `model.safetensors`, `tokenizer.json`),
 * read
 * from and written to anything that holds files by name: a directory (`node/checkpoint.ts`), files dropped on a page.
 */
import { tensor, type Tensor } from '../engine/index.ts';
import { formatConfig, parseConfig, type Fields, type FloatDType } from './config.ts';
import { UserError } from './errors.ts';
import { parseJson } from './json.ts';
import type { TensorSource } from './safetensors/source.ts';
import type { TensorData } from './safetensors/write.ts';
import { parseTokenizerJson, Tokenizer, tokenizerToJson } from './tokenizer/index.ts';
import { weightShapes, type Transformer, type Weights } from './transformer.ts';

/** A model with the tokenizer it was trained with. */
export interface LanguageModel {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
}

/** Where the files of a model are. */
export interface ModelFiles {
  /** Names the file `name` in errors. */
  path(name: string): string;
  /** The text of a file; undefined where there is none. */
  text(name: string): Promise<string | undefined>;
  /** The weights, in one file or in shards. */
  tensors(): Promise<TensorSource>;
}

/** Reads a model. Every weight the configuration asks for must be there, in its shape. */
export async function readModel(files: ModelFiles): Promise<LanguageModel> {
  const config = parseConfig(await requiredFields(files, 'config.json'), files.path('config.json'));
  const tokenizer = await readTokenizer(files);
  checkTokenizer(files.path('tokenizer.json'), tokenizer, config.vocabSize);
  const source = await files.tensors();
  const weights: Weights = {};
  for (const [name, shape] of Object.entries(weightShapes(config)))
    weights[name] = await readWeight(source, storedName(source, name), shape);
  return { model: { config, weights }, tokenizer };
}

/** The tokenizer of `tokenizer.json`, whose special tokens play the parts that `tokenizer_config.json` names. */
export async function readTokenizer(
  files: Pick<ModelFiles, 'path' | 'text'>,
  name = 'tokenizer.json',
): Promise<Tokenizer> {
  const tokenizer = parseTokenizerJson(await required(files, name), files.path(name));
  const text = await files.text('tokenizer_config.json');
  return text === undefined ? tokenizer : withRoles(tokenizer, fieldsOf(text, files.path('tokenizer_config.json')));
}

async function required(files: Pick<ModelFiles, 'path' | 'text'>, name: string): Promise<string> {
  const text = await files.text(name);
  if (text === undefined) throw new UserError(`${files.path(name)}: no such file or directory; check the path`);
  return text;
}

const requiredFields = async (files: ModelFiles, name: string): Promise<Fields> =>
  fieldsOf(await required(files, name), files.path(name));

/** A JSON text that must hold an object; `where` begins an error's message. */
export function fieldsOf(text: string, where: string): Fields {
  const json = parseJson(text, where);
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new UserError(`${where}: is not a JSON object`);
  return json as Fields;
}

/**
 * A tokenizer whose special tokens play the parts that `tokenizer_config.json` names; the file itself only lists them.
 */
function withRoles(tokenizer: Tokenizer, fields: Fields): Tokenizer {
  const roles = { ...tokenizer.specialTokens };
  for (const role of ['bos', 'eos', 'pad', 'unk'] as const) {
    const token = fields[`${role}_token`] as { content?: unknown } | string | null | undefined;
    const name = typeof token === 'string' ? token : token?.content;
    const id = typeof name === 'string' ? tokenizer.parts.special.get(name) : undefined;
    if (id !== undefined) roles[role] = id;
  }
  roles.bos ??= roles.eos;
  roles.eos ??= roles.bos;
  const same = (Object.keys(roles) as (keyof typeof roles)[]).every(
    role => roles[role] === tokenizer.specialTokens[role],
  );
  return same ? tokenizer : new Tokenizer({ ...tokenizer.parts, roles });
}

/** A model may have more rows than its tokenizer has tokens (padding), never fewer. `file` is the tokenizer's. */
export function checkTokenizer(file: string, tokenizer: Tokenizer, rows: number): void {
  if (tokenizer.vocabSize > rows) {
    throw new UserError(
      `${file}: has ${tokenizer.vocabSize} tokens and the model ${rows} rows; it does not belong to this model`,
    );
  }
}

/** A checkpoint of the bare transformer, such as GPT-2's own, lacks the first part of every name. */
export function storedName({ tensors }: TensorSource, name: string): string {
  const bare = name.replace(/^(model|transformer)\./, '');
  return !tensors.has(name) && tensors.has(bare) ? bare : name;
}

async function readWeight(source: TensorSource, name: string, shape: readonly number[]): Promise<Tensor> {
  const entry = source.tensors.get(name);
  if (entry !== undefined && entry.shape.join() !== shape.join()) {
    throw new UserError(
      `${source.path}: tensor "${name}" has shape [${entry.shape.join(', ')}], and config.json asks for [${shape.join(', ')}]`,
    );
  }
  return tensor(await source.readFloats(name), { shape, requiresGrad: true });
}

/** The `tokenizer_config.json` by which Hugging Face's AutoTokenizer knows the class and the special tokens. */
function formatTokenizerConfig(tokenizer: Tokenizer): Record<string, unknown> {
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  const name = (id?: number) => (id === undefined ? null : tokenizer.token(id));
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: name(bos),
    eos_token: name(eos),
    pad_token: name(pad),
    unk_token: name(unk),
    clean_up_tokenization_spaces: false,
  };
}

/** The texts beside the weights of a written model, by file name. */
export const modelTexts = ({ model, tokenizer }: LanguageModel, dtype: FloatDType): Record<string, string> => ({
  'config.json': `${JSON.stringify(formatConfig(model.config, tokenizer, dtype), null, 2)}\n`,
  ...tokenizerTexts(tokenizer),
});

/** `tokenizer.json` and `tokenizer_config.json`. */
export const tokenizerTexts = (tokenizer: Tokenizer): Record<string, string> => ({
  'tokenizer.json': tokenizerToJson(tokenizer),
  'tokenizer_config.json': `${JSON.stringify(formatTokenizerConfig(tokenizer), null, 2)}\n`,
});

/** The weights of `model.safetensors`, in the order of a checkpoint. */
export async function modelTensors(
  { config, weights }: Transformer,
  dtype: FloatDType,
): Promise<Record<string, TensorData>> {
  const tensors: Record<string, TensorData> = {};
  for (const [name, shape] of Object.entries(weightShapes(config)))
    tensors[name] = { dtype, shape, data: (await weights[name].data()) as Float32Array };
  return tensors;
}
