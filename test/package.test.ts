/**
 * The packed package, as someone else's project meets it: `npm pack`, installed into an empty TypeScript project, type
 * checks and runs the examples of README.md, which print what README.md says they print.
 */
import { execFile } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { temporaryDirectory } from './models/temporary.ts';

const root = new URL('..', import.meta.url).pathname;
const run = promisify(execFile);

describe('the packed package', () => {
  const directory = temporaryDirectory();

  test('type-checks and runs the examples of README.md with their numbers', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8');
    const examples = [...readme.matchAll(/```ts\n([\s\S]*?)```\s+```text\n([\s\S]*?)```/g)];
    expect(examples).toHaveLength(2); // the tensor library, and S2T2 as a library
    const names = examples.map((_, i) => `example-${i}`);

    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', directory], { cwd: root });
    const [archive] = (await readdir(directory)).filter(name => name.endsWith('.tgz'));
    await writeFile(join(directory, 'package.json'), JSON.stringify({ type: 'module', private: true }));
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(directory, archive)], {
      cwd: directory,
    });
    for (const [i, [, code]] of examples.entries()) await writeFile(join(directory, `${names[i]}.ts`), code);
    await run(
      process.execPath,
      [
        join(root, 'node_modules/typescript/bin/tsc'),
        '--strict',
        '--target',
        'es2022',
        '--module',
        'nodenext',
        '--skipLibCheck',
        'false',
        '--types',
        '',
        '--lib',
        'es2023,dom',
        ...names.map(name => `${name}.ts`),
      ],
      { cwd: directory },
    );
    for (const [i, [, , printed]] of examples.entries()) {
      const { stdout } = await run(process.execPath, [`${names[i]}.js`], { cwd: directory });
      expect(stdout).toBe(printed);
    }

    // The command is there, and neither gpu.js nor Dawn came along.
    const { stdout: help } = await run(join(directory, 'node_modules/.bin/s2t2'), ['--help']);
    expect(help).toContain('Sparse Sinkhorn Token Translation');
    expect(await readdir(join(directory, 'node_modules'))).not.toContain('gpu.js');
  });
});

test('npm ci has nothing to warn of: it is decided which install scripts run', async () => {
  const read = async (name: string) => JSON.parse(await readFile(join(root, name), 'utf8')) as Record<string, object>;
  const { packages } = await read('package-lock.json');
  const scripted = Object.entries(packages as Record<string, { hasInstallScript?: boolean }>)
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
  expect(scripted).toEqual(['webgpu']);
  // It would download a binary that the package brings along.
  expect((await read('package.json')).allowScripts).toEqual({ webgpu: false });
});
