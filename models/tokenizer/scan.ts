/**
 * The merges of a word in one pass from left to right, for vocabularies of up to a few thousand tokens.
 *
 * A sequence of tokens is the encoding of its text if and only if each token is that of its own text and so is each
 * pair of neighbours (Berglund & van der Merwe 2023; van Antwerpen & Neubeck 2024): no merge crosses a border that it
 * does not cross when it sees the two tokens alone. So the encoding of a prefix ends with the one token, of those that
 * end there, that gets on with the last token of the prefix before it.
 *
 * Of a prefix, then, matter the places where a token may begin that has not ended: what has been read since, a node in
 * the tree of tokens, and the token before. These together are a state of an automaton (Berglund, Martens & van der
 * Merwe 2024). Tokens before a place that get on with the same of the tokens that go on from its node are one, so there
 * are hardly more states than tokens. States and transitions are made when a word first leads there.
 */
import type { Merge } from './rule.ts';

/** Tokens, and symbols of all of them, at most: what it takes to make the states grows with the product. */
const [maxTokens, maxSymbols] = [2048, 2 ** 16];
/** Numbers of the first state, of that after a symbol that no merge knows, and of the column of such symbols. */
const [first, alone, other] = [0, 1, 0];
const unknown = 0xffff;
/** In place of a token: nothing stands before, or a symbol stays as it is. */
const none = -1;

/** What tokens begin with. */
interface Node {
  readonly number: number;
  readonly children: Map<number, Node>;
  /** The token that ends here. */
  token?: number;
  /** The tokens that go on from here. */
  readonly longer: number[];
  /** For a token before: the first one that gets on with the same of `longer`; undefined where it does with none. */
  readonly alike: Map<number, number | undefined>;
  readonly firstOf: Map<string, number>;
}

/** A place where a token may begin that has not ended yet: what has been read since, and the token before. */
interface Start {
  readonly node: Node;
  readonly before: number;
}

/** Encodes words by an automaton over their symbols. */
export class Scanner {
  private readonly merges: readonly Merge[];
  private readonly rankOf: (left: number, right: number) => number;
  /** For each id the rank of the merge that makes it of its own text; −1 for symbols and for what is in no encoding. */
  private readonly madeBy: Int32Array;
  private readonly lengths: Int32Array;
  private readonly root: Node = newNode(0);
  /** Column of each symbol in `next`. */
  private readonly columns: Int32Array;
  /** A symbol of each column. */
  private readonly symbols: readonly number[];
  /** The entry of a state and a column is number (state << shift) + column: integers, where a product is a double. */
  private readonly shift: number;
  /** The state after a state and a symbol. */
  private next: Uint16Array;
  /** The last token of each state, and of each place of a word. */
  private readonly tokens: Int32Array;
  private last = new Int32Array(0);
  /** Where the word that is read has led. */
  private state = first;
  private starts: (readonly Start[])[] = [];
  private readonly numbers = new Map<string, number>();

  /**
   * A scanner for merges in an order in which they may have been learned, with the rank of each pair or −1; undefined
   * where the vocabulary is too large, or a token has two texts. It keeps at most `mostStates` (below 2¹⁶) and then
   * makes them again.
   */
  static of(
    merges: readonly Merge[],
    rankOf: (left: number, right: number) => number,
    mostStates = 2 ** 14,
  ): Scanner | undefined {
    if (merges.length > maxTokens) return undefined;
    const made = new Set(merges.map(m => m.merged));
    const symbols = [...new Set(merges.flatMap(({ left, right }) => [left, right]).filter(id => !made.has(id)))];
    if (symbols.length > maxTokens) return undefined;
    const spelled = new Map<number, readonly number[]>(symbols.map(id => [id, [id]]));
    let total = 0;
    for (const { left, right, merged } of merges) {
      total += spelled.get(left)!.length + spelled.get(right)!.length;
      if (total > maxSymbols) return undefined;
      const spelling = [...spelled.get(left)!, ...spelled.get(right)!];
      const known = spelled.get(merged);
      if (known && known.join() !== spelling.join()) return undefined;
      spelled.set(merged, spelling);
    }
    return new Scanner(merges, rankOf, symbols, spelled, mostStates);
  }

  private constructor(
    merges: readonly Merge[],
    rankOf: (left: number, right: number) => number,
    symbols: readonly number[],
    spelled: ReadonlyMap<number, readonly number[]>,
    mostStates: number,
  ) {
    [this.merges, this.rankOf, this.symbols] = [merges, rankOf, symbols];
    this.tokens = new Int32Array(mostStates);
    const ids = [...spelled.keys()].reduce((most, id) => Math.max(most, id), 0) + 1;
    this.lengths = new Int32Array(ids);
    this.columns = new Int32Array(ids).fill(other);
    symbols.forEach((id, i) => (this.columns[id] = i + 1));
    this.shift = Math.ceil(Math.log2(symbols.length + 1));
    // A token that its own text does not give is in no encoding.
    this.madeBy = new Int32Array(ids).fill(-1);
    const encodings = new Set(symbols);
    merges.forEach(({ left, right, merged }, rank) => {
      if (encodings.has(merged) || !encodings.has(left) || !encodings.has(right)) return;
      if (this.crosses(left, right, rank)) return;
      encodings.add(merged);
      this.madeBy[merged] = rank;
    });
    let nodes = 1;
    for (const token of encodings) {
      const spelling = spelled.get(token)!;
      this.lengths[token] = spelling.length;
      let node = this.root;
      for (const symbol of spelling) {
        node.longer.push(token);
        let child = node.children.get(symbol);
        if (!child) node.children.set(symbol, (child = newNode(nodes++)));
        node = child;
      }
      node.token = token;
    }
    this.next = new Uint16Array(64 << this.shift);
    this.clear();
  }

