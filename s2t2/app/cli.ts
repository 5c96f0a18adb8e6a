#!/usr/bin/env node
/**
 * The command line. A mistake in the input is one line on standard error and exit code 2; Ctrl-C and SIGTERM save what
 * there is to save and exit with 130 and 143; any other failure is a bug and shows its stack.
 */
import { Command, CommanderError, Option } from 'commander';
import { backendNames, openBackend, setBackend, type Backend, type BackendName } from '../../engine/index.ts';
import { UserError } from '../../models/errors.ts';
import { enableRelaxedSimd } from '../../models/node/relaxed.ts';
import { Interrupted } from '../../models/train.ts';
import { addAdaptCommands } from './cli/adapt.ts';
import { checkRequired, whole } from './cli/arguments.ts';
import { addCorpusCommands } from './cli/corpus.ts';
import { share } from './cli/helpers.ts';
import { addModelCommands } from './cli/model.ts';
import { addPaperCommand } from './cli/paper.ts';
import { addPlanCommands } from './cli/plan.ts';
import { addPretrainCommand } from './cli/pretrain.ts';
import {
  complain,
  configureOutput,
  flushOutput,
  packageVersion,
  stop,
  stoppedCode,
  watchOutput,
} from './cli/process.ts';

watchOutput();

let opened = null as Backend | null;

const program = new Command('s2t2')
  .description('Sparse Sinkhorn Token Translation: adapt a language model to a domain its tokenizer was not made for.')
  .addOption(new Option('--backend <name>', 'what computes').choices(backendNames).default('auto'))
  .option('--threads <n>', 'of the wasm backend; by default as many as processors, at most 8', whole(1))
  .option('--plain-simd', 'no fused multiply-add: slower, and the same bits on every machine')
  .option('--json', 'print the result as one JSON object')
  .option('--quiet', 'print neither progress nor remarks, only results and errors')
  .hook('preAction', async (_, command) => {
    checkRequired(command);
    configureOutput(command.optsWithGlobals());
    const {
      backend,
      jobs = 1,
      threads = jobs > 1 ? share(jobs) : undefined,
      plainSimd = false,
    } = command.optsWithGlobals<{ backend: BackendName; threads?: number; jobs?: number; plainSimd?: boolean }>();
    const relaxedSimd = !plainSimd && enableRelaxedSimd();
    opened = await openBackend(backend, { threads, relaxedSimd }).catch((error: Error) => {
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

program.version(packageVersion);

try {
  if (process.argv.length === 2) program.outputHelp();
  else await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof UserError) {
    complain(`s2t2: ${error.message}`);
    process.exitCode = 2;
  } else if (error instanceof Interrupted || stop.signal.aborted) {
    complain('stopped; run the same command again to resume');
    process.exitCode = stoppedCode();
  } else throw error;
} finally {
  opened?.close?.();
  await flushOutput();
}
