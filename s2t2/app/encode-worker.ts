/** The other thread of encode.ts: encodes batch after batch and gives the ids back in one piece of memory. */
import { parentPort, workerData } from 'node:worker_threads';
import { UserError } from '../../models/errors.ts';
import { Tokenizer, type TokenizerParts } from '../../models/tokenizer/index.ts';
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

/** Its sequences, one after another, with their lengths; or what is wrong with it. */
export type Answer = { readonly batch: number } & (
  | { readonly error: { readonly message: string; readonly isUserError: boolean } }
  | {
      readonly ids: Int32Array | Uint16Array;
      readonly lengths: Int32Array;
      readonly bytes: Int32Array;
      readonly unknown: Unknown | null;
    }
);

const { parts, context } = workerData as Setting;
const tokenizer = new Tokenizer(parts);

parentPort!.on('message', ({ batch, texts }: Batch) => {
  try {
    const { sequences, unknown } = encodeAtOnce(texts, tokenizer, context);
    const lengths = Int32Array.from(sequences, s => s.ids.length);
    const total = lengths.reduce((a, b) => a + b, 0);
    const ids = sequences[0].ids instanceof Uint16Array ? new Uint16Array(total) : new Int32Array(total);
    let at = 0;
    for (const sequence of sequences) {
      ids.set(sequence.ids, at);
      at += sequence.ids.length;
    }
    const bytes = Int32Array.from(sequences, s => s.bytes);
    const answer: Answer = { batch, ids, lengths, bytes, unknown };
    parentPort!.postMessage(answer, [ids.buffer, lengths.buffer, bytes.buffer]);
  } catch (error) {
    const { message } = error as Error;
    parentPort!.postMessage({ batch, error: { message, isUserError: error instanceof UserError } } satisfies Answer);
  }
});
