/** A list of ids, or of the symbols that ids are merged from, that grows and is used again. */
export class Ids {
  length = 0;
  values = new Int32Array(256);

  add(id: number): void {
    this.reserve(1);
    this.values[this.length++] = id;
  }

  /** Adds those of `ids` from `from` up to `to`. */
  addRange(ids: Int32Array, from: number, to: number): void {
    this.reserve(to - from);
    const { values, length } = this;
    for (let i = from; i < to; i++) values[length + i - from] = ids[i];
    this.length += to - from;
  }

  /** Makes room for so many more. */
  reserve(count: number): void {
    if (this.length + count <= this.values.length) return;
    const larger = new Int32Array(2 * Math.max(this.values.length, count));
    larger.set(this.values);
    this.values = larger;
  }
}
