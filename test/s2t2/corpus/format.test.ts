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
  ['>a\nMkv\n', 'fasta'],
  ['>sp|P1|A a name\nMkv\nL\n', 'fasta'],
  ['>chr1 of a genome\nacgtnnACGTacgtACGTacgt\n', 'fasta'],
  ['>a\nMKV LAA GI\n', 'fasta'],
  ['>Human hemoglobin\nMVLSPADKTN VKAAWGKVGA\nHAGEYGAEAL\n', 'fasta'],
  ['>P69905 Human\n1 mvlspadktn vkaawgkvga 20\n', 'fasta'],
  ['>a\n; a comment\n# another\nMKV\n', 'fasta'],
  ['# a comment\n>a\nMKV\n', 'fasta'],
  ['\n {"text": "MK"}\n', 'jsonl'],
  ['{"text": "MK"}', 'jsonl'],
  ['{"text": broken\n{"text": "MK"}', 'jsonl'],
  ['{}\n{"text": "MK"}', 'jsonl'],
  ['MK > all\n', 'text'],
  ['{ is a brace\n', 'text'],
  ['[1] is a footnote', 'text'],
  ['[1, 2] are two\n', 'text'],
  ['[ ] to do\n[x] done\n', 'text'],
  ['[[Home]] is a link\n', 'text'],
  ['{"a"} is a set\n', 'text'],
  ['; a remark\nMK\n', 'text'],
  ['> You wrote:\n> all of it\n\nYes, I did.\n', 'text'],
  [">I'll come\nGood\n", 'text'],
  ['>Will you come tomorrow\nYes I will\n', 'text'],
  ['>Are you there\nThanks again\n', 'text'],
  ['>Thanks.\nWelcome\n', 'text'],
  ['>Thanks\nYou are welcome.\n', 'text'],
  ['# A title\n>Quoted here\nimportant\n', 'text'],
  ['# A title\n\n> Quoted\n\nWhat it says, in one line.\n', 'text'],
  ['@you\nCome\nat ten\n', 'text'],
  ['One; two; three.\nFour; five; six.\nSeven; eight; nine.\n', 'text'],
  ['Tom &amp; Ann\nAnn &amp; Bob\nBob &amp;c\n', 'text'],
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
    ['@read1\nACGT\nACGT\n+\nIIII\nIIII\n', 'FASTQ', 'convert it to FASTA, for example with seqtk seq -A'],
    [`a.txt${'\0'.repeat(252)}ustar\0`, 'a tar archive', 'unpack it, for example with tar -xf'],
    ['M\0K\0', 'UTF-16 without a byte order mark', 'convert it, for example with iconv -f UTF-16LE -t UTF-8'],
    ['\0M\0K', 'UTF-16 without a byte order mark', 'convert it, for example with iconv -f UTF-16BE -t UTF-8'],
    ['>a\nMK\0\n', 'a binary file (it holds NUL bytes)', 'give a file with text or sequences'],
    ['@HD\tVN:1.6\n', 'SAM', 'convert it to FASTA, for example with samtools fasta'],
    ['LOCUS       AB000263\n', 'GenBank', 'convert it to FASTA'],
    ['[{"text": "a"}]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['[1,2,3]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['[\n  1,\n  2\n]\n', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['[1, "a"]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['[[1, 2], [3]]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['[]\n', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['  [\n  {"text": "a"}\n]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    ['["a", "b"]', 'a JSON array', "write one object a line, for example with jq -c '.[]'"],
    [
      '{\n  "text": "a"\n}\n',
      'one JSON object over several lines',
      'write one object a line, for example with jq -c .',
    ],
    [
      '  { "id": 1,\n    "text": "a" }\n',
      'one JSON object over several lines',
      'write one object a line, for example with jq -c .',
    ],
    [
      '{"texts":\n["a", "b"]}\n',
      'one JSON object over several lines',
      'write one object a line, for example with jq -c .',
    ],
    [
      '{"text": "a"},\n{"text": "b"}\n',
      'JSON Lines with a comma after each object',
      "drop the commas, for example with sed 's/,$//'",
    ],
    [
      'id;text\n1;"a; b"\n2;c, d\n',
      'a table with semicolons (CSV)',
      'convert it to JSON Lines, an object with a field "text" on each line',
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

describe('what is longer than the head is told by its beginning, however it is cut into chunks', () => {
  const sizes = [[1021], [65_535, 1], [65_536], [65_537], [100_000], [3, 2 ** 20]];
  test.each<[string, string, string[]]>([
    ['records', `>a\n${'MKVLAAG\n'.repeat(9000)}`, ['MKVLAAG'.repeat(9000)]],
    ['a sequence on one line', `>a\n${'A'.repeat(70_000)}\n`, ['A'.repeat(70_000)]],
    ['a header', `>a ${'é'.repeat(40_000)}\nMK\n`, ['MK']],
    ['an object', `{"text": "${'é'.repeat(40_000)}"}\n{"text": "b"}\n`, ['é'.repeat(40_000), 'b']],
    ['a line of text', `${'é'.repeat(40_000)}\nb\n`, [`${'é'.repeat(40_000)}\nb`]],
    ['a line of text that quotes', `> ${'a '.repeat(40_000)}\nb\n`, [`> ${'a '.repeat(40_000)}\nb`]],
    // Were more than the head looked at, this would be a table.
    ['lines where only the first ones differ', `${'é'.repeat(33_000)}\n${'b,c\n'.repeat(99)}`, []],
  ])('%s', async (_, content, expected) => {
    const said = new Set<string>();
    for (const each of sizes) {
      const { texts, said: summary } = await read(content, {}, each);
      if (expected.length > 0) expect(texts).toEqual(expected);
      said.add(summary);
    }
    expect(said.size).toBe(1);
  });

  test.each([
    ['FASTQ', `@a\n${'ACGT'.repeat(20_000)}\n+\n`, 'FASTQ'],
    ['FASTQ over several lines', `@a\n${'ACGT\n'.repeat(20_000)}+\n`, 'FASTQ'],
    ['a JSON array', `[${'1, '.repeat(40_000)}1]`, 'a JSON array'],
    ['a table', `id,text\n${'1,aaaaaaaaa\n'.repeat(9000)}`, 'a table with commas (CSV)'],
  ])('%s is rejected', async (_, content, what) => {
    for (const each of sizes) await expect(read(content, {}, each)).rejects.toThrow(`is ${what}, which is not`);
  });
});
