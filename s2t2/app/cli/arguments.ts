/** Parsers of option values: each returns the value or throws commander's one-line error. */
import { InvalidArgumentError } from 'commander';
import { domains, type DomainName } from '../data/domains.ts';
import { ablationNames, type AblationName } from '../paper/ablations.ts';

/** A whole number of at least `least`. */
export const whole =
  (least: number) =>
  (text: string): number => {
    const value = Number(text.replaceAll('_', ''));
    if (!Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It is a whole number of ${least} or more.`);
    return value;
  };

/** A finite number above zero. */
export const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) throw new InvalidArgumentError('It is a positive number.');
  return value;
};

/** A number between 0 and 1. */
export const fraction = (text: string): number => {
  const value = Number(text);
  if (!(value >= 0 && value <= 1) || text === '') throw new InvalidArgumentError('It is a number between 0 and 1.');
  return value;
};

/** Names separated by commas. */
export const nameList = (text: string): string[] => text.split(',').map(name => name.trim());

/** Names of domains separated by commas. */
export const domainList = (text: string): DomainName[] =>
  nameList(text).map(name => {
    if (!Object.hasOwn(domains, name))
      throw new InvalidArgumentError(`There is no domain ${name}; there are ${Object.keys(domains).join(', ')}.`);
    return name as DomainName;
  });

/** Names of ablations separated by commas. */
export const ablationList = (text: string): AblationName[] =>
  nameList(text).map(name => {
    if (!ablationNames.includes(name as AblationName))
      throw new InvalidArgumentError(`There are ${ablationNames.join(', ')}.`);
    return name as AblationName;
  });
