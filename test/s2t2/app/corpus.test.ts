/** A corpus, whatever its format: found out, filtered and counted, its mistakes told with file and line. */

import { readdir, stat, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import v8 from 'node:v8';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Random } from '../../../engine/index.ts';
import { type CorpusOptions, readCorpus, streamCorpus } from '../../../s2t2/app/corpus.ts';
import { dataFolder } from '../../../s2t2/app/data/tools.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { thorough } from '../../thorough.ts';

/** Sets Node's limit on the heap, as the corpus sees it, until the test ends. */
function limitHeap(bytes: number): void {
  const spy = vi.spyOn(v8, 'getHeapStatistics');
  spy.mockReturnValue({ ...v8.getHeapStatistics(), heap_size_limit: bytes });
  syncBuiltinESMExports();
  onTestFinished(() => {
    spy.mockRestore();
    syncBuiltinESMExports();
  });
}

const directory = temporaryDirectory();

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

const texts = async (path: string, options?: CorpusOptions) =>
  (await readCorpus(path, options)).documents.map(({ text }) => text);

test('lengths filter and are counted', async () => {
  const path = await file('a.fa', '>a\nM\n>b\nMK\n>c\n>d\nMKV\n>e\nMKVL\n>f\n*\n');
  const corpus = await readCorpus(path, { minLength: 2, maxLength: 3 });
  expect(corpus).toEqual({
    path,
    format: 'fasta',
    documents: [
      { name: 'b', text: 'MK', line: 3 },
      { name: 'd', text: 'MKV', line: 6 },
    ],
    skipped: { empty: 2, tooShort: 1, tooLong: 1, stops: 0 },
    gaps: 0,
    finalStops: 1,
  });
  expect(await refusal(readCorpus(path, { minLength: 9 }))).toBe(
    `${path}: 6 documents, none 9 to Infinity long (4 shorter, 0 longer); change the limits`,
  );
});

describe('an error', () => {
  const cases: [string, string, string][] = [
    ['empty.fa', '', ': is empty; give a file with text or sequences'],
    ['empty.txt', '', ': is empty; give a file with text or sequences'],
    ['blank.fa', '\n \n', ': holds no document; fasta needs a record beginning with ">"'],
    ['comment.fa', '; nothing\n', ': holds no document; fasta needs a record beginning with ">"'],
    ['blank.txt', '\n \n', ': holds no document; text needs a line with text'],
    ['blank.jsonl', '\n \n', ': holds no document; jsonl needs a line with an object'],
    ['blank', '\n \n', ': holds no document; text needs a line with text'],
    ['names.fa', '>a\n>b\n', ': 2 documents, all empty; give a file with text or sequences'],
  ];
  test.each(cases)('for %s', async (name, content, message) => {
    const path = await file(name, content);
    expect(await refusal(readCorpus(path))).toBe(path + message);
    expect(await refusal(readCorpus(await file(`${name}.gz`, gzipSync(content))))).toBe(`${path}.gz${message}`);
  });

  test('for a corpus that would exhaust the heap', async () => {
    const path = await file('large.fa', `>a\n${'M'.repeat(600)}\n>b\n${'M'.repeat(600)}\n>c\n${'M'.repeat(100)}\n`);
    const message =
      `${path}: does not fit into Node's memory; raise it with NODE_OPTIONS=--max-old-space-size=MEGABYTES, ` +
      'or leave documents out by their length';
    limitHeap(2600);
    expect(await refusal(readCorpus(path))).toBe(message);
    expect(await texts(path, { maxLength: 100 })).toHaveLength(1);
    // One document, of few letters in many lines: it is not waited for its end.
    for (const [name, begin] of [
      ['large.fa', '>a\n'],
      ['large.txt', ''],
    ])
      expect(await refusal(readCorpus(await file(name, begin + 'M\n'.repeat(400))))).toBe(
        message.replace(/large\.fa/, name),
      );
  });

  test('for a file that is not there', async () => {
    expect(await refusal(readCorpus(join(directory, 'none.fa')))).toBe(
      `${directory}/none.fa: no such file or directory; check the path`,
    );
    expect(await refusal(readCorpus(directory))).toBe(`${directory}: is a directory; give a file`);
  });
});

