/** A tensor's bytes in another floating dtype, block by block. */
import type { FloatDType } from '../config.ts';
import { UserError } from '../errors.ts';
import { storedEnds } from '../stored.ts';
import { areFinite, FLOAT_CODECS } from './codec.ts';
import { DTYPE_BYTES, quote } from './header.ts';
import type { TensorSource } from './source.ts';

/** The names of embeddings and heads. */
const endNames: ReadonlySet<string> = new Set(storedEnds.flatMap(({ embedding, head }) => [embedding, head]));

/**
 * Values that are not finite are an error, for with them a model computes nothing; what keeps its dtype is looked at
 * only where it is an end of the model, since all of it would take a seventh of the time. `name` is the tensor's in
 * `source`, `checkpointName` that in a checkpoint of its family.
 */
export async function* converted(
  source: TensorSource,
  name: string,
  checkpointName: string,
  dtype: FloatDType,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { dtype: own } = source.tensors.get(name)!;
  const refuse = (what: string): never => {
    throw new UserError(`${source.path}: tensor ${quote(name)} holds a value ${what}`);
  };
  for await (const block of source.blocks(name)) {
    if ((endNames.has(checkpointName) || own !== dtype) && !areFinite(own, block))
      refuse('that is NaN or infinite; download or convert the model again');
    if (own === dtype) {
      yield block;
      continue;
    }
    const floats = new Float32Array(block.length / DTYPE_BYTES[own]);
    FLOAT_CODECS[own]!.decode(block.buffer, floats);
    const encoded = FLOAT_CODECS[dtype]!.encode(floats);
    if (encoded === undefined) return refuse(`beyond ${dtype}; give --dtype float32`);
    yield new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  }
}
