#!/usr/bin/env node
/**
 * The command line. A mistake in the input is one line on standard error and exit code 2; Ctrl-C and SIGTERM save and
 * exit with 130 and 143; any other failure is a bug and shows its stack.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { backendNames, openBackend, setBackend, type Backend, type BackendName } from '../../engine/index.ts';
import { UserError } from '../../models/errors.ts';
import { Interrupted } from '../../models/train.ts';
import { addAdaptCommands } from './cli/adapt.ts';
import { checkRequired, whole } from './cli/arguments.ts';
import { addCorpusCommands } from './cli/corpus.ts';
import { share } from './cli/helpers.ts';
import { addModelCommands } from './cli/model.ts';
import { addPaperCommand } from './cli/paper.ts';
import { addPlanCommands } from './cli/plan.ts';
import { addPretrainCommand } from './cli/pretrain.ts';
import { listen, log, stop, stoppedCode } from './cli/process.ts';

listen();

let opened = null as Backend | null;

const program = new Command('s2t2')
  .description('Sparse Sinkhorn Token Translation: adapt a language model to a domain its tokenizer was not made for.')
  .addOption(new Option('--backend <name>', 'what computes').choices(backendNames).default('auto'))
  .option('--threads <n>', 'of the wasm backend; by default as many as processors, at most 8', whole(1))
  .hook('preAction', async (_, command) => {
    checkRequired(command);
    const {
      backend,
      jobs = 1,
      threads = jobs > 1 ? share(jobs) : undefined,
    } = command.optsWithGlobals<{ backend: BackendName; threads?: number; jobs?: number }>();
    opened = await openBackend(backend, { threads }).catch((error: Error) => {
      throw new UserError(error.message);
    });
    setBackend(opened);
  })
  .showHelpAfterError('(--help lists the options)')
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride();

addAdaptCommands(program);
addCorpusCommands(program);
addModelCommands(program);
addPlanCommands(program);
addPaperCommand(program);
addPretrainCommand(program);

program.version(
  (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version,
);

try {
  if (process.argv.length === 2) program.outputHelp();
  else await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof UserError) {
    log(`s2t2: ${error.message}`);
    process.exitCode = 2;
  } else if (error instanceof Interrupted || stop.signal.aborted) {
    log('stopped; run the same command again to go on');
    process.exitCode = stoppedCode();
  } else throw error;
} finally {
  opened?.close?.();
}
