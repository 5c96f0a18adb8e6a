/** The bundled proteins are what `proteins.json` says, no split knows another's, and the reader of their source works. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { readCorpus } from '../../s2t2/corpus.ts';
import { parseBlastDatabase } from '../../s2t2/data/blast.ts';

const folder = new URL('../../s2t2/data/', import.meta.url).pathname;
const splits = ['train', 'validation', 'test'] as const;

describe('bundled proteins', () => {
  test('counts, lengths and letters agree with proteins.json; no name and no sequence is in two splits', async () => {
    const summary = JSON.parse(await readFile(`${folder}proteins.json`, 'utf8')) as { splits: Record<string, { sequences: number; residues: number }>; check: { atLeast50Percent: number } };
    const names = new Set<string>();
    const sequences = new Set<string>();
    let total = 0;
    for (const split of splits) {
      const { documents } = await readCorpus(`${folder}proteins.${split}.fasta.gz`);
      expect(documents.length).toBe(summary.splits[split].sequences);
      expect(documents.reduce((n, d) => n + d.text.length, 0)).toBe(summary.splits[split].residues);
      for (const d of documents) {
        expect(d.text).toMatch(/^[ACDEFGHIKLMNPQRSTVWY]{50,512}$/);
        names.add(d.name);
        sequences.add(d.text);
      }
      total += documents.length;
    }
    expect([names.size, sequences.size]).toEqual([total, total]);
    expect(summary.check.atLeast50Percent).toBe(0);
  });
});

/** A BLAST database of version 4 in memory. */
function database(proteins: readonly { name: string; sequence: string }[], version = 4) {
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
    return [int(at), ...parts.map(p => int(at += p.length))];
  };
  const index = Buffer.concat([int(version), int(1), text('title'), text('today'), int(proteins.length), Buffer.alloc(8), int(99), ...offsets(headers, 0), ...offsets(sequences.slice(1), 1)]);
  return [index, Buffer.concat(sequences), Buffer.concat(headers)] as const;
}

describe('BLAST databases', () => {
  const proteins = [{ name: 'P1', sequence: 'MKV' }, { name: `P2|${'GO:0000001,'.repeat(30)}`, sequence: 'ACDWYUXJ' }];
  test('read back what they hold, names of any length', () => { expect(parseBlastDatabase(...database(proteins))).toEqual(proteins); });
  test('another version, a cut header and a strange residue are refused', () => {
    expect(() => parseBlastDatabase(...database(proteins, 5))).toThrow('version 5');
    const [index, sequences, headers] = database(proteins);
    expect(() => parseBlastDatabase(index, sequences, headers.subarray(0, 12))).toThrow();
    const strange = Buffer.from(sequences);
    strange[2] = 77;
    expect(() => parseBlastDatabase(index, strange, headers)).toThrow('sequence 0 holds the byte 77');
    expect(() => parseBlastDatabase(index.subarray(0, 40), sequences, headers)).toThrow();
  });
});
