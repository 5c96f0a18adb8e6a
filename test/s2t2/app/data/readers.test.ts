/** Readers of packages: what was put into a file comes out, and what does not belong is left out. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBlastDatabase } from '../../../../s2t2/app/data/blast.ts';
import {
  hebrewChapters,
  helpParagraphs,
  imageText,
  readCode,
  readDigits,
  readEnzymes,
  readGenome,
  readHebrew,
  readHelp,
  readProteins,
  readRna,
} from '../../../../s2t2/app/data/readers.ts';
import { renderBlastDatabase, type BlastRecord } from '../../../arbitraries/blast.ts';
import { renderFasta, fastaLayout } from '../../../arbitraries/fasta.ts';
import { refusal, temporaryDirectory } from '../../../models/temporary.ts';

const directory = temporaryDirectory();

/** A package's folder with these files. */
function folder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const root = mkdtempSync(join(directory, 'package-'));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

const sequence = (letters: string, size: fc.StringConstraints) =>
  fc.string({ ...size, unit: fc.constantFrom(...letters) });
const distinct = <T extends { text: string }>(item: fc.Arbitrary<Omit<T, 'name'>>) =>
  fc
    .uniqueArray(item, { minLength: 1, maxLength: 6, selector: i => (i as T).text })
    .map(items => items.map((item, i) => ({ name: `n${i}`, ...item }) as unknown as T));

describe('BLAST databases', () => {
  const record = fc.record({
    name: fc.string({ unit: fc.constantFrom(...'AZ09|:,'), minLength: 1, maxLength: 300 }),
    sequence: sequence('ABCDEFGHIKLMNPQRSTVWXYZU*OJ', { maxLength: 40 }),
  });
  const parse = (proteins: readonly BlastRecord[], version?: number) => {
    const { pin, psq, phr } = renderBlastDatabase(proteins, version);
    return parseBlastDatabase(pin, psq, phr);
  };

  test('read back what they hold, names of any length', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 8 }), proteins => {
        expect(parse(proteins)).toEqual(proteins);
      }),
    );
  });

  test('another version, an unknown residue, a cut header and a cut index are rejected', () => {
    const proteins = [
      { name: 'P1', sequence: 'MKV' },
      { name: 'P2', sequence: 'ACD' },
    ];
    expect(() => parse(proteins, 5)).toThrow('version 5');
    const { pin, psq, phr } = renderBlastDatabase(proteins);
    expect(() => parseBlastDatabase(pin, psq.with(2, 77) as Buffer, phr)).toThrow('sequence 0 holds the byte 77');
    expect(() => parseBlastDatabase(pin, psq, phr.subarray(0, 12))).toThrow('a header is cut off');
    expect(() => parseBlastDatabase(pin.subarray(0, 40), psq, phr)).toThrow(RangeError);
  });
});

