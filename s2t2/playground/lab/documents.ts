/**
 * The documents of a file in memory, plain or gzipped. Lines end with \n, \r\n or \r; text is UTF-8, checked; a byte
 * order mark is dropped. As the command line does, a file that unpacks to far more than any text is given up early.
 */
import { UserError } from '../../../models/errors.ts';
import { isUtf8, lineOfBadUtf8 } from '../../../models/utf8.ts';
import type { Document, DocumentReader, Sink } from '../../app/corpus/document.ts';
import { fastaReader } from '../../app/corpus/fasta.ts';
import { jsonlReader } from '../../app/corpus/jsonl.ts';
import { plainReader } from '../../app/corpus/plain.ts';
import type { DroppedFile } from '../protocol.ts';

export type Format = 'fasta' | 'text' | 'jsonl';

export interface Documents {
  readonly format: Format;
  readonly texts: readonly string[];
  readonly notes: readonly string[];
}

/** The most bytes read, after unpacking. */
const mostBytes = 2 ** 28;
const newline = 0x0a;

/** Reads texts until they have `limitBytes` bytes; what is beyond is not read, and said. */
export async function readDocuments({ name, file }: DroppedFile, limitBytes: number): Promise<Documents> {
  const texts: string[] = [];
  let [bytes, empty, beyond] = [0, 0, 0];
  const sink: Sink = {
    keep: () => {},
    emit({ text }: Document) {
      if (text.length === 0) empty++;
      else if (bytes >= limitBytes) beyond++;
      else {
        texts.push(text);
        bytes += text.length;
      }
    },
  };
  const readers = {
    fasta: fastaReader(name, 'letters', sink),
    text: plainReader('paragraph', sink),
    jsonl: jsonlReader(name, 'text', sink),
  } satisfies Record<Format, DocumentReader>;
  let format = formatOfName(name);
  let lines = 0;
  for await (const line of linesOf(name, file)) {
    format ??= formatOfLine(line);
    if (format !== undefined) readers[format].line(line, ++lines);
    else lines++;
    if (beyond > 0) break;
  }
  format ??= 'text';
  readers[format].end();
  if (lines === 0) throw new UserError(`${name}: is empty; give a file with text or sequences`);
  if (texts.length === 0) throw new UserError(`${name}: holds no document; is it FASTA, text or JSON Lines?`);
  const notes = [
    beyond > 0 && `only the first ${kilobytes(bytes)} of ${name} are used; the limit is below`,
    empty > 0 && `${empty} empty documents were left out`,
    readers.fasta.gaps > 0 && `${readers.fasta.gaps} gap characters were dropped from sequences`,
  ].filter(note => note !== false);
  return { format, texts, notes };
}

const kilobytes = (n: number): string => `${Math.round(n / 1000).toLocaleString('en')} kB`;

const formatOfName = (name: string): Format | undefined =>
  /\.(fa|fas|fasta|faa|fna|ffn|frn)(\.gz)?$/i.test(name)
    ? 'fasta'
    : /\.(jsonl|ndjson)(\.gz)?$/i.test(name)
      ? 'jsonl'
      : /\.(txt|text|md)(\.gz)?$/i.test(name)
        ? 'text'
        : undefined;

const formatOfLine = (line: string): Format | undefined =>
  line.trim() === '' ? undefined : /^[>;]/.test(line) ? 'fasta' : line.trimStart().startsWith('{') ? 'jsonl' : 'text';

async function* linesOf(name: string, file: Blob): AsyncGenerator<string> {
  let number = 0;
  const decode = (block: Uint8Array): string[] => {
    if (!isUtf8(block))
      throw new UserError(
        `${name}:${number + lineOfBadUtf8(block)}: not UTF-8; convert it, for example with iconv -t UTF-8`,
      );
    const text = new TextDecoder('utf-8', { ignoreBOM: number > 0 }).decode(block);
    const lines = text.split(/\r\n|\n|\r/);
    if (lines.at(-1) === '') lines.pop();
    number += lines.length;
    return lines;
  };
  let waiting: Uint8Array = new Uint8Array();
  for await (const chunk of chunksOf(name, file)) {
    const end = chunk.lastIndexOf(newline) + 1;
    if (end === 0) {
      waiting = joined(waiting, chunk);
      continue;
    }
    yield* decode(joined(waiting, chunk.subarray(0, end)));
    waiting = chunk.slice(end);
  }
  if (waiting.length > 0) yield* decode(waiting);
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

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
