/**
 * The pairs of neighbouring symbols in a list of words: how often each occurs, where, and what merging one changes.
 *
 * All words stand in one array, a number for each byte. A token is written on its first and its last byte and the bytes
 * between are blank, so the neighbours of a token are read off beside it: no links are kept, and a byte of text costs
 * two bytes of memory (four in vocabularies above 65,533) and four for the place of its pair. Places and entries of the
 * heap go stale and are checked when used. One merge reads the places of its pair from left to right and keeps what
 * happened beside them in counts by neighbour, so the tables of pairs are touched once for each neighbour that differs.
 */
import { Heap } from './heap.ts';

/** A pair that may be merged next, as often as it occurred when it was put down. */
export interface Candidate {
  readonly left: number;
  readonly right: number;
  readonly count: number;
}

interface Pair {
  count: number;
  /** Where the pair begins, in order, with stale places. */
  places: Int32Array;
}

/** Words as they are counted: their bytes, one word after another, and how often each occurs. */
export interface Words {
  readonly blocks: readonly Uint8Array[];
  /** Bytes of each word. */
  readonly lengths: Int32Array;
  /** Missing: once each. */
  readonly counts?: Int32Array;
}

/** Two ids as one number, exact for vocabularies up to 2²⁶. */
const keyOf = (left: number, right: number): number => left * 2 ** 26 + right;
/** Symbols that are looked at before the host gets a turn. */
const turn = 2 ** 21;

/** The words of a corpus while merges are learned from them. */
export class Pairs {
  private readonly symbols: Uint16Array | Int32Array;
  /** Written between words, and on bytes within a token: no id. */
  private readonly wall: number;
  private readonly blank: number;
  /** How often the word of a byte occurs; missing: once. */
  private readonly weights: Int32Array | undefined;
  private readonly pairs = new Map<number, Pair>();
  private readonly heap = new Heap<Candidate>((a, b) =>
    a.count !== b.count ? a.count > b.count : a.left !== b.left ? a.left < b.left : a.right < b.right,
  );
  private readonly lengths: Int32Array;
  private readonly before: Side;
  private readonly after: Side;

  /** `lengths`: bytes of each token by id, which grows as tokens are made; its length bounds the ids. */
  constructor(words: Words, lengths: Int32Array) {
    const size = words.lengths.reduce((sum, length) => sum + length + 1, 1);
    const small = lengths.length <= 0xfffe;
    this.symbols = small ? new Uint16Array(size) : new Int32Array(size);
    [this.wall, this.blank] = small ? [0xfffe, 0xffff] : [0x7ffffffe, 0x7fffffff];
    this.weights = words.counts ? new Int32Array(size) : undefined;
    this.lengths = lengths;
    this.before = new Side(lengths.length);
    this.after = new Side(lengths.length);
  }

  /** Reads the words in and counts their pairs, a turn at a time; `idOfByte` has an id for every byte of them. */
  *read(words: Words, idOfByte: Int32Array): Generator<void> {
    const { symbols, weights, wall } = this;
    symbols[0] = wall;
    let [at, word, left, since] = [1, 0, words.lengths[0] ?? 0, 0];
    for (const block of words.blocks) {
      for (let i = 0; i < block.length; i++) {
        while (left === 0) {
          symbols[at++] = wall;
          left = words.lengths[++word];
        }
        if (weights) weights[at] = words.counts![word];
        symbols[at++] = idOfByte[block[i]];
        left--;
      }
      if ((since += block.length) < turn) continue;
      since = 0;
      yield;
    }
    symbols.fill(wall, at);

    // Pairs are of few symbols as yet: tables of all pairs hold their counts, then where the next place goes.
    const ids = Math.max(...idOfByte) + 1;
    const counts = new Float64Array(ids * ids);
    const ends = new Int32Array(ids * ids);
    for (let from = 1; from < symbols.length; from += turn) {
      this.countRange(from, Math.min(symbols.length, from + turn), ids, counts, ends);
      yield;
    }
    let total = 0;
    for (let pair = 0; pair < ends.length; pair++) [ends[pair], total] = [total, total + ends[pair]];
    const places = new Int32Array(total);
    for (let from = 1; from < symbols.length; from += turn) {
      this.placeRange(from, Math.min(symbols.length, from + turn), ids, places, ends);
      yield;
    }
    for (let pair = 0, start = 0; pair < ends.length; start = ends[pair++]) {
      if (ends[pair] === start) continue;
      const [a, b] = [Math.floor(pair / ids), pair % ids];
      this.pairs.set(keyOf(a, b), { count: counts[pair], places: places.subarray(start, ends[pair]) });
      this.heap.push({ left: a, right: b, count: counts[pair] });
    }
  }

  private countRange(from: number, to: number, ids: number, counts: Float64Array, ends: Int32Array): void {
    const { symbols, weights, wall } = this;
    for (let at = from; at < to; at++) {
      const [a, b] = [symbols[at - 1], symbols[at]];
      if (a === wall || b === wall) continue;
      counts[a * ids + b] += weights ? weights[at] : 1;
      ends[a * ids + b]++;
    }
  }

