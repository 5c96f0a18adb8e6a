/** Writing: the new file or the old one, never half of one, even after SIGKILL. Reading: mistakes told in one line. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  copyFileAtomic,
  type Chunk,
  isSameFile,
  isWithin,
  makeDirectory,
  prepareToWrite,
  readJson,
  readText,
  recoverDirectory,
  sha256File,
  writeDirectoryAtomic,
  writeFileAtomic,
} from '../../../models/node/files.ts';
import { sha256 } from '../../../models/sha256.ts';
import { refusal, temporaryDirectory } from '../temporary.ts';

const root = temporaryDirectory();
const fresh = () => mkdtemp(join(root, 'd-'));

/** Runs a script that has files.ts's functions in scope, and waits for its first line of output. */
async function startProcess(directory: string, script: string): Promise<ChildProcess> {
  const built = pathToFileURL(resolve('dist/models/node/files.js'));
  await writeFile(
    join(directory, 'script.mjs'),
    `import { join } from 'node:path';\nimport { writeDirectoryAtomic, writeFileAtomic } from '${built}';\n${script}`,
  );
  const child = spawn(process.execPath, [join(directory, 'script.mjs')], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** A process id that no longer runs. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
  await once(child, 'exit');
  return child.pid!;
}

test('copyFileAtomic replaces the old file by the whole of another, or leaves it', async () => {
  const directory = await fresh();
  const [from, path] = [join(directory, 'from'), join(directory, 'file')];
  await writeFileAtomic(from, 'new');
  await chmod(from, 0o444);
  await writeFileAtomic(path, 'old');
  expect(await refusal(copyFileAtomic(join(directory, 'none'), path))).toContain('none: no such file');
  expect(await readText(path)).toBe('old');
  await copyFileAtomic(from, path);
  expect(await readText(path)).toBe('new');
  expect((await readdir(directory)).sort()).toEqual(['file', 'from']);
});

test('whoever asks for it gets every chunk that is written or copied, in order', async () => {
  const directory = await fresh();
  const [from, path] = [join(directory, 'from'), join(directory, 'file')];
  const bytes = new Uint8Array(3 * 2 ** 20 + 5).map((_, i) => i >> 8);
  const chunks: Buffer[] = [];
  const onChunk = (chunk: Chunk) => chunks.push(Buffer.from(chunk as Uint8Array));
  await writeFileAtomic(from, ['chunk ', Buffer.from('after '), 'chunk'], onChunk);
  expect(Buffer.concat(chunks.splice(0)).toString()).toBe('chunk after chunk');
  await writeFileAtomic(from, bytes);
  await copyFileAtomic(from, path, onChunk);
  expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
  expect((await readFile(path)).equals(bytes)).toBe(true);
  expect(await refusal(copyFileAtomic(join(directory, 'none'), path, onChunk))).toContain('none: no such file');
});

describe('writeFileAtomic', () => {
  test('writes text, bytes, and chunks of both', async () => {
    const path = join(await fresh(), 'file');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.uint8Array())), async chunks => {
        await writeFileAtomic(path, chunks);
        expect(await readFile(path)).toEqual(Buffer.concat(chunks.map(chunk => Buffer.from(chunk as string))));
      }),
      { numRuns: 30 },
    );
    await writeFileAtomic(path, 'é');
    expect(await readText(path)).toBe('é');
  });

  test('leaves the old file, and nothing else, when a chunk fails', async () => {
    const directory = await fresh();
    const path = join(directory, 'file');
    await writeFileAtomic(path, 'old');
    const failing = (function* () {
      yield 'half of the ';
      throw new Error('no more');
    })();
    await expect(writeFileAtomic(path, failing)).rejects.toThrow('no more');
    expect(await readText(path)).toBe('old');
    expect(await readdir(directory)).toEqual(['file']);
  });

  test('leaves the old file after SIGKILL, and the next write removes what was left', async () => {
    const directory = await fresh();
    const path = join(directory, 'file');
    await writeFileAtomic(path, 'old');
    const child = await startProcess(
      directory,
      `await writeFileAtomic(${JSON.stringify(path)}, (async function* () {
         yield 'half of the ';
         console.log('written');
         await new Promise(() => setInterval(() => {}, 1e6)); // until it is killed
       })());`,
    );
    const temporary = async () => (await readdir(directory)).filter(name => name.startsWith('file.'));
    expect(await temporary()).toHaveLength(1);
    await writeFileAtomic(path, 'older');
    expect(await temporary()).toHaveLength(1); // The other process lives: its file is left alone.
    await kill(child);
    expect(await readText(path)).toBe('older');
    await writeFileAtomic(path, 'new');
    expect(await temporary()).toEqual([]);
    expect(await readText(path)).toBe('new');
  });

  test('writes through symbolic links, to a file that is there or not yet', async () => {
    const directory = await fresh();
    for (const name of ['far', 'near']) await mkdir(join(directory, name));
    await writeFile(join(directory, 'far/file'), 'old');
    await symlink('../far/file', join(directory, 'near/link'));
    await symlink('link', join(directory, 'near/chain'));
    await symlink('../far/new', join(directory, 'near/dangling'));
    await symlink('near', join(directory, 'here'));
    await prepareToWrite(join(directory, 'here/chain'));
    await writeFileAtomic(join(directory, 'here/chain'), 'one');
    expect(await readText(join(directory, 'far/file'))).toBe('one');
    await copyFileAtomic(join(directory, 'far/file'), join(directory, 'here/dangling'));
    expect(await readText(join(directory, 'far/new'))).toBe('one');
    for (const name of ['link', 'chain', 'dangling'])
      expect((await lstat(join(directory, 'near', name))).isSymbolicLink()).toBe(true);
    expect((await readdir(join(directory, 'far'))).sort()).toEqual(['file', 'new']);
    expect((await readdir(join(directory, 'near'))).sort()).toEqual(['chain', 'dangling', 'link']);
    await symlink('circle', join(directory, 'circle'));
    expect(await refusal(writeFileAtomic(join(directory, 'circle'), ''))).toBe(
      `${directory}/circle: too many symbolic links; check the path`,
    );
  });

  test.skipIf(process.platform === 'win32')('writes to a pipe, which stays', async () => {
    const directory = await fresh();
    const [pipe, from] = [join(directory, 'pipe'), join(directory, 'from')];
    await promisify(execFile)('mkfifo', [pipe]);
    await writeFile(from, 'copied');
    await symlink('pipe', join(directory, 'link'));
    for (const [write, expected] of [
      [() => writeFileAtomic(pipe, ['half and ', 'half']), 'half and half'],
      [() => writeFileAtomic(join(directory, 'link'), 'linked'), 'linked'],
      [() => copyFileAtomic(from, pipe), 'copied'],
    ] as const) {
      await prepareToWrite(pipe);
      const read = promisify(execFile)('cat', [pipe]);
      await write();
      if ((await lstat(pipe)).isFIFO()) expect((await read).stdout).toBe(expected);
      else {
        read.child.kill();
        throw new Error('the pipe was replaced');
      }
    }
    expect((await readdir(directory)).sort()).toEqual(['from', 'link', 'pipe']);
  });

  test('reports what is wrong with a target', async () => {
    const directory = await fresh();
    expect(await refusal(writeFileAtomic(join(directory, 'no', 'file'), ''))).toBe(
      `${directory}/no: no such file or directory; check the path`,
    );
    expect(await refusal(writeFileAtomic(directory, ''))).toBe(`${directory}: is a directory; give a file`);
    await chmod(directory, 0o500);
    if (process.getuid?.() !== 0)
      expect(await refusal(writeFileAtomic(join(directory, 'file'), ''))).toBe(
        `${directory}/file: permission denied; check the permissions there`,
      );
    await chmod(directory, 0o700);
  });
});

