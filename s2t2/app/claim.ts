/**
 * Whose a directory is: it keeps what its run depends on, so that a later run with other settings is rejected before it
 * resumes from another run's states, and told what differs.
 */
import * as v from 'valibot';
import { show, UserError } from '../../models/errors.ts';
import { readSealed, writeSealed } from './records.ts';

/** What a run depends on: settings, and hashes of its inputs. Values are JSON. */
export type Identity = Readonly<Record<string, unknown>>;

const identity = v.record(v.string(), v.unknown());

/**
 * Marks the file `path` as this run's.
 * @param advice what to do where it is another run's, after "or".
 * @throws UserError that names what differs.
 */
export async function claim(path: string, now: Identity, advice: string): Promise<void> {
  const before = await readSealed(path, identity, advice);
  if (before !== undefined) {
    const changes = differences(before, now);
    if (changes.length > 0)
      throw new UserError(`${path}: belongs to a run with other settings: ${changes.join(', ')}; ${advice}`);
    return;
  }
  await writeSealed(path, now);
}

/** `--seed was 0, is 1`, for every value that differs. */
export function differences(before: Identity, now: Identity): string[] {
  const [a, b] = [flat(before), flat(now)];
  return [...new Set([...a.keys(), ...b.keys()])].flatMap(key => {
    const [was, is] = [a.get(key), b.get(key)];
    if (was === is) return [];
    return isHash(was) && isHash(is) ? [`another ${key}`] : [`${key} was ${was ?? 'not set'}, is ${is ?? 'not set'}`];
  });
}

const isHash = (text: string | undefined): boolean => text !== undefined && /^"[0-9a-f]{64}"$/.test(text);

/** Leaves of nested objects by their path, as JSON. */
function flat(value: unknown, path = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null)
    return value === undefined ? new Map() : new Map([[path, show(value)]]);
  return new Map(
    Object.entries(value).flatMap(([key, inner]) => [...flat(inner, path === '' ? key : `${path}.${key}`)]),
  );
}
