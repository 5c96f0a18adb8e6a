/**
 * What is bundled is whole and apart: texts, letters and hashes as recorded, no text or long stretch of it in two
 * splits; what is missing is told in one line.
 */
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../../../models/sha256.ts';
import { readCorpus } from '../../../../s2t2/app/corpus.ts';
import { parseSubstitutionMatrix, readBlosum62 } from '../../../../s2t2/app/data/blosum.ts';
import { type DomainName, domains, loadDomain, splitFile } from '../../../../s2t2/app/data/domains.ts';
import { countUnits, type DomainRecord } from '../../../../s2t2/app/data/make.ts';
import { countRelatives, searchTexts } from '../../../../s2t2/app/data/relatives.ts';
import { dataFolder } from '../../../../s2t2/app/data/tools.ts';
import { refusal, temporaryDirectory } from '../../../models/temporary.ts';

const work = temporaryDirectory();
const parts = ['train', 'validation', 'test'] as const;
const names = Object.keys(domains) as DomainName[];
const fileOf = (name: string, part: string) => splitFile(dirname(dataFolder(`${name}.json`)), name, part);
const recordOf = async (name: string) => JSON.parse(await readFile(dataFolder(`${name}.json`), 'utf8')) as DomainRecord;
const documentsOf = async (name: string) => {
  const [train, validation, test] = await Promise.all(
    parts.map(async part => (await readCorpus(fileOf(name, part))).documents),
  );
  return { train, validation, test };
};

/** The letters of a text, by domain. */
const alphabets: Record<DomainName, RegExp> = {
  proteins: /^[ACDEFGHIKLMNPQRSTVWY]{50,512}$/,
  enzymes: /^[ACDEFGHIKLMNPQRSTVWY]{50,512}$/,
  dna: /^[ACGT]{4096}$/,
  rna: /^[ACGU]{1200,1700}$/,
  code: /\b(import|export|function|class)\b/,
  japanese: /[\p{sc=Hira}\p{sc=Kana}]/u,
  chinese: /\p{sc=Han}/u,
  korean: /\p{sc=Hang}/u,
  russian: /\p{sc=Cyrl}/u,
  greek: /\p{sc=Grek}/u,
  hebrew: /^[\p{L}\s־׃׀]+$/u,
  digits: /^(\d{14}\n){13}\d{14}$/,
};

describe.each(names)('%s', name => {
  test('files are what the record says, and hold no time', async () => {
    const { splits, unit } = await recordOf(name);
    for (const part of parts) {
      const bytes = await readFile(fileOf(name, part));
      expect(bytes.readUInt32LE(4)).toBe(0);
      expect(sha256(gunzipSync(bytes))).toBe(splits[part].sha256);
      const texts = (await loadDomain(name))[part];
      expect({ texts: texts.length, units: countUnits(texts, unit as 'byte') }).toEqual({
        texts: splits[part].texts,
        units: splits[part].units,
      });
      expect(texts.length).toBe(domains[name].sizes[part]);
      for (const text of texts) expect(text).toMatch(alphabets[name]);
    }
  });

  test('every name and every text is there once, in all splits together', async () => {
    const documents = await documentsOf(name);
    const all = parts.flatMap(part => documents[part]);
    expect(new Set(all.map(d => d.name)).size).toBe(all.length);
    expect(new Set(all.map(d => d.text)).size).toBe(all.length);
  });

  test('the record says where it comes from, and that no close relative is in two splits', async () => {
    const { source, licence, command, check } = await recordOf(name);
    expect({ source, licence }).toEqual({ source: domains[name].source, licence: domains[name].licence });
    expect(command).toContain(`data ${name} `);
    expect(check.close).toEqual(domains[name].kin.close);
    expect(check.testAgainstTrainAndValidation.close).toBe(0);
    expect(check.validationAgainstTrain.close).toBe(0);
  });
});

test.each(names.filter(name => domains[name].unit === 'byte'))(
  '%s: the shared stretches are as recorded',
  async name => {
    const { train, validation, test } = await documentsOf(name);
    const { check } = await recordOf(name);
    expect(countRelatives(test, searchTexts(test, [...train, ...validation]), check.close)).toEqual(
      check.testAgainstTrainAndValidation,
    );
    expect(countRelatives(validation, searchTexts(validation, train), check.close)).toEqual(
      check.validationAgainstTrain,
    );
  },
);

/** Every stretch of so many letters. */
const windows = (texts: readonly string[], length: number) =>
  new Set(texts.flatMap(text => Array.from({ length: text.length - length + 1 }, (_, i) => text.slice(i, i + length))));
