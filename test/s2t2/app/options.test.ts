/** Options that exclude or need each other: told in one line before a model is read. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readWithNotice } from '../../../s2t2/app/cli/data.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { command } from './command.ts';

const directory = temporaryDirectory();

test.each([
  ['--data - --test -', 'only one of --data, --test can be standard input (-)'],
  ['--data - --extend --keep -', 'only one of --data, --keep can be standard input (-)'],
  ['--data d --keep k', '--keep is for --extend'],
  ['--data d --extend --pattern a', 'leave out --tokenizer and --pattern'],
  ['--data d --extend --tokenizer t', 'leave out --tokenizer and --pattern'],
  ['--data d --tokenizer t --vocab-size 9', "'--tokenizer <file>' cannot be used with option '--vocab-size <n>'"],
  ['--data d --test t --test-share 0.1', "'--test-share <x>' cannot be used with option '--test <file>'"],
  ['--data d --eval-texts 5', '--eval-texts is for --eval-every'],
  ['--data d --methods fvt-spraed', "unknown method 'fvt-spraed'; expected names from: source, "],
  ['--data d --methods fvt --save s2t2', "no model of 's2t2' to save"],
  ['--data d --eval-every 0', 'Expected a whole number of 1 or more'],
])('adapt %s', async (options, message) => {
  const { code, stdout, stderr } = await command([
    'adapt',
    '--model',
    join(directory, 'no-model'),
    '--out',
    join(directory, 'out'),
    ...options.split(' '),
  ]);
  expect([code, stdout, stderr]).toEqual([2, '', expect.stringContaining(message)]);
});

test('--field of texts that have no fields', async () => {
  const path = join(directory, 'x.fasta');
  await writeFile(path, '>a\nMKVL\n');
  expect(await refusal(readWithNotice(path, { field: 'seq' }))).toBe(
    `${path}: is not JSON Lines, and --field names a field of JSON Lines; leave it out`,
  );
  expect((await readWithNotice(path, {})).texts).toEqual(['MKVL']);
});

test.each(['adapt', 'evaluate', 'generate', 'translate'])('%s --help: a model may be a GGUF file', async name => {
  const { code, stdout } = await command([name, '--help']);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/--model <dir> +[^-]*GGUF\s+file/)]);
});
