/** Every export has a docstring: what it is, with shapes, units, errors and source where there are some. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const declaration =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type|enum) ([\w$]+)/;

/** The names that source text exports without a docstring right above. */
export function undocumented(source: string): string[] {
  const lines = source.split('\n');
  return lines.flatMap((line, i) => {
    const name = line.match(declaration)?.[1];
    return name !== undefined && !lines[i - 1]?.trimEnd().endsWith('*/') ? [name] : [];
  });
}

test('an export needs a docstring directly above it', () => {
  const source = [
    '/** The head of the file. */',
    "import { a } from './a.ts';",
    '',
    'export const bare = 1;',
    '/** Documented. */',
    'export function told(): void {}',
    'export type Loose = number;',
    "export { a } from './a.ts';",
    'const own = 2;',
  ].join('\n');
  expect(undocumented(source)).toEqual(['bare', 'Loose']);
});

/** Exports that still lack one; the number only falls. */
const known: Readonly<Record<string, number>> = { engine: 0, models: 0, s2t2: 0 };

test.each(Object.keys(known))('no export of %s lacks one, but those that are known', folder => {
  const missing = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts'))
    .flatMap(file => undocumented(readFileSync(join(root, folder, file), 'utf8')).map(name => `${file}: ${name}`));
  if (missing.length > known[folder]) expect(missing).toEqual([]);
});
