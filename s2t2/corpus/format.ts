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

/**
 * The first record as JSON Lines: an object as far as its first name, for it can be longer than what is looked at, and
 * where it is damaged the reader says so.
 */
const jsonObject = /^\s*\{\s*(?:"(?:[^"\\\n]|\\.)*"\s*:|\}\s*$)/;

/** A value of JSON that is no string, array or object. */
const scalar = '(?:-?\\d[\\d.eE+-]*|true|false|null)';
/** An array of JSON, of whatever: "[1] a footnote", "[1, 2] two", "[ ] to do" and "[[a link]]" are none. */
const jsonArray = new RegExp(
  `^\\s*\\[(?:\\s*\\]\\s*$|[\\s[]*(?:${scalar}\\s*,\\s*)*["{]|\\s*\\[[\\s[]*(?:${scalar}\\s*[,\\]]|\\])|` +
    `\\s*${scalar}(?:\\s*,\\s*${scalar})+\\s*(?:\\][^\\S\\n]*(?:\\n|$)|,?\\s*$))`,
);

const asFasta = 'convert it to FASTA';
const asJsonLines = 'convert it to JSON Lines, an object with a field "text" on each line';
const others: readonly { readonly name: string; readonly begins: RegExp; readonly advice: string }[] = [
  {
    name: 'a tar archive',
    begins: /^(?=[^]*\0)[^]{0,257}ustar/,
    advice: 'unpack it, for example with tar -xf',
  },
  {
    name: 'UTF-16 without a byte order mark',
    begins: /^(?:[\t\n\r -~]\0){2}/,
    advice: 'convert it, for example with iconv -f UTF-16LE -t UTF-8',
  },
  {
    name: 'UTF-16 without a byte order mark',
    begins: /^(?:\0[\t\n\r -~]){2}/,
    advice: 'convert it, for example with iconv -f UTF-16BE -t UTF-8',
  },
  {
    name: 'FASTQ',
    begins: /^@[^\n]*\n(?:(?:[A-Za-z.*-]+\r?\n)+\+|[A-Za-z.*\r\n-]{1000,}$)/, // a long read is cut before its "+"
    advice: `${asFasta}, for example with seqtk seq -A`,
  },
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
  { name: 'a JSON array', begins: jsonArray, advice: "write one object a line, for example with jq -c '.[]'" },
  {
    name: 'JSON Lines with a comma after each object',
    begins: /^\s*\{\s*"[^\n]*\},[^\S\n]*(?:\n|$)/,
    advice: "drop the commas, for example with sed 's/,$//'",
  },
  {
    name: 'one JSON object over several lines',
    begins: /^\s*\{\s*(?:\n\s*["}]|"(?:[^"\\\n]|\\.)*"\s*:(?:[^\n]*[,{[])?[^\S\n]*\n)/,
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
  if (named === 'fasta' && /^[>;]/.test(text)) return 'fasta';
  if (text.includes('\0')) reject('a binary file (it holds NUL bytes)', 'give a file with text or sequences');
  if (/\.(csv|tsv)(\.gz)?$/i.test(name)) reject(RegExp.$1.toUpperCase(), asJsonLines);
  const lines = text.split(/\r\n|\n|\r/);
  const cut = whole ? '' : lines.pop()!; // anywhere
  const filled = lines.filter(line => line.trim() !== '');
  if (isFasta(filled, cut)) return 'fasta';
  if (jsonObject.test(filled[0] ?? cut)) {
    if (named === 'fasta') reject('JSON Lines', asFasta);
    return 'jsonl';
  }
  if (named === undefined || named === 'text') {
    const separator = separatorOf(filled.slice(0, 20));
    if (separator) reject(separators[separator].name, asJsonLines);
  }
  return named ?? 'text';
}

/**
 * Whether lines, and what the head has of the next one, are records and no mail that quotes another, or Markdown. After
 * the first headers stands one word without a mixture of cases, and ">" has the name right after it unless that word is
 * long; or lines of nothing but letters, in groups of one length and among numbers perhaps, after a name that only
 * sequences have, or so many letters as no prose has in this way.
 */
function isFasta(lines: readonly string[], cut: string): boolean {
  const all = cut.trim() === '' ? lines : [...lines, cut];
  const first = all.findIndex(line => !/^[;#]/.test(line));
  if (first < 0 || !all[first].startsWith('>')) return false;
  const at = all.findIndex((line, i) => i > first && !/^[>;#]/.test(line));
  if (at < 0) return first === all.length - 1 && cut !== '' && /^>\S/.test(cut); // a header that is cut
  const header = all.slice(first, at).findLast(line => line.startsWith('>'))!;
  const word = all[at].trim();
  const oneCase = /^(?:[A-Z*.-]+|[a-z*.-]+)$/.test(word);
  const remarks = all.slice(0, at).some(line => line.startsWith('#')); // or headings
  if (oneCase && !remarks && (/^>\S/.test(header) || word.length >= 20)) return true;

  const end = all.findIndex((line, i) => i > at && line.startsWith('>'));
  const record = all.slice(at, end < 0 ? undefined : end).filter(line => !line.startsWith(';'));
  const groups = record.slice(0, 5).map(line =>
    line
      .trim()
      .split(/\s+/)
      .filter(group => !/^\d+$/.test(group)),
  );
  if (!groups.every(line => /^[A-Za-z*.-]+$/.test(line.join('')) && !/[a-z]\.$/.test(line.at(-1)!))) return false;
  if (/^>[\w.:=/|-]*(?:[|_]|[A-Za-z]\d)[\w.:=/|-]*(?:\s|$)/.test(header)) return true;
  const even = groups.every(([{ length }, ...rest]) =>
    rest.every((group, i) => (i < rest.length - 1 ? group.length === length : group.length <= length)),
  );
  return even && (/^>[\w.:=/|-]*\w\s*$/.test(header) || groups[0].join('').length >= 20);
}

const separators = {
  '\t': { name: 'a table with tabs (TSV)', is: /\t/g },
  // A comma of prose has a space or the end of the line after it, and so has a semicolon.
  ',': { name: 'a table with commas (CSV)', is: /,(?=\S)/g },
  ';': { name: 'a table with semicolons (CSV)', is: /(?<!&#?\w+);(?=\S)/g }, // "&lt;" has none
} as const;
type Separator = keyof typeof separators;

/** The separator of a table: at least three lines, each with as many of it, as tables write it, as the others. */
function separatorOf(lines: readonly string[]): Separator | undefined {
  if (lines.length < 3) return undefined;
  return (Object.keys(separators) as Separator[]).find(separator => {
    const [first, ...rest] = lines.map(
      line => (line.replace(/"(?:[^"]|"")*"/g, 'x').match(separators[separator].is) ?? []).length,
    );
    return first > 0 && rest.every(n => n === first);
  });
}
