/** What the page of the benchmarks is made of, by path. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle, root } from './bundle.ts';
import type { File } from './serve.ts';

export async function pageFiles(): Promise<Record<string, File>> {
  const text = (name: string) => readFile(join(root, 'bench/browser/page', name), 'utf8');
  return {
    '/': { type: 'text/html', body: await text('index.html') },
    '/style.css': { type: 'text/css', body: await text('style.css') },
    '/page.js': { type: 'text/javascript', body: (await bundle('bench/browser/page/main.ts')).code },
  };
}