describe('writeDirectoryAtomic', () => {
  const fill = (names: string[], content: string) => async (temporary: string) => {
    for (const name of names) await writeFile(join(temporary, name), content);
  };

  test('makes a directory, and replaces it', async () => {
    const directory = await fresh();
    const model = join(directory, 'model');
    await writeDirectoryAtomic(model, fill(['a', 'b'], 'one'));
    await writeDirectoryAtomic(model, fill(['a', 'b', 'c'], 'two'));
    expect(await readdir(directory)).toEqual(['model']);
    expect(await readdir(model)).toEqual(['a', 'b', 'c']);
    expect(await readText(join(model, 'a'))).toBe('two');
  });

  test('replaces the directory that a symbolic link leads to', async () => {
    const directory = await fresh();
    await mkdir(join(directory, 'far'));
    await symlink('far', join(directory, 'model'));
    await writeDirectoryAtomic(join(directory, 'model'), fill(['a'], 'one'));
    expect((await lstat(join(directory, 'model'))).isSymbolicLink()).toBe(true);
    expect(await readText(join(directory, 'far', 'a'))).toBe('one');
    expect((await readdir(directory)).sort()).toEqual(['far', 'model']);
  });

  test('leaves the old directory, and nothing else, when filling fails', async () => {
    const directory = await fresh();
    const model = join(directory, 'model');
    await writeDirectoryAtomic(model, fill(['a'], 'old'));
    const failing = async (temporary: string) => {
      await fill(['a'], 'new')(temporary);
      throw new Error('no more');
    };
    await expect(writeDirectoryAtomic(model, failing)).rejects.toThrow('no more');
    expect(await readText(join(model, 'a'))).toBe('old');
    expect(await readdir(directory)).toEqual(['model']);
  });

  test('never deletes what it does not write', async () => {
    const directory = await fresh();
    await mkdir(join(directory, 'model', 'photos'), { recursive: true });
    await writeFile(join(directory, 'model', 'photos', '1.jpg'), '');
    expect(await refusal(writeDirectoryAtomic(join(directory, 'model'), fill(['a', 'photos'], '')))).toBe(
      `${directory}/model: holds photos/1.jpg, which would be lost; move it away or choose another directory`,
    );
    expect(await readdir(join(directory, 'model', 'photos'))).toEqual(['1.jpg']);
    expect(await readdir(directory)).toEqual(['model']);
  });

  test('is killed while filling: the old directory stays, the rest goes with the next write', async () => {
    const directory = await fresh();
    const model = join(directory, 'model');
    await writeDirectoryAtomic(model, fill(['a'], 'old'));
    const child = await startProcess(
      directory,
      `await writeDirectoryAtomic(${JSON.stringify(model)}, async (temporary) => {
         await writeFileAtomic(join(temporary, 'a'), 'new');
         console.log('written');
         await new Promise(() => setInterval(() => {}, 1e6)); // until it is killed
       });`,
    );
    await kill(child);
    expect(await readText(join(model, 'a'))).toBe('old');
    await writeDirectoryAtomic(model, fill(['a'], 'newer'));
    expect(await readText(join(model, 'a'))).toBe('newer');
    expect(await readdir(directory)).toEqual(['model', 'script.mjs']);
  });

  test('is killed between its two renames: recovery puts the old directory back', async () => {
    const directory = await fresh();
    const model = join(directory, 'model');
    await writeDirectoryAtomic(model, fill(['a'], 'old'));
    await rename(model, `${model}.${hostname()}-${await deadPid()}-0.old`);
    await recoverDirectory(model);
    expect(await readText(join(model, 'a'))).toBe('old');
    await recoverDirectory(model);
    expect(await readdir(directory)).toEqual(['model']);
  });

  test('is killed after its two renames: the new directory stays, the old one goes with the next write', async () => {
    const directory = await fresh();
    const model = join(directory, 'model');
    await writeDirectoryAtomic(model, fill(['a'], 'new'));
    await mkdir(`${model}.${hostname()}-${await deadPid()}-0.old`);
    await recoverDirectory(model);
    expect(await readText(join(model, 'a'))).toBe('new');
    await writeDirectoryAtomic(model, fill(['a'], 'newer'));
    expect(await readdir(directory)).toEqual(['model']);
  });
});

