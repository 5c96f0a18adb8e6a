/** Files that hold no text as they are: what their first bytes say, and how to get at the text. */
import { UserError } from '../../models/errors.ts';

const packed: readonly { readonly magic: readonly number[]; readonly name: string; readonly unpack: string }[] = [
  { magic: [0x42, 0x5a, 0x68], name: 'compressed with bzip2', unpack: 'bunzip2 -k FILE' },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], name: 'compressed with xz', unpack: 'unxz -k FILE' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], name: 'compressed with zstd', unpack: 'unzstd FILE' },
  { magic: [0x04, 0x22, 0x4d, 0x18], name: 'compressed with lz4', unpack: 'unlz4 FILE' },
  { magic: [0x50, 0x4b, 0x03, 0x04], name: 'a zip archive', unpack: 'unzip FILE' },
  { magic: [0x37, 0x7a, 0xbc, 0xaf], name: 'a 7z archive', unpack: '7z x FILE' },
  { magic: [0x50, 0x41, 0x52, 0x31], name: 'a Parquet file', unpack: 'write it as JSON Lines' },
  { magic: [0x25, 0x50, 0x44, 0x46], name: 'a PDF document', unpack: 'pdftotext FILE' },
  { magic: [0xff, 0xfe], name: 'UTF-16', unpack: 'iconv -f UTF-16 -t UTF-8 FILE' },
  { magic: [0xfe, 0xff], name: 'UTF-16', unpack: 'iconv -f UTF-16 -t UTF-8 FILE' },
];

/** Bytes that `checkUnpacked` looks at. */
export const magicBytes = Math.max(...packed.map(({ magic }) => magic.length));

/** Whether bytes begin as gzip, which is read. */
export const isGzip = (head: Uint8Array): boolean => head[0] === 0x1f && head[1] === 0x8b;

/** Throws a `UserError` where a file begins like an archive, a document or another encoding, and says what to do. */
export function checkUnpacked(path: string, head: Uint8Array): void {
  const other = packed.find(({ magic }) => magic.every((byte, at) => head[at] === byte));
  if (other)
    throw new UserError(
      `${path}: is ${other.name}, which is not supported; convert it first: ${other.unpack.replace('FILE', path)}`,
    );
}
