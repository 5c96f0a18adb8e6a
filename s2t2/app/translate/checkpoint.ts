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
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { requiredFields, withoutTokens, withRows, type ModelFiles } from '../../../models/checkpoint.ts';
import { configText, type Fields } from '../../../models/config.ts';
import { carriedOver } from '../../../models/node/carried.ts';
import { loadTokenizer, openModel, saveTokenizer } from '../../../models/node/checkpoint.ts';
import { sha256File, writeFileAtomic } from '../../../models/node/files.ts';
import { withTemplate } from '../../../models/roles.ts';
import type { Checkpoint } from '../../../models/safetensors/source.ts';
import { sha256 } from '../../../models/sha256.ts';
import { Tokenizer } from '../../../models/tokenizer/index.ts';
import { isExtension } from '../../translate.ts';
import { describeSource, translatedCard } from '../card.ts';
import { withLock } from '../lock.ts';
import { loadPlan } from '../plan-file.ts';
import { findEnds } from './ends.ts';
import { claim } from './finished.ts';
import { writeWeights, type WeightsOptions } from './weights.ts';

/** A run of `translate`: a plan applied to a model on disk. */
export interface CheckpointTranslation extends WeightsOptions {
  /** Directory or GGUF file of the source model; what that holds quantised is written as float32. */
  readonly model: string;
  /** `plan.safetensors`. */
  readonly plan: string;
  /** The target's `tokenizer.json`, or a directory with it. */
  readonly target: string;
  /** The command that does it, for the model's card. */
  readonly command?: string;
  /** Takes a line for the person who watches. */
  readonly log?: (line: string) => void;
}

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
    const finished = await claim(out, record, log);
    const index = await writeWeights({ checkpoint, ends, plan, out, finished, spread, head, signal, onProgress });
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

/** The files that weights lie in; what is one file becomes `model.safetensors`. */
async function shardsOf(files: ModelFiles): Promise<Checkpoint> {
  const source = await files.tensors();
  return { shards: new Map([['model.safetensors', source]]), ...source };
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

/** Size and time of change: enough to see that a file is another one, without reading gigabytes. */
const identity = (path: string): Promise<number[]> => stat(path).then(({ size, mtimeMs }) => [size, mtimeMs]);
