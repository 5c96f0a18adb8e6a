/** The held-out scores that a run of `adapt`, `start` or `paper` has left behind, and rows compared text by text. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8Length } from '../models/utf8.ts';
import { loadDomain } from '../s2t2/app/data/domains.ts';
import type { Paper } from '../s2t2/app/paper/paper.ts';
import { Bootstrap } from '../s2t2/app/paper/statistics.ts';
import { cutAll } from '../s2t2/corpus/index.ts';

/** −ln p of every held-out text, for each seed, and its bytes. */
export interface TextScores {
  readonly nats: readonly (readonly number[])[];
  readonly bytes: readonly number[];
}

/** Scores of a row after finetuning. */
export async function finetunedScores(run: string, row: string): Promise<TextScores> {
  const file = JSON.parse(await readFile(join(run, 'work', `${row}.after.json`), 'utf8')) as {
    record: { scores: { nats: number; bytes: number }[] };
  };
  const { scores } = file.record;
  return { nats: [scores.map(s => s.nats)], bytes: scores.map(s => s.bytes) };
}

interface Cell {
  readonly record: {
    readonly key: string;
    readonly settings: { readonly seed: number; readonly maxBytes: number };
    readonly result: { readonly row: { readonly after: { readonly bitsPerByte: number } }; readonly after: number[] };
  };
}

/** Scores after finetuning of every row of a table that `paper` made, in the order of seeds. */
export async function tableScores(run: string): Promise<Map<string, TextScores>> {
  const read = async <T>(...names: string[]) => JSON.parse(await readFile(join(run, ...names), 'utf8')) as T;
  const { domain } = await read<Pick<Paper, 'domain'>>('results.json');
  const { test } = await loadDomain(domain.name, domain.folder ?? undefined);
  const names = await readdir(join(run, 'test/cells'));
  const cells = await Promise.all(names.map(name => read<Cell>('test/cells', name)));
  const rows = new Map<string, TextScores>();
  for (const { record } of cells.toSorted((a, b) => a.record.settings.seed - b.record.settings.seed)) {
    const name = record.key.replace(/ \d+$/, '');
    const { after: nats, row } = record.result;
    const bytes = cutAll(test, record.settings.maxBytes).slice(0, nats.length).map(utf8Length);
    const sum = (all: readonly number[]) => all.reduce((a, b) => a + b, 0);
    if (Math.abs(sum(nats) / Math.LN2 / sum(bytes) - row.after.bitsPerByte) > 1e-9)
      throw new Error(`bench: ${run} was not made of today's texts of '${domain.name}'`);
    rows.set(name, { nats: [...(rows.get(name)?.nats ?? []), nats], bytes });
  }
  return rows;
}

export const isTable = (run: string): boolean => existsSync(join(run, 'test/cells'));

/** Bits per byte of a row less those of another, with the 95 % interval of a bootstrap over texts and seeds. */
export function pairedDifference(row: TextScores, other: TextScores): string {
  const { mean, low, high } = new Bootstrap(other.bytes, other.nats.length).difference(row.nats, other.nats);
  const signed = (x: number) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`;
  return `${signed(mean)} [${signed(low)}, ${signed(high)}]`;
}
