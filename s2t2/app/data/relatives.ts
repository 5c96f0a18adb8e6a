/**
 * Relatives among texts, and splits that hold none of each other's.
 *
 * Two things are searched for relatives: sequences by alignment (MMseqs2), all other text by the stretches of 32
 * characters that it shares. What counts as too close is the domain's to say.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Random } from '../../../engine/index.ts';
import { UserError } from '../../../models/errors.ts';
import type { Item } from './readers.ts';
import { mmseqs } from './tools.ts';

/** Two texts that resemble each other. */
export interface Hit {
  readonly query: string;
  readonly target: string;
  /**
   * Share of identical letters in the alignment; for other text the share of the query's stretches that the target
   * holds.
   */
  readonly similarity: number;
  /** The smaller share of a sequence that the alignment covers; 1 for other text. */
  readonly coverage: number;
}

/** A hit of at least this much of both makes two texts too close for two splits. */
export type Close = Pick<Hit, 'similarity' | 'coverage'>;

/** The hits of queries in targets; no text is a hit of itself. */
export type Search = (queries: readonly Item[], targets: readonly Item[]) => Hit[] | Promise<Hit[]>;

/** Texts in each split. */
export interface Sizes {
  readonly train: number;
  readonly validation: number;
  readonly test: number;
}

/** The texts of each split. */
export type Splits = Readonly<Record<keyof Sizes, readonly Item[]>>;

/**
 * Shuffles the items, takes the first for training, and of those that follow the first that have no close relative in
 * training or among those taken before. Labels come by turns, so that each has its share of every split.
 */
export async function split(
  items: readonly Item[],
  sizes: Sizes,
  { seed, close, search }: { seed: number; close: Close; search: Search },
): Promise<{ splits: Splits; replaced: number }> {
  const order = takeTurns(new Random(seed).shuffle([...items]));
  const held = sizes.validation + sizes.test;
  if (order.length < sizes.train + held)
    throw new UserError(
      `there are ${order.length} texts, fewer than the ${sizes.train + held} asked for; ask for fewer`,
    );
  const train = order.slice(0, sizes.train);
  const candidates = order.slice(sizes.train, sizes.train + 2 * held);
  const { chosen, rejected } = chooseApart(
    candidates,
    train,
    held,
    (await search(candidates, [...train, ...candidates])).filter(isAtLeast(close)),
  );
  if (chosen.length < held)
    throw new UserError(`only ${chosen.length} of ${held} held-out texts have no close relative; ask for fewer`);
  return {
    splits: { train, validation: chosen.slice(0, sizes.validation), test: chosen.slice(sizes.validation) },
    replaced: rejected,
  };
}

/** Stable: the first of each label, then the second of each, and so on. */
function takeTurns(items: readonly Item[]): Item[] {
  const seen = new Map<string | undefined, number>();
  const turns = items.map(item => {
    const turn = seen.get(item.label) ?? 0;
    seen.set(item.label, turn + 1);
    return { item, turn };
  });
  return turns.sort((a, b) => a.turn - b.turn).map(({ item }) => item);
}

const isAtLeast =
  (close: Close) =>
  (hit: Hit): boolean =>
    hit.similarity >= close.similarity && hit.coverage >= close.coverage;

