/**
 * Domains to adapt to, as one table: where each one's texts come from, how they are read, and what makes two of them
 * too close for two splits. `loadDomain` reads what is bundled or made; `make.ts` makes it.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as v from 'valibot';
import { UserError } from '../../../models/errors.ts';
import { chunksOf, readCorpus } from '../corpus.ts';
import { hash, readRecord } from '../records.ts';
import {
  readCode,
  readDigits,
  readEnzymes,
  readGenome,
  readHebrew,
  readHelp,
  readProteins,
  readRna,
  type Reader,
} from './readers.ts';
import type { Close, Sizes } from './relatives.ts';
import { dataFolder } from './tools.ts';

/** The texts of a domain, in three splits, and where they come from. */
export interface DomainData {
  readonly name: string;
  /** What a text is counted in: residue, base, byte. */
  readonly unit: string;
  readonly train: string[];
  readonly validation: string[];
  readonly test: string[];
  readonly source: string;
  readonly licence: string;
}

/**
 * How relatives are found: options of `mmseqs easy-linclust` (where one text of a cluster is kept) and `easy-search`;
 * without either, shared stretches.
 */
export interface Kin {
  readonly linclust?: readonly string[];
  readonly easySearch?: readonly string[];
  /** From here on a relative in another split is a leak. */
  readonly close: Close;
}

/** How a domain is read, split and described. */
export interface Domain {
  readonly unit: 'residue' | 'base' | 'byte';
  /** A package of Debian, or a manifest of npm packages beside this file. */
  readonly package: { readonly debian: string } | { readonly npm: string };
  readonly source: string;
  readonly licence: string;
  readonly read: Reader;
  readonly kin: Kin;
  /** Texts in the bundled splits. */
  readonly sizes: Sizes;
}

const clusters = (identity: string) => ['--min-seq-id', identity, '-c', '0.8', '--cov-mode', '0'];
const proteinKin: Kin = {
  linclust: clusters('0.5'),
  easySearch: ['-s', '7.5', '-e', '0.001'],
  close: { similarity: 0.5, coverage: 0.8 },
};
/** Seeds of 11 bases: shorter than MMseqs2's 15, so more sensitive, and a table of megabytes in place of gigabytes. */
const bothStrands = ['--search-type', '3', '--strand', '2', '-k', '11', '-e', '0.001'];
const textKin: Kin = { close: { similarity: 0.2, coverage: 1 } };

const swissProt = {
  unit: 'residue',
  package: { debian: 'metastudent-data' },
  licence: 'CC BY 4.0, © The UniProt Consortium',
  kin: proteinKin,
} as const;

const help = (code: string, language: string, script: RegExp, sizes: Sizes): Domain => ({
  unit: 'byte',
  package: { debian: `libreoffice-help-${code.toLowerCase()}` },
  source: `LibreOffice 7.4's help in ${language}`,
  licence: 'MPL-2.0, © The Document Foundation and contributors',
  read: readHelp(code, script),
  kin: textKin,
  sizes,
});

