/**
 * Interpolated Kneser–Ney n-grams (Kneser & Ney 1995; Chen & Goodman 1999, section 3), the floor that a neural model
 * has to beat: of all models that only count, about the best.
 *
 *     p(w | h) = max(c(h w) − D, 0) / c(h ·) + D · N₁₊(h ·) / c(h ·) · p(w | h′),    h′ = h without its first token
 *
 * c counts occurrences in the highest order and, below it, the different tokens seen before h w; D = n₁ / (n₁ + 2 n₂)
 * of each order, from how many n-grams have c = 1 and c = 2. Below order 1 is the uniform distribution.
 */

/** n-grams as paths of a trie: node 0 is the empty one, children are found by (node, token) in one hash table. */
class Trie {
  readonly depth: number[] = [0];
  readonly parent: number[] = [0];
  readonly token: number[] = [-1];
  /** c: occurrences, or different predecessors. */
  readonly count: number[] = [0];
  #keys = new Float64Array(1 << 16).fill(-1);
  #nodes = new Int32Array(1 << 16);
  readonly #tokens: number;

  constructor(tokens: number) {
    this.#tokens = tokens;
  }

  /** The child of a node; −1 where there is none. */
  find(node: number, token: number): number {
    const slot = this.#slot(node * this.#tokens + token);
    return this.#keys[slot] < 0 ? -1 : this.#nodes[slot];
  }

  add(node: number, token: number): number {
    if (2 * this.depth.length > this.#keys.length) this.#grow();
    const child = this.depth.push(this.depth[node] + 1) - 1;
    this.parent.push(node);
    this.token.push(token);
    this.count.push(0);
    this.#put(node * this.#tokens + token, child);
    return child;
  }

  #put(key: number, node: number): void {
    const slot = this.#slot(key);
    this.#keys[slot] = key;
    this.#nodes[slot] = node;
  }

  /** Where a key stands, or would stand. */
  #slot(key: number): number {
    const mask = this.#keys.length - 1;
    let slot = (Math.imul(key % 4294967296, 0x9e3779b1) ^ Math.imul(Math.floor(key / 4294967296), 0x85ebca6b)) >>> 0;
    slot = (slot ^ (slot >>> 15)) & mask;
    while (this.#keys[slot] >= 0 && this.#keys[slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [keys, nodes] = [this.#keys, this.#nodes];
    this.#keys = new Float64Array(2 * keys.length).fill(-1);
    this.#nodes = new Int32Array(2 * keys.length);
    keys.forEach((key, slot) => {
      if (key >= 0) this.#put(key, nodes[slot]);
    });
  }
}

/** The size of an n-gram model. */
export interface NGramOptions {
  /** Tokens of an n-gram, n; the context has n − 1. */
  readonly order: number;
  /** Tokens of the vocabulary, V. */
  readonly vocabSize: number;
}

/** An n-gram model of token streams, by interpolated Kneser–Ney smoothing (Kneser & Ney 1995). */
export class KneserNey {
  readonly #trie: Trie;
  readonly #order: number;
  readonly #vocabSize: number;
  /** Σ c and the number of children, by node; D by order. */
  readonly #totals: Float64Array;
  readonly #types: Float64Array;
  readonly #discounts: Float64Array;
  /**
   * The tokens seen after a node and their counts, node by node: those of a node stand from #first[node] to #first[node
   * + 1].
   */
  readonly #first: Int32Array;
  readonly #followers: Int32Array;
  readonly #counts: Int32Array;

