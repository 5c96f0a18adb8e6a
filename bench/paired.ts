/**
 * `npm run bench:paired -- RUN ROW`: bits per byte of every row of a run less those of one of them, paired over texts
 * and, where there are several, seeds. RUN is a directory of `adapt`, `start` or `paper`. README quotes it for
 * `npm start`: `npm run bench:paired -- runs/proteins fvt-spread`.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderTable } from '../models/node/table.ts';
import type { Results } from '../s2t2/cell.ts';
import { finetunedScores, isTable, pairedDifference, tableScores, type TextScores } from './scores.ts';

const [run = 'runs/proteins', base = 'fvt-spread'] = process.argv.slice(2);
if (!existsSync(join(run, 'results.json')))
  fail(`${run} has no results.json; give the directory of a finished run of adapt, start or paper`);
const rows = isTable(run) ? await tableScores(run) : await runScores();
const other = rows.get(base);
if (!other) fail(`${run} has no row '${base}'; it has ${[...rows.keys()].join(', ')}`);
rows.delete(base);
console.log(
  renderTable(
    ['row', `bits/byte less ${base}`],
    Array.from(rows, ([name, scores]) => [name, pairedDifference(scores, other)]),
  ),
);

async function runScores(): Promise<Map<string, TextScores>> {
  const { methods } = JSON.parse(await readFile(join(run, 'results.json'), 'utf8')) as Results;
  const finetuned = methods.filter(({ steps }) => steps > 0);
  return new Map(
    await Promise.all(finetuned.map(async ({ name }) => [name, await finetunedScores(run, name)] as const)),
  );
}

function fail(message: string): never {
  console.error(`bench: ${message}`);
  process.exit(2);
}
