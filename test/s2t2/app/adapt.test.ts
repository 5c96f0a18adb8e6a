/** An adaptation to texts that hold what the training texts do not. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadTokenizer, saveModel } from '../../../models/node/checkpoint.ts';
import { type Results } from '../../../s2t2/cell.ts';
import { temporaryDirectory } from '../../models/temporary.ts';
import { tinyModel } from '../fixture.ts';
import { command } from './command.ts';

const directory = temporaryDirectory();
const at = (...parts: string[]) => join(directory, ...parts);
const names = ['source', 's2t2', 'fvt', 'fvt-spread', 'scratch'];

test('a residue that only the held-out sequences have is scored, by every method and whatever the seed', async () => {
  await saveModel(at('model'), await tinyModel());
  const records = (texts: readonly string[]) => texts.map((text, i) => `>${i}\n${text}\n`).join('');
  await writeFile(at('train.fasta'), records(['MKVLAAGIVGLCAK', 'MKKLAAGIVKVLAA', 'GIVGLCAMKVKVLA', 'AAGIVGLCAMKVLA']));
  await writeFile(at('test.fasta'), records(['MKVLUAGIVGLCAK', 'UKKLAAGIVKVLAU']));
  for (const seed of ['0', '1', '2']) {
    const files = ['--model', at('model'), '--data', at('train.fasta'), '--test', at('test.fasta'), '--out', at(seed)];
    const sizes = ['--vocab-size', '40', '--tokens', '64', '--batch-tokens', '32', '--methods', names.join()];
    const { code, stderr } = await command(['adapt', '--seed', seed, ...files, ...sizes]);
    expect([code, stderr.match(/.*unknown.*/g)], stderr).toEqual([0, null]);
    const { methods } = JSON.parse(await readFile(at(seed, 'results.json'), 'utf8')) as Results;
    expect(methods.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    for (const { name, after } of methods)
      expect(after, name).toMatchObject({ bitsPerByte: expect.any(Number) as number });
    const target = await loadTokenizer(at(seed, 'model'));
    expect([target.encode('U').length, target.decode(target.encode('MUV'))]).toEqual([1, 'MUV']);
  }
});
