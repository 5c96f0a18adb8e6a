/** BLAST databases of version 4: the three files that hold some proteins. */

export interface BlastRecord {
  readonly name: string;
  readonly sequence: string;
}

export interface BlastFiles {
  readonly pin: Buffer;
  readonly psq: Buffer;
  readonly phr: Buffer;
}

export function renderBlastDatabase(proteins: readonly BlastRecord[], version = 4): BlastFiles {
  const int = (n: number) => {
    const b = Buffer.alloc(4);
    b.writeInt32BE(n);
    return b;
  };
  const text = (t: string) => Buffer.concat([int(t.length), Buffer.from(t)]);
  const [headers, sequences] = [[] as Buffer[], [Buffer.of(0)]];
  for (const { name, sequence } of proteins) {
    const length = name.length > 127 ? [0x82, name.length >> 8, name.length & 255] : [name.length];
    headers.push(Buffer.concat([Buffer.of(0x30, 0x80, 0x1a, ...length), Buffer.from(name), Buffer.of(0, 0)]));
    sequences.push(Buffer.from([...sequence].map(c => '-ABCDEFGHIKLMNPQRSTVWXYZU*OJ'.indexOf(c)).concat(0)));
  }
  const offsets = (parts: readonly Buffer[], start: number) => {
    let at = start;
    return [int(at), ...parts.map(p => int((at += p.length)))];
  };
  const pin = Buffer.concat([
    int(version),
    int(1),
    text('title'),
    text('today'),
    int(proteins.length),
    Buffer.alloc(8),
    int(99),
    ...offsets(headers, 0),
    ...offsets(sequences.slice(1), 1),
  ]);
  return { pin, psq: Buffer.concat(sequences), phr: Buffer.concat(headers) };
}
