/**
 * A plan applied to a checkpoint of any size. Only embedding and head change; everything else is copied byte for byte,
 * file by file, so memory holds one block of a tensor and the translated ends, however large the model.
 *
 * It asks little of the architecture: that embedding and head have the names of one of the families (`families.ts`), or
 * the embedding is the head, and that they alone have a row for every token. So it also takes models that
 * `transformer.ts` cannot compute.
 *
 * It can be killed anywhere. A file has its name only when it is whole, and `config.json` comes last: what has none is
 * no model yet. The next run with the same input keeps the files of weights that are what this one recorded.
 */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { requiredFields, withoutTokens, withRows, type ModelFiles } from '../../models/checkpoint.ts';
import { loadTokenizer, openModel, saveTokenizer } from '../../models/node/checkpoint.ts';
import { configText, parseConfig, type Fields } from '../../models/config.ts';
import { copyFileAtomic, exists, readJson, sha256File, writeFileAtomic, type Chunk } from '../../models/node/files.ts';
import { carriedOver } from '../../models/node/carried.ts';
import { withTemplate } from '../../models/roles.ts';
import { sha256 } from '../../models/sha256.ts';
import { show, UserError } from '../../models/errors.ts';
import { areFinite, FLOAT_CODECS } from '../../models/safetensors/codec.ts';
import { DTYPE_BYTES, type TensorEntry } from '../../models/safetensors/header.ts';
import { writeSafetensors } from '../../models/node/safetensors.ts';
import { type Checkpoint, type TensorSource } from '../../models/safetensors/source.ts';
import { type TensorData } from '../../models/safetensors/write.ts';
import { Tokenizer } from '../../models/tokenizer/index.ts';
import { storedEnds, storedTensors } from '../../models/stored.ts';
import { longestSequence } from '../../models/transformer-config.ts';
import { describeSource, translatedCard } from './card.ts';
import { encodeInTwo } from './encode.ts';
import { loadFrozen } from './frozen.ts';
import { hasFrequencies } from '../frequencies.ts';
import { withLock } from './lock.ts';
import { translatedStart } from '../methods.ts';
import { loadPlan } from './plan-file.ts';
import type { Plan } from '../plan.ts';
import { defaults, type Settings } from '../settings.ts';
import { rowsOfPlan, rowVariance, spreadEnd, type SpreadSettings } from '../spread.ts';
import { isExtension, planApplication, targetSize } from '../translate.ts';

/** A run of `translate`: a plan applied to a model on disk. */
export interface CheckpointTranslation {
  /** Directory or GGUF file of the source model; what that holds quantised is written as float32. */
  readonly model: string;
  /** `plan.safetensors`. */
  readonly plan: string;
  /** The target's `tokenizer.json`, or a directory with it. */
  readonly target: string;
  readonly out: string;
  /** Writes rows for finetuning, drawn about the translated ones at the source's scale, in place of these. */
  readonly spread?: SpreadSettings;
  /** The head to write in place of the plan's, such as one that knows frequencies (`headWithFrequencies`). */
  readonly head?: Float32Array<ArrayBuffer>;
  /** The command that does it, for the model's card. */
  readonly command?: string;
  readonly signal?: AbortSignal;
  /** Takes a line for the person who watches. */
  readonly log?: (line: string) => void;
  /** Bytes of weights written, or found written by an earlier run, of how many, and the file at hand. */
  readonly onProgress?: (done: number, total: number, file: string) => void;
}

/** What a run leaves beside the model: by it the next one knows that it resumes the same translation. */
const recordName = 'translation.json';

