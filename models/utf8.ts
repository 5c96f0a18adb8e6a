/** UTF-8 without Node: whether bytes are valid, where they are not, and how many bytes a text takes. */

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Whether bytes are valid UTF-8. */
export function isUtf8(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** The number, from 1, of the first line that is not UTF-8. (No UTF-8 sequence contains the byte of `\n`.) */
export function lineOfBadUtf8(bytes: Uint8Array): number {
  let line = 1;
  for (let start = 0; ; line++) {
    const end = bytes.indexOf(0x0a, start);
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) return line;
    start = end + 1;
  }
}

/** Where texts of some length are written to be measured; a unit takes three bytes at most. */
const scratch = new Uint8Array(3 * 2 ** 12);

/** Bytes of a text in UTF-8; a lone surrogate counts as U+FFFD, three bytes, as encoders write it. */
export function utf8Length(text: string): number {
  if (text.length >= 64 && 3 * text.length <= scratch.length) return encoder.encodeInto(text, scratch).written;
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (unit >= 0xd800 && unit < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 2; // a pair: two units, four bytes
      i++;
    } else bytes += 2;
  }
  return bytes;
}

/** The bytes of a text in UTF-8. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text);
