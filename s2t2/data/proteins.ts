/**
 * Makes the bundled protein set: Swiss-Prot sequences (Debian's metastudent-data), one per cluster at 50 % identity,
 * split by whole cluster, and checked by a sensitive search of the held-out sequences against the others.
 *
 * Needs Debian's `apt-get` and `dpkg-deb` to fetch the package, and MMseqs2 (`apt-get install mmseqs2`).
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { Random } from '../../engine/index.ts';
import { makeDirectory, UserError, writeFileAtomic } from '../../models/files.ts';
import { readBlastDatabase, type Protein } from './blast.ts';

export interface ProteinOptions {
  /** Where `proteins.{train,validation,test}.fasta.gz` and `proteins.json` go. */
  readonly out: string;
  /** Where the package, the clusters and the search results go. */
  readonly work: string;
  /** The Debian package, if it is here already. */
  readonly packageFile?: string;
  readonly train: number;
  readonly validation: number;
  readonly test: number;
  readonly minLength: number;
  readonly maxLength: number;
  readonly seed: number;
  readonly log: (line: string) => void;
}

export const proteinDefaults = { train: 6000, validation: 300, test: 300, minLength: 50, maxLength: 512, seed: 0 };

const packageName = 'metastudent-data';
const clustering = ['--min-seq-id', '0.5', '-c', '0.8', '--cov-mode', '0'];
/** What clustering calls one cluster; a hit like this between training and a held-out sequence is a leak. */
const closeHit = { identity: 0.5, coverage: 0.8 };

export async function makeProteins(options: ProteinOptions): Promise<void> {
  const { log, seed } = options;
  // Absolute: the tools run inside `work`.
  const [out, work] = [resolve(options.out), resolve(options.work)];
  await makeDirectory(out);
  await makeDirectory(work);
  const all = await readPackage(work, options.packageFile, log);
  const kept = all.filter(p => p.sequence.length >= options.minLength && p.sequence.length <= options.maxLength && /^[ACDEFGHIKLMNPQRSTVWY]+$/.test(p.sequence));
  log(`${all.length} distinct sequences, ${kept.length} of ${options.minLength}-${options.maxLength} standard residues`);
  const representatives = await cluster(kept, work);
  log(`${representatives.length} clusters at 50 % identity`);

  // Whole clusters to each split: a representative stands for its cluster, and no cluster is in two splits.
  const order = new Random(seed).shuffle(representatives);
  const held = options.validation + options.test;
  const train = order.slice(0, options.train);
  const candidates = order.slice(options.train, options.train + 2 * held);
  const { chosen, rejected } = chooseApart(candidates, train, held, await search(candidates, [...train, ...candidates], work));
  if (chosen.length < held) throw new UserError(`proteins: only ${chosen.length} of ${held} held-out sequences have no close relative; ask for fewer`);
  const splits = { train, validation: chosen.slice(0, options.validation), test: chosen.slice(options.validation) };

  // The check, on what is written.
  const check = {
    search: 'mmseqs easy-search -s 7.5 -e 0.001; each query counts once, by its most identical hit that covers 80 % of both sequences',
    testAgainstTrainAndValidation: countRelatives(splits.test, await search(splits.test, [...train, ...splits.validation], work)),
    validationAgainstTrain: countRelatives(splits.validation, await search(splits.validation, train, work)),
    replacedWhileChoosing: rejected,
  };
  const leaks = check.testAgainstTrainAndValidation.atLeast50Percent + check.validationAgainstTrain.atLeast50Percent;
  if (leaks > 0) throw new Error(`proteins: ${leaks} held-out sequences still have a relative of 50 % identity in another split`);
  for (const [name, proteins] of Object.entries(splits)) {
    const fasta = proteins.map(p => `>${p.name}\n${p.sequence.replace(/.{1,60}/g, '$&\n')}`).join('');
    await writeFileAtomic(join(out, `proteins.${name}.fasta.gz`), gzipSync(fasta, { level: 9 }));
  }
  const summary = {
    source: `Swiss-Prot of January 2014, from Debian's package ${packageName}`,
    command: `npm run s2t2 -- data proteins --train ${options.train} --validation ${options.validation} --test ${options.test} --seed ${seed}`,
    clusters: { tool: `mmseqs easy-linclust ${clustering.join(' ')}`, sequences: kept.length, clusters: representatives.length },
    splits: Object.fromEntries(Object.entries(splits).map(([name, ps]) => [name, { sequences: ps.length, residues: ps.reduce((n, p) => n + p.sequence.length, 0) }])),
    check,
  };
  await writeFileAtomic(join(out, 'proteins.json'), `${JSON.stringify(summary, null, 2)}\n`);
  log(JSON.stringify(check, null, 2));
}

/** The first `count` candidates that have no close hit, as query or target, in `taken` or among those chosen before. */
export function chooseApart(candidates: readonly Protein[], taken: readonly Protein[], count: number, hits: readonly Hit[]): { chosen: Protein[]; rejected: number } {
  const relatives = new Map<string, string[]>();
  for (const { query, target } of hits.filter(isClose)) {
    for (const [a, b] of [[query, target], [target, query]]) relatives.set(a, [...(relatives.get(a) ?? []), b]);
  }
  const names = new Set(taken.map(p => p.name));
  const chosen: Protein[] = [];
  let rejected = 0;
  for (const candidate of candidates) {
    if (chosen.length === count) break;
    if (relatives.get(candidate.name)?.some(name => names.has(name))) rejected++;
    else {
      chosen.push(candidate);
      names.add(candidate.name);
    }
  }
  return { chosen, rejected };
}

const isClose = (hit: Hit): boolean => hit.identity >= closeHit.identity && hit.coverage >= closeHit.coverage;

