/**
 * A checkpoint: the files of a Hugging Face model directory (`config.json`, `model.safetensors`, `tokenizer.json`),
 * read from and written to anything that holds files by name: a directory (`node/checkpoint.ts`), files dropped on a
 * page.
 */
import { tensor, type Parking, type Tensor } from '../engine/index.ts';
import { configText, dtypeNames, formatConfig, parseConfig, type Fields, type FloatDType } from './config.ts';
import { show, UserError } from './errors.ts';
import { parseJson } from './json.ts';
import type { TensorSource } from './safetensors/source.ts';
import type { TensorData } from './safetensors/write.ts';
import { parseTokenizerJson, Tokenizer, tokenizerToJson } from './tokenizer/index.ts';
import { parkedSize, parkedWeight } from './parked.ts';
import { endTokens, withRoles, type RoleFile } from './roles.ts';
import { pack, storedEmbedding, storedPrefixes, storedTensors, unpack } from './stored.ts';
import type { TransformerConfig } from './transformer-config.ts';
import { fromParameters, parameters, type Transformer } from './weights.ts';

/** A model with the tokenizer it was trained with. */
export interface LanguageModel {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  /** Every token that ends a text; the tokenizer's end token alone if missing. */
  readonly endTokens?: readonly number[];
  /** How the weights were stored; float32 if missing. */
  readonly dtype?: FloatDType;
  /** Bytes of the weights that wait outside the backend's memory; none if missing. */
  readonly parkedBytes?: number;
}

/** Where the files of a model are. */
export interface ModelFiles {
  /** Names the file `name` in errors. */
  path(name: string): string;
  /** Whether a file is there. */
  has(name: string): Promise<boolean>;
  /** The text of a file; undefined where there is none. */
  text(name: string): Promise<string | undefined>;
  /** The weights, in one file or in shards. */
  tensors(): Promise<TensorSource>;
}

/** What the headers of a model tell, before a weight is read. */
export interface ModelHeaders {
  readonly config: TransformerConfig;
  /** `config.json` as it is. */
  readonly fields: Fields;
  readonly tokenizer: Tokenizer;
  readonly endTokens: readonly number[];
  /** How the weights are stored: what `config.json` says, or else the embedding's. */
  readonly dtype: FloatDType;
  readonly source: TensorSource;
  /** The name in the source of every tensor of a checkpoint (`storedTensors`), in its order. */
  readonly stored: ReadonlyMap<string, string>;
}

/** Reads a model's headers. Every weight of the configuration must be there, in its shape, and no other in a layer. */
export async function readHeaders(files: ModelFiles): Promise<ModelHeaders> {
  const fields = await requiredFields(files, 'config.json');
  const config = parseConfig(fields, files.path('config.json'));
  const tokenizer = withRows(files.path('tokenizer.json'), await readTokenizer(files), config.vocabSize);
  const source = await files.tensors();
  const stored = new Map<string, string>();
  for (const { name, shape } of storedTensors(config)) {
    const own = storedName(source, name);
    const entry = source.tensors.get(own);
    if (entry === undefined)
      throw new UserError(
        `${source.path}: has no tensor ${show(own)} among its ${source.tensors.size}; does it belong to this model?`,
      );
    if (entry.shape.join() !== shape.join())
      throw new UserError(
        `${source.path}: tensor "${own}" has shape [${entry.shape.join(', ')}], ` +
          `and config.json asks for [${shape.join(', ')}]`,
      );
    stored.set(name, own);
  }
  const known = new Set(stored.values());
  for (const name of source.tensors.keys())
    if (!known.has(name) && /(^|\.)(h|layers)\.\d+\./.test(name) && !buffer.test(name))
      throw new UserError(`${source.path}: has a tensor ${show(name)}, and the model of config.json does not use it`);
  const ends = endTokens(tokenizer, await roleFiles(files, 'generation_config.json', 'config.json'));
  const embedding = source.tensors.get(stored.get(storedEmbedding(config))!)!;
  return { config, fields, tokenizer, endTokens: ends, dtype: storedDType(fields, embedding.dtype), source, stored };
}

/** A quantised file is float16 by its configuration, and float32 by its tensors. */
function storedDType(fields: Fields, embedding: string): FloatDType {
  const named = fields.torch_dtype ?? fields.dtype;
  const known = Object.keys(dtypeNames) as FloatDType[];
  return known.find(d => dtypeNames[d] === named) ?? known.find(d => d === embedding) ?? 'F32';
}

/** Constants that older versions of transformers saved among the weights. */
const buffer = /\.(rotary_emb\.inv_freq|attn\.(masked_)?bias|attention\.(masked_)?bias)$/;

