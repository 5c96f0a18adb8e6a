/**
 * The three cores run in any JavaScript: a bundle of each for a browser imports nothing of Node and reads no global
 * that only Node has. That they run there is shown by `s2t2/playground/page.test.ts`, which adapts a model in a page.
 */
import { expect, test } from 'vitest';
import { bundle } from '../s2t2/app/site/bundle.ts';

/** Packages that a core asks for at run time and that a page does without. */
const optional = ['gpu.js', 'webgpu'];

for (const core of ['engine', 'models', 's2t2']) {
  test(`${core}/index.ts needs nothing of Node`, async () => {
    const { code, imports, dynamicImports } = await bundle(`${core}/index.ts`, { external: optional });
    expect(imports).toEqual([]);
    expect(dynamicImports.filter(name => !optional.includes(name))).toEqual([]);
    expect(code).not.toMatch(/(?:\bfrom|\bimport)\s*\(?\s*["'`]node:/);
    for (const global of ['Buffer', '__dirname', '__filename'])
      expect(code.match(new RegExp(`.{0,40}\\b${global}\\b(?!["'\`]).{0,40}`))?.[0], global).toBeUndefined();
    // `process` is read off `globalThis` where it may be missing, and nowhere else.
    expect(code.match(/.{0,40}(?<![.\w])process\.(?!getBuiltinModule|stdout).{0,40}/)?.[0], 'process').toBeUndefined();
  });
}