  /** Counts the n-grams of token sequences; none reaches over the end of a sequence. */
  constructor(sequences: Iterable<Int32Array>, { order, vocabSize }: NGramOptions) {
    if (!Number.isInteger(order) || order < 1)
      throw new Error(`KneserNey: the order is ${order}; it must be a whole number of 1 or more`);
    this.#order = order;
    this.#vocabSize = vocabSize;
    const trie = (this.#trie = new Trie(vocabSize));
    for (const ids of sequences) this.#count(ids);
    const n = trie.depth.length;
    this.#totals = new Float64Array(n);
    this.#types = new Float64Array(n);
    const ones = new Float64Array(order + 1);
    const twos = new Float64Array(order + 1);
    this.#first = new Int32Array(n + 1);
    for (let node = 1; node < n; node++) {
      const c = trie.count[node];
      if (c === 0) continue;
      this.#totals[trie.parent[node]] += c;
      this.#types[trie.parent[node]]++;
      this.#first[trie.parent[node] + 1]++;
      if (c === 1) ones[trie.depth[node]]++;
      if (c === 2) twos[trie.depth[node]]++;
    }
    this.#discounts = ones.map((n1, d) => (n1 > 0 ? n1 / (n1 + 2 * twos[d]) : 0.5));
    for (let node = 0; node < n; node++) this.#first[node + 1] += this.#first[node];
    const next = this.#first.slice();
    this.#followers = new Int32Array(n);
    this.#counts = new Int32Array(n);
    for (let node = 1; node < n; node++) {
      if (trie.count[node] === 0) continue;
      const at = next[trie.parent[node]]++;
      this.#followers[at] = trie.token[node];
      this.#counts[at] = trie.count[node];
    }
  }

  #count(ids: Int32Array): void {
    const trie = this.#trie;
    let before: number[] = []; // nodes of the n-grams that end at the token before, n = 1, 2, …
    for (let i = 0; i < ids.length; i++) {
      const here: number[] = [];
      for (let n = 1; n <= Math.min(this.#order, i + 1); n++) {
        const prefix = n === 1 ? 0 : before[n - 2];
        let node = trie.find(prefix, ids[i]);
        const isNew = node < 0;
        if (isNew) node = trie.add(prefix, ids[i]);
        here.push(node);
        // A new n-gram is a new predecessor of its ending. One that begins the sequence has none and counts itself.
        if (n === this.#order || n === i + 1) trie.count[node]++;
        if (isNew && n > 1) trie.count[here[n - 2]]++;
      }
      before = here;
    }
  }

  /** −ln p of every token but the first, in its context. */
  nats(ids: ArrayLike<number>): Float64Array {
    const out = new Float64Array(Math.max(0, ids.length - 1));
    for (let i = 1; i < ids.length; i++) out[i - 1] = -Math.log(this.#probability(ids, i));
    return out;
  }

  /** The nodes of the contexts of a token, n = 1, 2, …: as long as they were seen. */
  #contexts(ids: ArrayLike<number>, at: number): number[] {
    const found: number[] = [];
    for (let n = 1; n <= Math.min(this.#order, at + 1); n++) {
      let context = 0;
      for (let j = at - n + 1; j < at && context >= 0; j++) context = this.#trie.find(context, ids[j]);
      if (context < 0 || this.#totals[context] === 0) break; // a longer context was not seen either
      found.push(context);
    }
    return found;
  }

  /**
   * Adds scale · p(w | context) to out[offset + w] for all w in V, as if this one occurrence of the token at `at` in
   * its context, which must be in the training text, had not been counted: its probability if it were held out. The
   * discounts stay. Where the longest context is the token's only one there, the next shorter one speaks.
   */
  leaveOneOut(ids: Int32Array, at: number, out: Float32Array, offset: number, scale: number): void {
    const contexts = this.#contexts(ids, at);
    if (contexts.length < Math.min(this.#order, at + 1) || this.#trie.find(contexts.at(-1)!, ids[at]) < 0) {
      throw new Error(
        `KneserNey.leaveOneOut: token ${ids[at]} at ${at} was never counted in its context; give a text that was ` +
          'counted',
      );
    }
    // An n-gram that occurred once had one predecessor: without it, the shorter one loses a count as well.
    let lost = 1;
    let weight = scale;
    for (let n = contexts.length; n >= 1; n--) {
      const context = contexts[n - 1];
      const D = this.#discounts[n];
      const own = this.#trie.count[this.#trie.find(context, ids[at])];
      const total = this.#totals[context] - lost;
      const types = this.#types[context] - (own === lost ? 1 : 0);
      if (total > 0) {
        for (let i = this.#first[context]; i < this.#first[context + 1]; i++) {
          const token = this.#followers[i];
          const count = this.#counts[i] - (token === ids[at] ? lost : 0);
          if (count > D) out[offset + token] += (weight * (count - D)) / total;
        }
        weight *= (D * types) / total;
      }
      lost = own === lost ? 1 : 0;
    }
    for (let token = 0; token < this.#vocabSize; token++) out[offset + token] += weight / this.#vocabSize;
  }

  #probability(ids: ArrayLike<number>, at: number): number {
    let p = 1 / this.#vocabSize;
    for (const [i, context] of this.#contexts(ids, at).entries()) {
      const n = i + 1;
      const node = this.#trie.find(context, ids[at]);
      const D = this.#discounts[n];
      p =
        (Math.max((node < 0 ? 0 : this.#trie.count[node]) - D, 0) + D * this.#types[context] * p) /
        this.#totals[context];
    }
    return p;
  }
}