describe('metastudent-data', () => {
  const classes = ['0016491', '0016740', '0016787', '0016829', '0016853', '0016874'];
  const swissProt = (databases: readonly BlastRecord[][]) =>
    folder(
      Object.fromEntries(
        ['BPO', 'CCO', 'MFO'].flatMap((ontology, i) => {
          const files = renderBlastDatabase(databases[i] ?? []);
          return (['pin', 'psq', 'phr'] as const).map(ending => [
            `usr/share/metastudent-data/dataset_201401/${ontology}/goasp.fasta.${ending}`,
            files[ending],
          ]);
        }),
      ),
    );
  const protein = fc.record({
    text: sequence('ACDEFGHIKLMNPQRSTVWY', { minLength: 50, maxLength: 90 }),
    ec: fc.subarray([1, 2, 3, 4, 5, 6]),
  });

  test('proteins have 50 to 512 standard residues, each once; enzymes have one class', async () => {
    await fc.assert(
      fc.asyncProperty(distinct<{ name: string; text: string; ec: number[] }>(protein), async proteins => {
        // The terms of one protein lie apart: each in another ontology's database, beside a term that is not an
        // enzyme's.
        const records = (i: number) =>
          proteins.map(({ name, text, ec }) => ({
            name: `${name}|GO:0005524${ec
              .filter(c => c % 3 === i)
              .map(c => `,GO:${classes[c - 1]}`)
              .join('')}`,
            sequence: text,
          }));
        const odd = [
          { name: 'short', sequence: 'M'.repeat(49) },
          { name: 'long', sequence: 'M'.repeat(513) },
          { name: 'odd', sequence: `${'M'.repeat(60)}X` },
        ];
        const root = swissProt([records(0), [...records(1), ...odd], records(2)]);
        expect(await readProteins(root)).toEqual(proteins.map(({ name, text }) => ({ name, text })));
        expect(await readEnzymes(root)).toEqual(
          proteins.filter(p => p.ec.length === 1).map(({ name, text, ec }) => ({ name, text, label: `EC ${ec[0]}` })),
        );
      }),
      { numRuns: 20 },
    );
  });

  test('a sequence of two accessions is read once, whatever the order of the file', async () => {
    for (const names of [
      ['B|', 'A|'],
      ['A|', 'B|'],
    ]) {
      const root = swissProt([
        [...names.map(name => ({ name, sequence: 'M'.repeat(50) })), { name: '0|', sequence: 'A'.repeat(50) }],
      ]);
      expect(await readProteins(root)).toEqual([
        { name: '0', text: 'A'.repeat(50) },
        { name: 'B', text: 'M'.repeat(50) },
      ]);
    }
  });

  test('reports a wrong package', async () => {
    expect(await refusal(readProteins(folder({ 'usr/share/metastudent-data/readme': '' })))).toMatch(
      /holds no dataset; this is not the package metastudent-data$/,
    );
    const empty = folder({});
    for (const read of [readProteins, readRna, readHebrew, readHelp('ja', /./u), readCode('a')])
      expect(await refusal(read(empty))).toMatch(new RegExp(`^${empty}`));
  });
});

test('RNA is written with U, and a sequence with an unread base is left out', async () => {
  const record = fc.record({ text: sequence('ACGTNR', { minLength: 1, maxLength: 30 }) });
  await fc.assert(
    fc.asyncProperty(distinct<{ name: string; text: string }>(record), fastaLayout, async (records, layout) => {
      const root = folder({
        'usr/share/microbiomeutil-data/RESOURCES/rRNA16S.gold.fasta': renderFasta(records, { ...layout, gzip: false })
          .bytes,
      });
      expect(await readRna(root)).toEqual(
        records.filter(r => !/[NR]/.test(r.text)).map(r => ({ name: r.name, text: r.text.replace(/T/g, 'U') })),
      );
    }),
    { numRuns: 20 },
  );
});

/** The tool that Debian's genomes are packed with; elsewhere it may be missing. */
const hasXz = (() => {
  try {
    return execFileSync('xz', ['--version']).length > 0;
  } catch {
    return false;
  }
})();

test.skipIf(!hasXz)(
  'a genome is cut into pieces of one length, whatever is left over and holds an unread base is left out',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        sequence('ACGTACGTACGTN', { minLength: 9, maxLength: 60 }),
        fc.integer({ min: 1, max: 9 }),
        async (genome, length) => {
          const root = folder({
            'usr/share/doc/kleborate/examples/data/MGH78578.fna.xz': execFileSync('xz', ['-c'], {
              input: `>CP1.1 a genome\n${genome}\n`,
            }),
          });
          const pieces = await readGenome(length)(root);
          for (const { name, text } of pieces) {
            const [, from, to] = /^CP1\.1:(\d+)-(\d+)$/.exec(name)!.map(Number);
            expect([genome.slice(from - 1, to), (from - 1) % length, to - from + 1]).toEqual([text, 0, length]);
          }
          const whole = Array.from({ length: Math.floor(genome.length / length) }, (_, i) =>
            genome.slice(i * length, (i + 1) * length),
          );
          expect(pieces.map(p => p.text)).toEqual(whole.filter(piece => !piece.includes('N')));
        },
      ),
      { numRuns: 8 },
    );
  },
);

