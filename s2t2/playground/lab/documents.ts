/**
 * The documents of a file in memory, plain or gzipped, read as the command line reads them. A file that unpacks to far
 * more than any text is given up early.
 */
import { UserError } from '../../../models/errors.ts';
import { CorpusReader, type CorpusFormat } from '../../corpus/index.ts';
import type { DroppedFile } from '../protocol.ts';

export type Format = CorpusFormat;

export interface Documents {
  readonly format: Format;
  readonly texts: readonly string[];
  readonly notes: readonly string[];
}

/** The most bytes read, after unpacking. */
const mostBytes = 2 ** 28;

/** Reads texts until they have `limitBytes` bytes; what is beyond is not read, and said. */
export async function readDocuments({ name, file }: DroppedFile, limitBytes: number): Promise<Documents> {
  const texts: string[] = [];
  let bytes = 0;
  const reader = new CorpusReader(name);
  let beyond = false;
  reading: for await (const batch of reader.read(chunksOf(name, file))) {
    for (const { text } of batch) {
      beyond = bytes >= limitBytes;
      if (beyond) break reading;
      texts.push(text);
      bytes += text.length;
    }
  }
  const { format, skipped, gaps, finalStops } = reader.summary;
  const notes = [
    beyond && `only the first ${kilobytes(bytes)} of ${name} are used; the limit is below`,
    skipped.empty > 0 && `${skipped.empty} empty documents were left out`,
    skipped.stops > 0 && `${skipped.stops} sequences with a "*" inside were left out`,
    gaps > 0 && `${gaps} gap characters were dropped from sequences`,
    finalStops > 0 && `"*" was dropped from ${finalStops} ends of sequences`,
  ].filter(note => note !== false);
  return { format, texts, notes };
}

const kilobytes = (n: number): string => `${Math.round(n / 1000).toLocaleString('en')} kB`;

async function* chunksOf(name: string, file: Blob): AsyncGenerator<Uint8Array> {
  const magic = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const isGzip = magic[0] === 0x1f && magic[1] === 0x8b;
  const stream = isGzip ? file.stream().pipeThrough(new DecompressionStream('gzip')) : file.stream();
  const reader = stream.getReader();
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      bytes += value.length;
      if (bytes > mostBytes) throw new UserError(`${name}: holds more than ${mostBytes} bytes of text; split it`);
      yield value;
    }
  } catch (error) {
    if (error instanceof UserError || !isGzip) throw error;
    throw new UserError(`${name}: damaged gzip; copy or download it again`);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
