/**
 * Files that appear whole or not at all, and mistakes in input told in one line.
 *
 * Training runs are killed, disks fill up and two runs may share a directory. Everything the project writes goes
 * first to a temporary name beside its target, is flushed to the disk, and takes the target's name in one rename:
 * a reader sees the old file or the new one. What a killed process left behind is removed by the next write to the
 * same target. A symbolic link stays: the file it leads to is written. A device or a pipe is written to as it is.
 *
 * Honest limits: POSIX renames one directory onto another only when that one is empty, so replacing a full directory
 * takes two renames. A kill between them leaves the old directory under the name `NAME.HOST-PID-N.old`, and
 * `recoverDirectory` (called by every `writeDirectoryAtomic`) puts it back.
 */

import { createHash } from 'node:crypto';
import {
  access,
  constants,
  copyFile,
  mkdir,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { getHeapStatistics } from 'node:v8';
import { UserError } from '../errors.ts';
import { limitJson, parseJson } from '../json.ts';
import { isUtf8, lineOfBadUtf8 } from '../utf8.ts';

limitJson(getHeapStatistics().heap_size_limit);

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory; check the path',
  ENOTDIR: 'a part of the path is not a directory; check the path',
  EISDIR: 'is a directory; give a file',
  EACCES: 'permission denied; check the permissions there',
  EPERM: 'operation not permitted; check the permissions there',
  EROFS: 'the file system is read-only; choose another place',
  ENOSPC: 'no space left on the disk; free some and run again',
  EDQUOT: 'the disk quota is used up; free some space and run again',
  EIO: 'the disk reports an error; check it',
  EFBIG: 'the file grows larger than the system allows; choose another place',
  EEXIST: 'exists already and cannot be replaced; choose another name',
  ENOTEMPTY: 'is a directory with files in it; choose another name',
  ENAMETOOLONG: 'the name is too long; choose a shorter one',
  ELOOP: 'too many symbolic links; check the path',
  EPIPE: 'nobody reads from it any more; run again',
  ENXIO: 'cannot be written to; choose another name',
  EMFILE: 'too many open files; raise the limit with ulimit -n',
};

/**
 * An operating system's error as a `UserError` about `path`, or about the other path it names; any other error as it
 * is.
 */
export function explain(error: unknown, path: string): unknown {
  if (!isSystemError(error) || !Object.hasOwn(REASONS, error.code)) return error;
  // A temporary name is the path's own and something after it: not what a person wants to read.
  const other = error.path !== undefined && !resolve(error.path).startsWith(resolve(path)) ? error.path : path;
  return new UserError(`${other}: ${REASONS[error.code]}`);
}

function isSystemError(error: unknown): error is Error & { code: string; path?: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

/** Opens a regular file for reading. Pipes and devices are rejected: opening one may wait for ever. */
export async function openFile(path: string): Promise<{ handle: FileHandle; size: number }> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw new UserError(`${path}: ${REASONS.EISDIR}`);
    if (!info.isFile()) throw new UserError(`${path}: is not a regular file; copy its contents into one`);
    return { handle: await open(path), size: info.size };
  } catch (error) {
    throw explain(error, path);
  }
}

/** The text of a UTF-8 file, without a byte order mark. `maxBytes` guards against a wrong file. */
export async function readText(path: string, maxBytes = 64 * 2 ** 20): Promise<string> {
  const { handle, size } = await openFile(path);
  try {
    if (size > maxBytes)
      throw new UserError(`${path}: ${size} bytes are more than the ${maxBytes} read at once; is it the right file?`);
    const bytes = await handle.readFile();
    if (!isUtf8(bytes))
      throw new UserError(`${path}:${lineOfBadUtf8(bytes)}: not UTF-8; convert it, for example with iconv -t UTF-8`);
    return new TextDecoder().decode(bytes);
  } catch (error) {
    throw explain(error, path);
  } finally {
    await handle.close();
  }
}

/** The value of a JSON file. */
export async function readJson(path: string): Promise<unknown> {
  return parseJson(await readText(path), path);
}

