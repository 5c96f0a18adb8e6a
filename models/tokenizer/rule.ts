/** What a merge of byte-pair encoding is, for the tokenizer, its reader and both algorithms that merge. */

/** Two neighbours, by id, and what they become. */
export interface Merge {
  readonly left: number;
  readonly right: number;
  readonly merged: number;
}

/** Two ids as one number, exact for vocabularies up to 2²⁶. */
export const pairKey = (left: number, right: number): number => left * 2 ** 26 + right;
