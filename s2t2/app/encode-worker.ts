/** The other thread of encode.ts: encodes batch after batch and gives the ids back in one piece of memory. */
import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '../../models/errors.ts';
import { Tokenizer, type TokenizerParts } from '../../models/tokenizer/index.ts';
import type { Pack } from '../../models/sequences.ts';
import { encodeAtOnce, type Unknown } from '../corpus/sequences.ts';

/** What the thread is told when it starts. */
export interface Setting {
  readonly parts: TokenizerParts;
  readonly context: number;
}

/** A batch of texts, by its number. */
interface Batch {
  readonly batch: number;
  readonly texts: readonly string[];
}

/** Its sequences, or what is wrong with it. */
export type Answer = { readonly batch: number } & (
  | { readonly error: { readonly message: string; readonly isUserError: boolean } }
  | { readonly packs: readonly Pack[]; readonly unknown: Unknown | null }
);

const { parts, context } = workerData as Setting;
const tokenizer = new Tokenizer(parts);

parentPort!.on('message', ({ batch, texts }: Batch) => {
  try {
    const { sequences, unknown } = encodeAtOnce(texts, tokenizer, context);
    const { packs } = sequences;
    const answer: Answer = { batch, packs, unknown };
    parentPort!.postMessage(
      answer,
      packs.flatMap(({ ids, ends, bytes }) => [ids.buffer, ends.buffer, bytes.buffer]),
    );
  } catch (error) {
    const { message } = error as Error;
    parentPort!.postMessage({ batch, error: { message, isUserError: error instanceof UserError } } satisfies Answer);
  }
});
