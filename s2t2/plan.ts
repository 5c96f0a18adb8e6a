/**
 * A translation plan outside the graph: sparse, with the vocabularies it belongs to, and what can be said of it.
 *
 * Rows are the ordinary tokens of the target vocabulary, columns those of the source; special tokens map one to one
 * beside the plan, and padded rows of a model have no column. Values are the joint probabilities P.
 */
import { readSafetensors, writeSafetensors } from '../models/node/safetensors.ts';
import { parseJson } from '../models/json.ts';
import { UserError } from '../models/errors.ts';
import { quote } from '../models/safetensors/header.ts';
import { variants, type Variant } from './sinkhorn.ts';

export interface PlanSettings {
  readonly variant: Variant;
  readonly iterations: number;
  /** α̂: the regulariser is α = α̂ u v. */
  readonly alpha: number;
  /** What the translated embedding divides by: the plan's actual row sums, or the nominal marginal μ. */
  readonly rowNormalisation: 'actual' | 'nominal';
}

/** P in compressed rows, with marginals and vocabularies. */
export interface Plan {
  /** Row i has the entries pointers[i] … pointers[i+1] of `columns` and `values`. */
  readonly pointers: Int32Array;
  readonly columns: Int32Array;
  readonly values: Float32Array;
  /** μ over rows, ν over columns; each sums to 1. */
  readonly mu: Float32Array;
  readonly nu: Float32Array;
  /** The token id of each row in the target vocabulary, of each column in the source vocabulary. */
  readonly targetIds: Int32Array;
  readonly sourceIds: Int32Array;
  /** Pairs (target id, source id) of special tokens, flat. */
  readonly specials: Int32Array;
  /** Hashes of the vocabularies. */
  readonly target: string;
  readonly source: string;
  readonly settings: PlanSettings;
  /** Of a `dual` plan the duality gap after rounding to the marginals (`dualityGap`), null of others. */
  readonly gap: number | null;
}

/** Compresses a dense plan (u, v), row-major. */
export function compress(
  dense: ArrayLike<number>,
  u: number,
  v: number,
): Pick<Plan, 'pointers' | 'columns' | 'values'> {
  const pointers = new Int32Array(u + 1);
  const [columns, values]: [number[], number[]] = [[], []];
  for (let i = 0; i < u; i++) {
    for (let j = 0; j < v; j++) {
      if (dense[i * v + j] === 0) continue;
      columns.push(j);
      values.push(dense[i * v + j]);
    }
    pointers[i + 1] = columns.length;
  }
  return { pointers, columns: Int32Array.from(columns), values: Float32Array.from(values) };
}

/** The plan as a dense array (u, v). */
export function expand({ pointers, columns, values, mu, nu }: Plan): Float32Array<ArrayBuffer> {
  const dense = new Float32Array(mu.length * nu.length);
  for (let i = 0; i < mu.length; i++) {
    for (let e = pointers[i]; e < pointers[i + 1]; e++) dense[i * nu.length + columns[e]] = values[e];
  }
  return dense;
}

/** Calls `visit` for every entry. */
function eachEntry(
  { pointers, columns, values, mu }: Plan,
  visit: (row: number, column: number, value: number) => void,
): void {
  for (let i = 0; i < mu.length; i++)
    for (let e = pointers[i]; e < pointers[i + 1]; e++) visit(i, columns[e], values[e]);
}

export interface PlanReport {
  readonly rows: number;
  readonly columns: number;
  /** Non-zero entries. */
  readonly support: number;
  /** Source tokens of a target token: smallest, mean, largest. */
  readonly supportPerRow: readonly [number, number, number];
  /** Mean entropy of P(source | target) over rows, in bits. */
  readonly entropy: number;
  /** Mass in the wrong place: ½ (‖P 1 − μ‖₁ + ‖Pᵀ 1 − ν‖₁), between 0 and 1. */
  readonly residual: number;
  /** Of a `dual` plan, how far its rounding to the marginals is from the optimum, at most; null of others. */
  readonly gap: number | null;
}

export function rowSums(plan: Plan): Float64Array {
  const sums = new Float64Array(plan.mu.length);
  eachEntry(plan, (i, _, value) => {
    sums[i] += value;
  });
  return sums;
}

