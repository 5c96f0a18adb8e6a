/** A plan as a safetensors file: what it holds, and the checks a file must pass, since it may come from anyone. */
import { UserError } from '../models/errors.ts';
import { parseJson } from '../models/json.ts';
import { quote } from '../models/safetensors/header.ts';
import type { TensorSource } from '../models/safetensors/source.ts';
import type { TensorData } from '../models/safetensors/write.ts';
import { sha256 } from '../models/sha256.ts';
import { unseenIds, type Plan, type PlanSettings } from './plan.ts';
import { variants } from './sinkhorn.ts';

const format = 's2t2-plan-2';

/** SHA-256 of all that a plan says: a bit that flips on a disk would give another translation. */
function checksum({ target, source, settings, gap, ...plan }: Plan): string {
  const { pointers, columns, values, mu, nu, targetIds, sourceIds, specials, unseen } = plan;
  const parts = [pointers, columns, values, mu, nu, targetIds, sourceIds, specials];
  if (unseen.length > 0) parts.push(unseen); // plans of earlier versions know of none
  const sums = parts.map(data => sha256(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)));
  const fields = ['variant', 'iterations', 'alpha', 'rowNormalisation', 'headNormalisation'] as const;
  return sha256(JSON.stringify([...sums, target, source, fields.map(field => settings?.[field]), gap]));
}

/** A plan as the tensors and metadata of a safetensors file. */
export function planTensors(plan: Plan): {
  tensors: Record<string, TensorData>;
  metadata: Record<string, string>;
} {
  const ints = (data: Int32Array) => ({ dtype: 'I32' as const, shape: [data.length], data });
  const floats = (data: Float32Array) => ({ dtype: 'F32' as const, shape: [data.length], data });
  return {
    tensors: {
      row_pointers: ints(plan.pointers),
      columns: ints(plan.columns),
      values: floats(plan.values),
      mu: floats(plan.mu),
      nu: floats(plan.nu),
      target_ids: ints(plan.targetIds),
      source_ids: ints(plan.sourceIds),
      specials: ints(plan.specials),
      unseen: ints(plan.unseen),
    },
    metadata: {
      format,
      target: plan.target,
      source: plan.source,
      settings: JSON.stringify(plan.settings),
      gap: JSON.stringify(plan.gap),
      sha256: checksum(plan),
    },
  };
}

/** The vocabularies a plan is meant to join, by hash and number of tokens; what is missing is not checked. */
export interface Vocabularies {
  readonly source?: string;
  readonly target?: string;
  readonly sourceSize?: number;
  readonly targetSize?: number;
}

/** Reads a plan and rejects it when it is damaged or was made for other vocabularies. */
export async function parsePlan(file: TensorSource, expected: Vocabularies = {}): Promise<Plan> {
  const { path } = file;
  const metadata = (key: string): string => {
    const value = file.metadata.get(key);
    if (value === undefined) throw new UserError(`${path}: is not a translation plan: its metadata lacks '${key}'`);
    return value;
  };
  if (metadata('format') !== format)
    throw new UserError(`${path}: has plan format ${quote(metadata('format'))}, and this version reads '${format}'`);
  for (const side of ['source', 'target'] as const) {
    const hash = quote(metadata(side).slice(0, 12));
    if (expected[side] !== undefined && metadata(side) !== expected[side]) {
      throw new UserError(
        `${path}: was made for another ${side} vocabulary (${hash}, not ` +
          `"${expected[side].slice(0, 12)}"); use the tokenizer it was learned with`,
      );
    }
  }
  const ints = async (name: string) => {
    const values = await file.read(name);
    if (values instanceof Float32Array)
      throw new UserError(
        `${path}: is damaged: ${name} is ${file.tensors.get(name)!.dtype} where whole numbers are needed`,
      );
    return values;
  };
  const plan: Plan = {
    pointers: await ints('row_pointers'),
    columns: await ints('columns'),
    values: await file.readFloats('values'),
    mu: await file.readFloats('mu'),
    nu: await file.readFloats('nu'),
    targetIds: await ints('target_ids'),
    sourceIds: await ints('source_ids'),
    specials: await ints('specials'),
    unseen: file.tensors.has('unseen') ? await ints('unseen') : new Int32Array(),
    target: metadata('target'),
    source: metadata('source'),
    settings: readSettings(parseJson(metadata('settings'), `${path}: metadata 'settings'`), path),
    gap: readGap(parseJson(metadata('gap'), `${path}: metadata 'gap'`), path),
  };
  checkEntries(path, plan);
  checkIds(path, plan, expected);
  const sum = file.metadata.get('sha256'); // plans of earlier versions have none
  if (sum !== undefined && sum !== checksum(plan))
    throw damaged(path, 'its checksum does not match its contents; make it again, or copy it again');
  return plan;
}

