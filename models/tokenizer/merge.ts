/**
 * The merges of one word: the pair with the lowest rank first, leftmost first, until no pair has a rank.
 *
 * Four algorithms give the same tokens. A short word is searched for its lowest rank before each merge. Where a merge
 * only ever makes pairs of higher rank (true of every vocabulary whose merges come in the order in which they were
 * learned), a long word is scanned from left to right (scan.ts) or, in a vocabulary too large for that, keeps its pairs
 * in one list a rank, which one sweep over the ranks empties: O(n) for a word of n symbols either way. Any other
 * vocabulary takes a heap of pairs, O(n log n).
 */
import { UserError } from '../errors.ts';
import { Heap } from './heap.ts';
import type { Merge } from './rule.ts';
import { Scanner } from './scan.ts';

/** Up to this many symbols, searching beats keeping lists. */
const shortWord = 20;
/** Ids up to which a table of all pairs is kept: 4 MB. */
const denseIds = 1024;

/** Merges the symbols of words by a fixed list of merges. */
export class Merger {
  /** The rank of a pair of ids, or −1. */
  private readonly rankOf: (left: number, right: number) => number;
  private readonly left: Int32Array;
  private readonly right: Int32Array;
  private readonly merged: Int32Array;
  private readonly monotone: boolean;
  private readonly merges: readonly Merge[];
  /** Made for the first long word; null where it cannot be. */
  private scanner: Scanner | null | undefined;

  // Scratch of a word: neighbours of each symbol, −1 or n at the ends.
  private next = new Int32Array(0);
  private previous = new Int32Array(0);
  /** List of places for each rank: the first entry, and for each entry its place and the entry after it. */
  private readonly first: Int32Array;
  private place = new Int32Array(0);
  private after = new Int32Array(0);
  private entries = 0;
  /** A bit for each rank with a list, and a bit for each 32 of those. */
  private readonly used: Int32Array;
  private readonly usedWords: Int32Array;

  /** @throws UserError where two merges have one pair. */
  constructor(merges: readonly Merge[]) {
    this.left = Int32Array.from(merges, m => m.left);
    this.right = Int32Array.from(merges, m => m.right);
    this.merged = Int32Array.from(merges, m => m.merged);
    this.merges = merges;
    this.rankOf = rankTable(merges);
    this.monotone = isMonotone(merges);
    this.first = new Int32Array(merges.length).fill(-1);
    this.used = new Int32Array((merges.length >> 5) + 1);
    this.usedWords = new Int32Array((this.used.length >> 5) + 1);
  }

  /** Merges the symbols from `from` up to `to` in place; what remains begins at `from`. Returns where it ends. */
  merge(symbols: Int32Array, from: number, to: number): number {
    if (to - from <= shortWord) return this.mergeShort(symbols, from, to);
    if (this.scanner === undefined) this.scanner = (this.monotone && Scanner.of(this.merges, this.rankOf)) || null;
    if (this.scanner) return this.scanner.merge(symbols, from, to);
    return from + this.mergeLinked(symbols.subarray(from, to), to - from);
  }

  private mergeLinked(symbols: Int32Array, n: number): number {
    this.link(n);
    if (this.monotone) this.mergeByLists(symbols, n);
    else this.mergeByHeap(symbols, n);
    let kept = 0;
    for (let i = 0; i < n; i = this.next[i]) symbols[kept++] = symbols[i];
    return kept;
  }

  private mergeShort(symbols: Int32Array, from: number, to: number): number {
    const { rankOf } = this;
    const ranks = shortRanks;
    let n = to - from;
    for (let i = 0; i + 1 < n; i++) ranks[i] = rankOf(symbols[from + i], symbols[from + i + 1]);
    for (;;) {
      let at = -1;
      let lowest = 0x7fffffff;
      for (let i = 0; i + 1 < n; i++) {
        const rank = ranks[i];
        if (rank >= 0 && rank < lowest) {
          lowest = rank;
          at = i;
        }
      }
      if (at < 0) return from + n;
      symbols[from + at] = this.merged[lowest];
      n--;
      for (let i = at + 1; i < n; i++) {
        symbols[from + i] = symbols[from + i + 1];
        ranks[i] = ranks[i + 1];
      }
      if (at > 0) ranks[at - 1] = rankOf(symbols[from + at - 1], symbols[from + at]);
      if (at + 1 < n) ranks[at] = rankOf(symbols[from + at], symbols[from + at + 1]);
    }
  }

  private link(n: number): void {
    if (this.next.length < n) {
      const size = 2 ** Math.ceil(Math.log2(n));
      this.next = new Int32Array(size);
      this.previous = new Int32Array(size);
      // A place is listed once at the beginning, and each of at most n − 1 merges lists two more.
      this.place = new Int32Array(3 * size);
      this.after = new Int32Array(3 * size);
    }
    for (let i = 0; i < n; i++) {
      this.next[i] = i + 1;
      this.previous[i] = i - 1;
    }
  }

  /** Joins the symbol at `i` and the one after it. */
  private join(symbols: Int32Array, n: number, i: number, merged: number): void {
    const j = this.next[i];
    symbols[j] = -1;
    symbols[i] = merged;
    const k = this.next[j];
    this.next[i] = k;
    if (k < n) this.previous[k] = i;
  }

