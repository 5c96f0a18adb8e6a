/**
 * Threads for large kernels: workers with their own instance of the module over one shared memory.
 *
 * A job is a kernel, its arguments and a number of items. It lies in a mailbox at the start of the memory; every
 * thread, the main one too, takes the next chunk of items until there are none. Items are independent and each is
 * computed by one thread, so results do not depend on how many threads there are or which was faster.
 *
 * The main thread never waits for a worker to wake up: a worker joins through the gate, which counts the threads
 * inside and is closed (−1) between jobs, and the job ends when nothing is left and the gate has closed on nobody. So
 * workers may start late, or not at all. They sleep between jobs; the main thread of a page, which may not sleep, spins
 * where it waits for the last worker to leave.
 */
import type { KernelFunction, Runner, Split } from './machine.ts';
import type { StartThread } from './threads.ts';

/** Words of the mailbox, from byte 64 of the memory. Arguments follow as doubles, from byte 512. */
const word = {
  job: 16,
  gate: 17,
  next: 18,
  items: 19,
  chunk: 20,
  kernel: 21,
  argCount: 22,
  work: 23,
  workStride: 24,
  failed: 25,
} as const;
const firstArg = 64;
const closed = -1;

/**
 * Turns of a loop before a thread goes to sleep: some tens of microseconds, the time between kernels of a training
 * step.
 */
const spins = 20_000;

/** What a worker runs on its data. It is plain text, so that it works whatever compiles or bundles this file. */
const workerCode = `({ module, memory, names, index }) => {
const kernels = new WebAssembly.Instance(module, { env: { memory, pow: Math.pow } }).exports;
const words = new Int32Array(memory.buffer);
const args = new Float64Array(memory.buffer, ${firstArg * 8});
const { job, gate, next, items, chunk, kernel, argCount, work, workStride, failed } = ${JSON.stringify(word)};
let done = 0;
for (;;) {
  for (let turn = 0; turn < ${spins} && Atomics.load(words, job) === done; turn++);
  Atomics.wait(words, job, done);
  done = Atomics.load(words, job);
  let inside = Atomics.load(words, gate);
  while (inside !== ${closed}) {
    const before = Atomics.compareExchange(words, gate, inside, inside + 1);
    if (before === inside) break;
    inside = before;
  }
  if (inside === ${closed}) continue;
  try {
    const run = kernels[names[words[kernel]]];
    const own = Array.from(args.subarray(0, words[argCount]));
    const space = (words[work] >>> 0) + index * words[workStride];
    for (;;) {
      const from = Atomics.add(words, next, words[chunk]);
      if (from >= words[items]) break;
      run(...own, from, Math.min(from + words[chunk], words[items]), space);
    }
  } catch {
    Atomics.store(words, failed, 1);
  }
  Atomics.sub(words, gate, 1);
  Atomics.notify(words, gate);
}}`;

/** Whether this thread may block: the main thread of a page may not, and `Atomics.wait` throws there. */
function maySleep(words: Int32Array<ArrayBufferLike>): boolean {
  try {
    Atomics.wait(words, word.job, words[word.job], 0);
    return true;
  } catch {
    return false;
  }
}

/** Runs kernels on `threads` threads, this one among them; the others start with the first large kernel. */
export function threadPool(
  startThread: StartThread,
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  kernels: Readonly<Record<string, KernelFunction>>,
  threads: number,
): Runner {
  const words = new Int32Array(memory.buffer, 0, 1024);
  const mailbox = new Float64Array(memory.buffer, firstArg * 8, 64);
  const names = Object.keys(kernels);
  const indexOf = new Map(names.map((name, i) => [name, i]));
  words[word.gate] = closed;
  const sleeps = maySleep(words);
  let state: 'new' | 'started' | 'closed' = 'new';
  const ends: (() => void)[] = [];

  function start(): void {
    state = 'started';
    for (let index = 1; index < threads; index++) ends.push(startThread(workerCode, { module, memory, names, index }));
  }

  function publish(
    kernel: string,
    args: readonly number[],
    { items }: Split,
    chunk: number,
    work: number,
    workStride: number,
  ): void {
    mailbox.set(args);
    words[word.kernel] = indexOf.get(kernel)!;
    words[word.argCount] = args.length;
    words[word.items] = items;
    words[word.chunk] = chunk;
    words[word.work] = work;
    words[word.workStride] = workStride;
    words[word.next] = 0;
    words[word.failed] = 0;
    Atomics.store(words, word.gate, 0);
    Atomics.add(words, word.job, 1);
    Atomics.notify(words, word.job);
  }

  /** Waits until every worker inside has left, and closes the gate behind the last. */
  function closeGate(): void {
    for (let turn = 0; ; turn++) {
      const inside = Atomics.compareExchange(words, word.gate, 0, closed);
      if (inside === 0) break;
      if (sleeps && turn > spins) Atomics.wait(words, word.gate, inside, 1);
    }
  }

  return {
    threads,
    run(kernel, args, split, work, workStride) {
      const run = kernels[kernel];
      const { items, grain } = split;
      // Four chunks a thread, so that a slow one holds up the end by little; but none smaller than is worth a thread.
      const chunk = Math.max(grain, Math.ceil(items / (4 * threads)));
      if (chunk >= items || state === 'closed') {
        run(...args, 0, items, work);
        return;
      }
      if (state === 'new') start();
      publish(kernel, args, split, chunk, work, workStride);
      try {
        for (;;) {
          const from = Atomics.add(words, word.next, chunk);
          if (from >= items) break;
          run(...args, from, Math.min(from + chunk, items), work);
        }
      } finally {
        closeGate();
      }
      if (words[word.failed]) throw new Error(`wasm: a thread failed in kernel '${kernel}'`);
    },
    // Between jobs nobody is inside the gate, so a thread that ends holds up nothing. Later jobs run on this thread.
    close() {
      state = 'closed';
      for (const end of ends.splice(0)) end();
    },
  };
}
