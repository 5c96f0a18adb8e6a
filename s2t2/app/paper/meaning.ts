/**
 * Whether the plan means anything: do seeds agree on its support, does it matter which row is whose, and are amino
 * acids that replace each other in evolution translated alike?
 */
import { Random } from '../../../engine/index.ts';
import { score } from '../../../models/score.ts';

import { readBlosum62 } from '../data/blosum.ts';
import { metrics } from '../../evaluate.ts';
import { modelFromPlan, translatedStart } from '../../methods.ts';
import type { Plan } from '../../plan.ts';
import type { Prepared } from '../prepare.ts';
import type { Rates, Settings } from '../../settings.ts';
import { planOf, type Bench } from './cells.ts';
import { mantel } from './statistics.ts';
import { s2t2Cell } from './table.ts';
import { disposeModel } from '../../../models/weights.ts';

/** What a plan can be asked: shuffled rows, overlap between seeds, similarity of residues. */
export interface Meaning {
  /** Mean over pairs of seeds of |A ∩ B| / |A ∪ B| of two supports, and the same with the rows of B shuffled. */
  readonly overlap: { readonly seeds: number; readonly shuffled: number } | null;
  /** Bits per byte with the model frozen: by the plan, and by the plan with its rows shuffled. */
  readonly rows: { readonly plan: number; readonly shuffled: number };
  /** Correlation of cosines between translated embeddings of the 20 amino acids with BLOSUM62, and Mantel's p. */
  readonly blosum62: { readonly correlation: number; readonly p: number } | null;
}

/** Asks the learned plans what they mean, beside the same plans with rows shuffled. */
export async function meaning(
  bench: Bench,
  settings: Settings,
  rates: ReadonlyMap<string, Rates>,
  seeds: readonly number[],
  proteins: boolean,
): Promise<Meaning> {
  const plans: Plan[] = [];
  for (const seed of seeds) plans.push(await planOf(bench, s2t2Cell(settings, rates, seed)));
  const [plan] = plans;
  return {
    overlap: plans.length > 1 ? overlapOf(plans) : null,
    rows: { plan: await frozen(bench, plan), shuffled: await frozen(bench, shuffledRows(plan)) },
    blosum62: proteins ? await againstBlosum(bench.prepared, plan) : null,
  };
}

/** The plan with its rows in another order: the same supports, given to other tokens. */
export function shuffledRows(plan: Plan): Plan {
  const order = new Random(0).split('rows').shuffle(Array.from(plan.targetIds));
  return { ...plan, targetIds: Int32Array.from(order) };
}

async function frozen({ prepared, signal }: Bench, plan: Plan): Promise<number> {
  const { source, target, settings, sequences } = prepared;
  const context = { source, target, settings: { ...settings, spread: 'none' as const }, train: sequences.train };
  const { model } = await translatedStart(context, plan);
  const { bitsPerByte } = metrics(await score(model, sequences.test.target, { signal }));
  disposeModel(model);
  return bitsPerByte;
}

/** Support as row × v + column. */
const supportOf = (plan: Plan, row: (i: number) => number): Set<number> => {
  const support = new Set<number>();
  for (let i = 0; i < plan.mu.length; i++)
    for (let e = plan.pointers[i]; e < plan.pointers[i + 1]; e++)
      support.add(row(i) * plan.nu.length + plan.columns[e]);
  return support;
};

function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  let both = 0;
  for (const x of a) if (b.has(x)) both++;
  return both / (a.size + b.size - both);
}

/** How much the supports of plans of several seeds overlap, and with rows shuffled. */
export function overlapOf(plans: readonly Plan[]): { seeds: number; shuffled: number } {
  const order = new Random(0).split('overlap').shuffle(Array.from(plans[0].mu, (_, i) => i));
  const pairs = plans.flatMap((a, i) => plans.slice(0, i).map(b => [a, b] as const));
  const mean = (row: (i: number) => number) =>
    pairs.reduce(
      (sum, [a, b]) =>
        sum +
        jaccard(
          supportOf(a, i => i),
          supportOf(b, row),
        ),
      0,
    ) / pairs.length;
  return { seeds: mean(i => i), shuffled: mean(i => order[i]) };
}

/** The first target token of each amino acid's letter stands for it. */
export async function againstBlosum(
  { source, target }: Pick<Prepared, 'source' | 'target'>,
  plan: Plan,
): Promise<{ correlation: number; p: number }> {
  const { letters, scores } = await readBlosum62();
  const model = await modelFromPlan(source.model, plan);
  const { width } = model.config;
  const values = await model.embedding.data();
  const rowOf = Array.from(letters, residue => target.encode(residue)).map(ids =>
    Array.from(values.subarray(ids[0] * width, (ids[0] + 1) * width)),
  );
  disposeModel(model);
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, c) => sum + x * b[c], 0);
  const cosine = (i: number, j: number) =>
    dot(rowOf[i], rowOf[j]) / Math.sqrt(dot(rowOf[i], rowOf[i]) * dot(rowOf[j], rowOf[j]));
  return mantel(cosine, (i, j) => scores[i][j], letters.length);
}
