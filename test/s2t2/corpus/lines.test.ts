/** Lines: the same whatever the size of the pieces they are read in; gzip without trust. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chunksOf, readCorpus } from '../../../s2t2/app/corpus.ts';
import { LineSplitter } from '../../../s2t2/corpus/lines.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { thorough } from '../../thorough.ts';

const path = join(temporaryDirectory(), 'a');

async function read(content: string | Uint8Array): Promise<string[]> {
  await writeFile(path, content);
  const lines: string[] = [];
  const splitter = new LineSplitter(path, (line, number) => {
    if (lines.push(line) !== number) expect.fail(`line ${lines.length} was called ${number}`);
  });
  for await (const chunk of chunksOf(path)) splitter.add(chunk);
  splitter.end();
  expect(splitter.number).toBe(lines.length);
  return lines;
}

test('lines are the same however the bytes are cut into chunks, whose memory is used again', () => {
  const bytes = Buffer.from('\ufeffa\n漢字\n\nb\r\nc\rd');
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1 }), sizes => {
      const lines: string[] = [];
      const splitter = new LineSplitter('a', line => lines.push(line));
      const chunk = new Uint8Array(8);
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const part = bytes.subarray(at, at + sizes[i % sizes.length]);
        chunk.set(part);
        splitter.add(chunk.subarray(0, part.length));
        at += part.length;
      }
      splitter.end();
      expect(lines).toEqual(['a', '漢字', '', 'b', 'c', 'd']);
    }),
  );
});

test.each([
  ['', []],
  ['\n', ['']],
  ['a', ['a']],
  ['a\n', ['a']],
  ['\ufeffa\r\nb\rc\nd', ['a', 'b', 'c', 'd']],
  ['a\r\n\r\n', ['a', '']],
])('%j has the lines %j', async (content, lines) => {
  expect(await read(content)).toEqual(lines);
});

test('a character of several bytes may lie across two pieces of a file', async () => {
  // The reader's pieces are powers of two; each of these lines has 3 · 33,333 + 1 bytes.
  const lines = Array.from({ length: 20 }, () => '漢'.repeat(33_333));
  expect(await read(lines.join('\n'))).toEqual(lines);
  expect(await read(gzipSync(lines.join('\n')))).toEqual(lines);
});

test('a line much longer than a piece is one line', async () => {
  const long = 'MKVL'.repeat(2 ** 20);
  const lines = await read(`a\n${long}\r\nb`);
  expect(lines.map(line => line.length)).toEqual([1, long.length, 1]);
  expect(lines[1] === long).toBe(true);
});

test('a byte order mark is dropped at the beginning only', async () => {
  const first = 'a'.repeat(2 ** 18 - 1); // With its end, one piece of the file.
  expect(await read(`\ufeffb\n\ufeffc`)).toEqual(['b', '\ufeffc']);
  expect(await read(`${first}\n\ufeffc`)).toEqual([first, '\ufeffc']);
});

test.runIf(thorough)('a line longer than a string can be is an error, a longer file of short ones is not', async () => {
  // A letter in 64 differs, or nobody would believe the file to be text.
  const letters = (text: string) =>
    Buffer.alloc(2 ** 20, text).map((byte, at) =>
      at % 64 === 0 && byte !== 0x0a ? 65 + (((at * at) >> 6) % 20) : byte,
    );
  const members = (text: string) => gzipSync(Buffer.concat(Array.from({ length: 5 }, () => letters(text))));
  const file = (member: Buffer) => Buffer.concat(Array.from({ length: 54 }, () => member)); // 270 MiB
  expect(await refusal(read(file(members('A'))))).toBe(`${path}:1: is longer than 268435456 bytes; break the line`);
  expect(await read(file(members(`${'A'.repeat(2 ** 16 - 1)}\n`)))).toHaveLength(54 * 5 * 16);
});

describe('gzip', () => {
  test('in several members, as bgzip writes it', async () => {
    expect(await read(Buffer.concat([gzipSync('a\nb'), gzipSync('c\n')]))).toEqual(['a', 'bc']);
  });

  test('truncated at every offset is an error', async () => {
    const whole = gzipSync('>a\nMKVL\n');
    for (let length = whole.length - 1; length > 2; length--)
      expect(await refusal(read(whole.subarray(0, length)))).toBe(
        `${path}: damaged gzip (unexpected end of file); copy or download it again`,
      );
  });

  test('with a wrong checksum is an error', async () => {
    const bytes = gzipSync('a\n');
    bytes[bytes.length - 8] ^= 1;
    expect(await refusal(read(bytes))).toBe(`${path}: damaged gzip (incorrect data check); copy or download it again`);
  });

  test('that unpacks to far more than text does ends early', async () => {
    const bomb = gzipSync(Buffer.alloc(2 ** 26, `${'a'.repeat(63)}\n`)); // 64 MiB in 200 kB
    expect(await refusal(read(bomb))).toBe(
      `${path}: unpacks to more than 200 times its ${bomb.length} bytes; if it is the right file, unpack it with ` +
        'gunzip first',
    );
    // as much as any file may
    expect(await read(gzipSync(Buffer.alloc(2 ** 24, `${'a'.repeat(63)}\n`)))).toHaveLength(2 ** 18);
  });

  test('that unpacks to more than is allowed ends there', async () => {
    const bomb = gzipSync(Buffer.alloc(2 ** 26, 'a\n')); // 64 MiB in 64 kB
    await writeFile(path, bomb);
    expect(await refusal(readCorpus(path, { maxBytes: 2 ** 20 }))).toBe(
      `${path}: holds more than 1048576 bytes of text; split it, or raise the limit if this is no accident`,
    );
    await writeFile(path, gzipSync('a\nb\n'));
    expect((await readCorpus(path, { maxBytes: 4 })).documents).toHaveLength(1);
  });

  test('a file of newlines only ends early', async () => {
    const bomb = gzipSync(Buffer.alloc(2 ** 23, '\n'));
    expect(await refusal(read(bomb))).toBe(
      `${path}:4194305: more than 4194304 blank lines in a row; is it the right file?`,
    );
  });
});

test('bytes that are not UTF-8 are an error at their line', async () => {
  const many = Buffer.from('é\n'.repeat(200_000));
  expect(await refusal(read(Buffer.concat([many, Buffer.of(0xe9, 0x0a)])))).toBe(
    `${path}:200001: not UTF-8; convert it, for example with iconv -t UTF-8`,
  );
});

test.each([
  ['bzip2', 'BZh91AY', 'is compressed with bzip2, which is not supported; convert it first: bunzip2 -k FILE'],
  ['xz', '\xfd7zXZ\0', 'is compressed with xz, which is not supported; convert it first: unxz -k FILE'],
  ['zstd', '(\xb5/\xfd', 'is compressed with zstd, which is not supported; convert it first: unzstd FILE'],
  ['zip', 'PK\x03\x04', 'is a zip archive, which is not supported; convert it first: unzip FILE'],
  ['UTF-16', '\xff\xfea\0', 'is UTF-16, which is not supported; convert it first: iconv -f UTF-16 -t UTF-8 FILE'],
])('%s is called by its name', async (_, begin, message) => {
  expect(await refusal(read(Buffer.from(begin, 'latin1')))).toBe(`${path}: ${message.replace('FILE', path)}`);
});

test('an error in the reader ends the reading', async () => {
  await writeFile(path, gzipSync('a\n'.repeat(1_000_000)));
  const stop = new AbortController();
  stop.abort(new Error('enough'));
  await expect(readCorpus(path, { signal: stop.signal })).rejects.toThrow('enough');
});
