/** Mistakes in input, and values as an error message shows them: always one line. */
import { printable } from './printable.ts';

/** A mistake in what the user gave: the command line prints its message in one line and exits with code 2. */
export class UserError extends Error {
  override readonly name = 'UserError';
}

/** A value from a file as an error shows it: JSON, on one line, not too long. */
export function show(value: unknown): string {
  const json = printable(JSON.stringify(value) ?? 'nothing');
  return json.length > 80 ? `${json.slice(0, 80)}…` : json;
}

/** An error's message on one line, with control characters escaped. */
export function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return printable(message.replace(/\s+/g, ' ').trim());
}
