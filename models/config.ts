/**
 * `config.json` of a Hugging Face model directory, read and written. A field that changes what a model computes is
 * honoured or rejected, never ignored: `config-fields.ts` lists what is read and what is rejected.
 */
import {
  activations,
  fieldTable,
  floatFields,
  notComputed,
  otherTypes,
  type FamilyFields,
  type Fields,
  type NumberKey,
} from './config-fields.ts';
import { show, UserError } from './errors.ts';
import { families, familyNames, type Activation, type FamilyName } from './families.ts';
import type { Tokenizer } from './tokenizer/index.ts';
import { checkConfig, headWidth, type RotaryScaling, type TransformerConfig } from './transformer-config.ts';

export type { Fields } from './config-fields.ts';

/** How floats are stored: 32 bits, or 16 in one of two ways. */
export type FloatDType = 'F32' | 'F16' | 'BF16';
/** Hugging Face's names of them. */
export const dtypeNames: Readonly<Record<FloatDType, string>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** OLMo's layer norm has this number and no field for it. */
const fixedEps = 1e-5;

/**
 * The configuration of a model from the fields of `config.json`. Throws a `UserError` that begins with `file` where a
 * field is missing or asks for what this package does not compute.
 */
export function parseConfig(fields: Fields, file: string): TransformerConfig {
  const family = familyNames.find(name => name === fields.model_type);
  for (const [key, feature] of Object.entries(notComputed)) {
    if (![undefined, null, false, 0, 1].includes(fields[key] as null))
      throw new UserError(`${file}: ${key} is ${show(fields[key])}; this package does not support ${feature}`);
  }
  if (family === undefined) {
    const type = fields.model_type;
    const why = typeof type === 'string' && Object.hasOwn(otherTypes, type) ? ` with ${otherTypes[type]}` : '';
    throw new UserError(
      `${file}: model_type is ${show(type)}${why}; supported are ${familyNames.map(f => `"${f}"`).join(', ')}`,
    );
  }
  const row = fieldTable[family];
  for (const [key, value] of Object.entries(row.only)) {
    if ((fields[key] ?? value) !== value)
      throw new UserError(`${file}: ${key} is ${show(fields[key])}; only ${JSON.stringify(value)} is supported`);
  }
  const activation = parseActivation(family, fields, file);
  const number = (key: NumberKey): number | undefined => {
    if (row.numbers[key] === undefined) return undefined;
    const [name, missing] = row.numbers[key];
    return readNumber(fields, name, file, missing);
  };
  const [width, heads] = [number('width')!, number('heads')!];
  const D = number('headWidth') ?? width / heads;
  const windowFrom = number('windowFrom');
  const hasWindow =
    (row.windowIf === undefined || fields[row.windowIf] === true) && !(windowFrom! >= number('layers')!);
  const window = hasWindow ? number('window') : undefined;
  checkLayerTypes(fields, file, window);
  const [clip, parallel] = [number('clip'), row.parallel && (fields[row.parallel[0]] ?? row.parallel[1])];
  const config: TransformerConfig = {
    family,
    vocabSize: number('vocabSize')!,
    width,
    layers: number('layers')!,
    heads,
    keyValueHeads: number('keyValueHeads') ?? heads,
    ...(D !== width / heads && { headWidth: D }),
    feedForward: number('feedForward') ?? 4 * width,
    context: number('context')!,
    ...parsePositions(row, fields, file),
    normEps: number('normEps') ?? fixedEps,
    tied: (fields.tie_word_embeddings ?? row.tied) === true,
    ...(activation !== families[family].activation && { activation }),
    ...(parallel === true && { parallel }),
    ...(clip !== undefined && { clip }),
    ...(window !== undefined && { window, ...(windowFrom !== undefined && { windowFrom }) }),
  };
  try {
    checkConfig(config);
  } catch (error) {
    throw new UserError(`${file}: ${(error as Error).message}`);
  }
  return config;
}

function readNumber(fields: Fields, key: string, file: string, missing?: number | null): number | undefined {
  const value = fields[key] === undefined ? missing : fields[key];
  if (value === null && missing !== undefined) return undefined;
  if (typeof value !== 'number') throw new UserError(`${file}: ${key} is ${show(fields[key])}; it must be a number`);
  return value;
}

function parseActivation(family: FamilyName, fields: Fields, file: string): Activation {
  const key = fieldTable[family].activation;
  const known = Object.keys(activations).filter(
    name => (activations[name] === 'swiglu') === (families[family].activation === 'swiglu'),
  );
  if (fields[key] === undefined || fields[key] === null) return families[family].activation;
  if (!known.includes(fields[key] as string))
    throw new UserError(
      `${file}: ${key} is ${show(fields[key])}; supported are ${known.map(name => `"${name}"`).join(', ')}`,
    );
  return activations[fields[key] as string];
}

/** transformers 5 lists the kind of attention of every layer. */
function checkLayerTypes({ layer_types: types }: Fields, file: string, window: number | undefined): void {
  if (types === undefined || types === null) return;
  const other = (Array.isArray(types) ? (types as unknown[]) : [types]).find(
    type => type !== 'full_attention' && !(type === 'sliding_attention' && window !== undefined),
  );
  if (other !== undefined)
    throw new UserError(`${file}: layer_types has ${show(other)}; only "full_attention" is supported`);
}

