/** Programs of the system that the data are made with, and the two places that packages come from: Debian and npm. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as v from 'valibot';
import { makeDirectory, sha256File, writeFileAtomic } from '../../../models/node/files.ts';
import { oneLine, UserError } from '../../../models/errors.ts';
import { count, readRecord } from '../records.ts';

type Log = (line: string) => void;

/** A folder or file of `s2t2/data`, from the sources and from `dist` alike. */
export function dataFolder(name: string): string {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const candidates = [join(here, '../../data', name), join(here, '../../../../s2t2/data', name)];
  return candidates.find(existsSync) ?? candidates[0];
}

const advice: Readonly<Record<string, { missing: string; failed: string }>> = {
  'apt-get': {
    missing:
      'this needs Debian or Ubuntu; elsewhere fetch the package from packages.debian.org and give --package FILE',
    failed: 'try apt-get update, or fetch the package from packages.debian.org and give --package FILE',
  },
  'dpkg-deb': {
    missing: 'install it with your package manager (dpkg)',
    failed: 'is the package whole, and is there room on the disk?',
  },
  xz: {
    missing: 'install it with: apt-get install xz-utils',
    failed: 'is the package whole, and is there room on the disk?',
  },
  mmseqs: { missing: 'install it with: apt-get install mmseqs2', failed: 'is there room on the disk and in memory?' },
  npm: { missing: 'it comes with Node', failed: 'check the network connection and run again' },
};

/** Runs a program in a directory; that it is missing or fails is the user's to mend. */
export async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  await promisify(execFile)(command, args, { cwd, maxBuffer: 2 ** 26 }).catch(
    (error: NodeJS.ErrnoException & { stderr?: string }) => {
      const { missing, failed } = advice[command];
      const reason =
        error.stderr?.split('\n').find(line => /^npm (error|ERR)/.test(line)) ??
        error.message.trim().split('\n').at(-1)!;
      throw new UserError(
        error.code === 'ENOENT'
          ? `${command}: not found; ${missing}`
          : `${command}: failed: ${reason.trim()}; ${failed}`,
      );
    },
  );
}

/**
 * The folder into which a Debian package is unpacked, fetched first where `file` does not name it. One that an earlier
 * run unpacked is spared while its files are as they were then.
 */
export async function debianPackage(
  name: string,
  { work, file, log }: { work: string; file?: string; log: Log },
): Promise<string> {
  const root = join(work, name);
  if (existsSync(root)) {
    const change = await changeIn(root);
    if (change === undefined) return root;
    log(`${change} since it was unpacked; unpacking again`);
  }
  if (file !== undefined && !existsSync(file))
    throw new UserError(`${file}: no such file; --package expects Debian's package ${name}`);
  if (file === undefined) {
    log(`fetching Debian's package ${name}`);
    await run('apt-get', ['download', name], work);
  }
  const archive =
    file === undefined
      ? join(work, (await readdir(work)).find(f => f.startsWith(`${name}_`) && f.endsWith('.deb'))!)
      : resolve(file);
  // Renamed once it is whole, so that a killed run leaves no half of it.
  await rm(`${root}.partial`, { recursive: true, force: true });
  await run('dpkg-deb', ['-x', archive, `${root}.partial`], work);
  await writeFileAtomic(join(`${root}.partial`, unpackedName), JSON.stringify(await filesIn(`${root}.partial`)));
  await rm(root, { recursive: true, force: true });
  await rename(`${root}.partial`, root);
  return root;
}

/** Beside a package's folders: the SHA-256 of each of its files. */
const unpackedName = '.unpacked.json';
const unpackedSchema = v.record(v.string(), v.string());

/** What has changed among the files of an unpacked package. One that another program unpacked has no record. */
async function changeIn(root: string): Promise<string | undefined> {
  const record = join(root, unpackedName);
  if (!existsSync(record)) return undefined;
  const recorded = await readRecord(record, unpackedSchema, 'delete it').catch(() => undefined);
  if (recorded === undefined) return `${record}: was damaged`;
  const found = await filesIn(root);
  const changed = Object.keys({ ...recorded, ...found }).find(name => recorded[name] !== found[name]);
  return changed && `${join(root, changed)}: was changed`;
}

/** The SHA-256 of every file under a folder, by path. */
async function filesIn(root: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(root, path);
    if (entry.isFile() && name !== unpackedName) files[name] = await sha256File(path);
  }
  return files;
}

/**
 * `node_modules` of a manifest of `s2t2/data` after `npm ci` in `cache`, which is spared where this very lockfile has
 * been installed already.
 */
export async function npmPackages(manifest: string, cache: string, log: Log): Promise<string> {
  const lockOf = (folder: string) => readFile(join(folder, 'package-lock.json'), 'utf8').catch(() => undefined);
  const [from, modules] = [dataFolder(manifest), join(cache, 'node_modules')];
  const finished = existsSync(join(modules, '.package-lock.json')); // what npm writes last
  if (finished && (await lockOf(cache)) === (await lockOf(from))) {
    const damage = await damageOf(cache);
    if (damage === undefined) return modules;
    log(`${damage}; installing again`);
  }
  log(`installing the packages of ${manifest} into ${cache}`);
  await rm(modules, { recursive: true, force: true });
  await makeDirectory(cache);
  await cp(from, cache, { recursive: true }).catch((error: unknown) => {
    throw new UserError(
      `${cache}: the manifest ${from} cannot be copied there (${oneLine(error)}); give another --work`,
    );
  });
  await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], cache);
  const damage = await damageOf(cache);
  if (damage === undefined) return modules;
  await rm(modules, { recursive: true, force: true });
  throw new UserError(`${damage}, and npm reported no error; is there room on the disk? Free some and run again`);
}

const installedSchema = v.record(v.string(), v.object({ files: count, bytes: count }));

/**
 * What is wrong with the packages in `cache`: each that texts come from must hold the files and bytes that the
 * manifest's `installed.json` records. npm 11 exits with 0 after it ran out of disk space. Packages nested in them are
 * not looked at: no text comes from those.
 */
async function damageOf(cache: string): Promise<string | undefined> {
  const record = join(cache, 'installed.json');
  if (!existsSync(record)) return `${record}: is missing`;
  for (const [name, { files, bytes }] of Object.entries(await readRecord(record, installedSchema, 'delete it'))) {
    const folder = join(cache, 'node_modules', name);
    const found = await contents(folder);
    if (found.files !== files || found.bytes !== bytes)
      return (
        `${folder}: holds ${found.files} files of ${found.bytes} bytes, not the ${files} files of ${bytes} bytes of ` +
        name
      );
  }
  return undefined;
}

/** The files under a folder and their bytes, without packages nested in it; none where there is no such folder. */
async function contents(folder: string): Promise<{ files: number; bytes: number }> {
  let [files, bytes] = [0, 0];
  for (const entry of existsSync(folder) ? await readdir(folder, { withFileTypes: true }) : []) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name === 'node_modules') continue;
      const inside = await contents(path);
      files += inside.files;
      bytes += inside.bytes;
    } else {
      files++;
      bytes += (await stat(path)).size;
    }
  }
  return { files, bytes };
}

/** MMseqs2 on two threads. What a killed run left in `tmp` would be taken for this one's. */
export async function mmseqs(work: string, ...args: readonly string[]): Promise<void> {
  await rm(join(work, 'tmp'), { recursive: true, force: true });
  await run('mmseqs', [...args, '--threads', '2', '-v', '1'], work);
}