/** Writes the model directory `out`: the source's weights with the ends of the plan, and the target's tokenizer. */
export async function translateCheckpoint({
  model,
  plan: planFile,
  target: targetPath,
  out,
  spread,
  head,
  command,
  signal,
  log,
  onProgress,
}: CheckpointTranslation): Promise<void> {
  const files = await openModel(model);
  const config = await requiredFields(files, 'config.json');
  const [source, target] = [await loadTokenizer(model), await loadTokenizer(targetPath)];
  const plan = await loadPlan(planFile, {
    source: source.hash,
    target: target.hash,
    sourceSize: source.vocabSize,
    targetSize: target.vocabSize,
  });
  const checkpoint = await shardsOf(files);
  const ends = findEnds(checkpoint, config, source.vocabSize);
  withRows(files.path('tokenizer.json'), source, ends.rows);
  const record = {
    source: source.hash,
    target: target.hash,
    plan: await sha256File(planFile),
    config: sha256(JSON.stringify(config)),
    spread,
    head: head && sha256(new Uint8Array(head.buffer)),
    files: await Promise.all(
      Array.from(checkpoint.shards, async ([file, shard]) => [file, ...(await identity(shard.path))]),
    ),
  };
  await withLock(out, async () => {
    const finished = await claim(out, record);
    const index = await writeWeights({ checkpoint, ends, plan, out, finished, spread, head, signal, log, onProgress });
    const keeps = isExtension(source, target);
    const written = keeps
      ? new Tokenizer({ ...target.parts, roles: source.specialTokens })
      : withTemplate(target, source);
    const tokenizers = { source, target: written };
    const { files: carried, more, generation, lost, notices } = await carriedOver(model, { ...tokenizers, keeps });
    for (const line of notices) log?.(line);
    await saveTokenizer(out, written, more);
    const card = translatedCard({ source: await describeSource(model), tokenizers, lost, command }, plan, planFile);
    for (const [name, content] of Object.entries({ ...carried, 'README.md': card }))
      await writeFileAtomic(join(out, name), content);
    const write = (name: string, content: unknown) =>
      writeFileAtomic(join(out, name), `${JSON.stringify(content, null, 2)}\n`);
    if (!checkpoint.shards.has('model.safetensors')) await write('model.safetensors.index.json', index);
    // Where the source's tokens are kept, so is what names them.
    const rewritten = (fields: Fields) => (keeps ? fields : withTokens(fields, target));
    if (generation !== undefined) await write('generation_config.json', rewritten(generation));
    const translated = {
      ...rewritten(config),
      vocab_size: target.vocabSize,
      tie_word_embeddings: false,
    };
    await writeFileAtomic(join(out, 'config.json'), configText(translated));
  });
}

/**
 * The head (target size, width) that `translatedStart` makes of a plan: with the frequencies of target tokens in texts,
 * for rows that are spread or translated. It reads the whole model into the process's memory.
 *
 * @throws UserError for a target vocabulary that keeps the source's tokens, whose logits stay as they are.
 */
export async function headWithFrequencies(
  { model: path, plan: planFile, target: targetPath, spread }: Omit<CheckpointTranslation, 'out'>,
  texts: readonly string[],
): Promise<Float32Array<ArrayBuffer>> {
  const source = await loadFrozen(path);
  const target = await loadTokenizer(targetPath);
  const plan = await loadPlan(planFile, { source: source.tokenizer.hash, target: target.hash });
  const { seed, headScale } = { ...defaults, ...spread };
  const form = { spread: spread ? ('isotropic' as const) : ('none' as const), headBias: 'frequencies' as const };
  const settings: Settings = { ...defaults, alpha: plan.settings.alpha, seed, headScale, ...form };
  const context = { source, target, settings };
  if (!hasFrequencies(context))
    throw new UserError(`${targetPath}: keeps the source's tokens, whose logits stay as they are; leave out --data`);
  const { sequences } = await encodeInTwo(texts, target, longestSequence(source.model.config));
  const { model, finetuned = model } = await translatedStart(
    { ...context, train: { source: [], target: sequences } },
    plan,
  );
  return Float32Array.from((await finetuned.head.data()) as Float32Array);
}

/** The files that weights lie in; what is one file becomes `model.safetensors`. */
async function shardsOf(files: ModelFiles): Promise<Checkpoint> {
  const source = await files.tensors();
  return { shards: new Map([['model.safetensors', source]]), ...source };
}

interface Weights extends Pick<CheckpointTranslation, 'out' | 'spread' | 'head' | 'signal' | 'log' | 'onProgress'> {
  readonly finished: Finished;
  readonly checkpoint: Checkpoint;
  readonly ends: StoredEnds;
  readonly plan: Plan;
}

