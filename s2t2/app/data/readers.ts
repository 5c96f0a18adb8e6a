/** Readers: the texts of a package, each once, in an order that does not depend on the file system. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../../models/errors.ts';
import { readCorpus } from '../corpus.ts';
import { readBlastDatabase } from './blast.ts';
import { run } from './tools.ts';

/** A text with its name. */
export interface Item {
  readonly name: string;
  readonly text: string;
  /** Labels have equal shares of every split. */
  readonly label?: string;
}

/** Reads an unpacked package, or `node_modules`. */
export type Reader = (root: string) => Promise<Item[]>;

/** EC classes 1 to 6 (7, translocases, is of 2018): the GO terms of their activities. */
const enzymeClasses = ['GO:0016491', 'GO:0016740', 'GO:0016787', 'GO:0016829', 'GO:0016853', 'GO:0016874'];

/**
 * Every protein of metastudent-data once, by accession and by sequence, of 50 to 512 standard residues, with its EC
 * classes.
 */
async function readSwissProt(root: string): Promise<(Item & { classes: number[] })[]> {
  const base = join(root, 'usr/share/metastudent-data');
  const dataset = (await names(base)).find(name => name.startsWith('dataset_'));
  if (dataset === undefined) throw new UserError(`${base}: holds no dataset; this is not the package metastudent-data`);
  const proteins = new Map<string, { text: string; terms: Set<string> }>();
  for (const ontology of ['BPO', 'CCO', 'MFO']) {
    for (const { name, sequence } of await readBlastDatabase(join(base, dataset, ontology, 'goasp.fasta'))) {
      const [accession, terms = ''] = name.split('|');
      const protein = proteins.get(accession) ?? { text: sequence, terms: new Set() };
      proteins.set(accession, protein);
      for (const term of enzymeClasses) if (terms.includes(term)) protein.terms.add(term);
    }
  }
  const sorted = [...proteins]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { text, terms }]) => ({
      name,
      text,
      classes: enzymeClasses.flatMap((term, i) => (terms.has(term) ? [i + 1] : [])),
    }));
  return [...new Map(sorted.map(p => [p.text, p])).values()].filter(p =>
    /^[ACDEFGHIKLMNPQRSTVWY]{50,512}$/.test(p.text),
  );
}

/** Swiss-Prot, from a BLAST database. */
export const readProteins: Reader = async root => (await readSwissProt(root)).map(({ name, text }) => ({ name, text }));

/** Those of exactly one EC class, which labels them. */
export const readEnzymes: Reader = async root =>
  (await readSwissProt(root))
    .filter(p => p.classes.length === 1)
    .map(({ name, text, classes }) => ({ name, text, label: `EC ${classes[0]}` }));

/**
 * Pieces of `length` bases of one genome. The package has four of one species: a second would repeat the first's
 * held-out pieces.
 */
export const readGenome =
  (length: number): Reader =>
  async root => {
    const file = join(root, 'usr/share/doc/kleborate/examples/data/MGH78578.fna');
    await run('xz', ['-dkf', `${file}.xz`], root);
    const { documents } = await readCorpus(file, { alphabet: 'nucleotide' });
    return documents
      .flatMap(({ name, text }) =>
        Array.from({ length: Math.floor(text.length / length) }, (_, i) => ({
          name: `${name}:${i * length + 1}-${(i + 1) * length}`,
          text: text.slice(i * length, (i + 1) * length),
        })),
      )
      .filter(piece => /^[ACGT]+$/.test(piece.text));
  };

/** 16S ribosomal RNA without an unread base; the file spells U as T. */
export const readRna: Reader = async root => {
  const { documents } = await readCorpus(join(root, 'usr/share/microbiomeutil-data/RESOURCES/rRNA16S.gold.fasta'), {
    alphabet: 'nucleotide',
  });
  return documents
    .filter(d => /^[ACGT]+$/.test(d.text))
    .map(({ name, text }) => ({ name, text: text.replaceAll('T', 'U') }));
};

/** The least length of a page, chapter or source file, in characters. */
const shortest = 400;

/** LibreOffice's help in a language: its pages, without what stands untranslated and what an earlier page has said. */
export const readHelp =
  (language: string, script: RegExp): Reader =>
  async root => {
    const folder = join(root, 'usr/share/libreoffice/help', language, 'text');
    const said = new Set<string>();
    const pages: Item[] = [];
    for (const name of await names(folder, '.html')) {
      const paragraphs = helpParagraphs(await readFile(join(folder, name), 'utf8')).filter(
        p => isMostly(p, script) && !said.has(p),
      );
      for (const p of paragraphs) said.add(p);
      pages.push({ name, text: [...new Set(paragraphs)].join('\n') });
    }
    return pages.filter(p => p.text.length >= shortest);
  };

/**
 * Headings and paragraphs of a help page; those that differ by program or system, which hold all their variants at
 * once, are left out.
 */
