/** The documents of a file in memory, plain or gzipped, by the parsers that the command line has. */
import { UserError } from '../../../models/errors.ts';
import { counted } from '../../../models/printable.ts';
import { utf8Length } from '../../../models/utf8.ts';
import { checkUnpacked, CorpusReader, isGzip, magicBytes, type CorpusFormat } from '../../corpus/index.ts';
import type { DroppedFile } from '../protocol.ts';

/** The texts of a file, and what was left out. */
export interface Documents {
  readonly format: CorpusFormat;
  readonly texts: readonly string[];
  /** What was left out and why. */
  readonly notes: readonly string[];
}

/** The most bytes read, after unpacking. */
const mostBytes = 2 ** 28;

/** Reads texts until they have `limitBytes` bytes; that there are more is said, and they are not read. */
export async function readDocuments({ name, file }: DroppedFile, limitBytes: number): Promise<Documents> {
  const reader = new CorpusReader(name, { maxBytes: mostBytes, override: null });
  const texts: string[] = [];
  let [bytes, more] = [0, false];
  for await (const batch of reader.read(chunksOf(name, file))) {
    for (const { text } of batch) {
      if (bytes < limitBytes) texts.push(text);
      else more = true;
      bytes += utf8Length(text);
    }
    if (more) break;
  }
  const { format, skipped, gaps } = reader.summary;
  const notes = [
    more && `${name} holds more text than is used; the slider sets the limit`,
    skipped.empty > 0 && `left out: ${counted(skipped.empty, 'empty document')}`,
    skipped.stops > 0 && `left out: ${counted(skipped.stops, 'sequence')} with "*" inside`,
    gaps > 0 && `dropped from sequences: ${counted(gaps, 'gap character')}`,
  ].filter(note => note !== false);
  return { format, texts, notes };
}

async function* chunksOf(name: string, file: Blob): AsyncGenerator<Uint8Array> {
  const head = new Uint8Array(await file.slice(0, magicBytes).arrayBuffer());
  checkUnpacked(name, head);
  const gzip = isGzip(head);
  const stream = gzip ? file.stream().pipeThrough(new DecompressionStream('gzip')) : file.stream();
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw gzip ? new UserError(`${name}: damaged gzip; copy or download it again`) : error;
      });
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
