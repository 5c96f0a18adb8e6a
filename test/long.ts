/**
 * `npm run test:long`: first the faults that only large files show (`attacks/large.test.ts`), then the tests that draw
 * something at random, again and again with a fresh seed each time, until the time is over or one fails; then it says
 * how to see that failure again.
 */
import { randomInt } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError } from 'commander';
import { startVitest } from 'vitest/node';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { minutes, exhaustive, filter, playground } = new Command('test:long')
  .description('runs the tests on fresh seeds for so many minutes')
  .option(
    '--minutes <n>',
    'how long; the round that has begun is finished',
    value => {
      if (!(Number(value) > 0)) throw new InvalidArgumentError('it is a number above 0');
      return Number(value);
    },
    10,
  )
  .option('--filter <text>', 'only test files whose path contains it', 'test/')
  .option(
    '--exhaustive',
    'first hold the functions of WebAssembly against all 2³² floats, and corpora of a gigabyte, which takes an hour',
  )
  .option('--playground', 'instead, use the playground for so many minutes and hold its memory flat')
  .parse()
  .opts<{ minutes: number; exhaustive?: boolean; filter: string; playground?: boolean }>();

/** The test files whose inputs depend on the seed. */
async function seeded(): Promise<string[]> {
  const names = (await readdir(join(root, 'test'), { recursive: true }))
    .filter(name => name.endsWith('.test.ts'))
    .map(name => join('test', name))
    .sort();
  const texts = await Promise.all(names.map(name => readFile(join(root, name), 'utf8')));
  return names.filter(
    (name, i) =>
      name.includes(filter) && /from '(fast-check|(\.\.\/)+(seed|random)\.ts|\.\/support\.ts)'/.test(texts[i]),
  );
}

/** Runs test files with a seed; gives those that fail. */
async function round(files: readonly string[], seed: number): Promise<string[]> {
  process.env.FC_SEED = String(seed);
  const vitest = await startVitest('test', [...files], { root, watch: false, reporters: [{}], silent: true });
  const failed = vitest.state
    .getFiles()
    .filter(file => file.result?.state !== 'pass')
    .map(file => file.filepath.slice(root.length));
  if (vitest.state.getUnhandledErrors().length > 0 && failed.length === 0) failed.push(...files);
  await vitest.close();
  return failed;
}

if (playground) {
  process.env.SOAK_MINUTES = String(minutes);
  const soak = await startVitest('test', ['test/s2t2/playground/soak'], { root, watch: false });
  await soak.close();
  process.exit();
}
const long = [
  ...(exhaustive ? ['test/engine/wasm/math', 'test/s2t2/app/large.test.ts'] : []),
  'test/attacks/large.test.ts',
  // What `thorough` adds to tests of `npm test`.
  'test/attacks/formats.test.ts',
  'test/s2t2/corpus/lines.test.ts',
  'test/oracles/training/training.test.ts',
  'test/s2t2/families.test.ts',
];
for (const name of long.filter(file => file.includes(filter))) {
  process.env.LONG_TESTS = '1';
  const ended = await startVitest('test', [name], { root, watch: false, reporters: ['verbose'] });
  await ended.close();
  delete process.env.LONG_TESTS;
  if (process.exitCode) process.exit();
}
const files = await seeded();
const end = performance.now() + 60_000 * minutes;
let rounds = 0;
do {
  const [seed, begin] = [randomInt(2 ** 31), performance.now()];
  const failed = await round(files, seed);
  rounds++;
  console.log(
    `round ${rounds}: ${files.length} files on seed ${seed} in ${Math.round((performance.now() - begin) / 1000)} ` +
      `s, ${failed.length} failed; ${Math.max(0, Math.ceil((end - performance.now()) / 60_000))} minutes left`,
  );
  if (failed.length > 0) {
    console.log(`\nto see it again:\n  FC_SEED=${seed} npx vitest run ${failed.join(' ')}`);
    process.exit(1);
  }
} while (performance.now() < end);
process.exit(0);