describe('a gzip file holds 2²⁰ documents, or 4 for each of its bytes', () => {
  /** Documents that a file is found to hold. */
  const count = async (path: string, options: CorpusOptions = {}) => {
    let documents = 0;
    await streamCorpus(path, options, batch => {
      documents += batch.length;
    });
    return documents;
  };
  const repeated = (document: string, times: number) => Buffer.alloc(document.length * times, document);
  const incompressible = (bytes: number) =>
    Buffer.from(Array.from({ length: bytes }, (_, i) => 97 + ((Math.imul(i, i ^ (i << 7)) >>> 11) % 26)));
  const message = new RegExp(
    '^[^:]+: holds more than 4 documents for each byte of gzip \\((\\d+) in the first (\\d+) bytes\\); ' +
      'if it is the right file, unpack it with gunzip first$',
  );
  const most = 2 ** 20;

  const formats: [string, string, CorpusOptions][] = [
    ['paragraphs.txt', 'AAAA\n\n', {}],
    ['lines.txt', 'A\n', { unit: 'line' }],
    ['residues.fasta', '>\nA\n', {}],
    ['objects.jsonl', '{"text":"a"}\n', {}],
    ['field.jsonl', '{"t":"a"}\n', { field: 't' }],
  ];
  test.each(thorough ? formats : formats.slice(2, 3))('%s', async (name, document, options) => {
    expect(await count(await file(`${name}.gz`, gzipSync(repeated(document, most))), options)).toBe(most);
    const more = repeated(document, most + 2); // the last record of FASTA is complete at the end of the file only
    const [, found] = message.exec(await refusal(count(await file(`${name}.gz`, gzipSync(more)), options)))!;
    expect(Number(found)).toBeGreaterThan(most);
    expect(await count(await file(name, more), options)).toBe(most + 2); // not packed
  });

  test('those that are left out count', async () => {
    const path = await file('empty.fasta.gz', gzipSync(repeated('>\n', most + 2)));
    expect(await refusal(count(path))).toMatch(message);
    const short = await file('short.txt.gz', gzipSync(repeated('A\n\n', most + 1)));
    expect(await refusal(count(short, { minLength: 2 }))).toMatch(message);
  });

  test('real corpora, and the densest texts that mean something, have far fewer', async () => {
    const data = (await readdir(dataFolder('.'))).filter(name => name.endsWith('.gz'));
    expect(data.length).toBeGreaterThan(20);
    for (const name of data)
      expect((await count(dataFolder(name))) / (await stat(dataFolder(name))).size).toBeLessThan(4 / 100);
    const random = new Random(1);
    const letters = (alphabet: string, length: number) =>
      Array.from({ length }, () => alphabet[random.integer(alphabet.length)]).join('');
    const read = letters('ACGT', 36);
    const residues = 'ACDEFGHIKLMNPQRSTVWY';
    const dense: [make: (i: number) => string, perByte: number][] = [
      [i => `>p${i}\n${letters(residues, 5)}\n`, 0.17],
      [() => `>\n${letters(residues, 5)}\n`, 0.29],
      [() => `${letters('abcdefghijklmnopqrstuvwxyz', 4)}\n\n`, 0.33],
      [i => `>r${i}\n${read}\n`, 0.45],
      [i => `${[17576, 676, 26, 1].map(n => String.fromCharCode(97 + (Math.floor(i / n) % 26))).join('')}\n\n`, 0.5],
      [() => `${letters(residues, 1)}\n\n`, 1.4],
    ];
    const documents = 20_000;
    for (const [make, perByte] of dense) {
      const packed = gzipSync(Array.from({ length: documents }, (_, i) => make(i)).join(''), { level: 9 });
      expect(documents / packed.length).toBeLessThan(perByte);
      expect(documents / packed.length).toBeGreaterThan(0.8 * perByte);
    }
  });

  test('of the bytes that were unpacked, whatever lies behind them', async () => {
    const begin = gzipSync(Buffer.concat([incompressible(2 ** 19), Buffer.from('\n\n')]));
    const end = gzipSync(incompressible(2 ** 19));
    const documents = (n: number) => gzipSync(repeated('A\n\n', n));
    const path = await file('dense.txt.gz', Buffer.concat([begin, documents(4 * begin.length - 1)]));
    expect(begin.length).toBeGreaterThan(most / 4);
    expect(await count(path)).toBe(4 * begin.length);
    await file('dense.txt.gz', Buffer.concat([begin, documents(6 * begin.length), end]));
    const [, found, bytes] = message.exec(await refusal(count(path)))!.map(Number);
    expect(found).toBeGreaterThan(4 * bytes);
    expect(found).toBeLessThan(5 * bytes);
    expect(bytes).toBeLessThan(begin.length + end.length);
  });
});
