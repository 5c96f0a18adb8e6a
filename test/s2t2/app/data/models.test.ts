/** The bundled source models: one vocabulary, small enough, and each record is of its model. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel } from '../../../../models/node/checkpoint.ts';
import { score } from '../../../../models/score.ts';
import { dataFolder } from '../../../../s2t2/app/data/tools.ts';
import { metrics } from '../../../../s2t2/evaluate.ts';
import { toSequences } from '../../../../s2t2/app/prepare.ts';
import { parameters } from '../../../../models/weights.ts';

interface PretrainRecord {
  readonly parameters: number;
  readonly heldOut: { readonly bitsPerByte: number };
  readonly kneserNey5: { readonly bitsPerByte: number };
}

test('the bundled models share a vocabulary, fit into 8 MB, and beat a 5-gram model on English by 5 %', async () => {
  const names = ['source', 'larger'];
  const models = await Promise.all(names.map(name => loadModel(dataFolder(name))));
  const records = await Promise.all(
    names.map(
      async name => JSON.parse(await readFile(join(dataFolder(name), 'record.json'), 'utf8')) as PretrainRecord,
    ),
  );
  expect(new Set(models.map(m => m.tokenizer.hash)).size).toBe(1);
  const sizes = await Promise.all(
    names.map(async name => (await stat(join(dataFolder(name), 'model.safetensors'))).size),
  );
  expect(sizes[0] + sizes[1]).toBeLessThan(8e6);
  expect(models.map(({ model }) => Object.values(parameters(model)).reduce((n, w) => n + w.size, 0))).toEqual(
    records.map(r => r.parameters),
  );
  for (const { heldOut, kneserNey5 } of records)
    expect(heldOut.bitsPerByte / kneserNey5.bitsPerByte).toBeLessThan(0.95);

  // Not the words of the training text, so no figure of the record, but English: letters drawn by chance would cost 4.7
  // bits.
  const english = [
    'The Congress of the United States has the power to lay and collect taxes, and to provide for the common defense.',
    'The ship sailed over the sea, and the captain looked for the whale.',
  ];
  for (const { model, tokenizer } of models)
    expect(metrics(await score(model, toSequences(english, tokenizer, 512))).bitsPerByte).toBeLessThan(2.5);
});
