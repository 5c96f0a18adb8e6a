/**
 * Corpora of any size for measurements: drawn from Markov models of the bundled data, so that they have its statistics
 * and no record is a copy of another. A seed fixes every byte; a file is written piece by piece.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { readTexts } from '../s2t2/app/corpus.ts';
import { dataFolder } from '../s2t2/app/data/tools.ts';

/** What is drawn: proteins as FASTA, source code (ASCII) as plain text, Greek (two bytes a letter) as JSON Lines. */
export const corpora = {
  fasta: { data: 'proteins.train.fasta.gz', extension: 'fasta' },
  code: { data: 'code.train.jsonl.gz', extension: 'txt' },
  greek: { data: 'greek.train.jsonl.gz', extension: 'jsonl' },
} as const;
/** A kind of corpus. */
export type Kind = keyof typeof corpora;

/** Writes a corpus of about `megabytes` to `path`. */
export async function makeCorpus(path: string, kind: Kind, megabytes: number): Promise<void> {
  const { texts } = await readTexts(dataFolder(corpora[kind].data));
  const random = xorshift(2463534242);
  const record = kind === 'fasta' ? proteins(texts, random) : documents(texts, random, kind);
  const out = openSync(path, 'w');
  try {
    let [written, pending] = [0, ''];
    for (let i = 0; written < megabytes * 1e6; i++) {
      pending += record(i);
      if (pending.length < 2 ** 20) continue;
      written += writeSync(out, pending);
      pending = '';
    }
  } finally {
    closeSync(out);
  }
}

/** Marsaglia 2003: unsigned 32-bit numbers, and the fastest that will do where a gigabyte is drawn. */
function xorshift(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** Quantiles of the next residue that are kept for each pair of residues. */
const quantiles = 2 ** 12;

/** Proteins of order 2: each residue depends on the two before it; lengths are those of the bundled ones. */
function proteins(texts: readonly string[], random: () => number): (i: number) => string {
  const letters = [...new Set(texts.join(''))].sort();
  const n = letters.length;
  const counts = new Float64Array(n ** 3);
  for (const text of texts) {
    const ids = Array.from(text, c => letters.indexOf(c));
    for (let at = 2; at < ids.length; at++) counts[(ids[at - 2] * n + ids[at - 1]) * n + ids[at]]++;
  }
  const next = new Uint8Array(n * n * quantiles);
  for (let context = 0; context < n * n; context++) {
    const row = counts.subarray(context * n, (context + 1) * n);
    const total = row.reduce((a, b) => a + b, 0);
    let [letter, below] = [0, row[0]];
    for (let q = 0; q < quantiles; q++) {
      // A pair that the data lack is followed by any letter.
      while (total > 0 && below * quantiles <= q * total) below += row[++letter];
      next[context * quantiles + q] = total > 0 ? letter : q % n;
    }
  }
  const codes = Uint8Array.from(letters, c => c.charCodeAt(0));
  const decoder = new TextDecoder();
  return i => {
    const length = texts[random() % texts.length].length;
    const bytes = new Uint8Array(length + Math.ceil(length / 60));
    let [a, b, word, at] = [random() % n, random() % n, 0, 0];
    for (let k = 0; k < length; k++) {
      word = k % 2 === 0 ? random() : word >>> 12;
      const c = next[(a * n + b) * quantiles + (word & (quantiles - 1))];
      bytes[at++] = codes[c];
      if (k % 60 === 59 || k === length - 1) bytes[at++] = 0x0a;
      [a, b] = [b, c];
    }
    return `>p${i}\n${decoder.decode(bytes)}`;
  };
}

/** Texts of words that follow each other in the bundled ones; one word in 50 has a letter changed and is new. */
function documents(texts: readonly string[], random: () => number, kind: 'code' | 'greek'): (i: number) => string {
  const followers = new Map<string, string[]>();
  const first: string[] = [];
  for (const text of texts) {
    const words: string[] = text.match(/\s*\S+/g) ?? [];
    first.push(...words.slice(0, 1));
    for (let at = 1; at < words.length; at++) {
      const known = followers.get(words[at - 1]);
      if (known) known.push(words[at]);
      else followers.set(words[at - 1], [words[at]]);
    }
  }
  const pick = <T>(from: readonly T[]) => from[random() % from.length];
  return i => {
    let text = '';
    for (let word = pick(first); text.length < 4000; word = pick(followers.get(word) ?? first)) {
      const at = random() % (50 * word.length);
      text += at < word.length ? `${word.slice(0, at)}${pick(first).trim()[0]}${word.slice(at + 1)}` : word;
    }
    return kind === 'code' ? `${text}\n\n` : `${JSON.stringify({ id: i, text })}\n`;
  };
}
