/** Processes that run the same command beside this one, each on its share of the processors. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { log, stop } from './process.ts';

/** Threads for each of so many processes. */
export const share = (jobs: number): number => Math.max(1, Math.floor(availableParallelism() / jobs));

/**
 * Runs `work` while as many processes more run this very command as helpers; they end with it, and when this process
 * dies.
 */
export async function withHelpers<R>(count: number, work: () => Promise<R>): Promise<R> {
  let over = false;
  const helpers = Array.from({ length: count }, (_, i) => {
    const helper = fork(process.argv[1], [...process.argv.slice(2), '--helper', String((i + 1) / (count + 1))], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let last = '';
    helper.stderr!.setEncoding('utf8').on('data', (text: string) => {
      last = `${last}${text}`.slice(-2000);
    });
    helper.once('exit', code => {
      if (code !== 0 && !over && !stop.signal.aborted)
        log(`a helper ended with code ${code}; this process goes on without it:\n${last}`);
    });
    return { helper, ended: once(helper, 'exit') };
  });
  try {
    return await work();
  } finally {
    over = true;
    for (const { helper } of helpers) if (helper.connected) helper.disconnect();
    await Promise.all(helpers.map(h => h.ended));
  }
}