/**
 * Rotary positions. transformers 5 writes θ, scaling and share into `rope_parameters`; earlier versions write the
 * scaling into `rope_scaling` and the rest beside it, and what `rope_scaling` says counts first.
 */
function parsePositions(
  { rotary }: FamilyFields,
  fields: Fields,
  file: string,
): Pick<TransformerConfig, 'rotaryBase' | 'rotaryScaling' | 'rotaryShare'> {
  if (rotary === undefined) return { rotaryBase: 10000 };
  const key = fields.rope_scaling == null ? 'rope_parameters' : 'rope_scaling';
  const value = fields[key] ?? {};
  const within = Object(value) as Fields;
  const type = within.rope_type ?? within.type ?? (key === 'rope_scaling' ? undefined : 'default');
  if (
    typeof value !== 'object' ||
    !['default', 'linear', 'llama3'].includes(type as string) ||
    Object.values(within).some(entry => typeof entry === 'object' && entry !== null)
  )
    throw new UserError(
      `${file}: ${key} is ${show(fields[key])}; supported are the types "default", "linear" and "llama3"`,
    );
  const number = (name: string) => readNumber(within, name, `${file}: ${key}`)!;
  const rotaryBase = 'rope_theta' in within ? number('rope_theta') : readNumber(fields, rotary.base, file, 10000)!;
  const share = parseShare(rotary, within, fields, file);
  return {
    rotaryBase,
    ...(type !== 'default' && { rotaryScaling: parseScaling(type as RotaryScaling['kind'], number) }),
    ...(share !== 1 && { rotaryShare: share }),
  };
}

function parseShare({ share }: NonNullable<FamilyFields['rotary']>, within: Fields, fields: Fields, file: string) {
  const [name, missing] = share ?? ['partial_rotary_factor', 1];
  const value =
    'partial_rotary_factor' in within
      ? readNumber(within, 'partial_rotary_factor', file)!
      : readNumber(fields, name, file, missing)!;
  if (share === undefined && value !== 1)
    throw new UserError(`${file}: partial_rotary_factor is ${value}; only 1 is supported`);
  return value;
}

const parseScaling = (kind: RotaryScaling['kind'], number: (name: string) => number): RotaryScaling =>
  kind === 'linear'
    ? { kind, factor: number('factor') }
    : {
        kind,
        factor: number('factor'),
        lowFrequency: number('low_freq_factor'),
        highFrequency: number('high_freq_factor'),
        originalContext: number('original_max_position_embeddings'),
      };

/** The `config.json` of a model, with what Hugging Face's libraries want to find there. */
export function formatConfig(
  config: TransformerConfig,
  tokenizer: Tokenizer,
  dtype: FloatDType,
): Record<string, unknown> {
  const { bos, eos, pad } = tokenizer.specialTokens;
  const row = fieldTable[config.family];
  const values = { ...config, ...derived(config) };
  const numbers = Object.entries(row.numbers).map(([key, [field]]) => [field, values[key as NumberKey] ?? null]);
  return {
    architectures: [families[config.family].architecture],
    model_type: config.family,
    ...(Object.fromEntries(numbers.filter(([field, value]) => value !== null || field !== 'head_dim')) as Fields),
    ...(row.windowIf !== undefined && { [row.windowIf]: config.window !== undefined }),
    ...(row.rotary && formatPositions(config, row.rotary)),
    ...(row.parallel && { [row.parallel[0]]: config.parallel === true }),
    [row.activation]: formatActivation(config),
    ...row.only,
    tie_word_embeddings: config.tied,
    bos_token_id: bos ?? null,
    eos_token_id: eos ?? null,
    pad_token_id: pad ?? null,
    use_cache: true,
    torch_dtype: dtypeNames[dtype],
  };
}

/** The text of a `config.json`, in which whole numbers have a point where transformers asks for a float. */
export function configText(fields: Fields): string {
  const whole = new RegExp(`^(  "(?:${floatFields.join('|')})": -?\\d+)(?=,?$)`, 'gm');
  return `${JSON.stringify(fields, null, 2).replace(whole, '$1.0')}\n`;
}

/** Numbers that a file must hold although the configuration leaves them out. */
function derived(c: TransformerConfig): Partial<Record<NumberKey, number>> {
  const { headWidth: width, windowFrom } = fieldTable[c.family].numbers;
  return {
    ...(width?.[1] !== null && { headWidth: headWidth(c) }),
    ...(windowFrom && { windowFrom: c.windowFrom ?? c.layers }),
  };
}

/** The first name of an activation. */
function formatActivation({ family, activation = families[family].activation }: TransformerConfig): string {
  return Object.keys(activations).find(name => activations[name] === activation)!;
}

const formatPositions = (c: TransformerConfig, { base, share }: NonNullable<FamilyFields['rotary']>) => ({
  [base]: c.rotaryBase,
  ...(share && { [share[0]]: c.rotaryShare ?? 1 }),
  ...(c.rotaryScaling && { rope_scaling: formatScaling(c.rotaryScaling) }),
});

const formatScaling = (scaling: RotaryScaling) =>
  scaling.kind === 'linear'
    ? { rope_type: scaling.kind, factor: scaling.factor }
    : {
        rope_type: scaling.kind,
        factor: scaling.factor,
        low_freq_factor: scaling.lowFrequency,
        high_freq_factor: scaling.highFrequency,
        original_max_position_embeddings: scaling.originalContext,
      };
