/**
 * Learning rates by a grid on validation data, which is published as JSON Lines, a cell a line. What a grid has chosen
 * for a domain and a budget serves the tables again, and, at the nearest budget, an adaptation to other data.
 */
import * as v from 'valibot';
import { UserError } from '../../models/errors.ts';
import { parseJson } from '../../models/json.ts';
import { readText } from '../../models/node/files.ts';
import type { Rates } from '../settings.ts';
import { check, finite } from './records.ts';

/** A cell of a grid of learning rates, and the validation figure it reached. */
export interface GridRow extends Rates {
  readonly domain: string;
  /** Training budget. */
  readonly tokens: number;
  /** Line of the table. */
  readonly name: string;
  /** Bits per byte on validation data, before finetuning where there is such a figure, and after. */
  readonly before: number | null;
  readonly bitsPerByte: number;
  readonly chosen: boolean;
}

const positive = v.pipe(finite, v.gtValue(0));
const rowSchema: v.GenericSchema<unknown, GridRow> = v.object({
  domain: v.string(),
  tokens: positive,
  name: v.string(),
  rate: positive,
  planRate: positive,
  bodyRate: positive,
  before: v.nullable(finite),
  bitsPerByte: finite,
  chosen: v.boolean(),
});

/** The file of a grid. */
export const gridText = (rows: readonly GridRow[]): string => rows.map(row => `${JSON.stringify(row)}\n`).join('');

/** Reads the file of a grid. */
export async function readGrid(path: string): Promise<GridRow[]> {
  const advice = 'give the directory of a table that chose its own learning rates, or the rates.jsonl in it';
  const rows = (await readText(path)).split('\n').flatMap((line, i) => {
    const at = `${path}:${i + 1}`;
    return line.trim() === '' ? [] : [check(rowSchema, parseJson(line, at), at, advice)];
  });
  if (rows.length === 0) throw new UserError(`${path}: holds no learning rates; ${advice}`);
  return rows;
}

/**
 * The rates chosen for a line in a domain at the budget nearest to `tokens` (by ratio); undefined where the grid has
 * none.
 */
export function chosenRates(
  grid: readonly GridRow[],
  name: string,
  domain: string,
  tokens: number,
): (Rates & { readonly tokens: number }) | undefined {
  const distance = (row: GridRow) => Math.abs(Math.log(row.tokens / tokens));
  return grid
    .filter(row => row.chosen && row.name === name && row.domain === domain)
    .sort((a, b) => distance(a) - distance(b))[0];
}