/** How related the queries are to what was searched; a short hit (a shared domain, a fragment) counts apart. */
export function countRelatives(queries: readonly Protein[], hits: readonly Hit[]) {
  const strongest = new Map<string, number>();
  for (const h of hits) if (h.coverage >= closeHit.coverage) strongest.set(h.query, Math.max(strongest.get(h.query) ?? 0, h.identity));
  const within = (low: number, high: number) => [...strongest.values()].filter(identity => identity >= low && identity < high).length;
  return {
    atLeast50Percent: within(0.5, Infinity),
    from30To50Percent: within(0.3, 0.5),
    below30Percent: within(0, 0.3),
    withoutHit: queries.length - strongest.size,
    withShortHitOf50Percent: new Set(hits.filter(h => h.identity >= closeHit.identity && h.coverage < closeHit.coverage).map(h => h.query)).size,
  };
}

/** Every protein of the package once, by accession and by sequence. */
async function readPackage(work: string, packageFile: string | undefined, log: (line: string) => void): Promise<Protein[]> {
  const root = join(work, 'package');
  if (!existsSync(root)) {
    if (packageFile !== undefined && !existsSync(packageFile)) throw new UserError(`${packageFile}: no such file; --package names Debian's package ${packageName}`);
    if (packageFile === undefined) {
      log(`fetching Debian's package ${packageName} (225 MB)`);
      await run('apt-get', ['download', packageName], work);
    }
    const file = packageFile === undefined ? join(work, (await readdir(work)).find(name => name.startsWith(packageName) && name.endsWith('.deb'))!) : resolve(packageFile);
    // Renamed once it is whole, so that a killed run leaves no half of it.
    await rm(`${root}.partial`, { recursive: true, force: true });
    await run('dpkg-deb', ['-x', file, `${root}.partial`], work);
    await rename(`${root}.partial`, root);
  }
  const base = join(root, 'usr/share/metastudent-data');
  const dataset = (await readdir(base)).find(name => name.startsWith('dataset_'));
  if (dataset === undefined) throw new UserError(`${base}: holds no dataset; this is not the package ${packageName}`);
  const proteins = new Map<string, Protein>();
  for (const ontology of ['BPO', 'CCO', 'MFO']) {
    for (const p of await readBlastDatabase(join(base, dataset, ontology, 'goasp.fasta'))) {
      const name = p.name.split('|')[0]; // the rest are GO terms
      if (!proteins.has(name)) proteins.set(name, { name, sequence: p.sequence });
    }
  }
  const sorted = [...proteins.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...new Map(sorted.map(p => [p.sequence, p])).values()];
}

/** One sequence of each cluster, the one that MMseqs2 takes as its representative. */
async function cluster(proteins: readonly Protein[], work: string): Promise<Protein[]> {
  await writeFasta(join(work, 'all.fasta'), proteins);
  await mmseqs(work, 'easy-linclust', 'all.fasta', 'clusters', 'tmp', ...clustering);
  const table = await readFile(join(work, 'clusters_cluster.tsv'), 'utf8');
  const chosen = new Set(table.split('\n').filter(Boolean).map(line => line.split('\t')[0]));
  return proteins.filter(p => chosen.has(p.name));
}

export interface Hit {
  readonly query: string;
  readonly target: string;
  /** Share of identical residues in the alignment. */
  readonly identity: number;
  /** The smaller share of a sequence that the alignment covers. */
  readonly coverage: number;
}

/** A sensitive search; a sequence is no hit of itself. */
async function search(queries: readonly Protein[], targets: readonly Protein[], work: string): Promise<Hit[]> {
  await writeFasta(join(work, 'queries.fasta'), queries);
  await writeFasta(join(work, 'targets.fasta'), targets);
  await mmseqs(work, 'easy-search', 'queries.fasta', 'targets.fasta', 'hits.tsv', 'tmp', '-s', '7.5', '-e', '0.001', '--format-output', 'query,target,fident,qcov,tcov');
  return (await readFile(join(work, 'hits.tsv'), 'utf8')).split('\n').filter(Boolean).map(line => {
    const [query, target, identity, queryCoverage, targetCoverage] = line.split('\t');
    return { query, target, identity: Number(identity), coverage: Math.min(Number(queryCoverage), Number(targetCoverage)) };
  }).filter(h => h.query !== h.target);
}

const writeFasta = (path: string, proteins: readonly Protein[]): Promise<void> => writeFile(path, proteins.map(p => `>${p.name}\n${p.sequence}\n`).join(''));

/** What a killed run left in `tmp` would be taken for this one's. */
async function mmseqs(work: string, ...args: readonly string[]): Promise<void> {
  await rm(join(work, 'tmp'), { recursive: true, force: true });
  await run('mmseqs', [...args, '--threads', '2', '-v', '1'], work);
}

const elsewhere = `fetch Debian's package ${packageName} by hand and give --package FILE`;
const advice: Record<string, { missing: string; failed: string }> = {
  'apt-get': { missing: `this needs Debian or Ubuntu; elsewhere ${elsewhere}`, failed: `try apt-get update, or ${elsewhere}` },
  'dpkg-deb': { missing: 'install it with your package manager (dpkg)', failed: 'is the package whole, and is there room on the disk?' },
  mmseqs: { missing: 'install it with: apt-get install mmseqs2', failed: 'is there room on the disk and in memory?' },
};

async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  await promisify(execFile)(command, args, { cwd, maxBuffer: 2 ** 26 }).catch((error: NodeJS.ErrnoException) => {
    const { missing, failed } = advice[command];
    throw new UserError(error.code === 'ENOENT' ? `${command}: not found; ${missing}` : `${command}: failed: ${error.message.trim().split('\n').at(-1)}; ${failed}`);
  });
}
