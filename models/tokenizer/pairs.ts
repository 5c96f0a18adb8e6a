/**
 * The pairs of neighbouring symbols in a list of words: how often each occurs, where, and what merging one changes.
 *
 * All words stand in one array, a number for each byte. A token is written on its first and its last byte and the bytes
 * between are blank, so the neighbours of a token are read off beside it: no links are kept, and a byte of text costs
 * two bytes of memory (four in vocabularies above 65,533) and four for the place of its pair. Places and entries of the
 * heap go stale and are checked when used.
 *
 * One merge reads the places of its pair from left to right and counts what stands beside them by neighbour, so the
 * tables of pairs are touched once for each neighbour that differs. Of a new token it keeps where it stands; these
 * places are sorted by neighbour only when a pair of the token is merged in turn, which most never are.
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
  /** Where the pair begins, in order, with stale places; missing until the newer of its tokens is sorted. */
  places?: Int32Array;
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
/** Pairs of a token that are merged before its places are sorted by neighbour: sorting takes about as long. */
const usesUnsorted = 2;
/** Places that are looked at together: few enough that what was read for the first stays in the cache. */
const batch = 2 ** 10;

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
  /** What stands before the pairs that are merged, and after them. */
  private readonly before: Counts;
  private readonly after: Counts;
  /** Where tokens stood when they were made; only those whose pairs have no places yet. */
  private readonly made = new Map<number, { readonly places: Int32Array; uses: number }>();
  private readonly valid = new Int32Array(batch);

  /** `lengths`: bytes of each token by id, which grows as tokens are made; its length bounds the ids. */
  constructor(words: Words, lengths: Int32Array) {
    const size = words.lengths.reduce((sum, length) => sum + length + 1, 1);
    const small = lengths.length <= 0xfffe;
    this.symbols = small ? new Uint16Array(size) : new Int32Array(size);
    [this.wall, this.blank] = small ? [0xfffe, 0xffff] : [0x7ffffffe, 0x7fffffff];
    this.weights = words.counts ? new Int32Array(size) : undefined;
    this.lengths = lengths;
    this.before = new Counts(lengths.length);
    this.after = new Counts(lengths.length);
  }

  /** Reads the words in and counts their pairs, a turn at a time; `idOfByte` has an id for every byte of them. */
  *read(words: Words, idOfByte: Int32Array): Generator<void> {
    // Pairs are of few symbols as yet: tables of all pairs hold their counts, then where the next place goes.
    const ids = Math.max(...idOfByte) + 1;
    const counts = new Float64Array(ids * ids);
    const ends = new Int32Array(ids * ids);
    yield* this.write(words, idOfByte);
    for (let from = 1; from < this.symbols.length; from += turn) {
      this.countRange(from, Math.min(this.symbols.length, from + turn), ids, counts, ends);
      yield;
    }
    let total = 0;
    for (let pair = 0; pair < ends.length; pair++) [ends[pair], total] = [total, total + ends[pair]];
    const places = new Int32Array(total);
    for (let from = 1; from < this.symbols.length; from += turn) {
      this.placeRange(from, Math.min(this.symbols.length, from + turn), ids, places, ends);
      yield;
    }
    for (let pair = 0, start = 0; pair < ends.length; start = ends[pair++]) {
      if (ends[pair] === start) continue;
      const [a, b] = [Math.floor(pair / ids), pair % ids];
      this.pairs.set(keyOf(a, b), { count: counts[pair], places: places.subarray(start, ends[pair]) });
      this.heap.push({ left: a, right: b, count: counts[pair] });
    }
  }

  private *write({ blocks, lengths, counts }: Words, idOfByte: Int32Array): Generator<void> {
    const { symbols, weights, wall } = this;
    symbols[0] = wall;
    let at = 1;
    let word = 0;
    let left = lengths[0] ?? 0;
    for (const block of blocks) {
      for (let i = 0; i < block.length; ) {
        while (left === 0) {
          symbols[at++] = wall;
          left = lengths[++word];
        }
        const end = Math.min(block.length, i + left);
        weights?.fill(counts![word], at, at + end - i);
        left -= end - i;
        while (i < end) symbols[at++] = idOfByte[block[i++]];
      }
      yield;
    }
    symbols.fill(wall, at);
  }

  private countRange(from: number, to: number, ids: number, counts: Float64Array, ends: Int32Array): void {
    const { symbols, weights, wall } = this;
    for (let at = from, a = symbols[from - 1]; at < to; at++) {
      const b = symbols[at];
      if (a !== wall && b !== wall) {
        counts[a * ids + b] += weights ? weights[at] : 1;
        ends[a * ids + b]++;
      }
      a = b;
    }
  }

  private placeRange(from: number, to: number, ids: number, places: Int32Array, ends: Int32Array): void {
    const { symbols, wall } = this;
    for (let at = from, a = symbols[from - 1]; at < to; at++) {
      const b = symbols[at];
      if (a !== wall && b !== wall) places[ends[a * ids + b]++] = at - 1;
      a = b;
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
    const newer = Math.max(left, right);
    const whole = this.made.get(newer);
    const unsorted = whole !== undefined && whole.uses++ < usesUnsorted;
    if (whole && !unsorted) yield* this.sort(newer);
    const places = unsorted ? whole.places : this.pairs.get(keyOf(left, right))!.places!;
    // From a place to where the right one begins.
    const offset = unsorted && newer === right && left !== right ? 0 : this.lengths[left];
    const made = new Int32Array(places.length);
    let count = 0;
    for (let from = 0; from < places.length; from += turn) {
      if (from > 0) yield;
      const part = places.subarray(from, from + turn);
      count += this.mergeRange(part, offset, left, right, merged, made.subarray(count));
    }
    // (right, y) became (merged, y), and (x, left) became (merged, x): y before x, for x may be the token just made.
    for (const { id: y, count } of this.after.take()) {
      this.add(right, y, -count);
      this.add(merged, y, count);
    }
    for (const { id: x, count } of this.before.take()) {
      this.add(x, left, -count);
      this.add(x, merged, count);
    }
    this.pairs.delete(keyOf(left, right));
    this.made.set(merged, { places: made.slice(0, count), uses: 0 });
  }

  /**
   * Merges what is a pair still, of places `offset` before where its right token may begin; writes where it stood to
   * `made` and returns how often it did.
   */
  private mergeRange(
    places: Int32Array,
    offset: number,
    left: number,
    right: number,
    merged: number,
    made: Int32Array,
  ): number {
    const { symbols, weights, wall, blank, lengths, before, after, valid } = this;
    const leftLength = lengths[left];
    const rightLength = lengths[right];
    let count = 0;
    for (let from = 0; from < places.length; from += batch) {
      // Places lie far apart, and half of them are stale. Without a branch the processor waits for many at once.
      const to = Math.min(places.length, from + batch);
      let n = 0;
      for (let k = from; k < to; k++) {
        const q = places[k] + offset;
        valid[n] = q;
        n += (((symbols[q - 1] ^ left) | (symbols[q] ^ right)) - 1) >>> 31; // 1 where both are equal
      }
      for (let k = 0; k < n; k++) {
        const q = valid[k];
        const p = q - leftLength;
        if (symbols[p] !== left || symbols[q] !== right) continue; // overlaps the one before
        const last = q + rightLength - 1;
        const x = symbols[p - 1];
        const y = symbols[last + 1];
        const weight = weights === undefined ? 1 : weights[p];
        if (x !== wall) before.add(x, weight);
        if (y !== wall) after.add(y, weight);
        symbols[q - 1] = blank;
        symbols[q] = blank;
        symbols[p] = merged;
        symbols[last] = merged;
        made[count++] = p;
      }
    }
    return count;
  }

  /**
   * Gives the pairs of a token with older ones, and with itself, their places. Those with newer ones have theirs from
   * these.
   */
  private *sort(token: number): Generator<void> {
    const made = this.made.get(token)!.places;
    this.made.delete(token);
    const [before, after] = [new Int32Array(made.length), new Int32Array(made.length)];
    let count = 0;
    for (let from = 0; from < made.length; from += turn, yield)
      count = this.neighbours(token, made, from, Math.min(made.length, from + turn), count, before, after);
    for (const others of [before, after]) {
      const ends = new Int32Array(token + 1);
      for (let k = 0; k < count; k++) if (others[k] <= token) ends[others[k]]++;
      yield;
      let total = 0;
      for (let id = 0; id <= token; id++) [ends[id], total] = [total, total + ends[id]];
      const places = new Int32Array(total);
      for (let k = 0; k < count; k++) {
        const other = others[k];
        if (other <= token) places[ends[other]++] = others === after ? made[k] : made[k] - this.lengths[other];
      }
      yield;
      for (let id = 0, start = 0; id <= token; start = ends[id++]) {
        if (ends[id] === start) continue;
        const pair = this.pairs.get(others === after ? keyOf(token, id) : keyOf(id, token));
        if (pair) pair.places = places.subarray(start, ends[id]);
      }
    }
  }

  /**
   * Of places of a token, from `from` up to `to`, moves those where it still stands to `count` and on, and writes what
   * stands beside it; not itself before it, since it counts as after the other.
   */
  private neighbours(
    token: number,
    made: Int32Array,
    from: number,
    to: number,
    count: number,
    before: Int32Array,
    after: Int32Array,
  ): number {
    const { symbols, wall } = this;
    const length = this.lengths[token];
    let n = count;
    for (let k = from; k < to; k++) {
      const p = made[k];
      const x = symbols[p - 1];
      made[n] = p;
      before[n] = x === token ? wall : x;
      after[n] = symbols[p + length];
      n += ((symbols[p] ^ token) - 1) >>> 31; // 1 where both are equal
    }
    return n;
  }

  private add(left: number, right: number, count: number): void {
    const key = keyOf(left, right);
    const pair = this.pairs.get(key) ?? { count: 0 };
    pair.count += count;
    if (pair.count <= 0) this.pairs.delete(key);
    else {
      this.pairs.set(key, pair);
      this.heap.push({ left, right, count: pair.count });
    }
  }
}

/** How often each token was counted. */
class Counts {
  private readonly counts: Float64Array;
  private readonly seen: number[] = [];

  constructor(vocabSize: number) {
    this.counts = new Float64Array(vocabSize);
  }

  add(id: number, weight: number): void {
    if (this.counts[id] === 0) this.seen.push(id);
    this.counts[id] += weight;
  }

  /** All of it, in the order of what came first; empty from then on. */
  take(): { readonly id: number; readonly count: number }[] {
    const taken = this.seen.map(id => ({ id, count: this.counts[id] }));
    for (const id of this.seen) this.counts[id] = 0;
    this.seen.length = 0;
    return taken;
  }
}
