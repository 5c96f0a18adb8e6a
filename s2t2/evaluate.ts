/**
 * Perplexity and bits per byte, with a standard error over held-out sequences, and the floors below which nothing has
 * been learned. The end token counts in neither figure.
 */
import { KneserNey } from '../models/ngram.ts';
import type { Score } from '../models/score.ts';
import { utf8Length } from '../models/utf8.ts';
import type { Tokenizer } from '../models/tokenizer/index.ts';

/** How well texts are predicted. */
export interface Metrics {
  /** exp(nats per token): not comparable between tokenizers. */
  readonly perplexity: number;
  /** Σ nats / (ln 2 · Σ bytes): comparable between tokenizers. */
  readonly bitsPerByte: number;
  /** Of bits per byte, over sequences. */
  readonly standardError: number;
}

/** Perplexity and bits per byte of scored texts, with a standard error over texts. Throws if nothing was scored. */
export function metrics(scores: readonly Score[]): Metrics {
  const total = (pick: (s: Score) => number) => scores.reduce((sum, s) => sum + pick(s), 0);
  const [nats, tokens, bytes] = [total(s => s.nats), total(s => s.tokens), total(s => s.bytes)];
  if (bytes === 0 || tokens === 0) throw new Error('metrics: nothing was scored');
  const perByte = nats / bytes;
  // The error of a ratio of sums, linearised: residuals nᵢ − R bᵢ.
  const n = scores.length;
  const variance = n > 1 ? (n / (n - 1)) * total(s => (s.nats - perByte * s.bytes) ** 2) : Number.NaN;
  return {
    perplexity: Math.exp(nats / tokens),
    bitsPerByte: perByte / Math.LN2,
    standardError: Math.sqrt(variance) / bytes / Math.LN2,
  };
}

/** Of the scored texts, the end token left out: how long a sequence is in a vocabulary. */
export const tokensPerByte = (scores: readonly Score[]): number =>
  scores.reduce((n, s) => n + s.tokens, 0) / scores.reduce((n, s) => n + s.bytes, 0);

/**
 * The order-0 floor: bytes coded by their frequencies in the training text, each count raised by one half over the
 * bytes seen there (Krichevsky & Trofimov 1981). A byte of the test text that training never had costs a half count.
 */
export function orderZero(train: readonly string[], test: readonly string[]): Score[] {
  const counts = new Float64Array(256);
  const encoder = new TextEncoder();
  for (const text of train) for (const byte of encoder.encode(text)) counts[byte]++;
  const smoothed = counts.map(c => (c > 0 ? c + 0.5 : 0));
  const total = smoothed.reduce((a, b) => a + b, 0) + 0.5;
  const nats = smoothed.map(c => -Math.log((c || 0.5) / total));
  return test.map(text => {
    const bytes = encoder.encode(text);
    return {
      nats: Array.from(bytes).reduce((sum, byte) => sum + nats[byte], 0),
      endNats: 0,
      tokens: bytes.length,
      bytes: bytes.length,
    };
  });
}

/**
 * Order 0 of a vocabulary: tokens coded by their frequencies in the training text, each count raised by one half. A
 * model that has not got below it knows how frequent tokens are and has not learned what follows what.
 */
export function unigram(train: readonly string[], test: readonly string[], tokenizer: Tokenizer): Score[] {
  const counts = new Float64Array(tokenizer.vocabSize).fill(0.5);
  for (const text of train) for (const id of tokenizer.encode(text)) counts[id]++;
  const total = counts.reduce((a, b) => a + b, 0);
  return test.map(text => {
    const ids = tokenizer.encode(text);
    return {
      nats: Array.from(ids).reduce((sum, id) => sum - Math.log(counts[id] / total), 0),
      endNats: 0,
      tokens: ids.length,
      bytes: utf8Length(text),
    };
  });
}

/** The order-k floor: each byte given the k before it, from an interpolated Kneser–Ney model of the training text. */
export function markov(train: readonly string[], test: readonly string[], k: number): Score[] {
  const symbols = new Map<number, number>(); // 0 begins a text; bytes are numbered as they come
  const encoder = new TextEncoder();
  const encode = (text: string) =>
    Int32Array.from([
      0,
      ...Array.from(encoder.encode(text), byte => symbols.get(byte) ?? symbols.set(byte, symbols.size + 1).size),
    ]);
  const sequences = train.map(encode);
  const texts = test.map(encode);
  const model = new KneserNey(sequences, { order: k + 1, vocabSize: symbols.size + 1 });
  return texts.map(ids => {
    const nats = model.nats(ids);
    return { nats: nats.reduce((a, b) => a + b, 0), endNats: 0, tokens: nats.length, bytes: nats.length };
  });
}

/** The uniform floor: every byte one of those seen in training, 4.32 bits for 20 residues. */
export function uniformFloor(train: readonly string[], test: readonly string[]): Score[] {
  const seen = new Set(train.flatMap(text => [...new Set(new TextEncoder().encode(text))]));
  return test.map(text => {
    const bytes = new TextEncoder().encode(text).length;
    return { nats: bytes * Math.log(seen.size), endNats: 0, tokens: bytes, bytes };
  });
}
