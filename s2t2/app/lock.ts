/**
 * One run at a time in a directory, and no lock that outlives its run.
 *
 * A run creates its own file `run.HOST-PID.lock` and then looks for those of others, so of two that start at the same
 * time at most one continues. It backs off if the owner of another file is alive, and removes the file of a process
 * that has ended: after `kill -9` the next run starts immediately.
 *
 * The file holds the start time of its process, so another program that has reused the process number does not count.
 *
 * Limits: whether a process on another host is alive cannot be checked, nor, without /proc, when it started. Such a
 * file counts as a run, and the error names the file to delete.
 */
import { readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { explain, isRunning, makeDirectory } from '../../models/node/files.ts';
import { UserError } from '../../models/errors.ts';

/** The directory is in use by another run. */
export class InUse extends UserError {}

/** Files of this process: `adapt` may be called twice at once in one. */
const held = new Set<string>();

/** Runs `work` while no other process, and no other call, has `directory`, which is made where it is missing. */
export async function withLock<R>(directory: string, work: () => Promise<R>): Promise<R> {
  await makeDirectory(directory);
  const lock = join(await realpath(directory), `run.${hostname()}-${process.pid}.lock`);
  if (held.has(lock))
    throw new InUse(`${directory}: is in use by this process; wait for it, or choose another directory`);
  held.add(lock);
  try {
    await removeLock(lock); // of an ended process that had this number
    await writeFile(lock, (await beginning(process.pid)) ?? '').catch((error: unknown) => {
      throw explain(error, directory);
    });
    await refuseOthers(directory, lock);
    return await work();
  } finally {
    held.delete(lock);
    await removeLock(lock);
  }
}

async function refuseOthers(directory: string, own: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const owner = /^run\.(.+)-(\d+)\.lock$/.exec(name);
    if (owner === null || name === basename(own)) continue;
    const [, host, pid] = owner;
    const file = join(directory, name);
    if (host === hostname() && (await hasEnded(Number(pid), file))) await removeLock(file);
    else
      throw new InUse(
        `${directory}: process ${pid} on ${host} is running here; wait for it, or choose another ` +
          `directory (if there is no such run, delete ${file})`,
      );
  }
}

async function removeLock(file: string): Promise<void> {
  await rm(file, { force: true }).catch(async (error: unknown) => {
    if (!(await stat(file)).isDirectory()) throw explain(error, file);
    throw new UserError(`${file}: is a directory where a lock file belongs; delete it`);
  });
}

/** Whether the process that made a lock has ended. */
async function hasEnded(pid: number, file: string): Promise<boolean> {
  if (!isRunning(pid)) return true;
  const [now, then] = [await beginning(pid), await readFile(file, 'utf8').catch(() => '')];
  return now !== undefined && then !== '' && now !== then;
}

/**
 * When a process began, in ticks since the start of the system: field 22 of /proc/PID/stat (proc(5)); no time for one
 * that was killed and not yet buried by its parent (state Z). Field 2, a name in brackets, may hold spaces.
 */
async function beginning(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' '); // from field 3
  return fields?.[0] === 'Z' ? 'ended' : fields?.[19];
}
