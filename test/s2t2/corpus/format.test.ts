/** The format of a corpus: its content decides, and what is clearly another format is rejected with what to do. */
import { describe, expect, test } from 'vitest';
import {
  CorpusReader,
  describeCorpus,
  detectFormat,
  formatOfName,
  type CorpusOptions,
} from '../../../s2t2/corpus/index.ts';

test.each([
  ['a.fa', 'fasta'],
  ['a.FASTA', 'fasta'],
  ['a.faa.gz', 'fasta'],
  ['a.b.fna', 'fasta'],
  ['a.txt', 'text'],
  ['a.txt.gz', 'text'],
  ['a.jsonl', 'jsonl'],
  ['a.jsonl.gz', 'jsonl'],
  ['fa', undefined],
  ['a.gz', undefined],
  ['a.csv', undefined],
])('a name: %s is %s', (name, format) => {
  expect(formatOfName(name)).toBe(format);
});

const detect = (content: string, name = 'unknown') => detectFormat(name, content, true);

test.each([
  ['\n  \n>a\nMK\n', 'fasta'],
  ['\ufeff>a\r\nMK\r\n', 'fasta'],
  [';a comment\n>a\nMK\n', 'fasta'],
  ['>a\n\n>b\nmkv*\n', 'fasta'],
  ['> a name\nMKVLAAGIVGLCAKVLAAGM\n', 'fasta'],
  ['\n {"text": "MK"}\n', 'jsonl'],
  ['{"text": "MK"}', 'jsonl'],
  ['MK > all\n', 'text'],
  ['{ is a brace\n', 'text'],
  ['[1] is a footnote', 'text'],
  ['; a remark\nMK\n', 'text'],
  ['> You wrote:\n> all of it\n\nYes, I did.\n', 'text'],
  [">I'll come\nGood\n", 'text'],
  ['One, two, and three.\nFour, five, and six.\nSeven, eight, and nine.\n', 'text'],
  ["Shall I compare thee to a summer's day,\nThou art more lovely,\nRough winds do shake,\n", 'text'],
  ['', 'text'],
])('content: %j is %s', (content, format) => {
  expect(detect(content)).toBe(format);
});

test('content goes before the name, unless it could be either', () => {
  expect(detect('>sp|P1|A\nMKVL\n', 'a.txt')).toBe('fasta');
  expect(detect('{"text": "a"}\n', 'a.txt')).toBe('jsonl');
  expect(detect('> You wrote:\n> all of it\n\nYes.\n', 'a.fa')).toBe('fasta');
  expect(detect('{"text": broken\n', 'a.jsonl')).toBe('jsonl');
  expect(detect('plain', 'a.fa')).toBe('fasta');
});

describe('another format is rejected', () => {
  test.each([
    ['@read1\nACGT\n+\nIIII\n', 'FASTQ', 'convert it to FASTA, for example with seqtk seq -A'],
    ['@HD\tVN:1.6\n', 'SAM', 'convert it to FASTA, for example with samtools fasta'],
    ['LOCUS       AB000263\n', 'GenBank', 'convert it to FASTA'],
    ['[{"text": "a"}]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['["a", "b"]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    [
      '{\n  "text": "a"\n}\n',
      'one JSON object over several lines',
      'write one object a line, for example with jq -c .',
    ],
    [
      'id,text\n1,"a, b"\n2,c\n',
      'a table with commas (CSV)',
      'convert it to JSON Lines, an object with a field "text" on each line',
    ],
    [
      'id\ttext\n1\ta\n2\tb\n',
      'a table with tabs (TSV)',
      'convert it to JSON Lines, an object with a field "text" on each line',
    ],
    ['<!DOCTYPE html><html>', 'a web page', 'extract its text'],
  ])('%j', (content, what, advice) => {
    for (const name of ['unknown', 'a.txt'])
      expect(() => detect(content, name)).toThrow(
        `${name}: is ${what}, which is not supported; ${advice}, or force a format with --format fasta, text, jsonl`,
      );
  });

  test('by its name alone for CSV', () => {
    expect(() => detect('a\n', 'a.csv.gz')).toThrow('a.csv.gz: is CSV, which is not supported');
  });

  test('JSON Lines under the name of FASTA', () => {
    expect(() => detect('{"text": "a"}\n', 'a.fa')).toThrow(
      'a.fa: is JSON Lines, which is not supported; convert it to FASTA',
    );
  });
});

async function read(content: string, options: CorpusOptions = {}, sizes = [7]) {
  const bytes = new TextEncoder().encode(content);
  const chunks: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length];
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  const reader = new CorpusReader('a', options);
  const texts: string[] = [];
  for await (const batch of reader.read(chunks)) texts.push(...batch.map(d => d.text));
  return { texts, said: describeCorpus(reader.summary) };
}

test('a requested format is used, whatever the content', async () => {
  expect((await read('>a\nMK\n', { format: 'text' })).texts).toEqual(['>a\nMK']);
  expect((await read('[{"text": "a"}]', { format: 'text' })).texts).toEqual(['[{"text": "a"}]']);
});

test('one line says what a corpus is and what was skipped', async () => {
  expect((await read('>a\nM-K*\n>b\n>c\nM*K\n>d\nMKVLAAG\n', { maxLength: 5 })).said).toBe(
    'a: FASTA, 1 sequence, 3 skipped (1 empty, 1 too long, 1 with "*" inside), 1 gap character and "*" at 1 end ' +
      'dropped',
  );
  expect((await read('one\n\ntwo\n')).said).toBe('a: plain text, 2 texts');
  expect((await read(`${'{"text": "a"}\n'.repeat(1234)}`)).said).toBe('a: JSON Lines, 1,234 texts');
});

test('a head that is cut anywhere gives the same format', async () => {
  const long = `id,text\n${'1,aaaaaaaaa\n'.repeat(9000)}`;
  await expect(read(long, {}, [10_007])).rejects.toThrow('a table with commas (CSV)');
  const records = `>a\n${'MKVLAAG\n'.repeat(9000)}`;
  expect((await read(records, {}, [10_007])).texts).toEqual(['MKVLAAG'.repeat(9000)]);
});
