/**
 * Scaled positions in GGUF: a factor for all pairs is a key of the metadata; LLaMA 3.1's factors, one for each pair,
 * are a tensor.
 */
import type { Fields } from '../config.ts';
import { UserError } from '../errors.ts';
import { rotaryWidth, type TransformerConfig } from '../transformer-config.ts';
import { shortest, type Keys } from './keys.ts';
import { f32, u32, type WrittenMetadata } from './values.ts';

/** The tensor of LLaMA 3.1's factors, which is a part of the configuration. */
export const ropeFactorsName = 'rope_freqs.weight';

/** The lowest and the highest frequency of the published models, which the format does not say. */
const [lowFrequency, highFrequency] = [1, 4];

/** `none`, or a kind with its factor: what is not supported is the configuration's reader to say. */
export function ropeConfig(keys: Keys): Fields {
  const factor = keys.optionalSingle('rope.scaling.factor') ?? keys.optionalSingle('rope.scale_linear') ?? 0;
  const type = keys.optionalText('rope.scaling.type') ?? (factor === 0 || factor === 1 ? 'none' : 'linear');
  const originalContext = keys.optional('rope.scaling.original_context_length');
  keys.ignore('rope.scaling.finetuned');
  if (keys.ropeFactors !== undefined) {
    if (type !== 'none') keys.refuse('rope.scaling.type', 'rope_freqs.weight scales positions already');
    return { rope_scaling: llama3Scaling(keys, keys.ropeFactors, originalContext) };
  }
  return type === 'none' ? {} : { rope_scaling: { rope_type: type, factor } };
}

/** The factor of pairs that are slowed down wholly, if there are any. */
const largest = (factors: Float32Array): number => shortest(factors.reduce((most, f) => Math.max(most, f), 1));

/** By how much each pair is slowed down (`LlamaModel.generate_extra_tensors` of llama.cpp's converter). */
function llama3Factors(pairs: number, base: number, factor: number, originalContext: number): number[] {
  return Array.from({ length: pairs }, (_, i) => {
    const turns = (originalContext * base ** (-i / pairs)) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - lowFrequency) / (highFrequency - lowFrequency)));
    return 1 / (kept + (1 - kept) / factor);
  });
}

/**
 * LLaMA 3.1's scaling from the factors by which llama.cpp's converter says that each pair is slowed down. Known are
 * those of the published models, low 1 and high 4; the original context is 8,192 where the file does not say.
 */
function llama3Scaling(keys: Keys, factors: Float32Array, originalContext = 8192): Fields {
  const factor = largest(factors);
  const theta = keys.optionalSingle('rope.freq_base') ?? 10000;
  const expected = llama3Factors(factors.length, theta, factor, originalContext);
  // The converter computes in float32, whose roundings are multiplied by `turns` of up to 4 between the two ends.
  if (!expected.every((f, i) => Math.abs(f - factors[i]) <= 2 ** -18 * f))
    throw new UserError(
      `${keys.path}: rope_freqs.weight is not the scaling of LLaMA 3.1 (low ${lowFrequency}, high ${highFrequency}, ` +
        `original context ${originalContext}), the only one supported`,
    );
  return {
    rope_type: 'llama3',
    factor,
    low_freq_factor: lowFrequency,
    high_freq_factor: highFrequency,
    original_max_position_embeddings: originalContext,
  };
}

/** What of a configuration's scaling cannot be told from a file; undefined where all can. */
export function unknownScaling(c: TransformerConfig): string | undefined {
  if (c.rotaryScaling?.kind !== 'llama3') return undefined;
  const { lowFrequency: low, highFrequency: high, factor } = c.rotaryScaling;
  if (low !== lowFrequency || high !== highFrequency)
    return `low_freq_factor ${low} and high_freq_factor ${high}; a GGUF file has ${lowFrequency} and ${highFrequency}`;
  if (largest(ropeFactors(c)!) !== factor) return `the factor ${factor}; no pair of a head is slowed down by so much`;
  return undefined;
}

/** The keys of a configuration's scaling. */
export function ropeKeys({ rotaryScaling: scaling }: TransformerConfig): WrittenMetadata {
  if (scaling === undefined) return {};
  return scaling.kind === 'linear'
    ? { 'rope.scaling.type': 'linear', 'rope.scaling.factor': f32(scaling.factor) }
    : { 'rope.scaling.original_context_length': u32(scaling.originalContext) };
}

/** The values of the tensor of factors; undefined for a model without them. */
export function ropeFactors(c: TransformerConfig): Float32Array<ArrayBuffer> | undefined {
  if (c.rotaryScaling?.kind !== 'llama3') return undefined;
  const { factor, originalContext } = c.rotaryScaling;
  return Float32Array.from(llama3Factors(rotaryWidth(c) / 2, c.rotaryBase, factor, originalContext));
}
