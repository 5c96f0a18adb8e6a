/**
 * Loaded by Node before a command (`--import`, see `signals.ts`): at one point of the command's own run it sends a
 * signal to its process. So a test can interrupt a run in the middle, however fast or slow the machine is.
 */
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

/** Calls that change the disk; `open` only where it makes a file. */
const functions = ['mkdir', 'open', 'writeFile', 'rename'];
const methods = ['appendFile', 'sync'];

const { searchParams } = new URL(import.meta.url);
const [signal, kind, value] = ['signal', 'kind', 'value'].map(name => searchParams.get(name));
let due = isMainThread;

function send() {
  if (due) process.kill(process.pid, signal);
  due = false;
}

let calls = 0;
const watched = (call, name) =>
  async function (...args) {
    const changes = name !== 'open' || args[1] === 'wx';
    const done = call.apply(this, args);
    if (changes && kind === 'call' && calls++ === Number(value)) send(); // while the system is at it
    const result = await done;
    if (name === 'rename' && kind === 'file' && new RegExp(value).test(args[1])) send();
    return result;
  };

const file = await fs.open(new URL(import.meta.url));
const handle = Object.getPrototypeOf(file);
await file.close();
for (const name of functions) fs[name] = watched(fs[name], name);
for (const name of methods) handle[name] = watched(handle[name], name);
syncBuiltinESMExports();

if (kind === 'text') {
  const write = process.stderr.write.bind(process.stderr);
  process.stderr.write = (text, ...more) => {
    const taken = write(text, ...more);
    if (String(text).includes(value)) send();
    return taken;
  };
}