describe('makeDirectory', () => {
  test('creates missing directories, even concurrently, and leaves existing ones', async () => {
    const directory = await fresh();
    await writeFile(join(directory, 'file'), '');
    await Promise.all(Array.from({ length: 8 }, () => makeDirectory(join(directory, 'a', 'b', 'c'))));
    expect((await stat(join(directory, 'a', 'b', 'c'))).isDirectory()).toBe(true);
    await makeDirectory(directory);
    expect(await readdir(directory)).toEqual(['a', 'file']);
  });

  test('reports what is in the way', async () => {
    const directory = await fresh();
    await writeFile(join(directory, 'file'), '');
    expect(await refusal(makeDirectory(join(directory, 'file')))).toBe(
      `${directory}/file: exists already and cannot be replaced; choose another name`,
    );
    expect(await refusal(makeDirectory(join(directory, 'file', 'a')))).toBe(
      `${directory}/file: exists already and cannot be replaced; choose another name`,
    );
    expect(await refusal(makeDirectory(join(directory, 'x'.repeat(300))))).toMatch(
      /: the name is too long; choose a shorter one$/,
    );
  });

  test.skipIf(!existsSync('/proc/self'))(
    'returns where the system rejects new names as if their directory were missing',
    async () => {
      expect(await refusal(makeDirectory('/proc/none/deeper'))).toBe(
        '/proc/none: no such file or directory; check the path',
      );
    },
  );
});

