/**
 * Corpora in files and pipes, plain or gzipped: opened, unpacked and kept in memory only as far as they fit.
 *
 * Gzip is recognised by its first two bytes, whatever the file's name. A few kilobytes of gzip can unpack to terabytes,
 * or to millions of texts of a letter each, so bytes and documents are counted after unpacking: more than any text
 * could pack into a file of that size is an error. A file that is not packed may hold any number.
 */
import { Readable, pipeline } from 'node:stream';
import { getHeapStatistics } from 'node:v8';
import { createGunzip } from 'node:zlib';
import { oneLine, UserError } from '../../models/errors.ts';
import { explain, openFile } from '../../models/node/files.ts';
import type { Document } from '../corpus/document.ts';
import { checkUnpacked, isGzip } from '../corpus/packed.ts';
import { CorpusReader, type CorpusOptions, type CorpusSummary } from '../corpus/read.ts';

export type { Document } from '../corpus/document.ts';
export type { CorpusFormat } from '../corpus/format.ts';
export { describeCorpus, type CorpusOptions, type CorpusSummary } from '../corpus/read.ts';

/** The path that stands for standard input. */
export const standardInput = '-';

/** A corpus in memory. */
export interface Corpus extends Omit<CorpusSummary, 'documents'> {
  /** In the order of the file; never empty, and no text in it is. */
  readonly documents: readonly Document[];
}

/**
 * Reads a corpus, `-` from standard input. Its every mistake is a `UserError` that names the file and, where there is
 * one, the line.
 */
export async function readCorpus(path: string, options: CorpusOptions = {}): Promise<Corpus> {
  const documents: Document[] = [];
  const summary = await readInto(path, options, 150, batch => documents.push(...batch));
  return { ...summary, documents };
}

/** The texts of a corpus, and what else there is to say of it. */
export async function readTexts(
  path: string,
  options: CorpusOptions = {},
): Promise<{ texts: string[]; summary: CorpusSummary }> {
  const texts: string[] = [];
  const summary = await readInto(path, options, 50, batch => {
    for (const { text } of batch) texts.push(text);
  });
  return { texts, summary };
}

/** Hands on the documents of a corpus in batches and keeps none of them. */
export async function streamCorpus(
  path: string,
  options: CorpusOptions,
  visit: (batch: readonly Document[]) => void | Promise<void>,
): Promise<CorpusSummary> {
  const check = heapCheck(path);
  const reader = new CorpusReader(nameOf(path), { ...options, onKeep: kept => check(2 * kept) });
  for await (const batch of batchesOf(path, reader)) await visit(batch);
  return reader.summary;
}

/**
 * Running out of heap kills the process without a word, so what is kept may take at most half of it (`heapCheck`): a
 * byte a character (two, beyond Latin-1: hence no more) and what V8 needs for an object and its strings. Pieces of an
 * unfinished document count twice, as they are there still when they are joined.
 */
async function readInto(
  path: string,
  options: CorpusOptions,
  documentBytes: number,
  keep: (batch: readonly Document[]) => void,
): Promise<CorpusSummary> {
  let spent = 0;
  const named = documentBytes > 100;
  const check = heapCheck(path);
  const reader = new CorpusReader(nameOf(path), { ...options, onKeep: kept => check(spent + 2 * kept) });
  for await (const batch of batchesOf(path, reader)) {
    for (const { name, text } of batch) spent += text.length + (named ? name.length : 0) + documentBytes;
    check(spent);
    keep(batch);
  }
  return reader.summary;
}

/** Documents in batches; `chunksOf` hears how many there were. */
const batchesOf = (path: string, reader: CorpusReader) => reader.read(chunksOf(path, () => reader.found));

/** A check that throws a `UserError` where so many bytes of text from `path` would fill the heap. */
export function heapCheck(path: string): (bytes: number) => void {
  const most = getHeapStatistics().heap_size_limit / 2;
  return bytes => {
    if (bytes > most)
      throw new UserError(
        `${path}: does not fit into Node's memory; raise it with ` +
          `NODE_OPTIONS=--max-old-space-size=MEGABYTES, or leave documents out by their length`,
      );
  };
}