/** A piece of a file: text in UTF-8, or bytes. */
export type Chunk = string | Uint8Array;
/** A file, piece by piece. */
export type Chunks = Iterable<Chunk> | AsyncIterable<Chunk>;

/** Takes every chunk that is written, in order; it is called while the system writes the chunk. */
type OnChunk = (chunk: Chunk) => void;

/**
 * Writes `data`, or chunk after chunk of it, to `path`: afterwards the whole of it is there, or what was there before.
 */
export async function writeFileAtomic(path: string, data: Chunk | Chunks, onChunk?: OnChunk): Promise<void> {
  const chunks = typeof data === 'string' || data instanceof Uint8Array ? [data] : data;
  if (await isSpecial(path)) return writeInto(path, chunks, onChunk);
  return putInPlace(path, async temporary => {
    const handle = await open(temporary, 'wx');
    try {
      for await (const chunk of chunks) await writeChunk(handle, chunk, onChunk);
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

/**
 * As `writeFileAtomic`, with the bytes of another file. Without `onChunk` they are moved by the system and, where it
 * can, not moved at all.
 */
export async function copyFileAtomic(from: string, path: string, onChunk?: OnChunk): Promise<void> {
  if (onChunk !== undefined || (await isSpecial(path)))
    return writeFileAtomic(path, (await openFile(from)).handle.createReadStream({ highWaterMark: 2 ** 20 }), onChunk);
  return putInPlace(path, async temporary => {
    await copyFile(from, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    const handle = await open(temporary);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  });
}

async function putInPlace(name: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  try {
    const path = await targetOf(name);
    await removeLeftovers(path, 'tmp');
    const temporary = temporaryName(path, 'tmp');
    try {
      await fill(temporary);
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncDirectory(dirname(path));
  } catch (error) {
    throw explain(error, name);
  }
}

/** Whether a device, a pipe or a socket has this name: it takes bytes, and no file may take its place. */
const isSpecial = (path: string): Promise<boolean> =>
  stat(path).then(
    info => !info.isFile() && !info.isDirectory(),
    () => false,
  );

async function writeChunk(handle: FileHandle, chunk: Chunk, onChunk?: OnChunk): Promise<void> {
  const written = handle.writeFile(chunk);
  onChunk?.(chunk);
  await written;
}

async function writeInto(path: string, chunks: Chunks, onChunk?: OnChunk): Promise<void> {
  try {
    const handle = await open(path, 'w');
    try {
      for await (const chunk of chunks) await writeChunk(handle, chunk, onChunk);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw explain(error, path);
  }
}

/** The path itself, or where the symbolic links there lead, whether anything is there or not. */
async function targetOf(path: string): Promise<string> {
  let target = path;
  for (let links = 0; links < 40; links++) {
    const next = await readlink(target).catch(() => undefined);
    if (next === undefined) return target;
    target = resolve((await realPath(dirname(target))) ?? dirname(target), next);
  }
  throw new UserError(`${path}: ${REASONS.ELOOP}`);
}

/**
 * Fills a new directory by `fill(temporary)` and gives it the name `path`: afterwards the whole of it is there, or
 * what was there before. An older directory is replaced only when every name in it is in the new one as well, so
 * that a wrong path never costs a user's other files.
 */
export async function writeDirectoryAtomic(name: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  try {
    const path = await targetOf(name);
    await recoverDirectory(path);
    await removeLeftovers(path, 'tmp');
    await removeLeftovers(path, 'old');
    const temporary = temporaryName(path, 'tmp');
    const older = temporaryName(path, 'old');
    let movedAway = false;
    try {
      await mkdir(temporary);
      await fill(temporary);
      await syncDirectory(temporary);
      const present = await namesIn(path);
      if (present !== undefined) {
        const written = new Set(await namesIn(temporary));
        const foreign = present.find(name => !written.has(name));
        if (foreign !== undefined)
          throw new UserError(
            `${path}: holds ${foreign}, which would be lost; move it away or choose another directory`,
          );
        await rename(path, older);
        movedAway = true;
      }
      await rename(temporary, path);
    } catch (error) {
      if (movedAway) await rename(older, path);
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
    await syncDirectory(dirname(path));
    await rm(older, { recursive: true, force: true });
  } catch (error) {
    throw explain(error, name);
  }
}

/**
 * Makes a directory and those above it that are missing. Node's own `recursive` (20.20) never returns where the system
 * says ENOENT of a new name in a directory that is there, as it does below /proc.
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    const missing: string[] = [];
    for (let at = resolve(path); !(await isDirectory(at)); at = dirname(at)) {
      missing.unshift(at);
      if (at === dirname(at)) break; // the root of a drive that is not there
    }
    for (const directory of missing) {
      await mkdir(directory).catch(async (error: unknown) => {
        if (!(await isDirectory(directory))) throw error; // else another process was faster
      });
    }
  } catch (error) {
    throw explain(error, path);
  }
}

/** Creates the directory of a file to be written and checks that it is writable, before the work starts. */
export async function prepareToWrite(path: string): Promise<void> {
  if (await isSpecial(path)) return;
  const directory = dirname(await targetOf(path));
  await makeDirectory(directory);
  await access(directory, constants.W_OK).catch((error: unknown) => {
    throw explain(error, path);
  });
}

/** Whether something has this name. */
export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Where a path leads, without symbolic links; undefined where nothing is. */
export const realPath = (path: string): Promise<string | undefined> => realpath(path).catch(() => undefined);

/** Whether a real path is another one, or below it. */
export const isWithin = (path: string, other: string): boolean =>
  path === other || path.startsWith(other.endsWith(sep) ? other : other + sep);

/** Whether two names, links or not, are one file; false where nothing has one of them. */
export async function isSameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map(path => stat(path, { bigint: true }).catch(() => undefined)));
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

/** A path, and what lies directly in it where it is a directory. */
export const filesOf = async (path: string): Promise<string[]> => [
  path,
  ...(await readdir(path).catch(() => [])).map(name => join(path, name)),
];

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    if (isSystemError(error) && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return false;
    throw error;
  }
}

/** Puts back the old directory of a replacement that was killed between its two renames. */
export async function recoverDirectory(path: string): Promise<void> {
  const [older] = await leftovers(path, 'old');
  if (older !== undefined && (await namesIn(path)) === undefined) await rename(older, path);
}

/** SHA-256 in hexadecimal of a file, read piece by piece. */
export async function sha256File(path: string): Promise<string> {
  const { handle } = await openFile(path);
  const hash = createHash('sha256');
  for await (const chunk of handle.createReadStream()) hash.update(chunk); // Closes the handle, whatever happens.
  return hash.digest('hex');
}

// Temporary names are NAME.HOST-PID-COUNT.tmp or .old: the process that made one can be told, and asked if it lives.

let count = 0;

function temporaryName(path: string, kind: 'tmp' | 'old'): string {
  return join(dirname(path), `${basename(path)}.${hostname()}-${process.pid}-${count++}.${kind}`);
}

/** Temporary paths of `path` whose process, on this host, has ended. */
async function leftovers(path: string, kind: 'tmp' | 'old'): Promise<string[]> {
  const prefix = `${basename(path)}.${hostname()}-`;
  const paths: string[] = [];
  for (const name of await readdir(dirname(path))) {
    const owner = name.startsWith(prefix) ? /^(\d+)-\d+\.(\w+)$/.exec(name.slice(prefix.length)) : null;
    if (owner !== null && owner[2] === kind && !isRunning(Number(owner[1]))) paths.push(join(dirname(path), name));
  }
  return paths;
}

async function removeLeftovers(path: string, kind: 'tmp' | 'old'): Promise<void> {
  for (const leftover of await leftovers(path, kind)) await rm(leftover, { recursive: true, force: true });
}

/** Whether a process of this host lives. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0); // Signal 0 only asks.
    return true;
  } catch (error) {
    return isSystemError(error) && error.code === 'EPERM';
  }
}

/** Everything below a directory, relative to it; undefined where nothing is. */
async function namesIn(path: string): Promise<string[] | undefined> {
  try {
    return await readdir(path, { recursive: true });
  } catch (error) {
    if (isSystemError(error) && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Makes a rename durable. Windows cannot open a directory, and does not need it. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
