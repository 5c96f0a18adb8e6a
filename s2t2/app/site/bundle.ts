/**
 * Bundles for browsers, by rolldown: any module of ours with what it imports. gpu.js reads the kernels of the engine as
 * text: where they are in a bundle, only its whitespace may go.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

/** The package's directory: this file is in it, and its compiled form one level deeper. */
export const root = ['../../../', '../../../../']
  .map(up => fileURLToPath(new URL(up, import.meta.url)))
  .find(path => existsSync(join(path, 'package.json')))!;

/** A bundle for browsers. */
export interface Bundle {
  readonly code: string;
  /** What the code imports that is not in it: statically, and when it runs. */
  readonly imports: readonly string[];
  readonly dynamicImports: readonly string[];
}

/** What goes into a bundle. */
export interface BundleOptions {
  /** Packages that stay imports. By default `webgpu`: it is Dawn for Node, and a browser has its own. */
  readonly external?: readonly string[];
  /** `code` shortens names and expressions as well; not for code with kernels of gpu.js in it. */
  readonly minify?: 'whitespace' | 'code';
  /** `iife` for a script that is not a module. */
  readonly format?: 'esm' | 'iife';
}

/** One script of a source file, a path from the package's root, and everything that it imports. */
export async function bundle(
  entry: string,
  { external = ['webgpu'], minify = 'whitespace', format = 'esm' }: BundleOptions = {},
): Promise<Bundle> {
  const build = await rolldown({
    input: join(root, entry),
    platform: 'browser',
    external: [...external],
    logLevel: 'warn',
  });
  try {
    const { output } = await build.generate({
      format,
      minify: minify === 'code' || { compress: false, mangle: false, codegen: true },
      codeSplitting: false,
    });
    if (output.length !== 1) throw new Error(`bundle: ${entry} became ${output.length} files, not one`);
    const [{ fileName, code, imports, dynamicImports }] = output;
    return { code, imports, dynamicImports: dynamicImports.filter(name => name !== fileName) };
  } finally {
    await build.close();
  }
}
