/**
 * Makes the bundled protein set: Swiss-Prot sequences (Debian's metastudent-data), one per cluster at 50 % identity,
 * split by whole cluster, and checked by a sensitive search of the held-out sequences against the others.
 *
 * Needs Debian's `apt-get` and `dpkg-deb` to fetch the package, and MMseqs2 (`apt-get install mmseqs2`).
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { Random } from '../../engine/index.ts';
import { UserError, writeFileAtomic } from '../../models/files.ts';
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

export async function makeProteins(options: ProteinOptions): Promise<void> {
  const { out, work, log, seed } = options;
  await mkdir(work, { recursive: true });
  const all = await readPackage(options);
  const kept = all.filter(p => p.sequence.length >= options.minLength && p.sequence.length <= options.maxLength && /^[ACDEFGHIKLMNPQRSTVWY]+$/.test(p.sequence));
  log(`${all.length} distinct sequences, ${kept.length} of ${options.minLength}-${options.maxLength} standard residues`);
  const representatives = await cluster(kept, work);
  log(`${representatives.length} clusters at 50 % identity`);

  // Whole clusters to each split: a representative stands for its cluster, and no cluster is in two splits.
  const order = new Random(seed).shuffle(representatives);
  const held = options.validation + options.test;
  const train = order.slice(0, options.train);
  const spare = order.slice(options.train, options.train + 2 * held);
  const chosen: Protein[] = [];
  let rejected = 0;
  const hits = await identities(spare, [...train, ...spare], work);
  for (const p of spare) {
    if (chosen.length === held) break;
    // Every hit counts, against training and against what was chosen before.
    const names = new Set([...train, ...chosen].map(q => q.name));
    const close = hits.filter(h => (h.query === p.name && names.has(h.target)) || (h.target === p.name && names.has(h.query)));
    if (close.some(h => h.identity >= 0.5 && h.coverage >= 0.8)) rejected++;
    else chosen.push(p);
  }
  if (chosen.length < held) throw new UserError(`proteins: only ${chosen.length} of ${held} held-out sequences have no close relative; ask for fewer`);
  const splits = { train, validation: chosen.slice(0, options.validation), test: chosen.slice(options.validation) };

  // The check, on what is written: test against training and validation.
  const again = await identities(splits.test, [...train, ...splits.validation], work);
  const strongest = new Map<string, number>();
  for (const h of again) if (h.coverage >= 0.8) strongest.set(h.query, Math.max(strongest.get(h.query) ?? 0, h.identity));
  const count = (low: number, high: number) => [...strongest.values()].filter(identity => identity >= low && identity < high).length;
  const check = {
    search: 'mmseqs easy-search -s 7.5 -e 0.001, test against training and validation; hits that cover 80 % of both',
    atLeast50Percent: count(0.5, Infinity),
    from30To50Percent: count(0.3, 0.5),
    below30Percent: count(0, 0.3),
    withoutHit: splits.test.length - strongest.size,
    replacedWhileChoosing: rejected,
  };
  if (check.atLeast50Percent > 0) throw new Error(`proteins: ${check.atLeast50Percent} test sequences still have a relative of 50 % identity in the other splits`);
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
  log(JSON.stringify(check));
}

/** Every protein of the package once, by accession and by sequence. */
async function readPackage({ work, packageFile, log }: ProteinOptions): Promise<Protein[]> {
  const root = join(work, 'package');
  if (!existsSync(root)) {
    if (!packageFile) {
      log(`fetching Debian's package ${packageName} (225 MB)`);
      await run('apt-get', ['download', packageName], work, 'this needs Debian or Ubuntu; elsewhere fetch the package by hand and give --package FILE');
    }
    const file = packageFile ?? join(work, (await readdir(work)).find(n => n.startsWith(packageName) && n.endsWith('.deb'))!);
    await run('dpkg-deb', ['-x', file, root], work, 'this unpacks a Debian package');
  }
  const base = join(root, 'usr/share/metastudent-data');
  const [dataset] = await readdir(base);
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
  await run('mmseqs', ['easy-linclust', 'all.fasta', 'clusters', 'tmp', ...clustering, '--threads', '2', '-v', '1'], work);
  const table = await readFile(join(work, 'clusters_cluster.tsv'), 'utf8');
  const chosen = new Set(table.split('\n').filter(Boolean).map(line => line.split('\t')[0]));
  return proteins.filter(p => chosen.has(p.name));
}

interface Hit {
  readonly query: string;
  readonly target: string;
  /** Share of identical residues in the alignment. */
  readonly identity: number;
  /** The smaller share of a sequence that the alignment covers. */
  readonly coverage: number;
}

/** A sensitive search; a sequence is no hit of itself. */
async function identities(queries: readonly Protein[], targets: readonly Protein[], work: string): Promise<Hit[]> {
  await writeFasta(join(work, 'queries.fasta'), queries);
  await writeFasta(join(work, 'targets.fasta'), targets);
  await run('mmseqs', ['easy-search', 'queries.fasta', 'targets.fasta', 'hits.tsv', 'tmp', '-s', '7.5', '-e', '0.001', '--threads', '2', '-v', '1', '--format-output', 'query,target,fident,qcov,tcov'], work);
  return (await readFile(join(work, 'hits.tsv'), 'utf8')).split('\n').filter(Boolean).map(line => {
    const [query, target, identity, queryCoverage, targetCoverage] = line.split('\t');
    return { query, target, identity: Number(identity), coverage: Math.min(Number(queryCoverage), Number(targetCoverage)) };
  }).filter(h => h.query !== h.target);
}

const writeFasta = (path: string, proteins: readonly Protein[]): Promise<void> => writeFile(path, proteins.map(p => `>${p.name}\n${p.sequence}\n`).join(''));

async function run(command: string, args: readonly string[], cwd: string, advice = 'install it with: apt-get install mmseqs2'): Promise<void> {
  await promisify(execFile)(command, args, { cwd, maxBuffer: 2 ** 26 }).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${command}: ${error.code === 'ENOENT' ? `not found; ${advice}` : `failed: ${error.message.trim().split('\n').at(-1)}; ${advice}`}`);
  });
}
