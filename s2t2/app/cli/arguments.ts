/** Parsers of option values, and required options. Each error is one line. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { UserError } from '../../../models/errors.ts';
import { linearNames, type LinearName } from '../../../models/families.ts';
import { domains, type DomainName } from '../data/domains.ts';
import { ablationNames, type AblationName } from '../paper/ablations.ts';
import { defaultGrid } from '../paper/table.ts';
import type { Rates } from '../../settings.ts';

const number = (text: string): number => (text.trim() === '' ? Number.NaN : Number(text.replaceAll('_', '')));

/**
 * A whole number from `least` to `most`: what becomes the length of an array, or a number of processes, has a limit
 * above any sensible use.
 */
export const whole =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = number(text);
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(
      most === Number.MAX_SAFE_INTEGER
        ? `Expected a whole number of ${least} or more.`
        : `Expected a whole number from ${least} to ${most.toLocaleString('en')}.`,
    );
  };

/** Tokens in a batch. */
export const batchTokens = whole(1, 2 ** 24);

/** A finite number above zero. */
export const positive = (text: string): number => {
  const value = number(text);
  if (!(value > 0 && value < Infinity)) throw new InvalidArgumentError('Expected a number above 0.');
  return value;
};

/** A finite number of zero or more. */
export const nonNegative = (text: string): number => {
  const value = number(text);
  if (!(value >= 0 && value < Infinity)) throw new InvalidArgumentError('Expected a number of 0 or more.');
  return value;
};

/** A number from 0 to 1. */
export const fraction = (text: string): number => {
  const value = number(text);
  if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError('Expected a number from 0 to 1.');
  return value;
};

/** A number above 0, and at most 1. */
export const positiveFraction = (text: string): number => {
  const value = number(text);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError('Expected a number above 0 and at most 1.');
  return value;
};

/** A share of which neither part is empty. */
export const innerFraction = (text: string): number => {
  const value = number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('Expected a number above 0 and below 1.');
  return value;
};

/** A regulariser of a plan: with a million times the natural unit every plan is uniform. */
export const regulariser = (text: string): number => {
  const value = number(text);
  if (!(value > 0 && value <= 1e6)) throw new InvalidArgumentError('Expected a number above 0 and at most 1,000,000.');
  return value;
};

/** Different names separated by commas. */
export const nameList = (text: string): string[] => {
  const names = text.split(',').map(name => name.trim());
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new InvalidArgumentError(`It names ${twice} twice.`);
  return names;
};

/** Names of linear layers separated by commas. */
export const linearList = (text: string): LinearName[] =>
  nameList(text).map(name => {
    if (!linearNames.includes(name as LinearName))
      throw new InvalidArgumentError(`Unknown layer ${name}; expected names from: ${linearNames.join(', ')}.`);
    return name as LinearName;
  });

/** Names of domains separated by commas. */
export const domainList = (text: string): DomainName[] =>
  nameList(text).map(name => {
    if (!Object.hasOwn(domains, name))
      throw new InvalidArgumentError(
        `Unknown domain ${name}; expected names from: ${Object.keys(domains).join(', ')}.`,
      );
    return name as DomainName;
  });

/** Names of learning rates separated by commas. */
export const rateList = (text: string): (keyof Rates)[] =>
  nameList(text).map(name => {
    if (!Object.hasOwn(defaultGrid.start, name))
      throw new InvalidArgumentError(
        `Unknown rate ${name}; expected names from: ${Object.keys(defaultGrid.start).join(', ')}.`,
      );
    return name as keyof Rates;
  });

/** Names of ablations separated by commas. */
export const ablationList = (text: string): AblationName[] =>
  nameList(text).map(name => {
    if (!ablationNames.includes(name as AblationName))
      throw new InvalidArgumentError(`Unknown ablation ${name}; expected names from: ${ablationNames.join(', ')}.`);
    return name as AblationName;
  });

const required = new WeakSet<Option>();

/**
 * An option that must be given. Commander's own `requiredOption` complains about what is missing before it looks for
 * misspelt options, so that `--modle x` would be answered with "--model is missing".
 */
export function requiredOption(flags: string, description: string): Option {
  const option = new Option(flags, `${description} (required)`);
  required.add(option);
  return option;
}

/** Rejects a command that lacks a required option; runs after its options' spelling has been checked. */
export function checkRequired(command: Command): void {
  const missing = command.options.find(o => required.has(o) && command.getOptionValue(o.attributeName()) === undefined);
  if (missing)
    command.error(`error: option '${missing.flags}' is missing`, { code: 'commander.missingMandatoryOptionValue' });
}

const companions = new WeakMap<Option, string>();

/** Marks options that count only beside another one (`--data`), or one value of it (`--train lora`). */
export function onlyWith(command: Command, names: readonly string[], companion: string): Command {
  for (const option of command.options) if (names.includes(option.long!)) companions.set(option, companion);
  return command;
}

/** @throws UserError for an option that was given without the one beside which it counts. */
export function checkCompanions(command: Command): void {
  for (const option of command.options) {
    const companion = companions.get(option);
    if (companion === undefined || command.getOptionValueSource(option.attributeName()) !== 'cli') continue;
    const [name, value] = companion.split(' ');
    const other = command.options.find(({ long }) => long === name)!;
    const given: unknown = command.getOptionValue(other.attributeName());
    if (value === undefined ? given === undefined : given !== value)
      throw new UserError(`${option.long} counts only with ${companion}; give that as well, or leave it out`);
  }
}

/** Names of dtypes as Hugging Face writes them. */
export const dtypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;

/** `--dtype`: one of these names. */
export const dtypeOption = (description: string): Option =>
  new Option('--dtype <name>', description).choices(Object.keys(dtypes));

/** This command as typed, with DIR for its output directory. */
export const commandLine = (): string =>
  ['s2t2', ...process.argv.slice(2).map((word, i, words) => (words[i - 1] === '--out' ? 'DIR' : shellWord(word)))].join(
    ' ',
  );

const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
