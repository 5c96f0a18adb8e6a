/**
 * Hugging Face's libraries reading a model directory, by `huggingface.py`, where `ORACLE_PYTHON` names a Python that
 * has them.
 */
import { execFileSync } from 'node:child_process';

export const oraclePython = process.env.ORACLE_PYTHON;

export interface ReadThere {
  readonly dtype: string;
  readonly tied: boolean;
  /** (T, V), flat, in double precision. */
  readonly logits: number[];
  /** The 8 likeliest next ids, one by one. */
  readonly greedy: number[];
  /** The text of the ids, and the ids of that text. */
  readonly text: string;
  readonly again: number[];
  readonly special: Readonly<Record<'bos' | 'eos' | 'pad' | 'unk', number | null>>;
  readonly generation: Readonly<Record<string, number | null>>;
}

export function readThere(directory: string, ids: Iterable<number>): ReadThere {
  const script = new URL('huggingface.py', import.meta.url).pathname;
  return JSON.parse(
    execFileSync(oraclePython!, [script, 'read', directory], {
      input: JSON.stringify([...ids]),
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'ignore'],
    }),
  ) as ReadThere;
}
