/**
 * The lines of a text file, plain or gzipped, without ever holding the whole of it.
 *
 * Lines end with \n, \r\n or \r. Text is UTF-8, checked; a byte order mark is dropped. Gzip is told by its first two
 * bytes, whatever the file is called. A few kilobytes of gzip can unpack to terabytes, so the bytes are counted after
 * unpacking: an error ends it at `maxBytes`, or where they are far more than any text packs into so small a file.
 */

import { isAscii, isUtf8 } from 'node:buffer';
import { type Readable, pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { explain, openFile } from '../../../models/node/files.ts';
import { lineOfBadUtf8 } from '../../../models/utf8.ts';
import { oneLine, UserError } from '../../../models/errors.ts';

/** No line, in bytes, and no document, in characters, is longer: it must fit into one JavaScript string. The longest human chromosome has 249 million letters. */
export const MAX_TEXT = 2 ** 28;
/** A long text may be this many times as long as its gzip file. The bundled corpora are 2 to 4 times as long; deflate ends at 1032. */
const MAX_RATIO = 200;
/** Bytes that are no long text yet. */
const ALWAYS_UNPACKED = 2 ** 24;
const CHUNK_BYTES = 2 ** 18;
const NEWLINE = 0x0a;

/** Calls `visit` with every line and its number, from 1; returns how many there were. What `visit` throws ends the reading. */
export async function forEachLine(
  path: string,
  maxBytes: number,
  visit: (line: string, number: number) => void,
): Promise<number> {
  let bytes = 0;
  let number = 0;
  const emit = (block: Buffer) => {
    if (!isUtf8(block))
      throw new UserError(
        `${path}:${number + lineOfBadUtf8(block)}: not UTF-8; convert it, for example with iconv -t UTF-8`,
      );
    let text = block.toString(isAscii(block) ? 'latin1' : 'utf8'); // The same for ASCII, and faster.
    if (number === 0 && text.startsWith('\ufeff')) text = text.slice(1);
    const lines = text.includes('\r') ? text.split(/\r\n|\n|\r/) : text.split('\n');
    if (lines.at(-1) === '') lines.pop(); // What follows a line's end is no line unless something is there.
    for (const line of lines) visit(line, ++number);
  };

  // Blocks end with \n. What follows the last one waits, in pieces: joining them at every chunk would take quadratic time.
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  for await (const chunk of chunksOf(path)) {
    bytes += chunk.length;
    if (bytes > maxBytes)
      throw new UserError(
        `${path}: holds more than ${maxBytes} bytes of text; split it, or raise the limit if this is no accident`,
      );
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      emit(Buffer.concat([...waiting, chunk.subarray(0, end)]));
      waiting = [];
      waitingBytes = 0;
    }
    waiting.push(chunk.subarray(end));
    waitingBytes += chunk.length - end;
    if (waitingBytes > MAX_TEXT)
      throw new UserError(`${path}:${number + 1}: is longer than ${MAX_TEXT} bytes; break the line`);
  }
  if (waitingBytes > 0) emit(Buffer.concat(waiting));
  return number;
}

/** The file's bytes, unpacked if they are gzip. */
async function* chunksOf(path: string): AsyncGenerator<Buffer> {
  const { handle, size } = await openFile(path);
  const { buffer: magic, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  const isGzip = bytesRead === 2 && magic[0] === 0x1f && magic[1] === 0x8b;
  const file = handle.createReadStream({ start: 0, highWaterMark: CHUNK_BYTES }); // Closes the handle, whatever happens.
  const chunks: Readable = isGzip ? pipeline(file, createGunzip({ chunkSize: CHUNK_BYTES }), () => {}) : file;
  try {
    let bytes = 0;
    for await (const chunk of chunks as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (isGzip && bytes > Math.max(ALWAYS_UNPACKED, MAX_RATIO * size))
        throw new UserError(
          `${path}: unpacks to more than ${MAX_RATIO} times its ${size} bytes; is it the right file?`,
        );
      yield chunk;
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('Z_'))
      throw new UserError(`${path}: damaged gzip (${oneLine(error)}); copy or download it again`);
    throw explain(error, path);
  }
}
