/**
 * The merges of a word in one pass from left to right, for vocabularies of up to a few thousand tokens.
 *
 * A sequence of tokens is the encoding of its text if and only if each token is that of its own text and so is each
 * pair of neighbours (Berglund & van der Merwe 2023; van Antwerpen & Neubeck 2024): no merge crosses a border that it
 * does not cross when it sees the two tokens alone. So the encoding of a prefix ends with the one token, of those that
 * end there, that gets on with the last token of the prefix before it. An automaton (Aho & Corasick 1975) lists the
 * tokens that end at a place, a table remembers which pairs get on.
 */
import type { Merge } from './rule.ts';

/** Tokens at most: the table of pairs has their square. */
const maxTokens = 2048;
/** Entries of the automaton's table, at most. */
const maxTransitions = 2 ** 22;

/** Encodes words by a table of which tokens may stand beside each other. */
export class Scanner {
  /** For each token its symbols, its id and its length. */
  private readonly spelled: readonly Int32Array[];
  private readonly ids: Int32Array;
  private readonly lengths: Int32Array;
  /** Column of each symbol in `next`; −1 for symbols that no merge knows. */
  private readonly columns: Int32Array;
  /** Columns, rounded up to a power of two. */
  private readonly width: number;
  /** The state after a state and a symbol. */
  private readonly next: Int32Array;
  /** For each state where its list begins of the tokens that end there, the longest first, with their lengths. */
  private readonly lists: Int32Array;
  private readonly candidates: Int32Array;
  /** Whether a token (row) gets on with the one before it (column): 0 not known yet, 1 yes, 2 no. */
  private readonly pairs: Uint8Array;
  private readonly encode: (symbols: Int32Array) => Int32Array;
  private last = new Int32Array(0);

  /** A scanner, or undefined where the vocabulary is too large. `encode` gives the encoding of symbols another way. */
  static of(merges: readonly Merge[], encode: (symbols: Int32Array) => Int32Array): Scanner | undefined {
    if (merges.length > maxTokens) return undefined;
    const made = new Set(merges.map(m => m.merged));
    const parts = merges.flatMap(({ left, right }) => [left, right]).filter(id => !made.has(id));
    const lengths = new Map(parts.map(id => [id, 1]));
    for (const { left, right, merged } of merges) lengths.set(merged, lengths.get(left)! + lengths.get(right)!);
    if ([...lengths.values()].reduce((a, b) => a + b, 0) > maxTransitions) return undefined;
    const spelled = new Map(parts.map(id => [id, [id]]));
    for (const { left, right, merged } of merges) {
      const spelling = [...spelled.get(left)!, ...spelled.get(right)!];
      const known = spelled.get(merged);
      if (known && known.join() !== spelling.join()) return undefined;
      spelled.set(merged, spelling);
    }
    // A token that its own text does not give is in no encoding.
    const tokens = [...spelled]
      .map(([id, spelling]) => ({ id, spelling: Int32Array.from(spelling) }))
      .filter(({ id, spelling }) => encode(spelling.slice()).join() === String(id));
    const symbols = tokens.filter(t => t.spelling.length === 1).length;
    const states = tokens.reduce((n, { spelling }) => n + spelling.length, 1);
    if (tokens.length > maxTokens || 2 * states * symbols > maxTransitions) return undefined;
    return new Scanner(tokens, symbols, states, encode);
  }

  private constructor(
    tokens: readonly { readonly id: number; readonly spelling: Int32Array }[],
    width: number,
    maxStates: number,
    encode: (symbols: Int32Array) => Int32Array,
  ) {
    this.encode = encode;
    this.spelled = tokens.map(t => t.spelling);
    this.ids = Int32Array.from(tokens, t => t.id);
    this.lengths = Int32Array.from(tokens, t => t.spelling.length);
    this.width = 2 ** Math.ceil(Math.log2(width));
    this.columns = new Int32Array(this.ids.reduce((most, id) => Math.max(most, id), 0) + 1).fill(-1);
    let column = 0;
    for (const { spelling } of tokens) if (spelling.length === 1) this.columns[spelling[0]] = column++;
    this.pairs = new Uint8Array(tokens.length ** 2);
    this.next = new Int32Array(maxStates * this.width);
    this.lists = new Int32Array(maxStates);
    this.candidates = Int32Array.from(this.build());
  }