/** The first `count` candidates that have no close hit, as query or target, in `taken` or among those chosen before. */
export function chooseApart(
  candidates: readonly Item[],
  taken: readonly Item[],
  count: number,
  closeHits: readonly Hit[],
): { chosen: Item[]; rejected: number } {
  const relatives = new Map<string, string[]>();
  for (const { query, target } of closeHits) {
    for (const [a, b] of [
      [query, target],
      [target, query],
    ])
      relatives.set(a, [...(relatives.get(a) ?? []), b]);
  }
  const names = new Set(taken.map(item => item.name));
  const chosen: Item[] = [];
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

/**
 * How related the queries are to what was searched; a hit that covers too little (a shared domain, a fragment) counts
 * apart.
 */
export interface Relatives {
  readonly close: number;
  /** Queries by the similarity of their closest hit of enough coverage, in tenths rounded down. */
  readonly closest: Readonly<Record<string, number>>;
  readonly withoutHit: number;
  readonly withShortCloseHit: number;
}

/** Counts the queries by the similarity of their closest hit. */
export function countRelatives(queries: readonly Item[], hits: readonly Hit[], close: Close): Relatives {
  const strongest = new Map<string, number>();
  for (const h of hits)
    if (h.coverage >= close.coverage) strongest.set(h.query, Math.max(strongest.get(h.query) ?? 0, h.similarity));
  const closest: Record<string, number> = {};
  for (const similarity of [...strongest.values()].sort((a, b) => a - b)) {
    const tenth = (Math.floor(similarity * 10) / 10).toFixed(1);
    closest[tenth] = (closest[tenth] ?? 0) + 1;
  }
  return {
    close: [...strongest.values()].filter(similarity => similarity >= close.similarity).length,
    closest,
    withoutHit: queries.length - strongest.size,
    withShortCloseHit: new Set(
      hits.filter(h => h.similarity >= close.similarity && h.coverage < close.coverage).map(h => h.query),
    ).size,
  };
}

/** One sequence of each cluster, the one that MMseqs2 takes as its representative. */
export async function cluster(items: readonly Item[], options: readonly string[], work: string): Promise<Item[]> {
  await writeFasta(join(work, 'all.fasta'), items);
  await mmseqs(work, 'easy-linclust', 'all.fasta', 'clusters', 'tmp', ...options);
  const table = await readFile(join(work, 'clusters_cluster.tsv'), 'utf8');
  const chosen = new Set(
    table
      .split('\n')
      .filter(Boolean)
      .map(line => line.split('\t')[0]),
  );
  return items.filter(item => chosen.has(item.name));
}

/** Searches for related sequences with MMseqs2. */
export const searchSequences =
  (options: readonly string[], work: string): Search =>
  async (queries, targets) => {
    await writeFasta(join(work, 'queries.fasta'), queries);
    await writeFasta(join(work, 'targets.fasta'), targets);
    await mmseqs(
      work,
      'easy-search',
      'queries.fasta',
      'targets.fasta',
      'hits.tsv',
      'tmp',
      ...options,
      '--format-output',
      'query,target,fident,qcov,tcov',
    );
    return (await readFile(join(work, 'hits.tsv'), 'utf8'))
      .split('\n')
      .filter(Boolean)
      .map(line => {
        const [query, target, similarity, queryCoverage, targetCoverage] = line.split('\t');
        return {
          query,
          target,
          similarity: Number(similarity),
          coverage: Math.min(Number(queryCoverage), Number(targetCoverage)),
        };
      })
      .filter(h => h.query !== h.target);
  };

const writeFasta = (path: string, items: readonly Item[]): Promise<void> =>
  writeFile(path, items.map(item => `>${item.name}\n${item.text}\n`).join(''));

/** Characters (UTF-16 units) of a stretch: longer than most turns of phrase, shorter than most copied sentences. */
export const stretch = 32;

function* stretches(text: string): Generator<string> {
  for (let i = 0; i === 0 || i + stretch <= text.length; i++) yield text.slice(i, i + stretch);
}

/** Searches for texts that share long runs of characters. */
export function searchTexts(queries: readonly Item[], targets: readonly Item[]): Hit[] {
  const owners = new Map<string, number[]>();
  const sizes = queries.map(({ text }, query) => {
    const own = new Set(stretches(text));
    for (const s of own) {
      const others = owners.get(s);
      if (others) others.push(query);
      else owners.set(s, [query]);
    }
    return own.size;
  });
  return targets.flatMap(target => {
    const shared = new Set<string>();
    for (const s of stretches(target.text)) if (owners.has(s)) shared.add(s);
    const counts = new Map<number, number>();
    for (const s of shared) for (const query of owners.get(s)!) counts.set(query, (counts.get(query) ?? 0) + 1);
    return [...counts]
      .map(([query, count]) => ({
        query: queries[query].name,
        target: target.name,
        similarity: count / sizes[query],
        coverage: 1,
      }))
      .filter(h => h.query !== h.target);
  });
}
