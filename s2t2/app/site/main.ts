/** `npm run playground`: serves the playground on this machine, or with --build DIR writes it for any web server. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { Command } from 'commander';
import { playgroundFiles } from './playground.ts';
import { serve } from './serve.ts';

const kilobytes = (n: number): string => `${(n / 1000).toFixed(0)} kB`;
const bytesOf = (body: string | Uint8Array): Uint8Array => (typeof body === 'string' ? Buffer.from(body) : body);

await new Command('playground')
  .description('S2T2 in a page, on the visitor’s own text.')
  .option('--build <dir>', 'write a static site instead of serving it')
  .option('--port <n>', 'port on localhost; 0 picks a free one', Number, 8080)
  .action(async ({ build, port }: { build?: string; port: number }) => {
    const files = await playgroundFiles();
    if (build === undefined) {
      const { url } = await serve(files, { port });
      process.stderr.write(`The playground is at ${url} (Ctrl-C stops it)\n`);
      return;
    }
    for (const [path, { body }] of Object.entries(files)) {
      if (path === '/') continue;
      const file = join(build, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, body);
    }
    const size = (paths: readonly string[]) =>
      paths.reduce((n, path) => n + gzipSync(bytesOf(files[path].body), { level: 9 }).length, 0);
    const first = ['/index.html', '/page.js', '/worker.js', '/sw.js'];
    const model = Object.keys(files).filter(path => path.startsWith('/data/source/'));
    process.stdout.write(
      `${build}: ${Object.keys(files).length - 1} files; compressed, the first load is ` +
        `${kilobytes(size(first))} and the model ${kilobytes(size(model))}\n`,
    );
  })
  .parseAsync();