/** How the weights of a model are kept. */
export interface ReadOptions {
  /**
   * Keeps the weights frozen outside the backend's memory; called when the headers are known. Without it they are in
   * that memory, and can learn.
   */
  readonly parking?: (headers: ModelHeaders) => Parking;
}

/** Reads a model; see `readHeaders` for what must be there. */
export async function readModel(files: ModelFiles, options: ReadOptions = {}): Promise<LanguageModel> {
  const headers = await readHeaders(files);
  const { config, tokenizer, endTokens: ends, dtype, source, stored } = headers;
  const parking = options.parking?.(headers);
  const weights: Record<string, Tensor> = {};
  let parkedBytes = 0;
  try {
    for (const tensorThere of storedTensors(config)) {
      const values = await source.readFloats(stored.get(tensorThere.name)!);
      unpack(tensorThere, values).forEach((part, i) => {
        const { name, shape } = tensorThere.parts[i];
        const { dtype } = source.tensors.get(stored.get(tensorThere.name)!)!;
        if (parking) parkedBytes += parkedSize(part.length, dtype);
        weights[name] = parking
          ? parkedWeight(parking, part, shape, dtype)
          : tensor(part, { shape, requiresGrad: true });
      });
    }
  } catch (error) {
    Object.values(weights).forEach(weight => weight.dispose());
    throw error;
  }
  return { model: fromParameters(config, weights), tokenizer, endTokens: ends, dtype, parkedBytes };
}

/** The tokenizer of `tokenizer.json`, whose tokens play the parts that the other files give them (roles.ts). */
export async function readTokenizer(
  files: Pick<ModelFiles, 'path' | 'has' | 'text'>,
  name = 'tokenizer.json',
): Promise<Tokenizer> {
  if (name === 'tokenizer.json' && !(await files.has(name))) await rejectOlderTokenizer(files);
  const tokenizer = parseTokenizerJson(await required(files, name), files.path(name));
  return withRoles(tokenizer, {
    named: await roleFiles(files, 'tokenizer_config.json', 'special_tokens_map.json'),
    numbered: await roleFiles(files, 'generation_config.json', 'config.json'),
  });
}

/** Files of tokenizers from before `tokenizer.json`: those of a group belong together. */
const olderTokenizers = [['vocab.json', 'merges.txt'], ['tokenizer.model'], ['spiece.model']];

/** Throws a `UserError` with the command that writes `tokenizer.json`, where there is what it is made from. */
async function rejectOlderTokenizer(files: Pick<ModelFiles, 'path' | 'has'>): Promise<void> {
  for (const names of olderTokenizers) {
    if (!(await Promise.all(names.map(name => files.has(name)))).every(Boolean)) continue;
    const path = files.path('tokenizer.json');
    const directory = path.replace(/[/\\]?tokenizer\.json$/, '') || '.';
    const convert = `AutoTokenizer.from_pretrained("${directory}").save_pretrained("${directory}")`;
    throw new UserError(
      `${path}: no such file, and the older form of a tokenizer (${names.join(' and ')}) is not read; convert ` +
        `it with python -c 'from transformers import AutoTokenizer; ${convert}'`,
    );
  }
}

const roleFiles = (files: Pick<ModelFiles, 'path' | 'text'>, ...names: string[]): Promise<RoleFile[]> =>
  Promise.all(
    names.map(async name => {
      const [path, text] = [files.path(name), await files.text(name)];
      return { path, fields: text === undefined ? undefined : fieldsOf(text, path) };
    }),
  );

async function required(files: Pick<ModelFiles, 'path' | 'text'>, name: string): Promise<string> {
  const text = await files.text(name);
  if (text === undefined) throw new UserError(`${files.path(name)}: no such file or directory; check the path`);
  return text;
}

/** The fields of a JSON file that must be there. Throws a `UserError` where it is missing or holds no object. */
export const requiredFields = async (files: ModelFiles, name: string): Promise<Fields> =>
  fieldsOf(await required(files, name), files.path(name));

/** A JSON text that must hold an object; `where` begins an error's message. */
export function fieldsOf(text: string, where: string): Fields {
  const json = parseJson(text, where);
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new UserError(`${where}: is not a JSON object`);
  return json as Fields;
}

/**
 * The tokenizer as a model of so many rows uses it. A model may have more rows than its tokenizer has tokens (padding).
 * Fewer it may have only by added tokens (CodeLlama's): they are an error where a text has one. `file` is the
 * tokenizer's.
 */
