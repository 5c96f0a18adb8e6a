/**
 * BLOSUM62: how readily one residue takes another's place in related proteins, in half bits (Henikoff and Henikoff,
 * 1992; NCBI's table).
 */
import { readText } from '../../../models/node/files.ts';
import { UserError } from '../../../models/errors.ts';
import { dataFolder } from './tools.ts';

/** Scores of amino acids that replace each other. */
export interface SubstitutionMatrix {
  /** One letter a residue, in the order of rows and columns. */
  readonly letters: string;
  readonly scores: readonly (readonly number[])[];
}

/** The 20 standard residues; the file has B, J, Z, X and * as well. */
export async function readBlosum62(): Promise<SubstitutionMatrix> {
  const path = dataFolder('blosum62.txt');
  const { letters, scores } = parseSubstitutionMatrix(await readText(path), path);
  const kept = [...'ACDEFGHIKLMNPQRSTVWY'].map(letter => letters.indexOf(letter));
  return { letters: kept.map(i => letters[i]).join(''), scores: kept.map(i => kept.map(j => scores[i][j])) };
}

/** The format of BLAST: comments after #, a line of letters, and a line for each with its letter and whole numbers. */
export function parseSubstitutionMatrix(text: string, path: string): SubstitutionMatrix {
  const lines = text
    .split('\n')
    .map((line, i) => ({ words: line.trim().split(/\s+/), at: `${path}:${i + 1}` }))
    .filter(({ words }) => words[0] !== '' && !words[0].startsWith('#'));
  const letters = lines[0]?.words ?? [];
  const scores = lines.slice(1).map(({ words: [letter, ...numbers], at }, i) => {
    const row = numbers.map(Number);
    if (letter !== letters[i] || row.length !== letters.length || !row.every(Number.isInteger))
      throw new UserError(
        `${at}: not a row of ${letters.length} whole numbers for ${letters[i] ?? 'a letter of the first line'}`,
      );
    return row;
  });
  if (scores.length === 0 || scores.length !== letters.length)
    throw new UserError(`${path}: ${scores.length} rows for ${letters.length} letters; is it complete?`);
  return { letters: letters.join(''), scores };
}
