/**
 * The command line as a function: arguments in, exit code out. A mistake in the input is one line on standard error and
 * code 2; Ctrl-C and SIGTERM save what there is to save and give 130 and 143; any other failure is a bug and throws.
 */
import { Command, CommanderError, Option } from 'commander';
import {
  backendNames,
  openBackend,
  OutOfMemory,
  setBackend,
  type Backend,
  type BackendName,
  type WasmOptions,
} from '../../../engine/index.ts';
import { UserError } from '../../../models/errors.ts';
import { enableRelaxedSimd } from '../../../models/node/relaxed.ts';
import { Interrupted } from '../../../models/train.ts';
import { addAdaptCommands } from './adapt.ts';
import { checkCompanions, checkRequired, whole } from './arguments.ts';
import { addCorpusCommands } from './corpus.ts';
import { share } from './helpers.ts';
import { addModelCommands } from './model.ts';
import { addPaperCommand } from './paper.ts';
import { addPlanCommands } from './plan.ts';
import { addPretrainCommand } from './pretrain.ts';
import { complain, configureOutput, printableMistake, stop, stoppedCode } from './process.ts';
import { packageVersion } from '../version.ts';

/**
 * Runs one command and returns its exit code; the backend it opens is closed again. `wasm` holds options of that
 * backend for which the command line has no flag.
 */
export async function runCommandLine(
  args: readonly string[],
  wasm: Pick<WasmOptions, 'memoryLimit'> = {},
): Promise<number> {
  let opened = null as Backend | null;
  let running = null as Command | null;
  const program = new Command('s2t2')
    .description(
      'Sparse Sinkhorn Token Translation: adapt a language model to a domain its tokenizer was not made for.',
    )
    .addOption(new Option('--backend <name>', 'backend of the tensor engine').choices(backendNames).default('auto'))
    .option('--threads <n>', 'threads of the wasm backend; default: one per processor, at most 8', whole(1, 256))
    .option('--plain-simd', 'no fused multiply-add: slower, with the same bits on every machine')
    .option('--json', 'print the result as one JSON object')
    .option('--quiet', 'print only results and errors, no progress or notes')
    .hook('preAction', async (_, command) => {
      checkRequired(command);
      checkCompanions(command);
      running = command;
      configureOutput(command.optsWithGlobals());
      const {
        backend,
        jobs = 1,
        threads = jobs > 1 ? share(jobs) : undefined,
        plainSimd = false,
      } = command.optsWithGlobals<{ backend: BackendName; threads?: number; jobs?: number; plainSimd?: boolean }>();
      const relaxedSimd = !plainSimd && enableRelaxedSimd();
      opened = await openBackend(backend, { ...wasm, threads, relaxedSimd }).catch((error: Error) => {
        throw new UserError(error.message);
      });
      setBackend(opened);
    })
    .showHelpAfterError('(--help lists the options)')
    .configureOutput({ outputError: (text, write) => write(printableMistake(text)) })
    .exitOverride();

  addAdaptCommands(program);
  addCorpusCommands(program);
  addModelCommands(program);
  addPlanCommands(program);
  addPaperCommand(program);
  addPretrainCommand(program);

  program.version(packageVersion);

  try {
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync(wordsOf(program, args), { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof UserError) {
      complain(`s2t2: ${error.message}`);
      return 2;
    }
    if (error instanceof OutOfMemory && running) {
      complain(`s2t2: ${describeOutOfMemory(running, error)}`);
      return 2;
    }
    if (error instanceof Interrupted || stop.signal.aborted) {
      complain('stopped; run the same command again to resume');
      return stoppedCode();
    }
    throw error;
  } finally {
    opened?.close?.();
  }
}

/** `help` of what is no command is the mistake that the command would be: the parser would print its own help. */
function wordsOf(program: Command, args: readonly string[]): readonly string[] {
  const [first, name] = program.parseOptions([...args]).operands;
  const isMistaken = first === 'help' && name !== undefined && !program.commands.some(c => c.name() === name);
  return isMistaken ? args.toSpliced(args.indexOf(first), 1) : args;
}

/** What an option does for a command that ran out of memory, by its long name. */
const savesMemory: Readonly<Record<string, string>> = {
  '--batch-tokens': 'make --batch-tokens smaller',
  '--max-bytes': 'make --max-bytes smaller',
  '--max-tokens': 'make --max-tokens smaller',
  '--prompt': 'shorten --prompt',
  '--train': 'give --train ends',
};

/** One line: what ran out, how much there is, and which of the command's own options would help. */
function describeOutOfMemory(command: Command, { requested, used, limit }: OutOfMemory): string {
  const size = (bytes: number) =>
    bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const remedies = command.options
    .filter(({ long }) => long !== '--train' || command.getOptionValue('train') !== 'ends')
    .flatMap(({ long }) => savesMemory[long ?? ''] ?? []);
  return (
    `${command.name()}: the backend is out of memory: it has ${size(limit)}, ${size(used)} are in use, and a tensor ` +
    `of ${size(requested)} does not fit; ${[...remedies, 'take a smaller model'].join(', or ')}`
  );
}
