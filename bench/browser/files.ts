/** What the page of the benchmarks is made of, by path. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle, root } from '../../s2t2/app/site/bundle.ts';
import type { File } from '../../s2t2/app/site/serve.ts';

export async function pageFiles(): Promise<Record<string, File>> {
  const text = (name: string) => readFile(join(root, 'bench/browser/page', name), 'utf8');
  return {
    '/': { type: 'text/html; charset=utf-8', body: await text('index.html') },
    '/style.css': { type: 'text/css; charset=utf-8', body: await text('style.css') },
    '/page.js': { type: 'text/javascript; charset=utf-8', body: (await bundle('bench/browser/page/main.ts')).code },
  };
}
