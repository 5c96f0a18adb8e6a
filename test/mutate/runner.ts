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
  /** Which of its tests, by vitest's ids; all where it is missing. */
  readonly ids?: readonly string[];
  /** Files of the copy that changed since the last job. */
  readonly changed: readonly string[];
  /** Where hits are written, if they are. */
  readonly hits?: string;
}

export interface Outcome {
  readonly passed: boolean;
  readonly milliseconds: number;
  /** The tests that ran. */
  readonly cases: readonly {
    readonly id: string;
    readonly name: string;
    readonly passed: boolean;
    /** It failed because its time was over: on a machine with other work that need not be the mutant's doing. */
    readonly late: boolean;
    readonly milliseconds: number;
  }[];
}

const root = process.argv[2];
const vitest = await createVitest('test', {
  root,
  watch: false,
  reporters: [{}],
  maxWorkers: 1,
  bail: 1,
  silent: true,
  coverage: { enabled: false },
  onConsoleLog: () => false,
  setupFiles: ['test/setup.ts', 'test/mutate/setup.ts'],
  // As they are written: what several tests share is reached by the first of them.
  sequence: { shuffle: false },
  // The parent has limits that are relative to the time on the whole code.
  testTimeout: 3_600_000,
  hookTimeout: 3_600_000,
});
/** Whether `dist/` is older than the copy's sources. */
let stale = true;

async function run({ test, ids, changed, hits }: Job): Promise<Outcome> {
  const begin = performance.now();
  const path = join(root, test);
  for (const file of changed) vitest.invalidateFile(join(root, file));
  if (hits) process.env.MUTANT_HITS = hits;
  else delete process.env.MUTANT_HITS;
  stale ||= changed.length > 0;
  if (stale && readFileSync(path, 'utf8').includes('dist/')) {
    stale = false;
    // The test runs the compiled program. A mutant need not fit its types.
    const steps = [
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--noCheck'],
      [join(root, 'dist/s2t2/app/site/report-script.js')],
    ];
    for (const step of steps)
      try {
        await promisify(execFile)(process.execPath, step, { cwd: root, timeout: 60_000 });
      } catch {
        /* what was written is what runs */
      }
  }
  const { testModules, unhandledErrors } = await vitest.runTestSpecifications([
    vitest.getRootProject().createSpecification(path, ids && { testIds: [...ids] }),
  ]);
  const tested = testModules.filter(m => m.moduleId === path); // with those of earlier jobs
  const cases = tested
    .flatMap(module => [...module.children.allTests()])
    .filter(({ id }) => ids?.includes(id) ?? true)
    .map(each => ({
      id: each.id,
      name: each.fullName,
      passed: each.ok(),
      late: each.result().errors?.some(({ message }) => /timed out in \d+ ?ms/.test(message)) ?? false,
      milliseconds: each.diagnostic()?.duration ?? 0,
    }));
  return {
    passed: tested.length > 0 && tested.every(m => m.ok()) && unhandledErrors.length === 0,
    milliseconds: performance.now() - begin,
    cases,
  };
}

process.on('message', (job: Job) => {
  void run(job).then(outcome => process.send!(outcome));
});
process.send!('ready');
