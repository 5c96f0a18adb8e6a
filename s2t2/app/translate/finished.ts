/**
 * The files that a translation has finished. A directory belongs to one translation; its record says which one, and
 * what each finished file held, so that the next run with the same input keeps the files that are still as they were.
 */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fields } from '../../../models/config.ts';
import { UserError } from '../../../models/errors.ts';
import { exists, readJson, sha256File, writeFileAtomic, type Chunk } from '../../../models/node/files.ts';

/** What a run leaves beside the model: by it the next one knows that it resumes the same translation. */
const recordName = 'translation.json';

/** The files that runs of this translation have finished, as they left them. */
export interface Finished {
  /** Calls `write` unless the file is there and is what was written; records what `write` hands to `onChunk`. */
  ensure(file: string, write: (onChunk: (chunk: Chunk) => void) => Promise<void>): Promise<void>;
}

/** What a file holds. */
interface FileRecord {
  readonly size: number;
  readonly sha256: string;
}

/** What a file holds, counted and hashed while it is written: to read gigabytes again takes as long as to copy them. */
class Contents {
  readonly #hash = createHash('sha256');
  #size = 0;

  add(chunk: Chunk): void {
    this.#hash.update(chunk);
    this.#size += Buffer.byteLength(chunk);
  }

  record(): FileRecord {
    return { size: this.#size, sha256: this.#hash.digest('hex') };
  }
}

/**
 * Makes the directory this translation's own, which `record` names. `log` hears of files that are written again.
 *
 * @throws UserError for a directory that holds anything else.
 */
export async function claim(out: string, record: Fields, log?: (line: string) => void): Promise<Finished> {
  const path = join(out, recordName);
  const names = (await readdir(out)).filter(name => !name.endsWith('.lock'));
  let finished: Fields = {};
  if (names.includes(recordName)) {
    const { finished: kept, ...before } = Object(await readJson(path)) as Fields;
    finished = Object(kept ?? {}) as Fields;
    if (JSON.stringify(before) !== JSON.stringify(record))
      throw new UserError(
        `${path}: belongs to a translation of another model, plan or tokenizer; choose another directory or ` +
          'delete this one',
      );
  } else if (names.length > 0)
    throw new UserError(`${out}: holds ${names[0]} and is not an unfinished translation; choose an empty directory`);
  const keep = () => writeFileAtomic(path, `${JSON.stringify({ ...record, finished }, null, 2)}\n`);
  await keep();
  const contents = async (file: string): Promise<FileRecord> => {
    const { size } = await stat(join(out, file));
    return { size, sha256: await sha256File(join(out, file)) };
  };
  const isFinished = async (file: string): Promise<boolean> => {
    const known = finished[file];
    return (
      known !== undefined &&
      (await exists(join(out, file))) &&
      JSON.stringify(known) === JSON.stringify(await contents(file))
    );
  };
  return {
    async ensure(file, write) {
      if (await isFinished(file)) return;
      if (await exists(join(out, file)))
        log?.(`${join(out, file)}: does not match the record of an earlier run, and is written again`);
      const written = new Contents();
      await write(chunk => written.add(chunk));
      finished = { ...finished, [file]: written.record() };
      await keep();
    },
  };
}