export function reportPlan(plan: Plan): PlanReport {
  const [u, v] = [plan.mu.length, plan.nu.length];
  const rows = rowSums(plan);
  const columns = new Float64Array(v);
  let entropy = 0;
  eachEntry(plan, (i, j, value) => {
    columns[j] += value;
    const p = value / rows[i];
    entropy -= (p * Math.log2(p)) / u;
  });
  const misplaced = (sums: Float64Array, marginal: Float32Array) =>
    sums.reduce((total, s, i) => total + Math.abs(s - marginal[i]), 0);
  const perRow = Array.from({ length: u }, (_, i) => plan.pointers[i + 1] - plan.pointers[i]);
  return {
    rows: u,
    columns: v,
    support: plan.values.length,
    supportPerRow: [Math.min(...perRow), plan.values.length / u, Math.max(...perRow)],
    entropy,
    residual: (misplaced(rows, plan.mu) + misplaced(columns, plan.nu)) / 2,
    gap: plan.gap,
  };
}

/**
 * The nearest plan that meets both marginals, by Altschuler, Weed & Rigollet 2017, algorithm 2: shrink rows, shrink
 * columns, spread what is missing. P dense (u, v), in double precision.
 */
export function roundToMarginals(dense: ArrayLike<number>, mu: ArrayLike<number>, nu: ArrayLike<number>): Float64Array {
  const [u, v] = [mu.length, nu.length];
  const P = Float64Array.from(dense);
  const scaleLines = (marginal: ArrayLike<number>, n: number, at: (line: number, k: number) => number): Float64Array =>
    Float64Array.from(marginal, (mass, line) => {
      let total = 0;
      for (let k = 0; k < n; k++) total += P[at(line, k)];
      const scale = total > mass ? mass / total : 1;
      for (let k = 0; k < n; k++) P[at(line, k)] *= scale;
      return total * scale;
    });
  scaleLines(mu, v, (i, j) => i * v + j);
  const columnSums = scaleLines(nu, u, (j, i) => i * v + j);
  const missingColumns = columnSums.map((s, j) => Math.max(0, nu[j] - s));
  const missingRows = Float64Array.from(mu, (mass, i) => {
    let total = 0;
    for (let j = 0; j < v; j++) total += P[i * v + j];
    return Math.max(0, mass - total);
  });
  const missing = missingRows.reduce((a, b) => a + b, 0);
  if (missing > 0)
    for (let i = 0; i < u; i++)
      for (let j = 0; j < v; j++) P[i * v + j] += (missingRows[i] * missingColumns[j]) / missing;
  return P;
}

/**
 * The duality gap that certifies a `dual` plan: ½‖R‖² − ⟨R, X⟩ of the rounded plan R, minus the dual objective
 * ⟨φ, μ⟩ + ⟨γ, ν⟩ − ½‖max(X + φ + γ, 0)‖². Never negative, zero at the optimum. In units of the objective over α.
 */
export function dualityGap(
  x: ArrayLike<number>,
  phi: ArrayLike<number>,
  gamma: ArrayLike<number>,
  mu: ArrayLike<number>,
  nu: ArrayLike<number>,
): number {
  const [u, v] = [mu.length, nu.length];
  const P = Float64Array.from({ length: u * v }, (_, e) => Math.max(0, x[e] + phi[Math.floor(e / v)] + gamma[e % v]));
  const R = roundToMarginals(P, mu, nu);
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
    let total = 0;
    for (let i = 0; i < a.length; i++) total += a[i] * b[i];
    return total;
  };
  return dot(R, R) / 2 - dot(R, x) - (dot(phi, mu) + dot(gamma, nu) - dot(P, P) / 2);
}

const format = 's2t2-plan-1';

/** Writes a plan to a safetensors file, all or nothing. */
export async function savePlan(path: string, plan: Plan): Promise<void> {
  const ints = (data: Int32Array) => ({ dtype: 'I32' as const, shape: [data.length], data });
  const floats = (data: Float32Array) => ({ dtype: 'F32' as const, shape: [data.length], data });
  await writeSafetensors(
    path,
    {
      row_pointers: ints(plan.pointers),
      columns: ints(plan.columns),
      values: floats(plan.values),
      mu: floats(plan.mu),
      nu: floats(plan.nu),
      target_ids: ints(plan.targetIds),
      source_ids: ints(plan.sourceIds),
      specials: ints(plan.specials),
    },
    {
      format,
      target: plan.target,
      source: plan.source,
      settings: JSON.stringify(plan.settings),
      gap: JSON.stringify(plan.gap),
    },
  );
}

/** The vocabularies a plan is meant to join, by hash and number of tokens; what is missing is not checked. */
export interface Vocabularies {
  readonly source?: string;
  readonly target?: string;
  readonly sourceSize?: number;
  readonly targetSize?: number;
}

