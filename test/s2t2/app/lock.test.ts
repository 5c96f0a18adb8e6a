/** One run at a time in a directory; what a killed one left stands in nobody's way. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, realpath, rmdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { withLock } from '../../../s2t2/app/lock.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';

const root = temporaryDirectory();
const fresh = () => mkdtemp(join(root, 'd-'));

/** A process that sleeps until it is killed. */
async function sleeper(): Promise<{ pid: number; kill: () => Promise<void> }> {
  const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1e6)'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(child.stdout, 'data');
  return {
    pid: child.pid!,
    async kill() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

test('creates the directory, returns the result of the work, and leaves nothing', async () => {
  const directory = join(await fresh(), 'a', 'b');
  expect(await withLock(directory, async () => readdir(directory))).toEqual([`run.${hostname()}-${process.pid}.lock`]);
  await expect(withLock(directory, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await readdir(directory)).toEqual([]);
});

test('a second call in the same process is rejected while the first runs, under any path', async () => {
  const directory = await fresh();
  await withLock(directory, async () => {
    expect(await refusal(withLock(join(directory, '.'), async () => {}))).toContain('is in use by this process');
  });
  expect(await withLock(directory, async () => 1)).toBe(1);
});

test('a living process is named; once it is killed the directory is free', async () => {
  const directory = await fresh();
  const { pid, kill } = await sleeper();
  const file = join(directory, `run.${hostname()}-${pid}.lock`);
  await writeFile(file, '');
  expect(await refusal(withLock(directory, async () => {}))).toBe(
    `${directory}: process ${pid} on ${hostname()} is running here; wait for it, or choose another directory (if ` +
      `there is no such run, delete ${file})`,
  );
  expect(await readdir(directory)).toEqual([`run.${hostname()}-${pid}.lock`]);
  await kill();
  expect(await withLock(directory, async () => readdir(directory))).toEqual([`run.${hostname()}-${process.pid}.lock`]);
});

test.skipIf(process.platform !== 'linux')(
  "a number that has passed to another program stands in nobody's way",
  async () => {
    const directory = await fresh();
    const { pid, kill } = await sleeper();
    const file = join(directory, `run.${hostname()}-${pid}.lock`);
    const began = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(' ')[21]; // its name, (node), is one word
    await writeFile(file, began);
    expect(await refusal(withLock(directory, async () => {}))).toContain(`process ${pid} on`);
    await writeFile(file, String(Number(began) - 1));
    expect(await withLock(directory, async () => readdir(directory))).toEqual([
      `run.${hostname()}-${process.pid}.lock`,
    ]);
    await kill();
  },
);

test.skipIf(process.platform !== 'linux')('a zombie counts as ended', async () => {
  const directory = await fresh();
  const parent = spawn('sh', ['-c', 'sleep 1000000 & echo $!; exec sleep 1000000'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  const stat = async () => (await readFile(`/proc/${pid}/stat`, 'utf8')).split(' ');
  await writeFile(join(directory, `run.${hostname()}-${pid}.lock`), (await stat())[21]);
  expect(await refusal(withLock(directory, async () => {}))).toContain(`process ${pid} on`);
  process.kill(pid, 'SIGKILL');
  while ((await stat())[2] !== 'Z') await new Promise(resolve => setTimeout(resolve, 5));
  expect(await withLock(directory, async () => 1)).toBe(1);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
});

test('a process on another host cannot be checked: it counts as alive', async () => {
  const directory = await fresh();
  await writeFile(join(directory, 'run.other-host-1.lock'), '');
  expect(await refusal(withLock(directory, async () => {}))).toContain('process 1 on other-host is running here');
});

test('neither the same process number after a crash nor other files block a run', async () => {
  const directory = await fresh();
  for (const name of [`run.${hostname()}-${process.pid}.lock`, 'run.json', 'run.lock', 'run.x-y.lock'])
    await writeFile(join(directory, name), '');
  expect(await withLock(directory, async () => 1)).toBe(1);
  expect(await readdir(directory)).toEqual(['run.json', 'run.lock', 'run.x-y.lock']);
});

test('a directory in place of a lock is a one-line error, whichever process it names', async () => {
  const directory = await fresh();
  const ended = spawn(process.execPath, ['-e', '']);
  await once(ended, 'exit');
  for (const pid of [process.pid, ended.pid!]) {
    const lock = join(directory, `run.${hostname()}-${pid}.lock`);
    await mkdir(lock);
    expect(await refusal(withLock(directory, async () => 1))).toBe(
      `${lock.replace(directory, await realpath(directory))}: is a directory where a lock file belongs; delete it`,
    );
    await rmdir(lock);
    expect(await withLock(directory, async () => 1)).toBe(1);
  }
});
