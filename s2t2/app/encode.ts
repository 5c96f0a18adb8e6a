/**
 * Texts encoded by two threads: this one and another take batches in the order of the texts, so the first error is that
 * of the first text that has one, and the sequences are those of `encodeTexts`, whichever thread made them.
 */
import { Worker } from 'node:worker_threads';
import { UserError } from '../../models/errors.ts';
import { PackedSequences, type Pack } from '../../models/sequences.ts';
import type { Tokenizer } from '../../models/tokenizer/index.ts';
import { nextTurn } from '../../models/turn.ts';
import { type Encoded, Encoder, encodeTexts, type Unknown } from '../corpus/sequences.ts';
import type { Answer, Batch, Setting } from './encode-worker.ts';

/** Characters of a batch: some twentieths of a second of work. */
const batchSize = 2 ** 20;
/** Fewer characters are not worth the start of a thread. */
const worthwhile = 2 ** 23;
/** Batches that wait in the other thread, so that it never waits for this one. */
const ahead = 2;

/** As `encodeTexts`, with two threads where there is much to encode. */
export async function encodeInTwo(
  texts: readonly string[],
  tokenizer: Tokenizer,
  context: number,
  signal?: AbortSignal,
  threshold = worthwhile,
): Promise<Encoded> {
  if (texts.reduce((n, { length }) => n + length, 0) < threshold) return encodeTexts(texts, tokenizer, context, signal);
  const batches = cut(texts);
  const results: (Encoded | { readonly error: unknown })[] = [];
  let next = 0;
  let failed = false;
  const take = () => (failed || next === batches.length ? undefined : next++);
  const put = (batch: number, result: Encoded | { readonly error: unknown }) => {
    results[batch] = result;
    failed ||= 'error' in result;
  };
  const encoder = new Encoder(tokenizer, context);
  const other = new OtherThread({ parts: tokenizer.parts, context }, put);
  try {
    for (;;) {
      while (other.waiting < ahead) {
        const batch = take();
        if (batch === undefined) break;
        other.encode(batch, batches[batch]);
      }
      const batch = take();
      if (batch === undefined) break;
      try {
        put(batch, encoder.encode(batches[batch]));
      } catch (error) {
        put(batch, { error });
      }
      await nextTurn();
      signal?.throwIfAborted();
    }
    await other.finished(signal);
  } finally {
    await other.end();
  }
  return joined(results);
}

function cut(texts: readonly string[]): string[][] {
  const batches: string[][] = [];
  let size = batchSize;
  for (const text of texts) {
    if (size >= batchSize) {
      batches.push([]);
      size = 0;
    }
    batches.at(-1)!.push(text);
    size += text.length;
  }
  return batches;
}

function joined(results: readonly (Encoded | { readonly error: unknown })[]): Encoded {
  const packs: Pack[] = [];
  let unknown: Unknown | null = null;
  for (const result of results) {
    if ('error' in result) throw result.error;
    packs.push(...result.sequences.packs);
    unknown = sum(unknown, result.unknown);
  }
  return { sequences: new PackedSequences(packs), unknown };
}

const sum = (a: Unknown | null, b: Unknown | null): Unknown | null =>
  a && b ? { tokens: a.tokens + b.tokens, texts: a.texts + b.texts, first: a.first } : (a ?? b);

/** The thread beside this one. */
class OtherThread {
  /** Batches that it has not given back. */
  waiting = 0;
  private readonly worker: Worker;
  private failure: Error | undefined;
  private wake = () => {};

  constructor(setting: Setting, put: (batch: number, result: Encoded | { readonly error: unknown }) => void) {
    // Where the sources run as they are, as in tests, a thread still needs what was built of them.
    const script = import.meta.url.endsWith('.ts') ? '../../dist/s2t2/app/encode-worker.js' : './encode-worker.js';
    this.worker = new Worker(new URL(script, import.meta.url), { workerData: setting });
    this.worker.on('message', (answer: Answer) => {
      this.waiting--;
      if ('error' in answer) put(answer.batch, { error: restored(answer.error) });
      else put(answer.batch, { sequences: new PackedSequences(answer.packs), unknown: answer.unknown });
      this.wake();
    });
    this.worker.on('error', error => {
      this.failure = error;
      this.wake();
    });
  }

  encode(batch: number, texts: readonly string[]): void {
    this.waiting++;
    // One long string is copied in a fraction of the time that thousands of short ones take.
    const lengths = Uint32Array.from(texts, text => text.length);
    this.worker.postMessage({ batch, joined: texts.join(''), lengths } satisfies Batch);
  }

  /** When it has given back all; rejects where it has died, or the signal says so. */
  async finished(signal?: AbortSignal): Promise<void> {
    const wake = () => this.wake();
    signal?.addEventListener('abort', wake);
    try {
      while (this.waiting > 0) {
        if (this.failure) throw this.failure;
        signal?.throwIfAborted();
        await new Promise<void>(resolve => (this.wake = resolve));
      }
    } finally {
      signal?.removeEventListener('abort', wake);
    }
  }

  async end(): Promise<void> {
    await this.worker.terminate();
  }
}

const restored = ({ message, isUserError }: { readonly message: string; readonly isUserError: boolean }): Error =>
  isUserError ? new UserError(message) : new Error(message);
