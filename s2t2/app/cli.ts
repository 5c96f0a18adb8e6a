#!/usr/bin/env node
/** The command line: see `cli/program.ts`. */
import { flushOutput, watchOutput } from './cli/process.ts';
import { runCommandLine } from './cli/program.ts';

watchOutput();
try {
  const code = await runCommandLine(process.argv.slice(2));
  process.exitCode ||= code;
} finally {
  await flushOutput();
}
