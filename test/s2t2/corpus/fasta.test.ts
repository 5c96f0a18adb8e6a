/** FASTA: every way to write records down reads as the same records; everything else is an error at its line. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../../models/errors.ts';
import { type CorpusOptions, describeCorpus, readCorpus } from '../../../s2t2/app/corpus.ts';
import { fastaLayout, fastaRecords, renderFasta } from '../../arbitraries/fasta.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';

const path = join(temporaryDirectory(), 'a.fa');

async function read(content: string, options?: CorpusOptions) {
  await writeFile(path, content);
  return readCorpus(path, options);
}

test('any wrapping, case, line ending and compression reads as the same records', async () => {
  await fc.assert(
    fc.asyncProperty(fastaRecords, fastaLayout, async (records, layout) => {
      const { bytes, lines } = renderFasta(records, layout);
      await writeFile(path, bytes);
      const { documents } = await readCorpus(path);
      expect(documents).toEqual(records.map((record, i) => ({ ...record, line: lines[i] })));
    }),
    { numRuns: 300 },
  );
});

test('any text after a header is read as capital letters, or rejected', async () => {
  const character = fc.oneof(
    fc.constantFrom(...'MKVmkv*-. \t\n;>7'),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: character }), async text => {
      try {
        for (const document of (await read(`>a\n${text}`)).documents) expect(document.text).toMatch(/^[A-Z]+$/);
      } catch (error) {
        expect(error).toBeInstanceOf(UserError);
      }
    }),
    { numRuns: 300 },
  );
});

test('gaps of an alignment are dropped and counted', async () => {
  const { documents, gaps } = await read('>a\n--MK.V\n-L-\n>b\nMKVL\n');
  expect(documents.map(({ text }) => text)).toEqual(['MKVL', 'MKVL']);
  expect(gaps).toBe(5);
});

test('a record with a "*" inside is left out and counted, an end marked by one is counted', async () => {
  const corpus = await read('>a\nMK*VL\n>b\nMKV*\n>c\nMK\n*VL\nAA\n>d\nMK*\n\nVL\n>e\nMK**\n>f\nM\n');
  expect(corpus.documents.map(({ name, text }) => [name, text])).toEqual([
    ['b', 'MKV'],
    ['f', 'M'],
  ]);
  expect([corpus.skipped.stops, corpus.finalStops]).toEqual([4, 1]);
  expect(describeCorpus({ ...corpus, documents: 2 })).toBe(
    `${path}: FASTA, 2 sequences, 4 skipped (4 with "*" inside), "*" at 1 end dropped`,
  );
  expect(await refusal(read('>a\nM*K\n>b\n\n'))).toBe(`${path}: 2 sequences, all empty or with "*" inside`);
});

test('names: the first word, or where the record begins', async () => {
  const { documents } = await read('>sp|P69905|HBA_HUMAN Hemoglobin\nM\n>\nK\n> spaced name\nV\n');
  expect(documents.map(({ name }) => name)).toEqual(['sp|P69905|HBA_HUMAN', 'line 3', 'spaced']);
});

test('nucleotides, with the codes for several', async () => {
  const { documents } = await read('>a\nacgtu ryks\nwmbdhvnx\n', { alphabet: 'nucleotide' });
  expect(documents[0].text).toBe('ACGTURYKSWMBDHVNX');
});

describe('an error at its line', () => {
  const cases: [string, string, CorpusOptions?][] = [
    ['>a\nMK\nMK7V\n', '3: unexpected "7" in a sequence; a sequence has letters only'],
    ['>a\n        1 mkvl aaag\n', '2: unexpected "1" in a sequence; a sequence has letters only'],
    ['>a\nMK<b>\n', '2: unexpected "<" in a sequence; a sequence has letters only'],
    ['>a\nMKß\n', '2: unexpected "ß" in a sequence; a sequence has letters only'],
    ['>a\nMKſ\n', '2: unexpected "ſ" in a sequence; a sequence has letters only'],
    ['>a\nMK😀\n', '2: unexpected "😀" in a sequence; a sequence has letters only'],
    ['>a\nMK\0\n', '2: unexpected character U+0000 in a sequence; a sequence has letters only'],
    ['>a\nMK*VL\n', '2: a "*" inside a sequence; a sequence may only end with one', { strict: true }],
    ['>a\nMK*\n\nVL\n', '2: a "*" inside a sequence; a sequence may only end with one', { strict: true }],
    ['>a\nMK**\n', '2: a "*" inside a sequence; a sequence may only end with one', { strict: true }],
    ['MK\n>a\nMK\n', '1: a sequence before the first header; begin each record with a line ">name"'],
    [
      '>a\nACGE\n',
      '2: unexpected "E" in a sequence; a nucleotide sequence has the letters ACGTU and RYKMSWBDHVNX only',
      { alphabet: 'nucleotide' },
    ],
  ];
  test.each(cases)('%j', async (content, message, options) => {
    expect(await refusal(read(content, options))).toBe(`${path}:${message}`);
  });
});