/** Writes every file of the weights that is not finished yet; the content of `model.safetensors.index.json`. */
async function writeWeights(weights: Weights): Promise<Fields> {
  const { checkpoint, ends, plan, out, finished, signal, log, onProgress } = weights;
  const total = sum(Array.from(checkpoint.shards.values(), bytesOf));
  const weightMap: Record<string, string> = {};
  let [done, size] = [0, 0];
  for (const [file, shard] of checkpoint.shards) {
    signal?.throwIfAborted();
    const pieces = piecesOf(shard, ends);
    const asItIs =
      pieces.length === shard.tensors.size &&
      pieces.every(piece => piece.end === undefined && piece.name === piece.stored);
    const path = join(out, file);
    if (!(await finished.has(file))) {
      if (await exists(path)) log?.(`${path}: does not match the record of an earlier run, and is written again`);
      const contents = new Contents();
      const onChunk = (chunk: Chunk) => contents.add(chunk);
      if (asItIs) await copyFileAtomic(shard.path, path, onChunk);
      else await writeShard(weights, file, pieces, written => onProgress?.(done + written, total, file), onChunk);
      await finished.add(file, contents.record());
    }
    for (const { name, entry, end } of pieces) {
      weightMap[name] = file;
      size += end ? targetSize(plan) * ends.width * DTYPE_BYTES[entry.dtype] : entry.end - entry.begin;
    }
    onProgress?.((done += bytesOf(shard)), total, file);
  }
  return { metadata: { total_size: size }, weight_map: weightMap };
}

interface StoredEnds {
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

function findEnds(checkpoint: Checkpoint, config: Fields, tokens: number): StoredEnds {
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
interface Piece {
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
function piecesOf(shard: TensorSource, { embedding, head, headName, prefix }: StoredEnds): Piece[] {
  return Array.from(shard.tensors).flatMap(([stored, entry]): Piece[] => {
    if (stored === embedding) {
      const pieces: Piece[] = [{ name: prefix + stored, stored, entry, end: 'embedding' }];
      return head === embedding ? [...pieces, { name: headName, stored, entry, end: 'head' }] : pieces;
    }
    if (stored === headName) return head === headName ? [{ name: headName, stored, entry, end: 'head' }] : [];
    return [{ name: prefix + stored, stored, entry }];
  });
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

/** A configuration with the special tokens of another vocabulary. */
function withTokens(fields: Fields, { specialTokens: { bos, eos, pad } }: Tokenizer): Fields {
  return {
    ...withoutTokens(fields),
    bos_token_id: bos ?? null,
    eos_token_id: eos ?? null,
    pad_token_id: pad ?? null,
  };
}

/** The files that runs of this translation have finished, as they left them. */
interface Finished {
  /** Whether a file is there, and is what was written. */
  has(file: string): Promise<boolean>;
  /** Records a file that has just been written, as it was written. */
  add(file: string, contents: FileRecord): Promise<void>;
}

/** What a file holds. */
interface FileRecord {
  readonly size: number;
  readonly sha256: string;
}

/** What a file holds, counted and hashed while it is written: to read gigabytes again takes as long as to copy them. */
class Contents {
  readonly #hash = createHash('sha256');
  #size = 0;

  add(chunk: Chunk): void {
    this.#hash.update(chunk);
    this.#size += Buffer.byteLength(chunk);
  }

  record(): FileRecord {
    return { size: this.#size, sha256: this.#hash.digest('hex') };
  }
}

/** Makes the directory this translation's own; one that holds anything else is rejected. */
async function claim(out: string, record: Fields): Promise<Finished> {
  const path = join(out, recordName);
  const names = (await readdir(out)).filter(name => !name.endsWith('.lock'));
  let finished: Fields = {};
  if (names.includes(recordName)) {
    const { finished: kept, ...before } = Object(await readJson(path)) as Fields;
    finished = Object(kept ?? {}) as Fields;
    if (JSON.stringify(before) !== JSON.stringify(record))
      throw new UserError(
        `${path}: belongs to a translation of another model, plan or tokenizer; choose another directory or ` +
          'delete this one',
      );
  } else if (names.length > 0)
    throw new UserError(`${out}: holds ${names[0]} and is not an unfinished translation; choose an empty directory`);
  const keep = () => writeFileAtomic(path, `${JSON.stringify({ ...record, finished }, null, 2)}\n`);
  await keep();
  const contents = async (file: string): Promise<FileRecord> => {
    const { size } = await stat(join(out, file));
    return { size, sha256: await sha256File(join(out, file)) };
  };
  return {
    async has(file) {
      const known = finished[file];
      return (
        known !== undefined &&
        (await exists(join(out, file))) &&
        JSON.stringify(known) === JSON.stringify(await contents(file))
      );
    },
    async add(file, written) {
      finished = { ...finished, [file]: written };
      await keep();
    },
  };
}

/** Size and time of change: enough to see that a file is another one, without reading gigabytes. */
const identity = (path: string): Promise<number[]> => stat(path).then(({ size, mtimeMs }) => [size, mtimeMs]);
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const bytesOf = (shard: TensorSource): number =>
  sum(Array.from(shard.tensors.values(), entry => entry.end - entry.begin));