/** Reads a plan and refuses it when it is damaged or was made for other vocabularies. */
export async function loadPlan(path: string, expected: Vocabularies = {}): Promise<Plan> {
  const file = await readSafetensors(path);
  const metadata = (key: string): string => {
    const value = file.metadata.get(key);
    if (value === undefined) throw new UserError(`${path}: is no translation plan: its metadata lack '${key}'`);
    return value;
  };
  if (metadata('format') !== format)
    throw new UserError(`${path}: has plan format ${quote(metadata('format'))}, and this version reads '${format}'`);
  for (const side of ['source', 'target'] as const) {
    const hash = quote(metadata(side).slice(0, 12));
    if (expected[side] !== undefined && metadata(side) !== expected[side]) {
      throw new UserError(
        `${path}: was made for another ${side} vocabulary (${hash}, not "${expected[side].slice(0, 12)}"); use the tokenizer it was learned with`,
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
    target: metadata('target'),
    source: metadata('source'),
    settings: readSettings(parseJson(metadata('settings'), `${path}: metadata 'settings'`), path),
    gap: readGap(parseJson(metadata('gap'), `${path}: metadata 'gap'`), path),
  };
  checkEntries(path, plan);
  checkIds(path, plan, expected);
  return plan;
}

const damaged = (path: string, what: string): UserError => new UserError(`${path}: is damaged: ${what}`);

function readSettings(value: unknown, path: string): PlanSettings {
  const { variant, iterations, alpha, rowNormalisation } = (value ?? {}) as Partial<PlanSettings>;
  if (!variants.includes(variant!)) throw damaged(path, `settings.variant is none of ${variants.join(', ')}`);
  if (!Number.isSafeInteger(iterations) || iterations! < 1)
    throw damaged(path, 'settings.iterations is no whole number of 1 or more');
  if (typeof alpha !== 'number' || !(alpha > 0)) throw damaged(path, 'settings.alpha is no positive number');
  if (rowNormalisation !== 'actual' && rowNormalisation !== 'nominal')
    throw damaged(path, 'settings.rowNormalisation is neither actual nor nominal');
  return { variant: variant!, iterations: iterations!, alpha, rowNormalisation };
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
    if (wrong >= 0) refuse(`${name}[${wrong}] is ${marginal[wrong]}, no probability`);
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
      refuse(pointers[i] > pointers[i + 1] ? `row ${i} ends before it begins` : `row ${i} is empty`);
  }
  for (let i = 0; i < mu.length; i++) {
    for (let e = pointers[i]; e < pointers[i + 1]; e++) {
      if (columns[e] < 0 || columns[e] >= nu.length) refuse(`entry ${e} is in column ${columns[e]} of ${nu.length}`);
      if (e > pointers[i] && columns[e] <= columns[e - 1])
        refuse(`row ${i} has column ${columns[e]} after column ${columns[e - 1]}`);
      if (!(values[e] > 0 && values[e] < Infinity)) refuse(`entry ${e} is ${values[e]}, no positive mass`);
    }
  }
}

/**
 * Throws where ids name no token. Rows and special tokens are the target's ids from 0 without a gap; ids of the source
 * may have gaps.
 */
function checkIds(
  path: string,
  { mu, nu, targetIds, sourceIds, specials }: Plan,
  { sourceSize = Infinity, targetSize }: Vocabularies,
): void {
  if (targetIds.length !== mu.length || sourceIds.length !== nu.length || specials.length % 2 !== 0)
    throw damaged(path, 'ids do not match marginals');
  const specialsOf = (side: 0 | 1) => specials.filter((_, s) => s % 2 === side);
  const checkSide = (side: 'source' | 'target', ids: readonly number[], size: number) => {
    const seen = new Set<number>();
    for (const id of ids) {
      if (id < 0) throw damaged(path, `${side} id ${id} is negative`);
      if (id >= size) throw damaged(path, `${side} id ${id} is none of a vocabulary of ${size}`);
      if (seen.has(id)) throw damaged(path, `${side} id ${id} comes twice`);
      seen.add(id);
    }
  };
  const targets = [...targetIds, ...specialsOf(0)];
  if (targetSize !== undefined && targets.length !== targetSize)
    throw damaged(path, `it has ${targets.length} target tokens, and the vocabulary ${targetSize}`);
  checkSide('target', targets, targets.length);
  checkSide('source', [...sourceIds, ...new Set(specialsOf(1))], sourceSize); // special tokens may share one
}
