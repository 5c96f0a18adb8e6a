/** No line of code, markup, style or configuration is wider than the formatter's 120 columns, strings included. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const columns = 120;
const root = join(import.meta.dirname, '..');

/** The folders that hold sources, and those within them that hold recorded figures or are made by a build. */
const folders = ['.ci', '.github', 'bench', 'engine', 'models', 's2t2', 'test'];
const left = /(^|\/)node_modules\/|^test\/oracles\/.*\.json$|^s2t2\/data\/.*\.json$|(^|\/)package-lock\.json$/;
const sources = /\.(ts|tsx|mjs|js|css|html|json|ya?ml|py)$|^\.ci\/run$|^\.(editorconfig|gitignore|oxlintrc\.json)$/;

/** The numbers of lines wider than `columns` characters, from 1. */
const wideLines = (text: string): number[] =>
  text.split('\n').flatMap((line, i) => ([...line].length > columns ? [i + 1] : []));

test('characters are counted, not bytes or UTF-16 units', () => {
  const full = '𝛼'.repeat(columns);
  expect(wideLines(`${full}\n${full}x\n\n${'x'.repeat(columns)}\n${'x'.repeat(columns + 1)}`)).toEqual([2, 5]);
});

test(`no line is wider than ${columns} columns`, () => {
  const files = [
    ...readdirSync(root, { withFileTypes: true }).flatMap(entry => (entry.isFile() ? [entry.name] : [])),
    ...folders.flatMap(folder =>
      readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
        .filter(entry => entry.isFile())
        .map(entry => join(entry.parentPath, entry.name).slice(root.length + 1)),
    ),
  ].filter(file => sources.test(file) && !left.test(file));
  expect(files.length).toBeGreaterThan(300);
  const wide = files.flatMap(file => wideLines(readFileSync(join(root, file), 'utf8')).map(line => `${file}:${line}`));
  expect(wide).toEqual([]);
});