const nameOf = (path: string): string => (path === standardInput ? 'standard input' : path);

/**
 * A long text may be this many times as long as its gzip file. The bundled corpora are 2 to 4 times as long; deflate
 * ends at 1032.
 */
const MAX_RATIO = 200;
/** Bytes that are no long text yet. */
const ALWAYS_UNPACKED = 2 ** 24;
/**
 * Each byte of gzip may hold this many documents. The bundled corpora have 0.023 at most. At its best, gzip makes 0.3
 * of peptides of 5 residues without names, 0.3 of random words of 4 letters, 0.4 of one short read over and over with
 * numbers, 0.5 of all words in order, and 1.4 of random single residues (`corpus.test.ts` counts them). Only texts of a
 * bit each have more (5.5 of a or b at random); a bomb of one paragraph of four letters has 172.
 */
const MAX_DOCUMENTS_PER_BYTE = 4;
/** Documents that are not too many yet: of a letter each, `adapt` takes them in 15 seconds and 0.4 GB. */
const ALWAYS_DOCUMENTS = 2 ** 20;
const CHUNK_BYTES = 2 ** 18;

/**
 * The bytes of a file or of standard input, unpacked if they are gzip. `documents` tells how many were found in the
 * chunks that were given so far.
 */
export async function* chunksOf(path: string, documents = () => 0): AsyncGenerator<Uint8Array> {
  const { bytes, size } = await openBytes(path);
  const iterator = bytes[Symbol.asyncIterator]();
  try {
    const first = await iterator.next();
    const head: Uint8Array = first.done ? new Uint8Array() : first.value;
    checkUnpacked(path, head);
    const all = (async function* () {
      yield head;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    })();
    if (isGzip(head)) yield* unpackedChunks(path, all, documents, size);
    else yield* all;
  } catch (error) {
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('Z_'))
      throw new UserError(`${nameOf(path)}: damaged gzip (${oneLine(error)}); copy or download it again`);
    throw explain(error, nameOf(path));
  } finally {
    await iterator.return?.();
  }
}

async function openBytes(path: string): Promise<{ bytes: AsyncIterable<Buffer>; size?: number }> {
  if (path === standardInput) return { bytes: process.stdin };
  const { handle, size } = await openFile(path);
  return { bytes: handle.createReadStream({ start: 0, highWaterMark: CHUNK_BYTES }), size }; // Closes the handle.
}

/**
 * `size` is that of the file; a pipe is taken to be as long as what was read of it. A long run of one letter is found
 * at the beginning of good files (a chromosome's), so the bytes are held against the whole file. The documents are held
 * against what they were unpacked from, so that a larger file does not take longer to be rejected.
 */
async function* unpackedChunks(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  documents: () => number,
  size?: number,
): AsyncGenerator<Uint8Array> {
  const reject = (what: string): never => {
    throw new UserError(`${nameOf(path)}: ${what}; if it is the right file, unpack it with gunzip first`);
  };
  let [packedBytes, bytes] = [0, 0];
  const counted = (async function* () {
    for await (const chunk of chunks) {
      packedBytes += chunk.length;
      yield chunk;
    }
  })();
  const unpacked = pipeline(Readable.from(counted), createGunzip({ chunkSize: CHUNK_BYTES }), () => {});
  for await (const chunk of unpacked as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    const whole = size ?? packedBytes;
    if (bytes > Math.max(ALWAYS_UNPACKED, MAX_RATIO * whole))
      reject(`unpacks to more than ${MAX_RATIO} times its ${whole} bytes`);
    yield chunk;
    const [found, used] = [documents(), unpacked.bytesWritten];
    if (found > Math.max(ALWAYS_DOCUMENTS, MAX_DOCUMENTS_PER_BYTE * used))
      reject(
        `holds more than ${MAX_DOCUMENTS_PER_BYTE} documents for each byte of gzip (${found} in the first ` +
          `${used} bytes)`,
      );
  }
}
