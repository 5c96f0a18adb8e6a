/**
 * Bundles for browsers, by rolldown: any module of ours with what it imports, and, as `npm run bundle`, the engine by
 * itself with its size. gpu.js is no part of the engine: there it stays an import for whoever bundles further.
 */
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

/** The package's directory: this file is in it, and its compiled form one level deeper. */
export const root = ['../../', '../../../']
  .map(up => fileURLToPath(new URL(up, import.meta.url)))
  .find(path => existsSync(join(path, 'package.json')))!;

export interface Bundle {
  readonly code: string;
  /** What the code imports that is not in it, at once and where it is asked for. */
  readonly imports: readonly string[];
  readonly dynamicImports: readonly string[];
}

/** The package `webgpu` is Dawn for Node: a browser has its own. */
const nodeOnly = ['webgpu'];
/**
 * gpu.js reads the kernels as text, and neither renamed nor rewritten are they what it understands: only whitespace may
 * go.
 */
const whitespace = { compress: false, mangle: false, codegen: true } as const;

/**
 * One ES module of a source file, a path from the package's root, and everything that it imports, but packages that are
 * `external`.
 */
export async function bundle(entry: string, external: readonly string[] = nodeOnly): Promise<Bundle> {
  const build = await rolldown({
    input: join(root, entry),
    platform: 'browser',
    external: [...external],
    logLevel: 'warn',
  });
  try {
    const { output } = await build.generate({ format: 'esm', minify: whitespace, codeSplitting: false });
    if (output.length !== 1) throw new Error(`bundle: ${entry} became ${output.length} files, not one`);
    const [{ fileName, code, imports, dynamicImports }] = output;
    return { code, imports, dynamicImports: dynamicImports.filter(name => name !== fileName) };
  } finally {
    await build.close();
  }
}

export const engineBundle = (): Promise<Bundle> => bundle('engine/index.ts', ['gpu.js', ...nodeOnly]);

const kilobytes = (n: number): string => `${(n / 1000).toFixed(1)} kB`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { code, imports, dynamicImports } = await engineBundle();
  const file = 'dist/browser/engine.js';
  await mkdir(join(root, dirname(file)), { recursive: true });
  await writeFile(join(root, file), code);
  process.stdout.write(
    `${file}: ${kilobytes(Buffer.byteLength(code))} without whitespace, ${kilobytes(gzipSync(code, { level: 9 }).length)} gzip, ${kilobytes(brotliCompressSync(code).length)} brotli; imports ${imports.join(', ') || 'nothing'}, and ${dynamicImports.join(', ')} where a GPU is asked for\n`,
  );
}
