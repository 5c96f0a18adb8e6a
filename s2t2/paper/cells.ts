/**
 * The cells of the paper's tables: one method, one seed, one set of settings, on one split. A finished cell is a file;
 * running the same table again, or another table with the same cell, reads it back.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory, readJson, sha256, writeFileAtomic } from '../../models/files.ts';
import { runExperiment, type Row } from '../experiment.ts';
import type { Method } from '../methods.ts';
import { loadPlan, reportPlan, savePlan, type Plan, type PlanReport } from '../plan.ts';
import type { Prepared } from '../prepare.ts';
import type { Settings } from '../settings.ts';

/** Where cells run: data and model, and the directory that keeps them. */
export interface Bench {
  readonly prepared: Prepared;
  readonly out: string;
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

export interface Cell {
  /** Unique in the bench's directory, and a file name. */
  readonly key: string;
  readonly method: Method;
  /** Vocabulary size and piece length are the bench's. */
  readonly settings: Settings;
}

export interface CellResult {
  readonly row: Row;
  /** −ln p of every held-out sequence, end tokens left out. */
  readonly before: readonly number[] | null;
  readonly after: readonly number[];
  /** Mean −log₂ p of the end token. */
  readonly endBits: number;
  readonly secondsPerThousandBytes: number;
  readonly plan: PlanReport | null;
}

const planFile = ({ out }: Bench, key: string): string => join(out, 'plans', `${key}.safetensors`);

/** The plan of a finished cell. */
export const planOf = (bench: Bench, cell: Cell): Promise<Plan> =>
  loadPlan(planFile(bench, cell.key), { source: bench.prepared.source.tokenizer.hash, target: bench.prepared.target.hash });

export async function runCell(bench: Bench, cell: Cell): Promise<CellResult> {
  const { prepared, out, signal } = bench;
  const { settings, method, key } = cell;
  const fingerprint = sha256(JSON.stringify([prepared.fingerprint, settings, method.name]));
  const file = join(out, 'cells', `${key}.json`);
  const known = await readJson(file).catch(() => null) as { fingerprint: string; result: CellResult } | null;
  if (known?.fingerprint === fingerprint) return known.result;

  const work = join(out, 'work', key);
  for (const directory of [work, join(out, 'plans'), join(out, 'cells')]) await makeDirectory(directory);
  const { row, model, plan, scores, evaluationSeconds } = await runExperiment({ ...prepared, settings, fingerprint, work, signal }, method);
  const result: CellResult = {
    row,
    before: scores.before?.map(s => s.nats) ?? null,
    after: scores.after.map(s => s.nats),
    endBits: scores.after.reduce((sum, s) => sum + s.endNats, 0) / Math.LN2 / scores.after.length,
    secondsPerThousandBytes: (1000 * evaluationSeconds) / scores.after.reduce((sum, s) => sum + s.bytes, 0),
    plan: plan ? reportPlan(plan) : null,
  };
  Object.values(model.weights).forEach(w => w.dispose());
  if (plan) await savePlan(planFile(bench, key), plan);
  await writeFileAtomic(file, JSON.stringify({ fingerprint, result }));
  await rm(work, { recursive: true, force: true });
  return result;
}

/** Cells one after the other, each with its place among all. */
export async function runCells<K extends Cell>(bench: Bench, what: string, cells: readonly K[]): Promise<Map<K, CellResult>> {
  const results = new Map<K, CellResult>();
  for (const [i, cell] of cells.entries()) {
    bench.log(`${what}: ${i + 1} of ${cells.length}, ${cell.key}`);
    results.set(cell, await runCell(bench, cell));
  }
  return results;
}
