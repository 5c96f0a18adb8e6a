/** SHA-256 in any JavaScript; Node's own hashes large files (`node/files.ts`). */
import { sha256 as digest } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { utf8 } from './utf8.ts';

/** SHA-256 in hexadecimal of a text (as UTF-8) or of bytes. */
export const sha256 = (data: string | Uint8Array): string =>
  bytesToHex(digest(typeof data === 'string' ? utf8(data) : data));

/**
 * SHA-256 in hexadecimal of many bytes, beside other work and several times faster; as above where the host has no Web
 * Cryptography (a page that came over plain HTTP).
 */
export async function sha256Large(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const { crypto } = globalThis as { crypto?: Partial<Crypto> };
  return crypto?.subtle ? bytesToHex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))) : sha256(bytes);
}

/** SHA-256 in hexadecimal of texts one after another, each with its length before it, without joining them. */
export function sha256Of(texts: Iterable<string>): string {
  const hash = digest.create();
  for (const text of texts) {
    const bytes = utf8(text);
    hash.update(utf8(`${bytes.length} `)).update(bytes);
  }
  return bytesToHex(hash.digest());
}