export function helpParagraphs(html: string): string[] {
  const [, body = ''] = /<div id="DisplayArea"([^]*?)<div id="SearchFrame"/.exec(html) ?? [];
  return [...body.matchAll(/<(h[1-6]|p)\b[^>]*>([^]*?)<\/\1>/g)]
    .filter(([, , inner]) => !inner.includes('switchinline'))
    .map(([, , inner]) => plainText(inner))
    .filter(Boolean);
}

const entities: Readonly<Record<string, string>> = {
  '&lt;': '<',
  '&gt;': '>',
  '&amp;': '&',
  '&quot;': '"',
  '&nbsp;': ' ',
};
const plainText = (html: string): string =>
  html
    .replace(/<[^>]*>/g, '')
    .replace(/&\w+;/g, e => entities[e] ?? e)
    .replace(/\s+/g, ' ')
    .trim();

/** More than half of its letters are of the script. */
function isMostly(text: string, script: RegExp): boolean {
  const letters = [...text].filter(c => /\p{L}/u.test(c));
  return 2 * letters.filter(c => script.test(c)).length > letters.length;
}

/** The Hebrew Bible by chapters, a verse a line: letters only, without vowel points and accents. */
export const readHebrew: Reader = async root => {
  const folder = join(root, 'usr/share/bibledit-cloud/sources/morphhb');
  const books = await Promise.all((await names(folder, '.xml')).map(name => readFile(join(folder, name), 'utf8')));
  return books.flatMap(hebrewChapters).filter(c => c.text.length >= shortest);
};

/** The chapters of a book of the Hebrew Bible. */
export const hebrewChapters = (book: string): Item[] =>
  [...book.matchAll(/<chapter osisID="([^"]*)">([^]*?)<\/chapter>/g)].map(([, name, chapter]) => ({
    name,
    text: [...chapter.matchAll(/<verse [^>]*>([^]*?)<\/verse>/g)]
      .map(([, verse]) => hebrewVerse(verse))
      .filter(Boolean)
      .join('\n'),
  }));

const otherReading = /<note\b[^]*?<\/note>/g;
const sectionMark = /<seg type="x-(?!maqqef|sof-pasuq|paseq)[^>]*>[^<]*<\/seg>/g;
/** Points, accents, and the slash before a suffix. */
const points = /[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7/]/g;
/** A space after the hyphen or before the stop of a verse. */
const looseSpace = /(?<=\u05be) | (?=\u05c3)/g;

const hebrewVerse = (xml: string): string =>
  plainText(xml.replace(otherReading, '').replace(sectionMark, '').replace(points, '')).replace(looseSpace, '');

/**
 * Source files in the `src` of packages, labelled by language, without tests and without what is longer than 30,000
 * characters: tables.
 */
export const readCode =
  (...packages: readonly string[]): Reader =>
  async root =>
    (
      await Promise.all(
        packages.map(async name => {
          const folder = join(root, name, 'src');
          const files = (await names(folder, '.ts', '.js')).filter(file => !/(^|[/_.])tests?[/_.]/.test(file));
          return Promise.all(
            files.map(async file => ({
              name: `${name}/${file}`,
              text: (await readFile(join(folder, file), 'utf8')).replace(/\r\n?/g, '\n').trim(),
              label: file.endsWith('.ts') ? 'TypeScript' : 'JavaScript',
            })),
          );
        }),
      )
    )
      .flat()
      .filter(f => f.text.length >= shortest && f.text.length <= 30_000);

/** Images of MNIST, labelled by the digit they show, a row of pixels a line. */
export const readDigits: Reader = async root => {
  const folder = join(root, 'mnist/src/digits');
  const files = await names(folder, '.json');
  const digits = await Promise.all(
    files.map(async file => {
      const { data } = JSON.parse(await readFile(join(folder, file), 'utf8')) as { data: number[] };
      const label = file.replace('.json', '');
      return Array.from({ length: data.length / 784 }, (_, i) => ({
        name: `${label}-${i}`,
        text: imageText(data.slice(784 * i, 784 * (i + 1)), 28),
        label,
      }));
    }),
  );
  return [...new Map(digits.flat().map(item => [item.text, item])).values()];
};

/** A square image of grey values from 0 to 1 at half its width: the mean of 2 × 2 pixels, in tenths, cut at 9. */
export function imageText(pixels: readonly number[], width: number): string {
  const half = Array.from({ length: width / 2 }, (_, i) => 2 * i);
  const grey = (row: number, column: number) =>
    [0, 1, width, width + 1].reduce((sum, step) => sum + pixels[row * width + column + step], 0) / 4;
  return half.map(row => half.map(column => Math.min(9, Math.floor(10 * grey(row, column)))).join('')).join('\n');
}

/** Paths of the files below a folder that end so, in order; without an ending, of everything. */
async function names(folder: string, ...endings: readonly string[]): Promise<string[]> {
  const all = await readdir(folder, { recursive: endings.length > 0 }).catch(() => {
    throw new UserError(`${folder}: cannot be read; this is not the expected package`);
  });
  return all.filter(name => endings.length === 0 || endings.some(ending => name.endsWith(ending))).sort();
}
