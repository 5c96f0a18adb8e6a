/** The held-out scores that a run of `adapt` or `start` has left in its directory, and rows compared text by text. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Bootstrap } from '../s2t2/app/paper/statistics.ts';

/** −ln p and bytes of every held-out text. */
export interface TextScores {
  readonly nats: readonly number[];
  readonly bytes: readonly number[];
}

/** Scores of a row after finetuning. */
export async function finetunedScores(run: string, row: string): Promise<TextScores> {
  const file = JSON.parse(await readFile(join(run, 'work', `${row}.after.json`), 'utf8')) as {
    record: { scores: { nats: number; bytes: number }[] };
  };
  const { scores } = file.record;
  return { nats: scores.map(s => s.nats), bytes: scores.map(s => s.bytes) };
}

/** Bits per byte of a row less those of another, with the 95 % interval of a bootstrap over texts. */
export function pairedDifference(row: TextScores, other: TextScores): string {
  const { mean, low, high } = new Bootstrap(other.bytes, 1).difference([row.nats], [other.nats]);
  const signed = (x: number) => `${x < 0 ? '−' : '+'}${Math.abs(x).toFixed(3)}`;
  return `${signed(mean)} [${signed(low)}, ${signed(high)}]`;
}
