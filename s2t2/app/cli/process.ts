/**
 * The process as a command sees it: what it prints, and the signals that stop it.
 *
 * Results go to standard output, as text or, with `--json`, as one JSON object; what a person reads meanwhile goes to
 * standard error, unless `--quiet`. Nothing printed can hold a control character other than a line break, or a tab in
 * a result.
 *
 * A signal ends the process immediately, in whatever stage it is, because files appear whole or not at all and locks of
 * ended processes are ignored. Only work that has a state to save asks for time: see `withSignals`.
 */
import { printable, printableJson, printableLines, printableText } from '../../../models/printable.ts';
import { showProgress } from '../../../models/node/progress.ts';
import { explain } from '../../../models/node/files.ts';
import { UserError } from '../../../models/errors.ts';
import { Interrupted } from '../../../models/train.ts';

const options = { json: false, quiet: false };

/** Sets how this process prints. */
export function configureOutput({ json = false, quiet = false }: { json?: boolean; quiet?: boolean }): void {
  Object.assign(options, { json, quiet });
  showProgress(!quiet);
}

/** Prints a command's result: the text, or with `--json` the value as one line of JSON. */
export function print(value: unknown, text: string): void {
  process.stdout.write(`${options.json ? printableJson(value) : printableText(text)}\n`);
}

/** Prints text that is part of a result, as it is made; nothing with `--json`. */
export function printPart(text: string): void {
  if (!options.json) process.stdout.write(`${printableText(text)}\n`);
}

/** Tells the person at the terminal; nothing with `--quiet`. */
export function log(text: string): void {
  if (!options.quiet) process.stderr.write(`${printableLines(text)}\n`);
}

/** Tells what went wrong, in one line, `--quiet` or not. */
export const complain = (text: string): void => void process.stderr.write(`${printable(text)}\n`);

/** An error of the parser of arguments, which may quote them: one line, and a suggestion on a line of its own. */
export function printableMistake(text: string): string {
  const [, mistake, suggestion = ''] = /^([^]*?)(\n\(Did you mean [^\n]*\))?\n?$/.exec(text)!;
  return `${printable(mistake)}${suggestion}\n`;
}

/** Exit codes of processes that a signal ended, as shells count them. */
const signalled = { SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 };
const signals = ['SIGINT', 'SIGTERM'] as const;

/** Aborts when the user or the system asks work inside `withSignals` to stop. */
export const stop = new AbortController();

let stoppedBy: (typeof signals)[number] = 'SIGINT';

/** The exit code of a command that stopped because it was asked to. */
export const stoppedCode = (): number => signalled[stoppedBy];

/** Runs work that saves its state when `stop` aborts; a second signal ends the process immediately. */
export async function withSignals<R>(work: () => Promise<R>): Promise<R> {
  const onSignal = (name: NodeJS.Signals) => {
    if (stop.signal.aborted) process.exit(signalled[name as keyof typeof signalled]);
    log(`\nstopping after this step${name === 'SIGINT' ? '; press Ctrl-C again to stop at once' : ''}`);
    stoppedBy = name as typeof stoppedBy;
    stop.abort(new Interrupted('stopped'));
  };
  for (const name of signals) process.on(name, onSignal);
  try {
    return await work();
  } finally {
    for (const name of signals) process.off(name, onSignal);
  }
}

let outputError: NodeJS.ErrnoException | undefined;

/** Watches for readers that leave early (`| head`) and full disks; the command line calls it once. */
export function watchOutput(): void {
  process.stdout.on('error', error => {
    outputError ??= error;
  });
  process.stderr.on('error', () => {}); // a run continues although nobody watches its progress
  // A container's first process has no default action for signals.
  if (process.pid === 1) for (const name of signals) process.on(name, () => process.exit(signalled[name]));
}

/**
 * Waits until the output is written, and fails a command whose output was not: quietly where its reader had seen
 * enough, in one line where the system could not take it.
 */
export async function flushOutput(): Promise<void> {
  await new Promise<void>(resolve => {
    process.stdout.write('', () => resolve());
  });
  if (outputError === undefined) return;
  if (outputError.code === 'EPIPE') process.exitCode ||= signalled.SIGPIPE;
  else {
    const reason = explain(outputError, 'standard output');
    complain(`s2t2: ${reason instanceof UserError ? reason.message : `standard output: ${outputError.message}`}`);
    process.exitCode = 2;
  }
}
