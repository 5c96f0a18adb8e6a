/** One copy of the project and the process (`runner.ts`) that tests it: starts it, asks it, ends it when it hangs. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Job, Outcome } from './runner.ts';

const left = new Set(['node_modules', 'dist', 'runs', 'coverage', '.git', '.ci']);

/** Copies the project, with its dependencies by a link. */
export async function copyProject(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await cp(from, to, { recursive: true, filter: path => !left.has(path.slice(from.length + 1).split('/')[0]) });
  await symlink(join(from, 'node_modules'), join(to, 'node_modules')).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

export class Worker {
  private child: ChildProcess | null = null;
  private changed: string[] = [];

  readonly copy: string;

  constructor(copy: string) {
    this.copy = copy;
  }

  async write(file: string, text: string): Promise<void> {
    await writeFile(join(this.copy, file), text);
    this.changed.push(file);
  }

  async restore(file: string, project: string): Promise<void> {
    await this.write(file, await readFile(join(project, file), 'utf8'));
  }

  /**
   * Runs a test file, or some of its tests; 'hung' when that takes longer than `limit` milliseconds, or a test longer
   * than its own limit.
   */
  async run(what: Pick<Job, 'test' | 'ids' | 'hits'>, limit: number): Promise<Outcome | 'hung'> {
    const child = await this.started();
    const job: Job = { ...what, changed: this.changed };
    this.changed = [];
    let timer: NodeJS.Timeout | undefined;
    const outcome = await new Promise<Outcome | 'hung'>(resolve => {
      // An answer may be waiting where this process was itself suspended past the limit: it is read first.
      timer = setTimeout(() => (timer = setTimeout(() => resolve('hung'), 1000)), limit);
      child.once('message', (answer: Outcome) => resolve(answer));
      // a runner that dies took its test with it
      child.once('exit', () => resolve({ passed: false, milliseconds: 0, cases: [] }));
      child.send(job, () => {});
    });
    clearTimeout(timer);
    child.removeAllListeners();
    if (outcome === 'hung' || child.exitCode !== null || child.signalCode !== null) this.end();
    if (outcome !== 'hung' && outcome.cases.some(({ late }) => late)) {
      this.end(); // the test may still be running
      return 'hung';
    }
    return outcome;
  }

  /** Ends the runner and what it started. */
  end(): void {
    try {
      if (this.child?.pid) process.kill(-this.child.pid, 'SIGKILL');
    } catch {
      /* it has ended */
    }
    this.child = null;
  }

  private async started(): Promise<ChildProcess> {
    if (this.child) return this.child;
    const runner = fileURLToPath(new URL('runner.js', import.meta.url));
    // A process group of its own, so that its workers end with it; memory that a runaway mutant cannot take from
    // others.
    this.child = fork(runner, [this.copy], {
      cwd: this.copy,
      detached: true,
      stdio: 'ignore',
      env: { ...process.env, NODE_OPTIONS: '--max-old-space-size=2048' },
    });
    await once(this.child, 'message');
    return this.child;
  }
}
