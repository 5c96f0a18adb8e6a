/**
 * One run at a time in a directory, and no lock that outlives its run.
 *
 * A run makes a file `run.HOST-PID.lock` of its own and then looks for those of others, so of two that start at once at
 * most one goes on. It withdraws before a process that lives, and removes the file of one that has ended: after
 * `kill -9` the next run begins at once.
 *
 * Honest limits: processes of another host cannot be asked whether they live, and a number may by now belong to
 * another program. Both are taken for a run, and the error names the file to delete.
 */
import { readdir, realpath, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { explain, isRunning, makeDirectory, UserError } from '../models/files.ts';

/** Files of this process: `adapt` may be called twice at once in one. */
const held = new Set<string>();

/** Runs `work` while no other process, and no other call, has `directory`, which is made where it is missing. */
export async function withLock<R>(directory: string, work: () => Promise<R>): Promise<R> {
  await makeDirectory(directory);
  const lock = join(await realpath(directory), `run.${hostname()}-${process.pid}.lock`);
  if (held.has(lock)) throw new UserError(`${directory}: is in use by this very process; wait for it, or choose another directory`);
  held.add(lock);
  try {
    await writeFile(lock, '').catch((error: unknown) => { throw explain(error, directory); });
    await refuseOthers(directory, lock);
    return await work();
  } finally {
    held.delete(lock);
    await rm(lock, { force: true });
  }
}

async function refuseOthers(directory: string, own: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const owner = /^run\.(.+)-(\d+)\.lock$/.exec(name);
    if (owner === null || name === basename(own)) continue;
    const [, host, pid] = owner;
    const file = join(directory, name);
    if (host === hostname() && !isRunning(Number(pid))) await rm(file, { force: true });
    else throw new UserError(`${directory}: process ${pid} on ${host} is at work here; wait for it, or choose another directory (if there is no such run, delete ${file})`);
  }
}
