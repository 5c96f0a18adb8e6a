/** The encodings of WebAssembly's binary format (specification, section 5). */

/** LEB128, unsigned. */
export function unsigned(n: number): number[] {
  const out: number[] = [];
  do {
    const low = n % 128;
    n = Math.floor(n / 128);
    out.push(n > 0 ? low | 128 : low);
  } while (n > 0);
  return out;
}

/** LEB128 of a signed 32-bit integer. */
export function signed(n: number): number[] {
  const out: number[] = [];
  for (;;) {
    const low = n & 127;
    n >>= 7;
    const done = (n === 0 && (low & 64) === 0) || (n === -1 && (low & 64) !== 0);
    out.push(done ? low : low | 128);
    if (done) return out;
  }
}

/** Four bytes, little-endian. */
export const float32 = (x: number): number[] => [...new Uint8Array(Float32Array.of(x).buffer)];
/** Eight bytes, little-endian. */
export const float64 = (x: number): number[] => [...new Uint8Array(Float64Array.of(x).buffer)];

/** A count and the items, one after another. */
export const vector = (items: readonly (readonly number[])[]): number[] => unsigned(items.length).concat(...items);
/** A count and the bytes of UTF-8. */
export const text = (s: string): number[] => vector([...new TextEncoder().encode(s)].map(b => [b]));
/** A section of a module: its id, its length, its content. */
export const section = (id: number, content: readonly number[]): number[] =>
  [id].concat(unsigned(content.length), content);
