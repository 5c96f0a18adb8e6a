/**
 * The playground as a static site: files by path, for `serve` or for a directory of any web server. Paths are relative,
 * so that it may lie anywhere.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { sha256 } from '../../../models/sha256.ts';
import { modelFiles, samples } from '../../playground/samples.ts';
import { style } from '../../view/style.ts';
import { bundle, root } from './bundle.ts';
import type { File } from './serve.ts';

const javascript = 'text/javascript; charset=utf-8';

/** The worker and what it loads on demand: gpu.js stays a separate file. */
async function workerFiles(): Promise<Record<string, string>> {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
  const build = await rolldown({
    input: { worker: join(root, 's2t2/playground/lab/main.ts') },
    platform: 'browser',
    external: ['webgpu'],
    logLevel: 'warn',
    transform: { define: { VERSION: JSON.stringify(version) } },
  });
  try {
    // gpu.js reads kernels as text: only their whitespace may go.
    const { output } = await build.generate({
      format: 'esm',
      minify: { compress: false, mangle: false, codegen: true },
      entryFileNames: '[name].js',
      chunkFileNames: '[name].js',
    });
    return Object.fromEntries(
      output.map(file => [file.fileName, file.type === 'chunk' ? file.code : String(file.source)]),
    );
  } finally {
    await build.close();
  }
}

const hash = (text: string): string => `'sha256-${Buffer.from(sha256(text), 'hex').toString('base64')}'`;

/** `index.html` with its style inside and a policy under which nothing leaves the page. */
async function page(): Promise<string> {
  const text = (name: string) => readFile(join(root, 's2t2/playground', name), 'utf8');
  const css = `${style}${await text('style.css')}`;
  const policy = [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self' blob:",
    `style-src ${hash(css)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  return (await text('index.html'))
    .replace('POLICY', () => policy)
    .replace(/<style>[^<]*<\/style>/, () => `<style>${css}</style>`);
}

/** The site's files by their path below `/`; the page itself is at `/` and at `/index.html`. */
export async function playgroundFiles(): Promise<Record<string, File>> {
  const html = await page();
  const files: Record<string, File> = {
    '/': { type: 'text/html; charset=utf-8', body: html },
    '/index.html': { type: 'text/html; charset=utf-8', body: html },
    '/page.js': { type: javascript, body: (await bundle('s2t2/playground/page/main.tsx', { minify: 'code' })).code },
    '/report.js': {
      type: javascript,
      body: (await bundle('s2t2/view/live/report.ts', { minify: 'code', format: 'iife' })).code,
    },
  };
  for (const [name, code] of Object.entries(await workerFiles())) files[`/${name}`] = { type: javascript, body: code };
  for (const name of modelFiles) files[`/data/source/${name}`] = await dataFile(`source/${name}`);
  for (const { name, format } of samples)
    for (const part of ['train', 'test']) {
      const file = `${name}.${part}.${format}.gz`;
      files[`/data/${file}`] = await dataFile(file);
    }
  // What a visit needs is kept at once; gpu.js and the samples on demand.
  const kept = Object.keys(files).filter(path => !path.endsWith('.gz') && !path.includes('gpu'));
  const version = sha256(kept.map(path => `${path} ${sha256(files[path].body)}`).join('\n')).slice(0, 16);
  const worker = await bundle('s2t2/playground/sw.ts', { minify: 'code', format: 'iife' });
  const lists = `const VERSION=${JSON.stringify(version)},FILES=${JSON.stringify(kept.map(path => `.${path}`))};`;
  files['/sw.js'] = { type: javascript, body: `${lists}${worker.code}` };
  return files;
}

async function dataFile(name: string): Promise<File> {
  return { type: 'application/octet-stream', body: await readFile(join(root, 's2t2/data', name)) };
}
