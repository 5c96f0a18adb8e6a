/**
 * The weights of a translated checkpoint, file by file: translated ends, and all else byte for byte. Memory holds one
 * block of a tensor and the ends.
 */
import { join } from 'node:path';
import type { Fields } from '../../../models/config.ts';
import { UserError } from '../../../models/errors.ts';
import { copyFileAtomic, type Chunk } from '../../../models/node/files.ts';
import { writeSafetensors } from '../../../models/node/safetensors.ts';
import { areFinite, FLOAT_CODECS } from '../../../models/safetensors/codec.ts';
import { DTYPE_BYTES, type TensorEntry } from '../../../models/safetensors/header.ts';
import type { Checkpoint, TensorSource } from '../../../models/safetensors/source.ts';
import type { TensorData } from '../../../models/safetensors/write.ts';
import type { Plan } from '../../plan.ts';
import { rowsOfPlan, rowVariance, spreadEnd, type SpreadSettings } from '../../spread.ts';
import { planApplication, targetSize } from '../../translate.ts';
import { piecesOf, type Piece, type StoredEnds } from './ends.ts';
import type { Finished } from './finished.ts';

/** Where weights are written, and how. */
export interface WeightsOptions {
  /** The model directory to write. */
  readonly out: string;
  /** Writes rows for finetuning, drawn about the translated ones at the source's scale, in place of these. */
  readonly spread?: SpreadSettings;
  /** The head to write in place of the plan's, such as one that knows frequencies (`headWithFrequencies`). */
  readonly head?: Float32Array<ArrayBuffer>;
  readonly signal?: AbortSignal;
  /** Bytes of weights written, or found written by an earlier run, of how many, and the file at hand. */
  readonly onProgress?: (done: number, total: number, file: string) => void;
}

interface Weights extends WeightsOptions {
  readonly finished: Finished;
  readonly checkpoint: Checkpoint;
  readonly ends: StoredEnds;
  readonly plan: Plan;
}

/** Writes every file of the weights that is not finished yet; the content of `model.safetensors.index.json`. */
export async function writeWeights(weights: Weights): Promise<Fields> {
  const { checkpoint, ends, plan, out, finished, signal, onProgress } = weights;
  const total = sum(Array.from(checkpoint.shards.values(), bytesOf));
  const weightMap: Record<string, string> = {};
  let [done, size] = [0, 0];
  for (const [file, shard] of checkpoint.shards) {
    signal?.throwIfAborted();
    const pieces = piecesOf(shard, ends);
    const asItIs =
      pieces.length === shard.tensors.size &&
      pieces.every(piece => piece.end === undefined && piece.name === piece.stored);
    await finished.ensure(file, onChunk =>
      asItIs
        ? copyFileAtomic(shard.path, join(out, file), onChunk)
        : writeShard(weights, file, pieces, written => onProgress?.(done + written, total, file), onChunk),
    );
    for (const { name, entry, end } of pieces) {
      weightMap[name] = file;
      size += end ? targetSize(plan) * ends.width * DTYPE_BYTES[entry.dtype] : entry.end - entry.begin;
    }
    onProgress?.((done += bytesOf(shard)), total, file);
  }
  return { metadata: { total_size: size }, weight_map: weightMap };
}

/** Writes a file that is not one of the source's: the translated ends, and the rest block by block. */
async function writeShard(
  { checkpoint, ends: { width }, plan, out, spread, head, signal }: Weights,
  file: string,
  pieces: readonly Piece[],
  onBytes: (written: number) => void,
  onChunk: (chunk: Chunk) => void,
): Promise<void> {
  const shard = checkpoint.shards.get(file)!;
  let written = 0;
  const copied = async function* (stored: string) {
    for await (const block of shard.blocks(stored)) {
      yield block;
      signal?.throwIfAborted();
      onBytes((written += block.length));
    }
  };
  const finite = (values: Float32Array<ArrayBuffer>, stored: string): Float32Array<ArrayBuffer> => {
    if (areFinite('F32', new Uint8Array(values.buffer))) return values;
    throw new UserError(
      `${checkpoint.path}: tensor "${stored}" gives rows with NaN or infinite values; download or convert the model ` +
        `again`,
    );
  };
  const tensors = new Map<string, TensorData>();
  const ordinary = new Set(plan.sourceIds);
  for (const { name, stored, entry, end } of pieces) {
    if (end === undefined) tensors.set(name, { dtype: entry.dtype, shape: entry.shape, data: () => copied(stored) });
    else if (end === 'head' && head)
      tensors.set(name, { dtype: entry.dtype, shape: [targetSize(plan), width], data: finite(head, stored) });
    else {
      const application = planApplication(plan, end, width);
      const variance = rowVariance(width);
      let id = 0;
      for await (const row of rowsOf(checkpoint, stored, entry)) {
        if (ordinary.has(id)) variance.add(row);
        application.add(id++, row);
      }
      const values = finite(application.result(), stored);
      const data = spread
        ? spreadEnd(end, rowsOfPlan(plan, values, variance.mean()), width, variance.result(), spread)
        : values;
      tensors.set(name, { dtype: entry.dtype, shape: [targetSize(plan), width], data });
    }
  }
  await writeSafetensors(join(out, file), tensors, Object.fromEntries(shard.metadata), onChunk);
}

/**
 * The rows of a matrix (rows, width), one after another in the same memory. A block begins anywhere in a row, but never
 * in a number.
 */
async function* rowsOf(
  source: TensorSource,
  name: string,
  { dtype, shape: [, width] }: TensorEntry,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const row = new Float32Array(width);
  let floats = new Float32Array();
  let filled = 0;
  for await (const block of source.blocks(name)) {
    const n = block.length / DTYPE_BYTES[dtype];
    if (floats.length < n) floats = new Float32Array(n);
    FLOAT_CODECS[dtype]!.decode(block.buffer, floats.subarray(0, n));
    for (let at = 0; at < n; ) {
      const part = floats.subarray(at, Math.min(n, at + width - filled));
      row.set(part, filled);
      at += part.length;
      filled = (filled + part.length) % width;
      if (filled === 0) yield row;
    }
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const bytesOf = (shard: TensorSource): number =>
  sum(Array.from(shard.tensors.values(), entry => entry.end - entry.begin));