  private placeRange(from: number, to: number, ids: number, places: Int32Array, ends: Int32Array): void {
    const { symbols, wall } = this;
    for (let at = from; at < to; at++) {
      const [a, b] = [symbols[at - 1], symbols[at]];
      if (a !== wall && b !== wall) places[ends[a * ids + b]++] = at - 1;
    }
  }

  /** Whether a pair occurs. */
  has(left: number, right: number): boolean {
    return this.pairs.has(keyOf(left, right));
  }

  /** The most frequent pair; ties go to the smaller ids, left before right. */
  pop(): Candidate | undefined {
    for (let best = this.heap.pop(); best; best = this.heap.pop())
      if (this.pairs.get(keyOf(best.left, best.right))?.count === best.count) return best;
    return undefined;
  }

  /**
   * Replaces every occurrence of a pair, left to right in each word, a turn at a time. `lengths` has the length of the
   * new token. Only the pair of a token with itself overlaps, and its places stand in order: all come from the one
   * pass, left to right, that made the token.
   */
  *merge(left: number, right: number, merged: number): Generator<void> {
    const { before, after } = this;
    const { places } = this.pairs.get(keyOf(left, right))!;
    before.reserve(places.length);
    after.reserve(places.length);
    for (let from = 0; from < places.length; from += turn) {
      if (from > 0) yield;
      this.mergeRange(places.subarray(from, from + turn), left, right, merged);
    }
    // (right, y) became (merged, y), and (x, left) became (merged, x): y before x, for x may be the token just made.
    for (const { id: y, count, places } of after.take()) {
      this.add(right, y, -count);
      this.add(merged, y, count, places);
    }
    for (const { id: x, count, places } of before.take()) {
      this.add(x, left, -count);
      this.add(x, merged, count, places);
    }
    this.pairs.delete(keyOf(left, right));
  }

  private mergeRange(places: Int32Array, left: number, right: number, merged: number): void {
    const { symbols, weights, wall, blank, lengths, before, after } = this;
    const [leftLength, length] = [lengths[left], lengths[merged]];
    for (let k = 0; k < places.length; k++) {
      const p = places[k];
      const q = p + leftLength;
      if (symbols[p] !== left || symbols[q] !== right) continue; // merged meanwhile
      const last = p + length - 1;
      const [x, y] = [symbols[p - 1], symbols[last + 1]];
      const weight = weights ? weights[p] : 1;
      if (x !== wall) before.add(x, weight, p - lengths[x]);
      if (y !== wall) after.add(y, weight, p);
      symbols[q - 1] = blank;
      symbols[q] = blank;
      symbols[p] = merged;
      symbols[last] = merged;
    }
  }

  /** A pair that is new comes with its places: later it only gets rarer, for every new place holds a new token. */
  private add(left: number, right: number, count: number, places: Int32Array = none): void {
    const key = keyOf(left, right);
    const pair = this.pairs.get(key) ?? { count: 0, places };
    pair.count += count;
    if (pair.count <= 0) this.pairs.delete(key);
    else {
      this.pairs.set(key, pair);
      this.heap.push({ left, right, count: pair.count });
    }
  }
}

const none = new Int32Array(0);

/**
 * What stood on one side of the pairs that were merged: for each neighbour its count, and the places of the new pairs.
 */
class Side {
  private readonly counts: Float64Array;
  /** Places of each neighbour. */
  private readonly ends: Int32Array;
  private readonly seen: number[] = [];
  private ids = new Int32Array(0);
  private places = new Int32Array(0);
  private size = 0;

  constructor(vocabSize: number) {
    this.counts = new Float64Array(vocabSize);
    this.ends = new Int32Array(vocabSize);
  }

  /** Makes room for so many. */
  reserve(size: number): void {
    if (size <= this.ids.length) return;
    [this.ids, this.places] = [new Int32Array(size), new Int32Array(size)];
  }

  add(id: number, weight: number, place: number): void {
    if (this.ends[id]++ === 0) this.seen.push(id);
    this.counts[id] += weight;
    this.ids[this.size] = id;
    this.places[this.size++] = place;
  }

  /** All of it, places in order; empty from then on. */
  take(): { id: number; count: number; places: Int32Array }[] {
    const { counts, ends, seen, ids, places } = this;
    const taken = seen.map(id => ({ id, count: counts[id], places: new Int32Array(ends[id]) }));
    const placesOf: Int32Array[] = [];
    for (const { id, places: own } of taken) placesOf[id] = own;
    for (let k = this.size - 1; k >= 0; k--) placesOf[ids[k]][--ends[ids[k]]] = places[k];
    for (const id of seen) counts[id] = 0;
    seen.length = this.size = 0;
    return taken;
  }
}