describe('help pages', () => {
  const escape = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
  const page = (...blocks: readonly string[]) =>
    `<p>LibreOffice</p><div id="DisplayArea" itemprop="softwareHelp">${blocks.join('\n')}</div>\n<div ` +
    'id="SearchFrame"></div><p>footer</p>';

  test('paragraphs and headings come out as plain text, in order, without markup', () => {
    const text = fc.string({ unit: fc.constantFrom(...'ab日本<>& \n"') }).filter(t => t.trim() !== '');
    fc.assert(
      fc.property(fc.array(fc.record({ text, tag: fc.constantFrom('p', 'h1', 'h3') })), blocks => {
        const html = page(
          ...blocks.map(
            ({ text, tag }) =>
              `<${tag} id="par_id1" class="paragraph" dir="auto"><img src="a.svg"><span ` +
              `class="emph">${escape(text)}</span></${tag}>`,
          ),
        );
        expect(helpParagraphs(html)).toEqual(blocks.map(b => b.text.replace(/\s+/g, ' ').trim()));
      }),
    );
  });

  test('what differs by program and what stands outside the page is left out; a page without a body has none', () => {
    expect(
      helpParagraphs(
        page(
          '<p>one</p>',
          '<p>Press <span class="switchinline"><span class="MAC">Command</span><span>Ctrl</span></span></p>',
          '<p> </p>',
        ),
      ),
    ).toEqual(['one']);
    expect(helpParagraphs('<p>one</p>')).toEqual([]);
  });

  test('a paragraph is kept by the first page that has it, in its own script; short pages are left out', async () => {
    const [a, b, c] = ['あ', 'い', 'う'].map(letter => `${letter.repeat(300)}。`);
    const pages = {
      'a.html': page(`<p>${a}</p>`, `<p>${b}</p>`, '<p>Untranslated text</p>', '<p>half ああああ</p>'),
      'b/c.html': page(`<p>${b}</p>`, `<p>${c}</p>`, `<p>${c}!</p>`, `<p>${c}</p>`),
      'd.html': page(`<p>${a}</p>`, '<p>え</p>'),
    };
    const root = folder(
      Object.fromEntries(
        Object.entries(pages).map(([name, html]) => [`usr/share/libreoffice/help/ja/text/${name}`, html]),
      ),
    );
    expect(await readHelp('ja', /\p{sc=Hira}/u)(root)).toEqual([
      { name: 'a.html', text: `${a}\n${b}` },
      { name: 'b/c.html', text: `${c}\n${c}!` },
    ]);
  });
});

describe('digits', () => {
  const level = fc.integer({ min: 0, max: 9 });
  const side = fc.integer({ min: 1, max: 8 });

  test('an image of equal blocks of 2 × 2 pixels is its blocks, a row a line', () => {
    const image = side.chain(n =>
      fc.array(fc.array(level, { minLength: n, maxLength: n }), { minLength: n, maxLength: n }),
    );
    fc.assert(
      fc.property(image, fc.double({ min: 0.01, max: 0.09 }), (rows, within) => {
        const twice = <T>(values: readonly T[]) => values.flatMap(x => [x, x]);
        const pixels = twice(rows).flatMap(row => twice(row.map(x => x / 10 + within)));
        expect(imageText(pixels, 2 * rows.length)).toBe(rows.map(row => row.join('')).join('\n'));
      }),
    );
  });

  test('a block is the mean of its pixels; white is 9', () => {
    expect(imageText([0, 1, 1, 0], 2)).toBe('5');
    expect(imageText([1, 1, 1, 1], 2)).toBe('9');
  });

  test('each image once, named and labelled by its digit and place', async () => {
    const image = (grey: number) => Array.from({ length: 784 }, () => grey);
    const root = folder({
      'mnist/src/digits/0.json': JSON.stringify({ data: [...image(0), ...image(0.55), ...image(0)] }),
      'mnist/src/digits/7.json': JSON.stringify({ data: image(1) }),
    });
    const items = await readDigits(root);
    const row = (letter: string) => Array.from({ length: 14 }, () => letter.repeat(14)).join('\n');
    expect(new Map(items.map(({ name, text, label }) => [label, [name, text]]))).toEqual(
      new Map([
        ['0', ['0-1', row('5')]],
        ['7', ['7-0', row('9')]],
      ]),
    );
    expect(items.map(({ text }) => text).toSorted()).toEqual(['0', '5', '9'].map(row));
    expect(await refusal(readDigits(folder({})))).toContain('cannot be read; this is not the expected package');
  });
});

