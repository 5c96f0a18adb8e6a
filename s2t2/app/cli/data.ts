/** Options for reading a corpus and for making a target tokenizer from it, shared by all commands that do. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { UserError } from '../../../models/errors.ts';
import { loadTokenizer } from '../../../models/node/checkpoint.ts';
import { filesOf, isSameFile } from '../../../models/node/files.ts';
import { compilePattern } from '../../../models/tokenizer/index.ts';
import { corpusFormats, type CorpusFormat } from '../../corpus/format.ts';
import { describeCorpus, readTexts, standardInput, type CorpusOptions, type CorpusSummary } from '../corpus.ts';
import { defaultTokenizerSample, type TargetOptions } from '../prepare.ts';
import { log, stop } from './process.ts';

/** Values of the options of `withCorpus`. */
export interface CorpusFlags {
  readonly format?: CorpusFormat;
  readonly field?: string;
  readonly strict?: boolean;
}

/** Adds the options by which a corpus is read. */
export const withCorpus = (command: Command): Command =>
  command
    .addOption(
      new Option('--format <name>', 'format of the texts; default: detected from their content').choices([
        ...corpusFormats,
      ]),
    )
    .option('--field <name>', 'field of JSON Lines that holds the text; default: "text"')
    .option('--strict', 'fail on a sequence with a "*" inside instead of skipping it');

/** The corpus options that the flags ask for. */
export const corpusOptions = ({ format, field, strict }: CorpusFlags): CorpusOptions => ({
  format,
  field,
  strict,
  signal: stop.signal,
});

/** The texts of a corpus; what was found and what was skipped is reported on standard error. */
export async function readWithNotice(
  path: string,
  flags: CorpusFlags,
): Promise<{ readonly texts: string[] } & Pick<CorpusSummary, 'format' | 'skipped'>> {
  const { texts, summary } = await readTexts(path, corpusOptions(flags));
  tellCorpus(summary, flags);
  return { texts, format: summary.format, skipped: summary.skipped };
}

/**
 * Reports on standard error what was found and what was skipped.
 *
 * @throws UserError for a field of texts that have none.
 */
export function tellCorpus(summary: CorpusSummary, { field }: CorpusFlags): void {
  log(describeCorpus(summary));
  if (field !== undefined && summary.format !== 'jsonl')
    throw new UserError(`${summary.path}: is not JSON Lines, and --field names a field of JSON Lines; leave it out`);
}

/** Values of the options of `withTarget`. */
export interface TargetFlags {
  readonly tokenizer?: string;
  readonly pattern?: string;
  readonly extend?: boolean;
  readonly keep?: string;
  readonly tokenizerSample: number;
}

const pattern = (source: string): string => {
  try {
    compilePattern(source);
    return source;
  } catch (error) {
    if (error instanceof UserError) throw new InvalidArgumentError(error.message);
    throw error;
  }
};

const sample = (text: string): number => {
  if (text === 'all') return Infinity;
  const value = Number(text.replaceAll('_', ''));
  if (!Number.isSafeInteger(value) || value < 1000)
    throw new InvalidArgumentError('Expected "all" or a whole number of bytes, 1,000 or more.');
  return value;
};

/** Options of how a tokenizer is trained. */
export const withTraining = (command: Command): Command =>
  command
    .option(
      '--pattern <regex>',
      'regular expression that cuts texts into words, which no token crosses; default: a text is one word',
      pattern,
    )
    .option(
      '--tokenizer-sample <bytes>',
      'most bytes of text to train the tokenizer on, or "all"',
      sample,
      defaultTokenizerSample,
    );

/** Adds the options of the target tokenizer. */
export const withTarget = (command: Command): Command =>
  withTraining(command)
    .addOption(
      new Option(
        '--tokenizer <file>',
        'target tokenizer: a tokenizer.json or a model directory; default: one is trained',
      ).conflicts(['vocabSize']),
    )
    .option('--extend', "keep the source's tokens and add --vocab-size tokens of the data to them")
    .option('--keep <file>', 'texts that --extend must leave cut as they are');

/** @throws UserError where more than one of these paths is standard input, which is read once. */
export function checkStandardInput(paths: Readonly<Record<string, string | undefined>>): void {
  const names = Object.keys(paths).filter(name => paths[name] === standardInput);
  if (names.length > 1) throw new UserError(`only one of ${names.join(', ')} can be standard input (-)`);
}

/**
 * @param output the option, or what else names a file to write, and its path.
 * @param inputs files and directories likewise.
 * @throws UserError where the output is one of the inputs, or a file in one, under whatever name.
 */
export async function checkOutput(
  [name, path]: readonly [string, string | undefined],
  inputs: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  if (path === undefined) return;
  for (const [input, given] of Object.entries(inputs))
    for (const file of given === undefined || given === standardInput ? [] : await filesOf(given))
      if (await isSameFile(path, file))
        throw new UserError(`${path}: ${name} would be written over ${input}; give it another name`);
}

/** @throws UserError for options that exclude each other. */
export async function targetOptions(flags: TargetFlags & CorpusFlags): Promise<TargetOptions> {
  if (flags.extend && (flags.tokenizer ?? flags.pattern) !== undefined)
    throw new UserError(
      "--extend goes on with the source's tokenizer and its words: leave out --tokenizer and --pattern (a tokenizer " +
        'that extends the source is told by its tokens)',
    );
  if (flags.keep !== undefined && !flags.extend) throw new UserError('--keep is for --extend');
  if (flags.extend) {
    const { field, strict } = flags;
    const keep =
      flags.keep === undefined ? undefined : (await readTexts(flags.keep, corpusOptions({ field, strict }))).texts;
    return { extend: { keep }, tokenizerSample: flags.tokenizerSample };
  }
  if (flags.tokenizer !== undefined && flags.pattern !== undefined)
    throw new UserError(
      '--pattern applies to a tokenizer that is trained, and --tokenizer gives a trained one; drop one of the two',
    );
  const target = flags.tokenizer === undefined ? undefined : await loadTokenizer(flags.tokenizer);
  return { target, pattern: flags.pattern, tokenizerSample: flags.tokenizerSample };
}
