/**
 * The ends of a stored checkpoint: what embedding and head are called in it, and what becomes of its tensors where they
 * are translated. Reads headers only.
 */
import { parseConfig, type Fields } from '../../../models/config.ts';
import { show, UserError } from '../../../models/errors.ts';
import { FLOAT_CODECS } from '../../../models/safetensors/codec.ts';
import type { TensorEntry } from '../../../models/safetensors/header.ts';
import type { Checkpoint, TensorSource } from '../../../models/safetensors/source.ts';
import { storedEnds, storedTensors } from '../../../models/stored.ts';

/** Embedding and head of a checkpoint. */
export interface StoredEnds {
  /** Names in the checkpoint; the same one twice where the head is the embedding. */
  readonly embedding: string;
  readonly head: string;
  /** The name of a head of its own. */
  readonly headName: string;
  /** What the names of a checkpoint of the bare transformer (GPT-2's own) lack beside those of a model with a head. */
  readonly prefix: string;
  readonly rows: number;
  readonly width: number;
}

/**
 * Finds the ends of a checkpoint whose source tokenizer has so many tokens.
 *
 * @throws UserError where they are not what the configuration says, or other tensors have a row for every token too.
 */
export function findEnds(checkpoint: Checkpoint, config: Fields, tokens: number): StoredEnds {
  const refuse = (what: string): never => {
    throw new UserError(`${checkpoint.path}: ${what}`);
  };
  const names = storedEnds.flatMap(({ embedding, head: headName }) => {
    const prefix = embedding.slice(0, embedding.indexOf('.') + 1);
    return [
      { embedding, headName, prefix: '' },
      { embedding: embedding.slice(prefix.length), headName, prefix },
    ];
  });
  const found =
    names.find(({ embedding }) => checkpoint.tensors.has(embedding)) ??
    refuse(`has no embedding: none of its tensors is ${names.map(n => n.embedding).join(', ')}`);
  const tied = !checkpoint.tensors.has(found.headName) || config.tie_word_embeddings === true;
  const ends = { ...found, head: tied ? found.embedding : found.headName };
  const { shape } = checkpoint.tensors.get(ends.embedding)!;
  for (const name of [ends.embedding, ends.head]) {
    const entry = checkpoint.tensors.get(name)!;
    if (entry.shape.length !== 2 || entry.shape.join() !== shape.join() || entry.shape[0] !== config.vocab_size)
      refuse(
        `tensor "${name}" has shape [${entry.shape.join(', ')}], and config.json a vocabulary of ` +
          `${show(config.vocab_size)}`,
      );
    if (FLOAT_CODECS[entry.dtype] === undefined)
      refuse(`tensor "${name}" is ${entry.dtype}, which this program cannot translate; convert it to BF16`);
  }
  const bias = ends.headName.replace(/weight$/, 'bias');
  if (checkpoint.tensors.has(bias)) refuse(`has a bias for every token (${bias}), which a plan does not translate`);
  const others = otherTables(checkpoint, config, ends, [shape[0], tokens]);
  if (others.length > 0)
    refuse(
      `${others.length} other ${others.length === 1 ? 'tensor has' : 'tensors have'} a row for every token, which a ` +
        `plan does not translate: ${others.slice(0, 3).join(', ')}${others.length > 3 ? ', …' : ''}; ` +
        'remove what predicts further tokens, or take a model without embeddings of each layer',
    );
  return { ...ends, rows: shape[0], width: shape[1] };
}

/**
 * Tensors beside the ends that have a row or column for every token, such as copies of the ends for the prediction of
 * further tokens, and embeddings of each layer. Tensors of a family that is known are what the family says they are,
 * whatever their lengths.
 */
function otherTables(
  { tensors }: TensorSource,
  config: Fields,
  { embedding, headName, prefix }: Pick<StoredEnds, 'embedding' | 'headName' | 'prefix'>,
  sizes: readonly number[],
): string[] {
  const known = knownNames(config);
  return Array.from(tensors)
    .filter(([name]) => name !== embedding && name !== headName && !known.has(prefix + name))
    .filter(([name, { shape }]) => shape.some(length => sizes.includes(length)) || /embed_tokens|lm_head/.test(name))
    .map(([name, { shape }]) => `${name} [${shape.join(', ')}]`);
}

/** The tensors of a model that can be computed here; none of one that cannot. */
function knownNames(config: Fields): ReadonlySet<string> {
  try {
    return new Set(storedTensors(parseConfig(config, 'config.json')).map(({ name }) => name));
  } catch {
    return new Set();
  }
}

/** A tensor of a file to write: one that is copied, or an end. */
export interface Piece {
  readonly name: string;
  /** Its name in the source, and what lies there. */
  readonly stored: string;
  readonly entry: TensorEntry;
  readonly end?: 'embedding' | 'head';
}

/**
 * What a shard becomes. A head that was the embedding is written beside it, and dropped where it was stored all the
 * same.
 */
export function piecesOf(shard: TensorSource, { embedding, head, headName, prefix }: StoredEnds): Piece[] {
  return Array.from(shard.tensors).flatMap(([stored, entry]): Piece[] => {
    if (stored === embedding) {
      const pieces: Piece[] = [{ name: prefix + stored, stored, entry, end: 'embedding' }];
      return head === embedding ? [...pieces, { name: headName, stored, entry, end: 'head' }] : pieces;
    }
    if (stored === headName) return head === headName ? [{ name: headName, stored, entry, end: 'head' }] : [];
    return [{ name: prefix + stored, stored, entry }];
  });
}
