/** `npm run bundle`: the engine as one file for browsers, with its size. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { bundle, root, type Bundle } from '../../s2t2/app/site/bundle.ts';

/** gpu.js is not part of the engine: it stays an import for those who bundle further. */
export const engineBundle = (): Promise<Bundle> => bundle('engine/index.ts', { external: ['gpu.js', 'webgpu'] });

const kilobytes = (n: number): string => `${(n / 1000).toFixed(1)} kB`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { code, imports, dynamicImports } = await engineBundle();
  const file = 'dist/browser/engine.js';
  await mkdir(join(root, dirname(file)), { recursive: true });
  await writeFile(join(root, file), code);
  process.stdout.write(
    `${file}: ${kilobytes(Buffer.byteLength(code))} without whitespace, ` +
      `${kilobytes(gzipSync(code, { level: 9 }).length)} gzip, ${kilobytes(brotliCompressSync(code).length)} ` +
      `brotli; imports ${imports.join(', ') || 'nothing'}, and ${dynamicImports.join(', ')} where a GPU is asked ` +
      `for\n`,
  );
}
