/**
 * Runs the command line for tests: as a separate process where signals, exit codes or streams matter, and else in
 * this one, which saves a second each time.
 */
import { spawn } from 'node:child_process';
import { getBackend, setBackend } from '../../../engine/index.ts';
import { showProgress } from '../../../models/node/progress.ts';
import { runCommandLine } from '../../../s2t2/app/cli/program.ts';

/** How a command ended, and what it printed. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The built command line. */
export const cli = new URL('../../../dist/s2t2/app/cli.js', import.meta.url).pathname;

/** Runs the built command line in its own process, with arguments for Node before its own. */
export function spawned(args: readonly string[], node: readonly string[] = []): Promise<Ended> {
  return new Promise(resolve => {
    const child = spawn(process.execPath, [...node, cli, ...args]);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (d: Buffer) => {
      stdout += d.toString();
    });
    child.stderr.on('data', (d: Buffer) => {
      stderr += d.toString();
    });
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Options of the backend. */
type Options = [options?: Parameters<typeof runCommandLine>[1]];

let last: Promise<unknown> = Promise.resolve();

/**
 * Runs the command line in this process, one call after another; what it would print is returned. Always with plain
 * SIMD: the flag that brings the relaxed one would stay.
 */
export function command(args: readonly string[], ...options: Options): Promise<Ended> {
  const run = last.then(() => captured(args, ...options));
  last = run.catch(() => {});
  return run;
}

async function captured(args: readonly string[], ...options: Options): Promise<Ended> {
  const { argv, stdout, stderr, exitCode } = process;
  const backend = getBackend();
  const texts = [stdout, stderr].map(stream => {
    const { write } = stream;
    const parts: string[] = [];
    stream.write = ((text: string, ...more: unknown[]) => {
      parts.push(String(text));
      (more.at(-1) as (() => void) | undefined)?.();
      return true;
    }) as typeof write;
    return {
      read: () => parts.join(''),
      restore: () => {
        stream.write = write;
      },
    };
  });
  process.argv = [process.execPath, cli, ...args];
  try {
    const code = await runCommandLine(args.length === 0 ? args : ['--plain-simd', ...args], ...options);
    return { code, signal: null, stdout: texts[0].read(), stderr: texts[1].read() };
  } finally {
    for (const text of texts) text.restore();
    process.argv = argv;
    process.exitCode = exitCode;
    setBackend(backend);
    showProgress(true);
  }
}
