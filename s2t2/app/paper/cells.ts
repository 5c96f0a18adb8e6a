/**
 * The cells of the paper's tables: one method, one seed, one set of settings, on one split. A finished cell is a file
 * named by what fixes it: whatever table, grid or ablation has it next reads it back. Several processes may work on the
 * cells of one directory, each on another cell.
 */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import * as v from 'valibot';
import { copyFileAtomic, makeDirectory } from '../../../models/node/files.ts';
import { sha256 } from '../../../models/sha256.ts';
import { UserError } from '../../../models/errors.ts';
import type { Row } from '../../cell.ts';
import { runExperiment } from '../experiment.ts';
import { InUse, withLock } from '../lock.ts';
import type { Method } from '../../method.ts';
import { loadPlan, savePlan } from '../plan-file.ts';
import { reportPlan, type Plan, type PlanReport } from '../../plan.ts';
import type { Prepared } from '../prepare.ts';
import { readMaybeSealed, writeSealed } from '../records.ts';
import { cellResultSchema } from '../results.ts';
import type { Settings } from '../../settings.ts';
import { disposeModel } from '../../../models/weights.ts';

/** Where cells run: data and model, and the directory that keeps them. */
export interface Bench {
  readonly prepared: Prepared;
  readonly out: string;
  /** The directory of an earlier run; its finished cells are copied. */
  readonly earlier?: string;
  readonly signal?: AbortSignal;
  readonly log: (line: string) => void;
}

/** A cell of the paper's tables: a method with what fixes it. */
export interface Cell {
  /** To be read by people. */
  readonly key: string;
  readonly method: Method;
  /** Vocabulary size and piece length are the bench's. */
  readonly settings: Settings;
  /** What else fixes it: a hash of what the method was given from elsewhere. */
  readonly given?: string;
}

/** What is kept of a finished cell. */
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

/** Data and model, settings and method. */
export const cellName = ({ prepared }: Bench, { settings, method, given }: Cell): string =>
  sha256(JSON.stringify([prepared.fingerprint, settings, method.name, given])).slice(0, 16);

const cellFile = (directory: string, name: string): string => join(directory, 'cells', `${name}.json`);
const planFile = (directory: string, name: string): string => join(directory, 'plans', `${name}.safetensors`);

/** The plan of a finished cell. */
export const planOf = (bench: Bench, cell: Cell): Promise<Plan> =>
  loadPlan(planFile(bench.out, cellName(bench, cell)), {
    source: bench.prepared.source.tokenizer.hash,
    target: bench.prepared.target.hash,
  });

const cellSchema = v.object({ result: cellResultSchema });

/** A finished cell of this directory, or of the earlier one; null where it must be trained, again if it is damaged. */
async function readCell({ out, earlier, log }: Bench, name: string): Promise<CellResult | null> {
  if (earlier !== undefined && !existsSync(cellFile(out, name)) && existsSync(cellFile(earlier, name))) {
    if (existsSync(planFile(earlier, name))) await copyFileAtomic(planFile(earlier, name), planFile(out, name));
    await copyFileAtomic(cellFile(earlier, name), cellFile(out, name));
  }
  try {
    return (await readMaybeSealed(cellFile(out, name), cellSchema, 'trained again'))?.result ?? null;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    log(error.message);
    return null;
  }
}

/** Null while another process is at it. */
export async function runCell(bench: Bench, cell: Cell, begun?: () => void): Promise<CellResult | null> {
  const { out } = bench;
  const name = cellName(bench, cell);
  for (const directory of ['plans', 'cells']) await makeDirectory(join(out, directory));
  const known = await readCell(bench, name);
  if (known) return known;
  return withLock(join(out, 'work', name), async () => {
    const justNow = await readCell(bench, name);
    if (justNow) return justNow;
    begun?.();
    return trainCell(bench, cell, name);
  }).catch((error: unknown) => {
    if (error instanceof InUse) return null;
    throw error;
  });
}

async function trainCell(
  { prepared, out, signal, log }: Bench,
  { key, method, settings }: Cell,
  name: string,
): Promise<CellResult> {
  const work = join(out, 'work', name, 'stages');
  await makeDirectory(work);
  const { row, model, plan, scores, evaluationSeconds } = await runExperiment(
    { ...prepared, settings, fingerprint: sha256(name), work, signal, log },
    method,
  );
  const result: CellResult = {
    row,
    before: scores.before?.map(s => s.nats) ?? null,
    after: scores.after.map(s => s.nats),
    endBits: scores.after.reduce((sum, s) => sum + s.endNats, 0) / Math.LN2 / scores.after.length,
    secondsPerThousandBytes: (1000 * evaluationSeconds) / scores.after.reduce((sum, s) => sum + s.bytes, 0),
    plan: plan ? reportPlan(plan) : null,
  };
  disposeModel(model);
  if (plan) await savePlan(planFile(out, name), plan);
  await writeSealed(cellFile(out, name), { key, settings, result });
  await rm(work, { recursive: true, force: true });
  return result;
}

/**
 * A list that begins at a share of its length: where each of several processes begins, so that they seldom wait for
 * each other.
 */
export function rotated<T>(list: readonly T[], share: number): T[] {
  const first = Math.floor(share * list.length);
  return [...list.slice(first), ...list.slice(0, first)];
}

/** Cells one after the other, each with its place among all; those that other processes are at come from them. */
export async function runCells<K extends Cell>(
  bench: Bench,
  what: string,
  cells: readonly K[],
): Promise<Map<K, CellResult>> {
  const found = new Map<K, CellResult>();
  while (found.size < cells.length) {
    const before = found.size;
    for (const [i, cell] of cells.entries()) {
      if (found.has(cell)) continue;
      const result = await runCell(bench, cell, () => bench.log(`${what}: ${i + 1} of ${cells.length}, ${cell.key}`));
      if (result) found.set(cell, result);
    }
    if (found.size === before) await setTimeout(500, undefined, { signal: bench.signal });
  }
  return new Map(cells.map(cell => [cell, found.get(cell)!]));
}
