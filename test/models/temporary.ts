/** A directory for one test file, removed when its tests are done. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { UserError } from '../../models/errors.ts';

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 's2t2-test-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** The message of the `UserError` that `promise` must end with: one line, like all of them. */
export async function refusal(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => expect.fail('nothing was rejected'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof UserError)) throw error;
  expect(error.message).not.toMatch(/[\n\r]/);
  return error.message;
}
