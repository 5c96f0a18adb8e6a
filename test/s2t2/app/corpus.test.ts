/** A corpus, whatever its format: found out, filtered and counted, its mistakes told with file and line. */

import { writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import v8 from 'node:v8';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type CorpusOptions, readCorpus } from '../../../s2t2/app/corpus.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';

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