export function withRows(file: string, tokenizer: Tokenizer, rows: number): Tokenizer {
  if (tokenizer.vocabSize <= rows) return tokenizer;
  const added = new Set(tokenizer.parts.added.map(t => t.id));
  const beyond = tokenizer.parts.tokens.findIndex((bytes, id) => id >= rows && bytes !== undefined && !added.has(id));
  if (beyond >= 0)
    throw new UserError(
      `${file}: has ${tokenizer.vocabSize} tokens and the model ${rows} rows; it does not belong to this model`,
    );
  return new Tokenizer({ ...tokenizer.parts, roles: tokenizer.specialTokens, rows });
}

/** A checkpoint of the bare transformer, such as GPT-2's own, lacks the first part of every name. */
function storedName({ tensors }: TensorSource, name: string): string {
  const bare = name.slice(storedPrefixes.find(prefix => name.startsWith(prefix))?.length ?? 0);
  return !tensors.has(name) && tensors.has(bare) ? bare : name;
}

/** What Hugging Face's AutoTokenizer knows the class and the special tokens by. */
function formatTokenizerConfig(tokenizer: Tokenizer) {
  const { bos, eos, pad, unk } = tokenizer.specialTokens;
  const name = (id?: number) => (id === undefined ? null : tokenizer.token(id));
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    roles: { bos_token: name(bos), eos_token: name(eos), pad_token: name(pad), unk_token: name(unk) },
    clean_up_tokenization_spaces: false,
  };
}

const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** What a written model has of the fields of the model that it came from; those that are written here come first. */
export interface KeptFields {
  /** Of `tokenizer_config.json`: a chat template. */
  readonly more?: Fields;
  /** Of `generation_config.json`: how tokens are drawn. */
  readonly generation?: Fields;
}

/** The texts beside the weights of a written model, by file name. */
export const modelTexts = (
  { model, tokenizer, endTokens: ends = [] }: LanguageModel,
  dtype: FloatDType,
  { more = {}, generation = {} }: KeptFields = {},
): Record<string, string> => {
  const { bos, eos, pad } = tokenizer.specialTokens;
  return {
    'config.json': configText(formatConfig(model.config, tokenizer, dtype)),
    'generation_config.json': json({
      ...generation,
      bos_token_id: bos ?? generation.bos_token_id ?? null,
      eos_token_id: ends.length > 1 ? ends : (eos ?? generation.eos_token_id ?? null),
      pad_token_id: pad ?? generation.pad_token_id ?? null,
    }),
    ...tokenizerTexts(tokenizer, more),
  };
};

/** Fields that name tokens of a vocabulary by their ids. */
const tokenFields = new Set([
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  'sep_token_id',
  'decoder_start_token_id',
  'suppress_tokens',
  'begin_suppress_tokens',
  'bad_words_ids',
  'force_words_ids',
  'sequence_bias',
  'forced_bos_token_id',
  'forced_eos_token_id',
  'forced_decoder_ids',
]);

/** The fields of a configuration that stay true in another vocabulary. */
export const withoutTokens = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([key]) => !tokenFields.has(key)));

/** `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`. */
export function tokenizerTexts(tokenizer: Tokenizer, more: Fields = {}): Record<string, string> {
  const { roles, ...others } = formatTokenizerConfig(tokenizer);
  const named = Object.entries(roles).filter(([, name]) => name !== null);
  return {
    'tokenizer.json': tokenizerToJson(tokenizer),
    'tokenizer_config.json': json({ ...others, ...more, ...roles }),
    'special_tokens_map.json': json(Object.fromEntries(named)),
  };
}

/** The weights of `model.safetensors`, in the order of a checkpoint. */
export async function modelTensors(model: Transformer, dtype: FloatDType): Promise<Record<string, TensorData>> {
  const tensors: Record<string, TensorData> = {};
  for (const { name, shape, read } of packed(model)) tensors[name] = { dtype, shape, data: await read() };
  return tensors;
}

/** The same, each read when it is written: one tensor at a time is in memory beside the model. */
export const modelTensorsInTurn = (model: Transformer, dtype: FloatDType): Record<string, TensorData> =>
  Object.fromEntries(
    packed(model).map(({ name, shape, read }): [string, TensorData] => [
      name,
      {
        dtype,
        shape,
        data: async function* () {
          yield await read();
        },
      },
    ]),
  );

/** The tensors of a checkpoint, and what makes the values of each of the model's weights. */
function packed(model: Transformer) {
  const weights = parameters(model);
  return storedTensors(model.config).map(stored => ({
    ...stored,
    read: async () => {
      const parts: Float32Array<ArrayBuffer>[] = [];
      for (const { name } of stored.parts) parts.push((await weights[name].data()) as Float32Array<ArrayBuffer>);
      return pack(stored, parts);
    },
  }));
}