/** All domains by name. */
export const domains = {
  proteins: {
    ...swissProt,
    source: 'Swiss-Prot of January 2014',
    read: readProteins,
    sizes: { train: 6000, validation: 300, test: 300 },
  },
  enzymes: {
    ...swissProt,
    source: 'enzymes of Swiss-Prot of January 2014, six EC classes in equal numbers',
    read: readEnzymes,
    sizes: { train: 600, validation: 60, test: 60 },
  },
  dna: {
    unit: 'base',
    package: { debian: 'kleborate-examples' },
    source: 'genome of Klebsiella pneumoniae MGH 78578 (GenBank CP000647 to CP000652) in pieces of 4,096 bases',
    licence: 'GenBank: free of restrictions; the package is GPL-3',
    read: readGenome(4096),
    // A copy of 123 bases, a thirtieth of a piece, is too much.
    kin: { easySearch: bothStrands, close: { similarity: 0.8, coverage: 0.03 } },
    sizes: { train: 112, validation: 8, test: 8 },
  },
  rna: {
    unit: 'base',
    package: { debian: 'microbiomeutil-data' },
    source: '16S ribosomal RNA of bacteria and archaea, the gold set of microbiomeutil',
    licence: 'BSD-3-Clause, © 2009-2010 The Broad Institute',
    read: readRna,
    kin: { linclust: clusters('0.9'), easySearch: bothStrands, close: { similarity: 0.9, coverage: 0.8 } },
    sizes: { train: 325, validation: 24, test: 24 },
  },
  code: {
    unit: 'byte',
    package: { npm: 'code' },
    source:
      'TypeScript of @noble/curves, @noble/hashes, @tanstack/query-core and mobx and JavaScript of three, ' +
      'in equal numbers of files',
    licence: 'MIT, © Paul Miller; Tanner Linsley; Michel Weststrate; three.js authors',
    read: readCode('@noble/curves', '@noble/hashes', '@tanstack/query-core', 'mobx', 'three'),
    kin: textKin,
    sizes: { train: 40, validation: 8, test: 8 },
  },
  japanese: help('ja', 'Japanese', /[\p{sc=Hira}\p{sc=Kana}\p{sc=Han}]/u, { train: 125, validation: 16, test: 16 }),
  chinese: help('zh-CN', 'Chinese', /\p{sc=Han}/u, { train: 110, validation: 14, test: 14 }),
  korean: help('ko', 'Korean', /[\p{sc=Hang}\p{sc=Han}]/u, { train: 140, validation: 16, test: 16 }),
  russian: help('ru', 'Russian', /\p{sc=Cyrl}/u, { train: 145, validation: 18, test: 18 }),
  greek: help('el', 'Greek', /\p{sc=Grek}/u, { train: 105, validation: 16, test: 16 }),
  hebrew: {
    unit: 'byte',
    package: { debian: 'bibledit-cloud-data' },
    source: 'the Hebrew Bible (Westminster Leningrad Codex, Open Scriptures), letters only',
    licence: 'public domain',
    read: readHebrew,
    kin: textKin,
    sizes: { train: 110, validation: 14, test: 14 },
  },
  digits: {
    unit: 'byte',
    package: { npm: 'digits' },
    source: 'handwritten digits of MNIST as text: 14 rows of 14 grey values from 0 to 9',
    licence: 'CC BY-SA 3.0, © Yann LeCun and Corinna Cortes',
    read: readDigits,
    // All have the same empty border: four rows of 14.
    kin: { close: { similarity: 0.5, coverage: 1 } },
    sizes: { train: 2000, validation: 200, test: 200 },
  },
} as const satisfies Readonly<Record<string, Domain>>;

/** The name of a domain. */
export type DomainName = keyof typeof domains;

/** The domain of a name; an unknown name is a `UserError` that lists them. */
export function domainOf(name: string): Domain {
  if (!Object.hasOwn(domains, name))
    throw new UserError(`${name}: no such domain; expected one of ${Object.keys(domains).join(', ')}`);
  return domains[name as DomainName];
}

/** The file of a split, beside the record `NAME.json`. */
export const splitFile = (folder: string, name: string, split: string): string =>
  join(folder, `${name}.${split}.${domainOf(name).unit === 'byte' ? 'jsonl' : 'fasta'}.gz`);

const splitNames = ['train', 'validation', 'test'] as const;
/** Of `NAME.json`, what a split must be: the SHA-256 of its unpacked file. */
const split = v.object({ sha256: hash });
const recordSchema = v.object({ splits: v.object({ train: split, validation: split, test: split }) });

/**
 * The three splits of a domain: those that are bundled, or those that `s2t2 data NAME` put in `folder`.
 *
 * @throws UserError where a file is missing or a split is not the one that its record describes: a copy that was cut
 *   off reads as a corpus with fewer texts.
 */
export async function loadDomain(
  name: string,
  folder: string = dirname(dataFolder(`${name}.json`)),
): Promise<DomainData> {
  const { unit, source, licence } = domainOf(name);
  const record = join(folder, `${name}.json`);
  const making = `npm run s2t2 -- data ${name} --out ${folder}`;
  if (!existsSync(record)) throw new UserError(`${folder}: holds no ${name}.json; make it with ${making}`);
  const advice = `make the data again with ${making}`;
  const { splits } = await readRecord(record, recordSchema, advice);
  const [train, validation, test] = await Promise.all(
    splitNames.map(async part => {
      const file = splitFile(folder, name, part);
      if ((await sha256Unpacked(file)) !== splits[part].sha256)
        throw new UserError(`${file}: does not have the SHA-256 that ${record} records; ${advice}`);
      return (await readCorpus(file)).documents.map(d => d.text);
    }),
  );
  return { name, unit, train, validation, test, source, licence };
}

async function sha256Unpacked(path: string): Promise<string> {
  const digest = createHash('sha256');
  for await (const chunk of chunksOf(path)) digest.update(chunk);
  return digest.digest('hex');
}
