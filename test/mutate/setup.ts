/** Of every test file that meets mutants. */
import { appendFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach } from 'vitest';
import { separator } from './instrument.ts';

/** A mutant is killed by the first counterexample; the smallest one is of no use. */
fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });

/** The mutants that `instrument.ts` writes down from now on are those of this test, or of none. */
function attribute(id: string): void {
  const { MUTANT_HITS } = process.env;
  if (!MUTANT_HITS) return;
  (globalThis as { __mutantHits?: Set<number> }).__mutantHits?.clear();
  appendFileSync(MUTANT_HITS, `${separator}${id}\n`);
}
beforeEach(({ task }) => attribute(task.id));
afterEach(() => attribute(''));