const damaged = (path: string, what: string): UserError => new UserError(`${path}: is damaged: ${what}`);

function readSettings(value: unknown, path: string): PlanSettings {
  const { variant, iterations, alpha, rowNormalisation, headNormalisation } = (value ?? {}) as Partial<PlanSettings>;
  if (!variants.includes(variant!)) throw damaged(path, `settings.variant is not one of ${variants.join(', ')}`);
  if (!Number.isSafeInteger(iterations) || iterations! < 1)
    throw damaged(path, 'settings.iterations is not a whole number of 1 or more');
  if (typeof alpha !== 'number' || !(alpha > 0)) throw damaged(path, 'settings.alpha is not a positive number');
  if (rowNormalisation !== 'actual' && rowNormalisation !== 'nominal')
    throw damaged(path, 'settings.rowNormalisation is neither actual nor nominal');
  if (headNormalisation !== 'columns' && headNormalisation !== 'rows')
    throw damaged(path, 'settings.headNormalisation is neither columns nor rows');
  return { variant: variant!, iterations: iterations!, alpha, rowNormalisation, headNormalisation };
}

function readGap(value: unknown, path: string): number | null {
  if (value !== null && typeof value !== 'number') throw damaged(path, 'gap is neither a number nor null');
  return value;
}

/** Throws where the entries of a plan do not fit its rows, columns and marginals. */
function checkEntries(path: string, { pointers, columns, values, mu, nu }: Plan): void {
  const refuse = (what: string): never => {
    throw damaged(path, what);
  };
  for (const [name, marginal] of Object.entries({ mu, nu })) {
    const wrong = marginal.findIndex(mass => !(mass > 0 && mass <= 1));
    if (wrong >= 0) refuse(`${name}[${wrong}] is ${marginal[wrong]}, which is not a probability`);
    const total = marginal.reduce((sum, mass) => sum + mass, 0);
    if (Math.abs(total - 1) > 1e-3) refuse(`${name} sums to ${total}, not to 1`);
  }
  if (
    pointers.length !== mu.length + 1 ||
    pointers[0] !== 0 ||
    pointers[mu.length] !== values.length ||
    columns.length !== values.length
  )
    refuse('row pointers do not match the entries');
  for (let i = 0; i < mu.length; i++) {
    if (pointers[i] >= pointers[i + 1])
      refuse(pointers[i] > pointers[i + 1] ? `row ${i} ends before it starts` : `row ${i} is empty`);
  }
  for (let i = 0; i < mu.length; i++) {
    for (let e = pointers[i]; e < pointers[i + 1]; e++) {
      if (columns[e] < 0 || columns[e] >= nu.length) refuse(`entry ${e} is in column ${columns[e]} of ${nu.length}`);
      if (e > pointers[i] && columns[e] <= columns[e - 1])
        refuse(`row ${i} has column ${columns[e]} after column ${columns[e - 1]}`);
      if (!(values[e] > 0 && values[e] < Infinity)) refuse(`entry ${e} is ${values[e]}, which is not positive`);
    }
  }
}

/**
 * Throws where ids name no token. Rows and special tokens are the target's ids from 0 without a gap; ids of the source
 * may have gaps.
 */
function checkIds(
  path: string,
  { mu, nu, targetIds, sourceIds, specials, unseen }: Plan,
  { sourceSize = Infinity, targetSize }: Vocabularies,
): void {
  if (targetIds.length !== mu.length || sourceIds.length !== nu.length || specials.length % 2 !== 0)
    throw damaged(path, 'ids do not match marginals');
  if (unseen.length % 2 !== 0) throw damaged(path, 'a token that is never shown has half a pair');
  const sideOf = (pairs: Int32Array, side: 0 | 1) => pairs.filter((_, s) => s % 2 === side);
  const checkSide = (side: 'source' | 'target', ids: readonly number[], size: number) => {
    const seen = new Set<number>();
    for (const id of ids) {
      if (id < 0) throw damaged(path, `${side} id ${id} is negative`);
      if (id >= size) throw damaged(path, `${side} id ${id} is outside the vocabulary of ${size}`);
      if (seen.has(id)) throw damaged(path, `${side} id ${id} appears twice`);
      seen.add(id);
    }
  };
  const targets = [...targetIds, ...sideOf(specials, 0), ...unseenIds({ unseen })];
  if (targetSize !== undefined && targets.length !== targetSize)
    throw damaged(path, `it has ${targets.length} target tokens and the vocabulary has ${targetSize}`);
  checkSide('target', targets, targets.length);
  checkSide('source', [...sourceIds], sourceSize);
  // Several of these may share one, which may be a column as well.
  checkSide('source', [...new Set([...sideOf(specials, 1), ...sideOf(unseen, 1)])], sourceSize);
}
