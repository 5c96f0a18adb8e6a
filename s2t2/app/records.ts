/**
 * The application's own JSON files, read back: a disk can flip a bit, a person can edit a figure, and neither may end
 * in another number or in a stack trace.
 *
 * Every file has a schema here or beside its type. What a run resumes from is sealed as well: the file holds the
 * SHA-256 of its record, so that a changed digit is found although the shape is right. What people may want to edit or
 * make themselves (results.json, rates.jsonl) has a schema only.
 */
import * as v from 'valibot';
import { oneLine, show, UserError } from '../../models/errors.ts';
import { exists, readJson, writeFileAtomic } from '../../models/node/files.ts';
import { sha256 } from '../../models/sha256.ts';

/** A number that JSON can hold: not NaN, not infinite. */
export const finite = v.pipe(v.number(), v.finite());

/** A whole number of at least 0. */
export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** SHA-256 in hexadecimal. */
export const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'is not a SHA-256'));

/**
 * `value` as `schema` describes it.
 * @param where begins the error, `advice` ends it.
 * @throws UserError that names the first wrong field.
 */
export function check<const S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  where: string,
  advice: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  const what = issue.type === 'regex' ? `${show(issue.input)} ${issue.message}` : whatIsWrong(issue);
  throw new UserError(`${where}: ${oneLine(path === null ? what : `${path}: ${what}`)}; ${advice}`);
}

const whatIsWrong = ({ expected, received, message }: v.BaseIssue<unknown>): string =>
  received === 'undefined'
    ? 'is missing'
    : expected === null
      ? message
      : `expected ${expected}, found ${received.length > 80 ? `${received.slice(0, 80)}…` : received}`;

/** The record of a JSON file. */
export const readRecord = async <const S extends v.GenericSchema>(
  path: string,
  schema: S,
  advice: string,
): Promise<v.InferOutput<S>> => check(schema, await readJson(path), path, advice);

/** Writes a record with its checksum. */
export const writeSealed = (path: string, record: unknown): Promise<void> =>
  writeFileAtomic(path, JSON.stringify({ sha256: sha256(JSON.stringify(record)), record }));

const sealedSchema = v.object({ sha256: hash, record: v.unknown() });

/**
 * The record of a sealed file; undefined if the file does not exist.
 * @throws UserError where the record is not what was written.
 */
export async function readSealed<const S extends v.GenericSchema>(
  path: string,
  schema: S,
  advice: string,
): Promise<v.InferOutput<S> | undefined> {
  const file = await readIfThere(path, advice);
  return file === undefined ? undefined : check(schema, unseal(file, path, advice), path, advice);
}

/** As `readSealed`, for a kind of file that was written without a checksum by earlier versions. */
export async function readMaybeSealed<const S extends v.GenericSchema>(
  path: string,
  schema: S,
  advice: string,
): Promise<v.InferOutput<S> | undefined> {
  const file = await readIfThere(path, advice);
  if (file === undefined) return undefined;
  const isSealed = typeof file === 'object' && file !== null && 'sha256' in file;
  return check(schema, isSealed ? unseal(file, path, advice) : file, path, advice);
}

async function readIfThere(path: string, advice: string): Promise<unknown> {
  if (!(await exists(path))) return undefined;
  return readJson(path).catch((error: unknown) => {
    throw error instanceof UserError ? new UserError(`${error.message}; ${advice}`) : error;
  });
}

function unseal(file: unknown, path: string, advice: string): unknown {
  const { sha256: written, record } = check(sealedSchema, file, path, advice);
  if (sha256(JSON.stringify(record)) !== written)
    throw new UserError(`${path}: is damaged: its checksum does not match its contents; ${advice}`);
  return record;
}
