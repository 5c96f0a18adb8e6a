/**
 * The lines of a text that comes in chunks of bytes, without ever holding the whole of it.
 *
 * Lines end with \n, \r\n or \r. Text is UTF-8, checked; a byte order mark is dropped.
 */
import { UserError } from '../../models/errors.ts';
import { lineOfBadUtf8 } from '../../models/utf8.ts';

/**
 * No line, in bytes, and no document, in characters, is longer: it must fit into one JavaScript string. The longest
 * human chromosome has 249 million letters.
 */
export const MAX_TEXT = 2 ** 28;
/** More blank lines in a row are no text: a few kilobytes of gzip can hold billions. */
const MAX_BLANK = 2 ** 22;
const NEWLINE = 0x0a;

/** Cuts chunks of bytes into lines of text, whichever way they end. */
export class LineSplitter {
  /** Lines so far. */
  number = 0;
  private readonly name: string;
  private readonly visit: (line: string, number: number) => void;
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  // Blocks end with \n. What follows the last one waits, in pieces: joining them at every chunk would take quadratic
  // time.
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private blank = 0;

  /** Calls `visit` with every line and its number, from 1. `name` begins the message of an error. */
  constructor(name: string, visit: (line: string, number: number) => void) {
    this.name = name;
    this.visit = visit;
  }

  add(chunk: Uint8Array): void {
    const end = chunk.lastIndexOf(NEWLINE) + 1;
    if (end > 0) {
      this.waiting.push(chunk.subarray(0, end));
      this.emit();
    }
    if (end === chunk.length) return;
    // The caller may use its chunk again.
    this.waiting.push(chunk.slice(end));
    this.waitingBytes += chunk.length - end;
    if (this.waitingBytes > MAX_TEXT)
      throw new UserError(`${this.name}:${this.number + 1}: is longer than ${MAX_TEXT} bytes; break the line`);
  }

  /** After the last chunk. */
  end(): void {
    if (this.waiting.length > 0) this.emit();
  }

  private emit(): void {
    const block = joined(this.waiting);
    [this.waiting, this.waitingBytes] = [[], 0];
    let text: string;
    try {
      text = this.decoder.decode(block);
    } catch {
      throw new UserError(
        `${this.name}:${this.number + lineOfBadUtf8(block)}: not UTF-8; convert it, for example with iconv -t UTF-8`,
      );
    }
    if (this.number === 0 && text.startsWith('\ufeff')) text = text.slice(1);
    if (text.includes('\r')) {
      const lines = text.split(/\r\n|\n|\r/);
      if (lines.at(-1) === '') lines.pop(); // What follows a line's end is no line unless something is there.
      for (const line of lines) this.line(line);
      return;
    }
    for (let from = 0; from < text.length; ) {
      const newline = text.indexOf('\n', from);
      const to = newline < 0 ? text.length : newline;
      this.line(text.slice(from, to));
      from = to + 1;
    }
  }

  private line(line: string): void {
    this.number++;
    this.blank = line === '' ? this.blank + 1 : 0;
    if (this.blank > MAX_BLANK)
      throw new UserError(
        `${this.name}:${this.number}: more than ${MAX_BLANK} blank lines in a row; is it the right file?`,
      );
    this.visit(line, this.number);
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
