/** The process as a command sees it: where it prints, and the signal that asks it to stop. */
import { Interrupted } from '../../../models/train.ts';

/** Writes a line of results to standard output. */
export const print = (text: string): void => void process.stdout.write(`${text}\n`);

/** Writes a line for the person at the terminal to standard error. */
export const log = (text: string): void => void process.stderr.write(`${text}\n`);

/** Exit codes of processes that a signal ended, as shells count them. */
export const signalled = { SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 };

/** Aborts when the user or the system asks the process to stop; every long stage of a command listens to its signal. */
export const stop = new AbortController();

let stoppedBy: 'SIGINT' | 'SIGTERM' = 'SIGINT';

/** The exit code of a command that stopped because it was asked to. */
export const stoppedCode = (): number => signalled[stoppedBy];

/** Listens to signals and to pipes that close; the command line calls it once. */
export function listen(): void {
  // Whoever reads our output may have seen enough (`| head`); work goes on where only its progress is not wanted.
  process.stdout.on('error', () => process.exit(signalled.SIGPIPE));
  process.stderr.on('error', () => {});
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(signalled[name]);
      log(`\nstopping after this step${name === 'SIGINT' ? '; press Ctrl-C again to stop at once' : ''}`);
      stoppedBy = name;
      stop.abort(new Interrupted('stopped'));
    });
  }
}
