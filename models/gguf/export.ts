/**
 * A Hugging Face model as a GGUF file, as llama.cpp's converter writes it (`conversion/base.py`): vectors and learned
 * positions are float32, all else has the dtype asked for. A tied head is left out unless llama.cpp asks for it.
 */
import { fieldsOf, readHeaders, type ModelFiles, type ModelHeaders } from '../checkpoint.ts';
import type { FloatDType } from '../config.ts';
import { UserError } from '../errors.ts';
import { converted } from '../safetensors/convert.ts';
import { DTYPE_BYTES } from '../safetensors/header.ts';
import { storedEmbedding, storedTensors } from '../stored.ts';
import { concatBytes } from '../tokenizer/bytes.ts';
import type { TransformerConfig } from '../transformer-config.ts';
import { architectures, type Architecture } from './architectures.ts';
import { layoutOf, reorderRows, transposeBytes } from './layout.ts';
import { ropeFactors, ropeFactorsName, unknownScaling } from './rope.ts';
import { bytesWithoutToken, tokenizerMetadata } from './tokenizer-write.ts';
import { u32, type WrittenMetadata } from './values.ts';
import type { WrittenTensor } from './write.ts';

/** A file to write. */
export interface ExportedModel {
  readonly metadata: WrittenMetadata;
  readonly tensors: ReadonlyMap<string, WrittenTensor>;
  /** Of the matrices. */
  readonly dtype: FloatDType;
  /** Bytes that have no token. llama.cpp leaves them out of a text. */
  readonly unknownBytes: number;
  /** Tensors of the source that are no part of the model. */
  readonly unused: readonly string[];
}

/** `general.file_type`. */
const fileTypes: Readonly<Record<FloatDType, number>> = { F32: 0, F16: 1, BF16: 32 };

/**
 * Reads a model's headers and says what its GGUF file holds; `name` is `general.name`. Whatever GGUF cannot say of
 * configuration or tokenizer is a `UserError`.
 */
export async function exportedModel(files: ModelFiles, name: string, asked?: FloatDType): Promise<ExportedModel> {
  const headers = await readHeaders(files);
  const { config, tokenizer, endTokens, source, stored } = headers;
  const dtype = asked ?? headers.dtype;
  const [key, architecture] = Object.entries(architectures).find(([, a]) => a.families.includes(config.family))!;
  checkExpressible(config, architecture, files.path('config.json'));
  const keys = Object.entries(architecture.keys(config)).map(([field, value]) => [`${key}.${field}`, value]);
  const used = new Set(stored.values());
  return {
    metadata: {
      'general.architecture': key,
      'general.type': 'model',
      'general.name': name,
      ...(Object.fromEntries(keys) as WrittenMetadata),
      'general.file_type': u32(fileTypes[dtype]),
      'general.quantization_version': u32(2),
      ...tokenizerMetadata({
        tokenizer,
        endTokens,
        rows: config.vocabSize,
        chatTemplate: await chatTemplate(files),
        path: files.path('tokenizer.json'),
      }),
    },
    tensors: tensorsOf(headers, architecture, dtype),
    dtype,
    unknownBytes: bytesWithoutToken(tokenizer),
    unused: [...source.tensors.keys()].filter(tensor => !used.has(tensor)),
  };
}

/** @throws UserError for what llama.cpp does not compute in a model of this architecture. */
function checkExpressible(c: TransformerConfig, { computes = [] }: Architecture, path: string): void {
  const refuse = (what: string): never => {
    throw new UserError(`${path}: ${what}`);
  };
  const { rotaryScaling, headWidth, window, activation } = c;
  if (activation !== undefined)
    refuse(`the activation is not ${c.family}'s own, the only one that GGUF has for a model of this type`);
  if (headWidth !== undefined && !computes.includes('headWidth'))
    refuse(`head_dim is ${headWidth}; llama.cpp takes hidden_size / num_attention_heads in a model of this type`);
  if (window !== undefined && !computes.includes('window'))
    refuse('use_sliding_window is true, which llama.cpp does not compute in a model of this type; set it to false');
  if (rotaryScaling?.kind === 'llama3' && !computes.includes('factors'))
    refuse('the rope_scaling "llama3" is not what llama.cpp computes in a model of this type');
  const unknown = unknownScaling(c);
  if (unknown !== undefined) refuse(`the rope_scaling "llama3" has ${unknown}`);
}

/** Older directories have it in `tokenizer_config.json`, newer ones in a file of its own. */
async function chatTemplate(files: ModelFiles): Promise<unknown> {
  const [template, config] = [await files.text('chat_template.jinja'), await files.text('tokenizer_config.json')];
  return template ?? (config && fieldsOf(config, files.path('tokenizer_config.json')).chat_template);
}

function tensorsOf(
  { config, source, stored }: ModelHeaders,
  { names, layout: layouts, needsHead }: Architecture,
  dtype: FloatDType,
): Map<string, WrittenTensor> {
  const there = new Map(Object.entries(names).map(([name, checkpointName]) => [checkpointName, name]));
  const tensors = new Map<string, WrittenTensor>();
  const factors = ropeFactors(config);
  if (factors) tensors.set(ropeFactorsName, vector(factors));
  for (const { name: checkpointName, shape } of storedTensors(config)) {
    const [, base, part] = /^(.*)\.(weight|bias)$/.exec(checkpointName)!;
    const layer = /\.(\d+)\./.exec(base)?.[1] ?? '';
    const pattern = there.get(base.replace(/\.\d+\./, '.{}.'))!;
    const layout = layoutOf(layouts, pattern, shape, config);
    const own: FloatDType = shape.length === 1 || pattern === 'position_embd' ? 'F32' : dtype;
    const blocks = () => converted(source, stored.get(checkpointName)!, checkpointName, own);
    const written: WrittenTensor = {
      dtype: own,
      shape: layout.kind === 'transposed' ? shape.toReversed() : shape,
      async *data() {
        if (layout.kind === 'same') return yield* blocks();
        const whole = await gathered(blocks());
        yield layout.kind === 'rows'
          ? reorderRows(whole, shape[0], layout.stored, 'write')
          : transposeBytes(whole, shape, DTYPE_BYTES[own]);
      },
    };
    tensors.set(`${pattern.replace('{}', layer)}.${part}`, written);
    if (needsHead && config.tied && checkpointName === storedEmbedding(config)) tensors.set('output.weight', written);
  }
  return tensors;
}

const vector = (values: Float32Array<ArrayBuffer>): WrittenTensor => ({
  dtype: 'F32',
  shape: [values.length],
  async *data() {
    yield new Uint8Array(values.buffer);
  },
});

/** All bytes of a tensor whose blocks share memory. */
async function gathered(blocks: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const block of blocks) parts.push(block.slice());
  return concatBytes(parts);
}
