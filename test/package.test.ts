/**
 * The packed package, as someone else's project meets it: `npm pack`, installed into an empty TypeScript project, type
 * checks and runs the first example of README.md, and prints what README.md says it prints.
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

  test('type-checks and runs the example of README.md with its numbers', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8');
    const [, example] = /```ts\n([\s\S]*?)```/.exec(readme)!;
    const [, printed] = /```text\n([\s\S]*?)```/.exec(readme.slice(readme.indexOf(example)))!;

    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', directory], { cwd: root });
    const [archive] = (await readdir(directory)).filter(name => name.endsWith('.tgz'));
    await writeFile(join(directory, 'package.json'), JSON.stringify({ type: 'module', private: true }));
    await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(directory, archive)], {
      cwd: directory,
    });
    await writeFile(join(directory, 'example.ts'), example);
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
        'example.ts',
      ],
      { cwd: directory },
    );
    const { stdout } = await run(process.execPath, ['example.js'], { cwd: directory });
    expect(stdout).toBe(printed);

    // The command is there, and neither gpu.js nor Dawn came along.
    const { stdout: help } = await run(join(directory, 'node_modules/.bin/s2t2'), ['--help']);
    expect(help).toContain('Sparse Sinkhorn Token Translation');
    expect(await readdir(join(directory, 'node_modules'))).not.toContain('gpu.js');
  }, 180_000);
});