  /**
   * The automaton: a tree of all tokens, then, level by level, where a symbol leads that the tree does not have. Gives
   * the lists of candidates: numbers and lengths, the longest first; the last one is a symbol by itself.
   */
  private build(): number[] {
    const { next, width, lists, columns } = this;
    const token: (number | undefined)[] = [];
    let states = 1;
    this.spelled.forEach((spelling, number) => {
      let state = 0;
      for (const symbol of spelling) state = next[state * width + columns[symbol]] ||= states++;
      token[state] = number;
    });
    // The state of the longest proper ending of a state's text that is in the tree.
    const ending = new Int32Array(states);
    // That of the longest ending that is a token, itself included: in a long run of one symbol few endings are.
    const tokenState = new Int32Array(states);
    const candidates: number[] = [];
    const queue = [0];
    for (let state = queue.shift(); state !== undefined; state = queue.shift()) {
      lists[state] = candidates.length;
      for (let other = tokenState[state]; other !== 0; other = tokenState[ending[other]]) {
        const number = token[other]!;
        candidates.push(number, this.lengths[number]);
      }
      for (let column = 0; column < width; column++) {
        const child = next[state * width + column];
        const other = state === 0 ? 0 : next[ending[state] * width + column];
        if (child === 0 || (state !== 0 && child === other)) {
          next[state * width + column] = other;
          continue;
        }
        queue.push(child);
        ending[child] = other;
        tokenState[child] = token[child] === undefined ? tokenState[other] : child;
      }
    }
    return candidates;
  }

  /** Merges the first `n` symbols in place; what remains stands at the beginning. Returns how many that are. */
  merge(symbols: Int32Array, n: number): number {
    if (this.last.length < n) this.last = new Int32Array(2 ** Math.ceil(Math.log2(n)));
    let kept = 0;
    for (let from = 0; from < n; ) {
      let to = from;
      while (to < n && symbols[to] < this.columns.length && this.columns[symbols[to]] >= 0) to++;
      kept += this.mergeKnown(symbols, from, to, kept);
      // A symbol that no merge knows stands alone, and what lies on either side does not see the other.
      if (to < n) symbols[kept++] = symbols[to];
      from = to + 1;
    }
    return kept;
  }

  private mergeKnown(symbols: Int32Array, from: number, to: number, put: number): number {
    const { next, width, columns, lists, candidates, lengths, pairs, last, ids } = this;
    const count = lengths.length;
    let state = 0;
    for (let at = from; at < to; at++) {
      state = next[state * width + columns[symbols[at]]];
      let candidate = lists[state];
      let number = candidates[candidate];
      // One of them gets on, so the last one does if no other one did; so does one that begins the word.
      for (let length = candidates[candidate + 1]; length > 1 && at - length >= from; ) {
        const before = last[at - length];
        const known = pairs[number * count + before];
        if (known === 1 || (known === 0 && this.getsOn(before, number))) break;
        candidate += 2;
        number = candidates[candidate];
        length = candidates[candidate + 1];
      }
      last[at] = number;
    }
    // The tokens, from the last to the first.
    let place = to;
    for (let at = to - 1; at >= from; ) {
      const number = last[at];
      symbols[--place] = ids[number];
      at -= lengths[number];
    }
    symbols.copyWithin(put, place, to);
    return to - place;
  }

  /** Whether two tokens stay what they are beside each other. */
  private getsOn(left: number, right: number): boolean {
    const [a, b] = [this.spelled[left], this.spelled[right]];
    const both = new Int32Array(a.length + b.length);
    both.set(a);
    both.set(b, a.length);
    const encoded = this.encode(both);
    const on = encoded.length === 2 && encoded[0] === this.ids[left] && encoded[1] === this.ids[right];
    this.pairs[right * this.lengths.length + left] = on ? 1 : 2;
    return on;
  }
}
