/** Distinct words without a string for each: counted when a tokenizer is trained, remembered when texts are encoded. */
import type { Ids } from './ids.ts';
import type { Units } from './units.ts';

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

  /** The number of the word that `piece` has from `from` up to `to`: `size`, before the call, if it is new. */
  number(piece: Units, from: number, to: number): number {
    const text = piece.values;
    let hash = 0x811c9dc5 | 0; // FNV-1a
    for (let at = from; at < to; at++) hash = Math.imul(hash ^ text[at], 0x01000193);
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

  private is(number: number, text: Uint16Array, from: number, to: number): boolean {
    const { units, starts } = this;
    const start = starts[number];
    if (starts[number + 1] - start !== to - from) return false;
    for (let i = 0; i < to - from; i++) if (units[start + i] !== text[from + i]) return false;
    return true;
  }

  private add(text: Uint16Array, from: number, to: number, hash: number, slot: number): number {
    const number = this.size++;
    const start = this.starts[number];
    if (start + to - from > this.units.length) this.units = larger(this.units, start + to - from, Uint16Array);
    this.units.set(text.subarray(from, to), start);
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

/** Places of words, at first and at most, as powers of two, and numbers of memory for each place. */
const [firstBits, mostBits] = [8, 15];
const numbersPerPlace = 8;
/** Longer words, and those with more ids, are not remembered. */
const [mostIds, mostUnits] = [7, 48];

/**
 * Words with their ids. A word's hash gives its place, which it takes from the word there before: most words of a text
 * are among the last few thousand that differ. The words themselves lie one after another in the order in which
 * they came: frequent words come early, and share few lines of the processor's cache.
 */
export class WordCache {
  private bits = firstBits;
  /** Where the word of a place begins in `memory`; 0 for none. */
  private places = new Int32Array(1 << firstBits);
  /** Of each word its length and how many ids it has, the ids, the units, two to a number. No word begins at 0. */
  private memory = new Int32Array(numbersPerPlace << firstBits);
  private used = 1;
  /** The units of the word that was looked up last, and their hash. */
  private readonly key = new Int32Array(mostUnits / 2);
  private length = 0;
  private hash = 0;

  /** Adds the ids of the word that `piece` has from `from` up to `to` to a list, if they are known. */
  addTo(list: Ids, piece: Units, from: number, to: number): boolean {
    const length = to - from;
    this.length = length;
    if (length > mostUnits) return false;
    const { memory, key } = this;
    const units = piece.values;
    let hash = length;
    let n = 0;
    for (let at = from; at < to; at += 2) {
      const two = at + 1 < to ? units[at] | (units[at + 1] << 16) : units[at];
      key[n++] = two;
      hash = Math.imul(hash ^ two, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    this.hash = hash;
    const start = this.places[this.placeOf(hash)];
    const head = memory[start];
    if ((head & 0xff) !== length) return false;
    const count = head >> 8;
    const first = start + 1 + count;
    for (let i = 0; i < n; i++) if (memory[first + i] !== key[i]) return false;
    list.reserve(count);
    const { values } = list;
    const end = list.length;
    for (let i = 0; i < count; i++) values[end + i] = memory[start + 1 + i];
    list.length = end + count;
    return true;
  }

  /** The ids of the word that was looked up last are those of the list from `from` on. */
  remember(list: Ids, from: number): void {
    const { key, length } = this;
    const count = list.length - from;
    if (length > mostUnits || count > mostIds) return;
    const size = 1 + count + Math.ceil(length / 2);
    if (this.used + size > this.memory.length) this.clear();
    const { memory } = this;
    let at = this.used;
    this.places[this.placeOf(this.hash)] = at;
    memory[at++] = length | (count << 8);
    for (let i = 0; i < count; i++) memory[at++] = list.values[from + i];
    for (let i = 0; 2 * i < length; i++) memory[at++] = key[i];
    this.used = at;
  }

  /** Full memory begins empty, larger as long as it may grow: what is met again is remembered again. */
  private clear(): void {
    this.used = 1;
    if (this.bits === mostBits) {
      this.places.fill(0);
      return;
    }
    this.bits = Math.min(this.bits + 2, mostBits);
    this.places = new Int32Array(1 << this.bits);
    this.memory = new Int32Array(numbersPerPlace << this.bits);
  }

  private placeOf(hash: number): number {
    return Math.imul(hash, 0x85ebca77) >>> (32 - this.bits);
  }
}
