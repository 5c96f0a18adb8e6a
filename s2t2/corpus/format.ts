/**
 * What format a corpus has: its content decides, its name only where the content could be several things, and what is
 * clearly another format is rejected with the way to convert it.
 */
import { UserError } from '../../models/errors.ts';

/** The formats of a corpus. */
export const corpusFormats = ['fasta', 'text', 'jsonl'] as const;
/** A format of a corpus. */
export type CorpusFormat = (typeof corpusFormats)[number];

/** Bytes of a file that are looked at. */
export const headBytes = 2 ** 16;

const EXTENSIONS: Readonly<Record<CorpusFormat, RegExp>> = {
  fasta: /\.(fa|fas|fasta|faa|fna|ffn|frn)(\.gz)?$/i,
  text: /\.(txt|text|md)(\.gz)?$/i,
  jsonl: /\.(jsonl|ndjson)(\.gz)?$/i,
};

/** The format that a file's name tells. */
export const formatOfName = (name: string): CorpusFormat | undefined =>
  corpusFormats.find(format => EXTENSIONS[format].test(name));

const asFasta = 'convert it to FASTA';
const asJsonLines = 'convert it to JSON Lines, an object with a field "text" on each line';
const others: readonly { readonly name: string; readonly begins: RegExp; readonly advice: string }[] = [
  { name: 'FASTQ', begins: /^@[^\n]*\n[A-Za-z.*-]+\r?\n\+/, advice: `${asFasta}, for example with seqtk seq -A` },
  { name: 'SAM', begins: /^@(?:HD|SQ|RG|PG|CO)\t/, advice: `${asFasta}, for example with samtools fasta` },
  { name: 'GenBank', begins: /^LOCUS {2,}\S/, advice: asFasta },
  { name: 'EMBL or UniProt text', begins: /^ID {3}\S[^\n]*\n(?:XX|AC|DT)/, advice: asFasta },
  { name: 'a Stockholm alignment', begins: /^# STOCKHOLM/, advice: asFasta },
  { name: 'a CLUSTAL alignment', begins: /^CLUSTAL/, advice: asFasta },
  { name: 'a NEXUS file', begins: /^#NEXUS/i, advice: asFasta },
  { name: 'a PDB file', begins: /^HEADER {4}\S/, advice: asFasta },
  { name: 'VCF', begins: /^##fileformat=VCF/, advice: 'give the sequences themselves' },
  { name: 'GFF', begins: /^##gff-version/, advice: 'give the sequences themselves' },
  { name: 'a web page', begins: /^<(?:!doctype|html)\b/i, advice: 'extract its text' },
  { name: 'XML', begins: /^<\?xml\b/, advice: 'extract its text' },
  { name: 'a JSON array', begins: /^\[\s*[[{"\]]/, advice: "write one object a line, for example with jq -c '.[]'" },
  {
    name: 'one JSON object over several lines',
    begins: /^\{\s*\n\s*["}]/,
    advice: 'write one object a line, for example with jq -c .',
  },
];

/** How to give a format that the content does not determine. */
const flag = `force a format with --format ${corpusFormats.join(', ')}`;

/**
 * The format of a corpus whose first bytes read as `head` (all of it, where `whole`). `override` says how the format
 * can be given, by default a flag of the command line; null where it cannot be.
 *
 * @throws UserError where it is clearly another format.
 */
export function detectFormat(name: string, head: string, whole: boolean, override: string | null = flag): CorpusFormat {
  const reject = (what: string, advice: string): never => {
    throw new UserError(
      `${name}: is ${what}, which is not supported; ${advice}${override === null ? '' : `, or ${override}`}`,
    );
  };
  const named = formatOfName(name);
  const text = head.replace(/^\ufeff/, '').replace(/^(?:[^\S\n]*\r?\n)+/, '');
  const other = others.find(({ begins }) => begins.test(text));
  if (other) reject(other.name, other.advice);
  if (/\.(csv|tsv)(\.gz)?$/i.test(name)) reject(RegExp.$1.toUpperCase(), asJsonLines);
  const lines = text.split(/\r\n|\n|\r/).filter(line => line.trim() !== '');
  if (!whole) lines.pop(); // cut anywhere
  if (/^[>;]/.test(text)) {
    if (named === 'fasta' || isFasta(lines)) return 'fasta';
  } else if (isObject(lines[0] ?? text)) {
    if (named === 'fasta') reject('JSON Lines', asFasta);
    return 'jsonl';
  }
  if (named === undefined || named === 'text') {
    const separator = separatorOf(lines.slice(0, 20));
    if (separator) reject(separator === '\t' ? 'a table with tabs (TSV)' : 'a table with commas (CSV)', asJsonLines);
  }
  return named ?? 'text';
}

/**
 * Whether lines that begin with ">" are records and no mail that quotes another: after the first headers stands one
 * word without a mixture of cases, and ">" has the name right after it unless that word is long.
 */
function isFasta(lines: readonly string[]): boolean {
  const at = lines.findIndex(line => !/^[>;]/.test(line));
  if (at < 1 || !lines.slice(0, at).some(line => line.startsWith('>'))) return false;
  const word = lines[at].trim();
  if (!/^(?:[A-Z*.-]+|[a-z*.-]+)$/.test(word)) return false;
  return /^>\S/.test(lines.slice(0, at).findLast(line => line.startsWith('>'))!) || word.length >= 20;
}

function isObject(line: string): boolean {
  if (!line.trimStart().startsWith('{')) return false;
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

/** The separator of a table: at least three lines, each with as many of it, as tables write it, as the others. */
function separatorOf(lines: readonly string[]): '\t' | ',' | undefined {
  if (lines.length < 3) return undefined;
  // A comma of prose has a space or the end of the line after it.
  const counts = { '\t': /\t/g, ',': /,(?=\S)/g };
  return (['\t', ','] as const).find(separator => {
    const [first, ...rest] = lines.map(
      line => (line.replace(/"(?:[^"]|"")*"/g, 'x').match(counts[separator]) ?? []).length,
    );
    return first > 0 && rest.every(n => n === first);
  });
}
