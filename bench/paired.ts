/**
 * `npm run bench:paired -- RUN ROW`: bits per byte of every row of a run less those of one of them, paired over texts.
 * README quotes it for `npm start`: `npm run bench:paired -- runs/proteins fvt-spread`.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderTable } from '../models/node/table.ts';
import type { Results } from '../s2t2/cell.ts';
import { finetunedScores, pairedDifference } from './scores.ts';

const [run = 'runs/proteins', base = 'fvt-spread'] = process.argv.slice(2);
const results = JSON.parse(await readFile(join(run, 'results.json'), 'utf8')) as Results;
const other = await finetunedScores(run, base);
const rows: string[][] = [];
for (const { name, steps } of results.methods)
  if (steps > 0 && name !== base) rows.push([name, pairedDifference(await finetunedScores(run, name), other)]);
console.log(renderTable(['row', `bits/byte less ${base}`], rows));
