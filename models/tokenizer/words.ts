/** Distinct words without a string for each: counted when a tokenizer is trained, remembered when texts are encoded. */
import { Ids } from './ids.ts';

const mostCached = 2 ** 17;

/**
 * Words, each with a number in the order in which they came first: a hash table over UTF-16 units, all in a few arrays.
 * A word is looked up where it stands in its text, so none is cut out, hashed and kept as a separate object.
 */
export class WordTable {
  size = 0;
  /** The number of a word and 1, or 0; open addressing. */
  private slots = new Int32Array(2 ** 12);
  /** Of each word its hash and, in `units`, its beginning; that of the next word is its end. */
  private hashes = new Int32Array(2 ** 11);
  private starts = new Uint32Array(2 ** 11 + 1);
  private units = new Uint16Array(2 ** 14);

  /** The number of the word that `text` has from `from` up to `to`: `size`, before the call, if it is new. */
  number(text: string, from: number, to: number): number {
    let hash = 0x811c9dc5 | 0; // FNV-1a
    for (let at = from; at < to; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
    hash ^= hash >>> 15;
    const { slots, hashes } = this;
    const last = slots.length - 1;
    for (let slot = hash & last; ; slot = (slot + 1) & last) {
      const number = slots[slot] - 1;
      if (number < 0) return this.add(text, from, to, hash, slot);
      if (hashes[number] === hash && this.is(number, text, from, to)) return number;
    }
  }

  /** The text of a word. */
  word(number: number): string {
    const units = this.units.subarray(this.starts[number], this.starts[number + 1]);
    let text = '';
    for (let at = 0; at < units.length; at += 4096) text += String.fromCharCode(...units.subarray(at, at + 4096));
    return text;
  }

  private is(number: number, text: string, from: number, to: number): boolean {
    const { units, starts } = this;
    const start = starts[number];
    if (starts[number + 1] - start !== to - from) return false;
    for (let i = 0; i < to - from; i++) if (units[start + i] !== text.charCodeAt(from + i)) return false;
    return true;
  }

  private add(text: string, from: number, to: number, hash: number, slot: number): number {
    const number = this.size++;
    const start = this.starts[number];
    if (start + to - from > this.units.length) this.units = larger(this.units, start + to - from, Uint16Array);
    for (let at = from; at < to; at++) this.units[start + at - from] = text.charCodeAt(at);
    if (number === this.hashes.length) {
      this.hashes = larger(this.hashes, 0, Int32Array);
      this.starts = larger(this.starts, 0, Uint32Array);
    }
    this.hashes[number] = hash;
    this.starts[number + 1] = start + to - from;
    this.slots[slot] = number + 1;
    if (2 * this.size > this.slots.length) this.rehash();
    return number;
  }

  private rehash(): void {
    const slots = new Int32Array(2 * this.slots.length);
    for (let number = 0; number < this.size; number++) {
      let slot = this.hashes[number] & (slots.length - 1);
      while (slots[slot] > 0) slot = (slot + 1) & (slots.length - 1);
      slots[slot] = number + 1;
    }
    this.slots = slots;
  }
}

/** A copy of twice the length, or of `length` if that is more. */
export function larger<A extends { readonly length: number; set(from: A): void }>(
  array: A,
  length: number,
  type: new (length: number) => A,
): A {
  const copy = new type(Math.max(2 * array.length, length));
  copy.set(array);
  return copy;
}

/** Words with their ids, as many as fit. */
export class WordCache {
  private readonly words = new WordTable();
  private readonly ids = new Ids();
  /** Where the ids of a word end. */
  private readonly ends = new Int32Array(mostCached);
  private known = 0;

  get isFull(): boolean {
    return this.known === mostCached;
  }

  /** Adds the ids of a word to a list, if they are known; if not, `remember` must be told them next. */
  addTo(list: Ids, text: string, from: number, to: number): boolean {
    const number = this.words.number(text, from, to);
    if (number === this.known) return false;
    list.addRange(this.ids.values, number === 0 ? 0 : this.ends[number - 1], this.ends[number]);
    return true;
  }

  /** The ids of the last word are those of the list from `from` on. */
  remember(list: Ids, from: number): void {
    this.ids.addRange(list.values, from, list.length);
    this.ends[this.known++] = this.ids.length;
  }
}
