/** The English texts, on packages of a few short texts: split by document, cleaned, the same each time. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadEnglish } from '../../../../s2t2/app/data/english.ts';
import { englishPackages } from './packages.ts';

const splits = ['train', 'validation', 'test'] as const;

describe('English', () => {
  let cache: string;
  beforeAll(async () => {
    cache = await mkdtemp(join(tmpdir(), 's2t2-english-'));
    await englishPackages(cache);
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

test('a cache to which the manifest cannot be copied is rejected with one line', async () => {
  const cache = await mkdtemp(join(tmpdir(), 's2t2-english-'));
  await mkdir(join(cache, 'package.json'));
  await expect(loadEnglish({ cache, log: () => {} })).rejects.toThrow(
    /cannot be copied there \([^\n]+\); give another --work$/,
  );
  await rm(cache, { recursive: true });
});
