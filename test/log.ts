/**
 * What a run of the tests was doing: `runs/test.log` has a line for each test's begin and end. It is written by the
 * process that runs the test, before the test begins, so that it names the last one even after a hang or a crash.
 */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { RunnerTestCase } from 'vitest';

const file = join(import.meta.dirname, '../runs/test.log');

/** Begins the log of a run anew. */
export function beginLog(): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, '');
}

/** Notes that a test begins, or how it ended: time, process, event and test, with tabs in between. */
export function logTest(event: string, { fullTestName, file: { name } }: RunnerTestCase): void {
  const test = `${name} > ${fullTestName}`.replaceAll(/\s+/g, ' ');
  appendFileSync(file, `${new Date().toISOString()}\t${process.pid}\t${event}\t${test}\n`);
}