describe('Hebrew', () => {
  const letters = sequence('אבגדהוזחטיכלמנסעפצקרשתםןץףך', { minLength: 1, maxLength: 6 });
  /** A word as the source spells it: points and accents after letters, a slash before a suffix. */
  const word = fc.record({
    letters,
    marks: fc.array(fc.constantFrom('', '\u05b8', '\u05c1\u0591', '/', '\u05bc\u05b7\u05a3'), {
      minLength: 6,
      maxLength: 6,
    }),
    joined: fc.boolean(),
  });
  const marked = ({ letters, marks }: { letters: string; marks: string[] }) =>
    [...letters].map((letter, i) => letter + marks[i]).join('');

  test('verses are letters, joined words joined, without points, other readings and marks of sections', () => {
    fc.assert(
      fc.property(fc.array(fc.array(word, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 4 }), verses => {
        const hyphen = '<seg type="x-maqqef">־</seg>';
        const note = '\n<note type="variant"><rdg><w>אחרת</w></rdg></note>\n';
        const end = '<seg type="x-sof-pasuq">׃</seg>\n<seg type="x-pe">פ</seg>';
        const xml = verses.map((words, v) => {
          const text = words.map(w => `  <w lemma="b/7225">${marked(w)}</w>${w.joined ? hyphen : note}`).join('');
          return `<verse osisID="Gen.1.${v + 1}">\n${text}${end}</verse>`;
        });
        expect(
          hebrewChapters(`<header><p>Release</p></header><chapter osisID="Gen.1">${xml.join('\n')}</chapter>`),
        ).toEqual([
          {
            name: 'Gen.1',
            text: verses
              .map(
                words =>
                  `${words
                    .map(w => w.letters + (w.joined ? '־' : ' '))
                    .join('')
                    .trim()}׃`,
              )
              .join('\n'),
          },
        ]);
      }),
    );
  });

  test('short chapters are left out', async () => {
    const chapter = (n: number, length: number) =>
      `<chapter osisID="Gen.${n}"><verse osisID="Gen.${n}.1"><w>${'א'.repeat(length)}</w></verse></chapter>`;
    const root = folder({ 'usr/share/bibledit-cloud/sources/morphhb/Gen.xml': chapter(1, 399) + chapter(2, 400) });
    expect((await readHebrew(root)).map(c => c.name)).toEqual(['Gen.2']);
  });
});

test('code: sources by language, without tests, tables and trifles', async () => {
  const source = (length: number) => `${'x'.repeat(length - 1)};`;
  const root = folder({
    '@a/b/src/index.ts': `${source(400)}\r\nlet y;\n`,
    '@a/b/src/deep/latest.js': source(500),
    '@a/b/src/table.ts': source(30_001),
    '@a/b/src/tiny.ts': source(399),
    '@a/b/src/__tests__/a.ts': source(500),
    '@a/b/src/b.test.ts': source(500),
    '@a/b/src/tests/c.ts': source(500),
    '@a/b/lib/index.js': source(500),
    '@a/b/src/readme.md': source(500),
    'c/src/c.ts': source(600),
  }); // prettier-ignore
  expect(await readCode('@a/b', 'c')(root)).toEqual([
    { name: '@a/b/deep/latest.js', text: source(500), label: 'JavaScript' },
    { name: '@a/b/index.ts', text: `${source(400)}\nlet y;`, label: 'TypeScript' },
    { name: 'c/c.ts', text: source(600), label: 'TypeScript' },
  ]);
});
