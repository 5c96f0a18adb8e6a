/**
 * Reader of BLAST databases, version 4, protein: three files NAME.pin (index), NAME.psq (residues), NAME.phr (headers).
 * Format: NCBI's "BLAST database format", version 4. Numbers in the index are big-endian.
 */
import { readFile } from 'node:fs/promises';
import { UserError } from '../../../models/errors.ts';

/** A protein of a BLAST database. */
export interface Protein {
  /** The first VisibleString of the header: an accession or a name, whatever the database's maker put there. */
  readonly name: string;
  readonly sequence: string;
}

/** NCBIstdaa: the letter of each residue byte. */
const residues = '-ABCDEFGHIKLMNPQRSTVWXYZU*OJ';

/** Reads every sequence of a database, given the path without an ending. */
export async function readBlastDatabase(path: string): Promise<Protein[]> {
  const [index, sequences, headers] = await Promise.all(
    ['pin', 'psq', 'phr'].map(async ending =>
      readFile(`${path}.${ending}`).catch(() => {
        throw new UserError(`${path}.${ending}: cannot be read; a BLAST database has .pin, .psq and .phr`);
      }),
    ),
  );
  try {
    return parseBlastDatabase(index, sequences, headers);
  } catch (error) {
    throw new UserError(`${path}.pin: is damaged or not a protein database of version 4 (${(error as Error).message})`);
  }
}

/** The proteins of a BLAST version 4 database, from its index, sequence and header files. */
export function parseBlastDatabase(index: Buffer, sequences: Buffer, headers: Buffer): Protein[] {
  let at = 0;
  const int = () => {
    at += 4;
    return index.readInt32BE(at - 4);
  };
  const [version, type] = [int(), int()];
  if (version !== 4 || type !== 1) throw new Error(`version ${version}, type ${type}`);
  for (const _ of ['title', 'date']) {
    const length = int();
    at += length;
  }
  const count = int();
  at += 12; // total residues (64 bits), longest sequence
  const offsets = () => Array.from({ length: count + 1 }, int);
  const [headerAt, sequenceAt] = [offsets(), offsets()];
  return Array.from({ length: count }, (_, i) => {
    // A NUL byte ends each sequence.
    const letters = Buffer.from(sequences.subarray(sequenceAt[i], sequenceAt[i + 1] - 1));
    letters.forEach((byte, at) => {
      if (byte === 0 || byte >= residues.length) throw new Error(`sequence ${i} holds the byte ${byte}`);
      letters[at] = residues.charCodeAt(byte);
    });
    return {
      name: firstVisibleString(headers.subarray(headerAt[i], headerAt[i + 1])),
      sequence: letters.toString('latin1'),
    };
  });
}

/**
 * The first value with ASN.1's tag of VisibleString (0x1A); its length takes one byte, or 0x80 + n and n bytes more.
 */
function firstVisibleString(header: Buffer): string {
  const tag = header.indexOf(0x1a);
  if (tag < 0 || tag + 1 >= header.length) throw new Error('a header holds no name');
  const first = header[tag + 1];
  const extra = first > 127 ? first - 128 : 0;
  const length = extra > 0 ? header.readUIntBE(tag + 2, extra) : first;
  const start = tag + 2 + extra;
  if (start + length > header.length) throw new Error('a header is cut off');
  return header.toString('latin1', start, start + length);
}
