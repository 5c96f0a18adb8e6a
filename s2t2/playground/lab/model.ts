/** The source model: the site's own, or the files of a directory that the visitor dropped. */
import { getBackend } from '../../../engine/index.ts';
import {
  readHeaders,
  readModel,
  type LanguageModel,
  type ModelFiles,
  type ModelHeaders,
} from '../../../models/checkpoint.ts';
import { UserError } from '../../../models/errors.ts';
import { parseJson } from '../../../models/json.ts';
import { openShards } from '../../../models/safetensors/shards.ts';
import {
  BLOCK_BYTES,
  decodeHeader,
  headerEnd,
  tensorSource,
  type TensorSource,
} from '../../../models/safetensors/source.ts';
import { parkingFor } from '../../app/memory.ts';
import type { DroppedFile } from '../protocol.ts';
import { modelFiles } from '../samples.ts';
import { siteFile } from './site.ts';

/** A safetensors file that is read block by block from a blob, so that a large one need not fit into memory twice. */
async function openBlob(blob: Blob, name: string): Promise<TensorSource> {
  const bytes = async (from: number, to: number) => new Uint8Array(await blob.slice(from, to).arrayBuffer());
  const start = headerEnd(await bytes(0, 8), blob.size, name);
  const { metadata, tensors } = decodeHeader(await bytes(8, start), blob.size - start, name);
  return tensorSource(name, metadata, tensors, async function* (_, { begin, end }) {
    for (let at = begin; at < end; at += BLOCK_BYTES)
      yield await bytes(start + at, start + Math.min(end, at + BLOCK_BYTES));
  });
}

function filesOf(blobs: ReadonlyMap<string, Blob>): ModelFiles {
  return {
    path: name => name,
    has: async name => blobs.has(name),
    text: async name => blobs.get(name)?.text(),
    tensors: async () => {
      const open = async (name: string) => {
        const blob = blobs.get(name);
        if (!blob) throw new UserError(`the files hold no ${name}; drop the whole model directory`);
        return openBlob(blob, name);
      };
      const index = 'model.safetensors.index.json';
      const shards = blobs.has('model.safetensors') ? undefined : await blobs.get(index)?.text();
      return shards === undefined
        ? open('model.safetensors')
        : openShards(index, index, parseJson(shards, index), open);
    },
  };
}

const droppedFiles = (files: readonly DroppedFile[]): ModelFiles =>
  filesOf(new Map(files.map(({ name, file }) => [name.split('/').at(-1)!, file])));

/** Frozen, and outside the backend where it is a large part of its memory, as the command line keeps it. */
const read = (files: ModelFiles): Promise<LanguageModel> =>
  readModel(files, { parking: ({ config }) => parkingFor(config, getBackend().memoryLimit) });

/** Reads a model directory that was dropped. */
export const openModel = (files: readonly DroppedFile[]): Promise<LanguageModel> => read(droppedFiles(files));

/** What a dropped model is, before a weight is read. */
export const readDropped = (files: readonly DroppedFile[]): Promise<ModelHeaders> => readHeaders(droppedFiles(files));

/** Reads the bundled source model. */
export async function openBundledModel(): Promise<LanguageModel> {
  const blobs = await Promise.all(modelFiles.map(async name => [name, await siteFile(`data/source/${name}`)] as const));
  return read(filesOf(new Map(blobs)));
}