test('one file under two names; a path below another', async () => {
  const directory = await fresh();
  const [file, other, linked, hard] = ['file', 'other', 'linked', 'hard'].map(name => join(directory, name));
  await writeFile(file, '');
  await writeFile(other, '');
  await symlink('file', linked);
  await link(file, hard);
  for (const name of [file, linked, hard]) expect(await isSameFile(file, name)).toBe(true);
  for (const name of [other, directory, join(directory, 'none')]) expect(await isSameFile(file, name)).toBe(false);
  expect(await isSameFile(join(directory, 'none'), join(directory, 'none'))).toBe(false);
  expect([isWithin('/a/b', '/a'), isWithin('/a', '/a'), isWithin('/a', '/'), isWithin('/ab', '/a')]).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

describe('reading', () => {
  test('text that is missing, a directory, not UTF-8, or too long', async () => {
    const directory = await fresh();
    const path = join(directory, 'text');
    await writeFile(path, Buffer.from('\ufeffone\ntwo\n\xff', 'latin1'));
    expect(await refusal(readText(path))).toBe(`${path}:1: not UTF-8; convert it, for example with iconv -t UTF-8`);
    await writeFile(path, Buffer.concat([Buffer.from('\ufeffé\n\n'), Buffer.of(0xc3)]));
    expect(await refusal(readText(path))).toBe(`${path}:3: not UTF-8; convert it, for example with iconv -t UTF-8`);
    expect(await refusal(readText(path, 5))).toBe(
      `${path}: 8 bytes are more than the 5 read at once; is it the right file?`,
    );
    expect(await refusal(readText(`${path}s`))).toBe(`${path}s: no such file or directory; check the path`);
    expect(await refusal(readText(join(path, 'x')))).toBe(
      `${path}/x: a part of the path is not a directory; check the path`,
    );
    expect(await refusal(readText(directory))).toBe(`${directory}: is a directory; give a file`);
    await writeFile(path, '\ufeffé\n');
    expect(await readText(path)).toBe('é\n');
  });

  test('JSON: every value; and errors for what is not, or nested too deeply', async () => {
    const path = join(await fresh(), 'a.json');
    await fc.assert(
      fc.asyncProperty(fc.json(), async json => {
        await writeFile(path, json);
        expect(await readJson(path)).toEqual(JSON.parse(json));
      }),
      { numRuns: 30 },
    );
    await writeFile(path, '{"a":\n');
    expect(await refusal(readJson(path))).toBe(
      `${path}: not valid JSON (Unexpected end of JSON input); is it complete?`,
    );
    await writeFile(path, `"\\"${'['.repeat(100)}"`);
    expect(await readJson(path)).toHaveLength(101);
    await writeFile(path, `[${'{},'.repeat(2 ** 23 + 1)}{}]`);
    expect(await refusal(readJson(path))).toMatch(
      /: JSON of 8388609 values, more than the \d+ read at once; is it the right file\?$/,
    );
    await writeFile(path, '['.repeat(1_000_000));
    expect(await refusal(readJson(path))).toBe(`${path}: JSON nested deeper than 64 levels; is it the right file?`);
  });

  test('SHA-256', async () => {
    const path = join(await fresh(), 'file');
    // FIPS 180-2, appendix B.1.
    expect(sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    const bytes = Buffer.alloc(300_000, 'abc');
    await writeFile(path, bytes);
    expect(await sha256File(path)).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(await refusal(sha256File(`${path}s`))).toBe(`${path}s: no such file or directory; check the path`);
    expect((await stat(path)).size).toBe(300_000);
  });
});