const reverseComplement = (text: string) =>
  [...text]
    .reverse()
    .map(base => ({ A: 'T', C: 'G', G: 'C', T: 'A' })[base])
    .join('');

test.each(['proteins', 'enzymes'])(
  '%s: no 30 residues of a test sequence stand in a row in training or validation',
  async name => {
    const { train, validation, test } = await loadDomain(name);
    const held = windows(test, 30);
    expect([...windows([...train, ...validation], 30)].filter(w => held.has(w))).toEqual([]);
  },
);

test('dna: no copy of 123 bases, a thirtieth of a piece, on either strand', async () => {
  const { train, validation, test } = await loadDomain('dna');
  const held = windows([...test, ...test.map(reverseComplement)], 123);
  expect([...windows([...train, ...validation], 123)].filter(w => held.has(w))).toEqual([]);
});

test('enzymes: six classes have equal shares of training', async () => {
  const { splits } = await recordOf('enzymes');
  expect(splits.train.labels).toEqual(
    Object.fromEntries([1, 2, 3, 4, 5, 6].map(ec => [`EC ${ec}`, domains.enzymes.sizes.train / 6])),
  );
});

test('the samples besides the proteins take less than 1.4 MB', async () => {
  const files = names
    .filter(name => name !== 'proteins')
    .flatMap(name => [dataFolder(`${name}.json`), ...parts.map(part => fileOf(name, part))]);
  const sizes = await Promise.all(files.map(async file => (await stat(file)).size));
  expect(sizes.reduce((n, size) => n + size, 0)).toBeLessThan(1.4e6);
});

test('an unknown domain and missing files are one-line errors', async () => {
  expect(await refusal(loadDomain('protein'))).toBe(`protein: no such domain; expected one of ${names.join(', ')}`);
  expect(await refusal(loadDomain('toString'))).toMatch(/no such domain/);
  expect(await refusal(loadDomain('dna', work))).toBe(
    `${work}: holds no dna.json; make it with npm run s2t2 -- data dna --out ${work}`,
  );
});

describe('BLOSUM62', () => {
  test('has the scores of the paper, is symmetric, and knows each residue best by itself', async () => {
    const { letters, scores } = await readBlosum62();
    const score = (a: string, b: string) => scores[letters.indexOf(a)][letters.indexOf(b)];
    expect(letters).toBe('ACDEFGHIKLMNPQRSTVWY');
    expect([
      score('W', 'W'),
      score('C', 'C'),
      score('A', 'A'),
      score('I', 'V'),
      score('D', 'E'),
      score('W', 'D'),
    ]).toEqual([11, 9, 4, 3, 2, -4]);
    for (const [i, row] of scores.entries())
      for (const [j, s] of row.entries()) {
        expect(s).toBe(scores[j][i]);
        if (i !== j) expect(s).toBeLessThan(row[i]);
      }
  });

  const matrix = fc.uniqueArray(fc.constantFrom(...'ACDEFGHIKLMNPQRSTVWYBZX*'), { minLength: 1 }).chain(letters =>
    fc.record({
      letters: fc.constant(letters.join('')),
      scores: fc.array(
        fc.array(fc.integer({ min: -20, max: 20 }), { minLength: letters.length, maxLength: letters.length }),
        { minLength: letters.length, maxLength: letters.length },
      ),
    }),
  );
  const render = ({ letters, scores }: { letters: string; scores: number[][] }) => [
    '# a comment',
    `  ${[...letters].join('  ')}`,
    ...scores.map((row, i) => `${letters[i]} ${row.join(' ')} `),
    '',
  ];

  test('any matrix reads back; without a row, or with a row too short, its line is named', () => {
    fc.assert(
      fc.property(matrix, fc.nat(), (m, n) => {
        const lines = render(m);
        expect(parseSubstitutionMatrix(lines.join('\n'), 'm')).toEqual(m);
        const row = 2 + (n % m.letters.length);
        expect(() => parseSubstitutionMatrix(lines.with(row, `${lines[row]}half`).join('\n'), 'm')).toThrow(
          `m:${row + 1}: not a row of ${m.letters.length} whole numbers for ${m.letters[row - 2]}`,
        );
        expect(() => parseSubstitutionMatrix(lines.slice(0, -2).join('\n'), 'm')).toThrow(
          `m: ${m.letters.length - 1} rows for ${m.letters.length} letters`,
        );
      }),
    );
    expect(() => parseSubstitutionMatrix('# nothing\n', 'm')).toThrow('m: 0 rows for 0 letters');
  });
});