  private mergeByLists(symbols: Int32Array, n: number): void {
    const { rankOf, next, previous, first, place, after, used, usedWords, left, right, merged } = this;
    this.entries = 0;
    for (let i = n - 2; i >= 0; i--) {
      const rank = rankOf(symbols[i], symbols[i + 1]);
      if (rank >= 0) this.list(rank, i);
    }
    for (let upper = 0; upper < usedWords.length; upper++) {
      while (usedWords[upper] !== 0) {
        const word = upper * 32 + lowestBit(usedWords[upper]);
        const rank = word * 32 + lowestBit(used[word]);
        const [a, b, c] = [left[rank], right[rank], merged[rank]];
        for (let entry = first[rank]; entry >= 0; entry = after[entry]) {
          let i = place[entry];
          if (symbols[i] !== a || next[i] >= n || symbols[next[i]] !== b) continue; // merged meanwhile
          // In a run of one symbol pairs overlap: it is merged from its beginning.
          if (a === b) while (previous[i] >= 0 && symbols[previous[i]] === a) i = previous[i];
          do {
            this.join(symbols, n, i, c);
            this.listNeighbours(symbols, n, i);
            i = next[i];
          } while (a === b && i < n && symbols[i] === a && next[i] < n && symbols[next[i]] === a);
        }
        first[rank] = -1;
        used[word] &= ~(1 << (rank & 31));
        if (used[word] === 0) usedWords[upper] &= ~(1 << (word & 31));
      }
    }
  }

  private listNeighbours(symbols: Int32Array, n: number, i: number): void {
    const [h, j] = [this.previous[i], this.next[i]];
    if (h >= 0) {
      const rank = this.rankOf(symbols[h], symbols[i]);
      if (rank >= 0) this.list(rank, h);
    }
    if (j < n) {
      const rank = this.rankOf(symbols[i], symbols[j]);
      if (rank >= 0) this.list(rank, i);
    }
  }

  private list(rank: number, i: number): void {
    const entry = this.entries++;
    this.place[entry] = i;
    this.after[entry] = this.first[rank];
    this.first[rank] = entry;
    const word = rank >> 5;
    this.used[word] |= 1 << (rank & 31);
    this.usedWords[word >> 5] |= 1 << (word & 31);
  }

  private mergeByHeap(symbols: Int32Array, n: number): void {
    const { next, previous } = this;
    const heap = new Heap<number>((a, b) => a < b);
    const rankAt = (i: number) => (next[i] < n ? this.rankOf(symbols[i], symbols[next[i]]) : -1);
    const offer = (i: number) => {
      const rank = i >= 0 ? rankAt(i) : -1;
      if (rank >= 0) heap.push(rank * 2 ** 30 + i);
    };
    for (let i = 0; i < n; i++) offer(i);
    for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
      const i = key % 2 ** 30;
      const rank = Math.floor(key / 2 ** 30);
      if (symbols[i] < 0 || rankAt(i) !== rank) continue; // merged meanwhile
      this.join(symbols, n, i, this.merged[rank]);
      offer(previous[i]);
      offer(i);
    }
  }
}

const shortRanks = new Int32Array(shortWord);

const lowestBit = (bits: number): number => 31 - Math.clz32(bits & -bits);

/** Whether every merge of a token comes after all merges that make this token. */
function isMonotone(merges: readonly Merge[]): boolean {
  const madeAt = new Int32Array(idsOf(merges)).fill(-1);
  merges.forEach(({ merged }, rank) => (madeAt[merged] = rank)); // the last one
  return merges.every(({ left, right }, rank) => madeAt[left] < rank && madeAt[right] < rank);
}

/** The largest id, and 1. */
const idsOf = (merges: readonly Merge[]): number =>
  merges.reduce((most, { left, right, merged }) => Math.max(most, left, right, merged), 0) + 1;

/** A table of all pairs where ids are few, else a hash table with open addressing. */
function rankTable(merges: readonly Merge[]): (left: number, right: number) => number {
  const ids = idsOf(merges);
  const twice = (rank: number) => new UserError(`tokenizer: merge ${rank} has the pair of an earlier one`);
  if (ids <= denseIds) {
    const table = new Int32Array(ids * ids).fill(-1);
    merges.forEach(({ left, right }, rank) => {
      if (table[left * ids + right] >= 0) throw twice(rank);
      table[left * ids + right] = rank;
    });
    // A symbol may be an id beyond those of the merges.
    return (left, right) => (left < ids && right < ids ? table[left * ids + right] : -1);
  }
  const size = 2 ** Math.ceil(Math.log2(3 * merges.length));
  const slots = new Int32Array(3 * size).fill(-1); // left, right, rank
  const slotOf = (left: number, right: number): number => {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & (size - 1);
    while (slots[3 * slot] >= 0 && (slots[3 * slot] !== left || slots[3 * slot + 1] !== right))
      slot = (slot + 1) & (size - 1);
    return 3 * slot;
  };
  merges.forEach(({ left, right }, rank) => {
    const slot = slotOf(left, right);
    if (slots[slot] >= 0) throw twice(rank);
    slots[slot] = left;
    slots[slot + 1] = right;
    slots[slot + 2] = rank;
  });
  return (left, right) => slots[slotOf(left, right) + 2];
}
