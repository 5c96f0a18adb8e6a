/** Signals that reach a command at a point of its run, not at a time: see `signal-at.mjs`. */

/** A point of a run. */
export type Point =
  /** While the n-th call that changes the disk, counted from 0, is under way. */
  | { readonly call: number }
  /** When a file whose path matches has taken its name. */
  | { readonly file: RegExp }
  /** When standard error has been given a text. */
  | { readonly text: string };

/** Arguments for Node, before the script's: the process sends itself `signal` at `point`, once. */
export function signalAt(signal: NodeJS.Signals, point: Point): string[] {
  const [[kind, value]] = Object.entries(point) as [string, number | string | RegExp][];
  const script = new URL('signal-at.mjs', import.meta.url);
  script.search = new URLSearchParams({
    signal,
    kind,
    value: value instanceof RegExp ? value.source : String(value),
  }).toString();
  return ['--import', script.href];
}
