/** A disk that fails: the n-th call that changes it ends with an error of the system, as when it is full. */
import fs, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/** A call that changes the disk: a function of node:fs/promises, or a method of a file opened by it. */
const functions = ['mkdir', 'open', 'writeFile', 'rename'] as const;
const methods = ['appendFile', 'sync'] as const;

type Call = (this: unknown, ...args: unknown[]) => Promise<unknown>;

/**
 * Runs `work` on a disk whose calls from number `failing` (counted from 0) to before `end` fail with `code`; gives the
 * number of calls.
 */
export async function onFailingDisk(
  code: string,
  failing: number,
  work: () => Promise<unknown>,
  end = Infinity,
): Promise<number> {
  let calls = 0;
  const guarded = (call: Call, name: string): Call =>
    async function (this: unknown, ...args) {
      if (name === 'open' && args[1] !== 'wx') return call.apply(this, args); // to read
      const number = calls++;
      if (number < failing || number >= end) return call.apply(this, args);
      // A full disk takes the first half of what it is given.
      if (name === 'appendFile')
        await call.call(
          this,
          (args[0] as Uint8Array | string).slice(0, args[0] instanceof Uint8Array ? args[0].length / 2 : 1),
        );
      throw Object.assign(new Error(`${code}: ${name}`), {
        code,
        ...(typeof args[0] === 'string' && name !== 'appendFile' && { path: args[0] }),
      });
    };
  const own = fs as unknown as Record<string, Call>;
  const handle = (await fileHandlePrototype()) as unknown as Record<string, Call>;
  const originals = [
    ...functions.map(name => [own, name, own[name]] as const),
    ...methods.map(name => [handle, name, handle[name]] as const),
  ];
  for (const [on, name, call] of originals) on[name] = guarded(call, name);
  syncBuiltinESMExports();
  try {
    await work();
  } finally {
    for (const [on, name, call] of originals) on[name] = call;
    syncBuiltinESMExports();
  }
  return calls;
}

async function fileHandlePrototype(): Promise<FileHandle> {
  const file = await fs.open(new URL(import.meta.url).pathname);
  try {
    return Object.getPrototypeOf(file) as FileHandle;
  } finally {
    await file.close();
  }
}
