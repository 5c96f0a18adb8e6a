/**
 * A process that runs test files in one copy of the project, again and again, with one instance of vitest: what does
 * not change is not compiled anew. Its parent (`pool.ts`) ends it when a mutant makes it hang.
 */
import { readFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createVitest } from 'vitest/node';

export interface Job {
  /** A test file, relative to the root of the copy. */
  readonly test: string;
  /** Files of the copy that changed since the last job. */
  readonly changed: readonly string[];
  /** Where hits are written, if they are. */
  readonly hits?: string;
}

export interface Outcome {
  readonly passed: boolean;
  readonly milliseconds: number;
}

const root = process.argv[2];
const vitest = await createVitest('test', {
  root, watch: false, reporters: [{}], maxWorkers: 1, bail: 1, silent: true, coverage: { enabled: false }, onConsoleLog: () => false,
  setupFiles: ['test/setup.ts', 'test/mutate/setup.ts'],
});

async function run({ test, changed, hits }: Job): Promise<Outcome> {
  const begin = performance.now();
  const path = join(root, test);
  for (const file of changed) vitest.invalidateFile(join(root, file));
  if (hits) process.env.MUTANT_HITS = hits;
  else delete process.env.MUTANT_HITS;
  if (readFileSync(path, 'utf8').includes('dist/')) {
    // The test runs the compiled program. A mutant need not fit its types.
    try {
      await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--noCheck'], { cwd: root });
    } catch { /* what was written is what runs */ }
  }
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications(await vitest.globTestSpecifications([path]));
  const tested = testModules.filter(m => m.moduleId === path);
  return { passed: tested.length > 0 && tested.every(m => m.ok()) && unhandledErrors.length === 0, milliseconds: performance.now() - begin };
}

process.on('message', (job: Job) => { void run(job).then(outcome => process.send!(outcome)); });
process.send!('ready');
