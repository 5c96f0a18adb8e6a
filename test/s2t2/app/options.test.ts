/** Options that exclude or need each other: told in one line before a model is read. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { checkInputs } from '../../../s2t2/app/adapt.ts';
import { readWithNotice } from '../../../s2t2/app/cli/data.ts';
import { refusal, temporaryDirectory } from '../../models/temporary.ts';
import { command } from './command.ts';

const directory = temporaryDirectory();
const words = (text: string) => text.split(' ');

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
  ['--data d --methods source,fvt,source', "argument 'source,fvt,source' is invalid. It names source twice."],
  ['--data d --lora-rank 4', '--lora-rank counts only with --train lora; give that as well, or leave it out'],
  ['--data d --train ends --lora-alpha 4', '--lora-alpha counts only with --train lora'],
  ['--data d --lora-targets q', '--lora-targets counts only with --train lora'],
  ['--data d --train lora --lora-rank 4', 'no-model'],
  ['--data d --test-share 0', "argument '0' is invalid. Expected a number above 0 and below 1."],
  ['--data d --test-share 1', "argument '1' is invalid. Expected a number above 0 and below 1."],
  ['--data d --alpha 1e300', "argument '1e300' is invalid. Expected a number above 0 and at most 1,000,000."],
  ['--data d --threads 1000000', "argument '1000000' is invalid. Expected a whole number from 1 to 256."],
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

describe('adapt never writes over its inputs', () => {
  const at = (...names: string[]) => join(directory, 'inputs', ...names);
  const adapt = (...options: string[]) => command(['adapt', ...options, '--methods', 'fvt']);
  beforeAll(async () => {
    for (const name of ['run/model', 'run/work', 'elsewhere', 'linked']) await mkdir(at(name), { recursive: true });
    for (const name of ['run/model/tokenizer.json', 'run/tokenizer.json', 'run/work/d.txt', 'run/mine.txt'])
      await writeFile(at(name), 'mine');
    await symlink(at('run'), at('link'));
    await symlink(at('elsewhere'), at('linked/model'));
    await mkdir(at('files'));
    await symlink(at('run/model/tokenizer.json'), at('files/tokenizer.json'));
  });

  test.each([
    ['the model of its own directory', 'run', ['--model', 'run/model', '--data', 'd'], 'run/model'],
    ['with --fresh', 'run', ['--model', 'run/model', '--data', 'd', '--fresh'], 'run/model'],
    ['the directory by another name', 'link', ['--model', 'run/model', '--data', 'd'], 'run/model'],
    ['a model that the directory links to', 'linked', ['--model', 'elsewhere', '--data', 'd'], 'elsewhere'],
    ['the directory itself', 'run', ['--model', 'run', '--data', 'd'], 'run/model'],
    ['a model of links', 'run', ['--model', 'files', '--data', 'd'], 'files/tokenizer.json'],
    ['training texts', 'run', ['--model', 'm', '--data', 'run/work/d.txt'], 'run/work/d.txt'],
    ['test texts', 'run', ['--model', 'm', '--data', 'd', '--test', 'run/work/d.txt'], 'run/work/d.txt'],
    [
      'a tokenizer that --fresh deletes',
      'run',
      ['--model', 'm', '--data', 'd', '--fresh', '--tokenizer', 'run/tokenizer.json'],
      'run/tokenizer.json',
    ],
  ])('%s', async (_, out, options, named) => {
    const paths = options.map(word => (word.startsWith('--') ? word : at(word)));
    const { code, stdout, stderr } = await adapt('--out', at(out), ...paths);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(
      /^s2t2: [^\n]+: is an input \(--\w+\), and this run writes [^\n]+ anew; give another --out[^\n]+\n$/,
    );
    expect(stderr).toContain(`s2t2: ${at(named)}: `);
    expect(await readFile(at('run/model/tokenizer.json'), 'utf8')).toBe('mine');
    expect(await readFile(at('run/work/d.txt'), 'utf8')).toBe('mine');
  });

  test('other files in the directory, and the tokenizer that the run writes again, may be inputs', async () => {
    await checkInputs(at('run'), { '--data': at('run/mine.txt'), '--test': '-', '--keep': undefined });
    const { stderr } = await adapt(
      '--out',
      at('run'),
      '--model',
      at('m'),
      '--data',
      at('d'),
      '--tokenizer',
      at('run/tokenizer.json'),
    );
    expect(stderr).toContain('tokenizer.json: not valid JSON');
  });
});

describe('an output that is an input', () => {
  const at = (...names: string[]) => join(directory, 'same', ...names);
  beforeAll(async () => {
    await mkdir(at('model'), { recursive: true });
    for (const name of ['d.txt', 'model/tokenizer.json', 'x.gguf']) await writeFile(at(name), 'mine');
    await symlink(at('d.txt'), at('link'));
  });

  test.each([
    ['tokenize --data d.txt --out d.txt', 'd.txt: --out would be written over --data'],
    ['tokenize --data d.txt --out link', 'link: --out would be written over --data'],
    ['evaluate --model model --data link --per-text d.txt', 'd.txt: --per-text would be written over --data'],
    [
      'evaluate --model model --data d.txt --per-text model/tokenizer.json',
      'model/tokenizer.json: --per-text would be written over --model',
    ],
    ['import x.gguf --out x.gguf', 'x.gguf: --out would be written over the model to import'],
    ['import model --out model', 'model: --out would be written over the model to import'],
    ['adapt --model model --data d.txt --out run --log d.txt', 'd.txt: --log would be written over --data'],
    [
      'report --run run --source model --out model/tokenizer.json',
      'model/tokenizer.json: --out would be written over --source',
    ],
  ])('%s', async (line, message) => {
    const [name, ...options] = line.split(' ');
    const paths = options.map(word => (word.startsWith('--') ? word : at(word)));
    const { code, stdout, stderr } = await command([name, ...paths]);
    expect([code, stdout, stderr]).toEqual([2, '', `s2t2: ${at(message)}; give it another name\n`]);
    for (const file of ['d.txt', 'model/tokenizer.json', 'x.gguf'])
      expect(await readFile(at(file), 'utf8')).toBe('mine');
  });
});

test.each(['--format text', '--field x', '--strict', '--max-bytes 9'])('translate %s without --data', async option => {
  const paths = words('--model m --plan p --target t --out o').map(word =>
    word.length > 1 ? word : join(directory, word),
  );
  const translate = (...more: string[]) => command(['translate', ...paths, ...words(option), ...more]);
  expect(await translate()).toMatchObject({
    code: 2,
    stdout: '',
    stderr: `s2t2: ${words(option)[0]} counts only with --data; give that as well, or leave it out\n`,
  });
  expect((await translate('--data', join(directory, 'd'))).stderr).not.toContain('counts only');
});

test.each([
  ['help adpat', 2, /^error: unknown command 'adpat'\n\(Did you mean adapt\?\)\n\(--help lists the options\)\n$/],
  ['help adapt', 0, /^Usage: s2t2 adapt /],
  ['help', 0, /^Usage: s2t2 \[options\]/],
])('%s', async (line, code, said) => {
  const ended = await command(words(line));
  expect([ended.code, ended.stdout + ended.stderr]).toEqual([code, expect.stringMatching(said)]);
});

test('tokenize --field of texts that have no fields', async () => {
  const [data, out] = ['plain.txt', 'plain.json'].map(name => join(directory, name));
  await writeFile(data, 'a b c\n');
  const { code, stdout, stderr } = await command(['tokenize', '--data', data, '--out', out, '--field', 'x', '--quiet']);
  expect([code, stdout, stderr]).toEqual([
    2,
    '',
    `s2t2: ${data}: is not JSON Lines, and --field names a field of JSON Lines; leave it out\n`,
  ]);
  expect(existsSync(out)).toBe(false);
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
