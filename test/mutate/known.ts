/**
 * What earlier calls found out about each mutant, and what still holds of it: a kill holds as long as the test that
 * noticed is as it was; a survivor meets the tests that it has not met, those that are new or changed among them.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Mutant } from './mutants.ts';
import type { Batch } from './order.ts';
import type { Status } from './report.ts';

/** What is known of one mutant. `by` is there when it was killed. */
export interface Finding extends Pick<Status, 'status' | 'by'> {
  /** `keyOf` the mutant. */
  readonly key: string;
  /** `versionOf` each test that ran on it and noticed nothing. */
  readonly met: readonly string[];
  /** `digestOf` the test file that noticed. */
  readonly digest?: string;
  /** Whether a kill was seen twice. */
  readonly confirmed?: boolean;
}

/** A mutant, whatever sample it is in. */
export const keyOf = ({ file, start, end, replacement }: Mutant): string => `${file}:${start}-${end}:${replacement}`;

/** A test of a file with this digest. */
export const versionOf = (digest: string, id: string): string => `${digest} ${id}`;

/** A digest of a test file's text and of those in `test/` that it imports, directly or not. */
export async function digestOf(project: string, test: string): Promise<string> {
  const hash = createHash('sha256');
  const seen = new Set<string>();
  const visit = async (path: string): Promise<void> => {
    if (seen.has(path) || !path.startsWith('test/') || !existsSync(join(project, path))) return;
    seen.add(path);
    const text = await readFile(join(project, path), 'utf8');
    hash.update(text);
    for (const [, name] of text.matchAll(/from '(\.[^']+)'/g)) await visit(join(dirname(path), name));
  };
  await visit(test);
  return hash.digest('hex').slice(0, 10);
}

/** The findings of a file of JSON lines, of each mutant the latest, and new ones added to it. */
export class Findings {
  readonly #file: string;
  readonly #byKey = new Map<string, Finding>();

  private constructor(file: string) {
    this.#file = file;
  }

  /** `digests` is of each test file as it is now: a kill by one that has changed is forgotten. */
  static async open(file: string, digests: ReadonlyMap<string, string>): Promise<Findings> {
    const findings = new Findings(file);
    if (existsSync(file))
      for (const line of (await readFile(file, 'utf8')).split('\n').filter(Boolean)) {
        const finding = JSON.parse(line) as Finding;
        const { key, met, by, digest } = finding;
        const holds = !by || digest === digests.get(by.test);
        findings.#byKey.set(key, holds ? finding : { key, status: 'survived', met });
      }
    return findings;
  }

  get(mutant: Mutant): Finding | undefined {
    return this.#byKey.get(keyOf(mutant));
  }

  async add(finding: Finding): Promise<void> {
    this.#byKey.set(finding.key, finding);
    await appendFile(this.#file, `${JSON.stringify(finding)}\n`);
  }
}

/** Ids of the tests that a mutant has yet to run, of those that reach it (`batches`); `digests` has every file's. */
export function untried(
  finding: Finding | undefined,
  batches: readonly Batch[],
  digests: ReadonlyMap<string, string>,
): string[] {
  if (finding?.by) return [];
  const met = new Set(finding?.met);
  return batches.flatMap(({ test, cases }) =>
    cases.filter(({ id }) => !met.has(versionOf(digests.get(test)!, id))).map(({ id }) => id),
  );
}
