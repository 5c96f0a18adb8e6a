/**
 * A GGUF file as the files of a Hugging Face model directory. Quantised tensors are handed out as float32, others in
 * the dtype they are stored in. A tensor is read on demand, block by block; one whose rows lie in another order
 * (layout.ts) is in memory whole.
 */
import type { ModelFiles } from '../checkpoint.ts';
import { DTYPE_BYTES, type TensorEntry } from '../safetensors/header.ts';
import { tensorSource, type TensorSource } from '../safetensors/source.ts';
import { describeModel, type PlacedTensor } from './describe.ts';
import { MAX_GGUF_HEADER_BYTES, parseGguf, type GgufTensor } from './header.ts';
import { reorderRows, transposeBytes } from './layout.ts';
import { Metadata } from './metadata.ts';
import { ropeFactorsName } from './rope.ts';
import { ggufGeneration, ggufTokenizer, ggufTokenizerConfig } from './tokenizer.ts';
import { decodeBlocks } from './types.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** Reads the bytes from `begin` to before `end` of a file, into a buffer of their own. */
export type ByteRange = (begin: number, end: number) => Promise<Bytes>;

/** The first reading of a header; one that is longer is read again, four times as much of it. */
const FIRST_BYTES = 2 ** 20;
/** Elements that are decoded at once: a multiple of every block's. */
const ELEMENTS = 2 ** 21;

/** Reads and checks the header of a GGUF file of `size` bytes. `path` is named in errors. */
export async function ggufFiles(path: string, size: number, range: ByteRange): Promise<ModelFiles> {
  const header = await readHeader(path, size, range);
  const metadata = new Metadata(header.metadata, path);
  const factors = header.tensors.get(ropeFactorsName);
  const { config, tensors } = describeModel(header, path, factors && (await readFloats(factors, range)));
  const generation = ggufGeneration(metadata);
  const { bos_token_id, eos_token_id, pad_token_id } = generation;
  const embedding = header.tensors.get('token_embd.weight')!.type; // describeModel has found it
  const torch_dtype = { F32: 'float32', BF16: 'bfloat16' }[embedding.name] ?? 'float16';
  const contents: Readonly<Record<string, () => unknown>> = {
    'config.json': () => ({ ...config, bos_token_id, eos_token_id, pad_token_id, torch_dtype }),
    'generation_config.json': () => generation,
    'tokenizer.json': () => ggufTokenizer(metadata),
    'tokenizer_config.json': () => ggufTokenizerConfig(metadata),
  };
  return {
    path: name => `${path} (${name})`,
    has: async name => Object.hasOwn(contents, name),
    text: async name => (Object.hasOwn(contents, name) ? `${JSON.stringify(contents[name](), null, 1)}\n` : undefined),
    tensors: async () => weights(path, tensors, range),
  };
}

async function readHeader(path: string, size: number, range: ByteRange) {
  for (let length = FIRST_BYTES; ; length *= 4) {
    const bytes = await range(0, Math.min(length, size, MAX_GGUF_HEADER_BYTES));
    const header = parseGguf(bytes, size, path);
    if (header !== undefined) return header;
  }
}

function weights(path: string, tensors: ReadonlyMap<string, PlacedTensor>, range: ByteRange): TensorSource {
  const entries = new Map<string, TensorEntry>();
  let begin = 0; // as in a safetensors file with these tensors
  for (const [name, { tensor, layout }] of tensors) {
    const shape = layout.kind === 'transposed' ? tensor.shape.toReversed() : tensor.shape;
    const dtype = dtypeOf(tensor);
    const end = begin + sizeOf(tensor) * DTYPE_BYTES[dtype];
    entries.set(name, { dtype, shape, begin, end });
    begin = end;
  }
  return tensorSource(path, new Map(), entries, name => blocksOf(tensors.get(name)!, range));
}

/** The dtype in which a tensor is handed out. */
const dtypeOf = ({ type: { name } }: GgufTensor): 'F32' | 'F16' | 'BF16' =>
  name === 'F16' || name === 'BF16' ? name : 'F32';

const sizeOf = ({ shape }: GgufTensor): number => shape.reduce((product, dimension) => product * dimension, 1);

/** A tensor's bytes in its outer dtype and in Hugging Face's order. */
async function* blocksOf({ tensor, layout }: PlacedTensor, range: ByteRange): AsyncGenerator<Bytes> {
  const { type, shape, begin, end } = tensor;
  if (layout.kind === 'same') {
    const step = (ELEMENTS / type.elements) * type.bytes;
    for (let at = begin; at < end; at += step) yield decoded(tensor, await range(at, Math.min(end, at + step)));
    return;
  }
  const stored = await range(begin, end);
  if (layout.kind === 'rows') yield decoded(tensor, reorderRows(stored, shape[0], layout.stored, 'read'));
  else yield transposeBytes(decoded(tensor, stored), shape, DTYPE_BYTES[dtypeOf(tensor)]);
}

/** Quantised blocks as float32; floats stay as they are. */
function decoded({ type }: GgufTensor, bytes: Bytes): Bytes {
  if (type.elements === 1) return bytes;
  const out = new Float32Array((bytes.length / type.bytes) * type.elements);
  decodeBlocks(type, bytes, out);
  return new Uint8Array(out.buffer);
}

async function readFloats(tensor: GgufTensor, range: ByteRange): Promise<Float32Array> {
  const out = new Float32Array(sizeOf(tensor));
  decodeBlocks(tensor.type, await range(tensor.begin, tensor.end), out);
  return out;
}
