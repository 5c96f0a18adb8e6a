/** Bytes as text: GPT-2's printable characters, in which byte-level vocabularies are kept, hexadecimal, Latin-1. */

/** Printable bytes are themselves, the others follow from U+0100 on. */
const characters: readonly string[] = (() => {
  let extra = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : 256 + extra++);
  });
})();

const bytesByCharacter = new Map(characters.map((character, byte) => [character, byte]));

/** Bytes in GPT-2's printable characters, one for each. */
export const writeBytes = (bytes: Uint8Array): string => Array.from(bytes, byte => characters[byte]).join('');

/** The bytes written as `token`; undefined for a text with other characters. */
export function readBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length); // every character of the alphabet is one UTF-16 unit
  for (let i = 0; i < token.length; i++) {
    const byte = bytesByCharacter.get(token[i]);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

const hexadecimal: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Bytes in hexadecimal, two digits each. */
export const hexOf = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += hexadecimal[byte];
  return text;
};

/** A text with one character for each byte: a key for maps. */
export const latin1Of = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

/** The bytes of all parts, one after another. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