  /** Merges the symbols from `from` up to `to` in place; what remains begins at `from`. Returns where it ends. */
  merge(symbols: Int32Array, from: number, to: number): number {
    if (this.last.length < to) this.last = new Int32Array(2 ** Math.ceil(Math.log2(to)));
    this.state = first;
    for (let at = from; at < to; at++) {
      at = this.follow(symbols, at, to);
      if (at === to) break;
      this.state = this.learn(this.state, this.columns[symbols[at]] ?? other);
      this.last[at] = this.tokens[this.state];
    }
    return this.write(symbols, from, to);
  }

  /** Follows the symbols from `from` on; returns the place of the first one for which there is no transition yet. */
  private follow(symbols: Int32Array, from: number, to: number): number {
    const { next, columns, tokens, last, shift } = this;
    let { state } = this;
    let at = from;
    for (; at < to; at++) {
      const symbol = symbols[at];
      const after = next[(state << shift) + (symbol < columns.length ? columns[symbol] : other)];
      if (after === unknown) break;
      state = after;
      last[at] = tokens[state];
    }
    this.state = state;
    return at;
  }

  /** Writes the tokens, from the last to the first, and moves them to `from`. */
  private write(symbols: Int32Array, from: number, to: number): number {
    const { last, lengths } = this;
    let place = to;
    for (let at = to - 1; at >= from; ) {
      const token = last[at];
      symbols[--place] = token === none ? symbols[at] : token;
      at -= token === none ? 1 : lengths[token];
    }
    symbols.copyWithin(from, place, to);
    return from + to - place;
  }

  /** Makes the state after a state and a symbol. */
  private learn(state: number, column: number): number {
    // A symbol that no merge knows stands alone, and what lies on either side does not see the other.
    if (column === other) return (this.next[(state << this.shift) + other] = alone);
    const symbol = this.symbols[column - 1];
    const starts: Start[] = [];
    let token = none;
    for (const { node, before } of this.starts[state]) {
      const child = node.children.get(symbol);
      if (!child) continue;
      if (child.token !== undefined && this.getsOn(before, child.token)) token = child.token;
      const like = this.alike(child, before);
      if (like !== undefined) starts.push({ node: child, before: like });
    }
    starts.push({ node: this.root, before: token });
    const key = starts.map(({ node, before }) => `${node.number} ${before}`).join();
    let number = this.numbers.get(key);
    if (number === undefined) {
      const isFull = this.starts.length === this.tokens.length;
      if (isFull) this.clear();
      number = this.add(key, token, starts);
      if (isFull) return number; // the state before has no number any more
    }
    return (this.next[(state << this.shift) + column] = number);
  }

  private add(key: string, token: number, starts: readonly Start[]): number {
    const number = this.starts.length;
    if ((number + 1) << this.shift > this.next.length) {
      const larger = new Uint16Array(2 * this.next.length).fill(unknown, this.next.length);
      larger.set(this.next);
      this.next = larger;
    }
    this.starts.push(starts);
    this.tokens[number] = token;
    this.numbers.set(key, number);
    return number;
  }

  private clear(): void {
    this.next.fill(unknown);
    this.numbers.clear();
    this.starts = [];
    const begin = [{ node: this.root, before: none }];
    this.add('first', none, begin);
    this.add('alone', none, begin);
  }

  /** A token that may stand for `before` where a token begins as `node` says; undefined where none may follow. */
  private alike(node: Node, before: number): number | undefined {
    if (!node.alike.has(before)) {
      const followers = node.longer.map(token => (this.getsOn(before, token) ? '1' : '0')).join('');
      if (!node.firstOf.has(followers)) node.firstOf.set(followers, before);
      node.alike.set(before, followers.includes('1') ? node.firstOf.get(followers) : undefined);
    }
    return node.alike.get(before);
  }

  /** Whether two tokens stay what they are beside each other. */
  private getsOn(left: number, right: number): boolean {
    return left === none || !this.crosses(left, right, Infinity);
  }

  /**
   * Whether a merge of a rank below `limit` crosses the border of two tokens: back from what they are to what they were
   * made of, the later one first, is there ever a merge of what stands at the border that comes before what undid it?
   * Of merges of one rank the one further left comes first.
   */
  private crosses(left: number, right: number, limit: number): boolean {
    const { merges, madeBy } = this;
    let [a, b, end] = [left, right, limit];
    for (;;) {
      const rank = this.rankOf(a, b);
      if (rank >= 0 && rank < end) return true;
      const [madeA, madeB] = [madeBy[a], madeBy[b]];
      if (madeA > madeB) {
        end = madeA;
        a = merges[madeA].right;
      } else if (madeB >= 0) {
        end = madeB + 1;
        b = merges[madeB].left;
      } else return false;
    }
  }
}

const newNode = (number: number): Node => ({
  number,
  children: new Map(),
  longer: [],
  alike: new Map(),
  firstOf: new Map(),
});
