/** The other thread of encode.ts: encodes batch after batch and gives the ids back in one piece of memory. */
import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '../../models/errors.ts';
import { Tokenizer, type TokenizerParts } from '../../models/tokenizer/index.ts';
import type { Pack } from '../../models/sequences.ts';
import { Encoder, type Unknown } from '../corpus/sequences.ts';

/** What the thread is told when it starts. */
export interface Setting {
  readonly parts: TokenizerParts;
  readonly context: number;
}

/** A batch of texts, by its number: one after another, and the length of each. */
export interface Batch {
  readonly batch: number;
  readonly joined: string;
  readonly lengths: Uint32Array;
}

/** Its sequences, or what is wrong with it. */
export type Answer = { readonly batch: number } & (
  | { readonly error: { readonly message: string; readonly isUserError: boolean } }
  | { readonly packs: readonly Pack[]; readonly unknown: Unknown | null }
);

const { parts, context } = workerData as Setting;
const encoder = new Encoder(new Tokenizer(parts), context);

parentPort!.on('message', ({ batch, joined, lengths }: Batch) => {
  try {
    let end = 0;
    for (const length of lengths) encoder.add(joined.slice(end, (end += length)));
    const { sequences, unknown } = encoder.finish();
    const { packs } = sequences;
    parentPort!.postMessage({ batch, packs, unknown } satisfies Answer);
  } catch (error) {
    const { message } = error as Error;
    parentPort!.postMessage({ batch, error: { message, isUserError: error instanceof UserError } } satisfies Answer);
  }
});
