/** The time of a run, told before it starts: the sum of its rows, and nothing of the run changes by it. */
import { expect, test } from 'vitest';
import { memory } from '../../../engine/index.ts';
import { parameters } from '../../../models/weights.ts';
import { prepare } from '../../../s2t2/app/prepare.ts';
import { describeTime, workOf } from '../../../s2t2/app/time.ts';
import { methods } from '../../../s2t2/methods.ts';
import { defaults } from '../../../s2t2/settings.ts';
import { tinyModel } from '../fixture.ts';

/** The seconds of "1 h 2 min" or "3 min 4 s". */
const seconds = (said: string): number =>
  Array.from(/about (.*) for all/.exec(said)![1].matchAll(/(\d+) (h|min|s)/g)).reduce(
    (sum, [, number, unit]) => sum + Number(number) * { h: 3600, min: 60, s: 1 }[unit as 'h' | 'min' | 's'],
    0,
  );

async function prepared(amount: number) {
  const settings = {
    ...defaults,
    alpha: 1 / 317,
    vocabSize: 36,
    maxBytes: 20,
    batchTokens: 64,
    budget: { unit: 'tokens', amount } as const,
  };
  const texts = ['MKVLAAGIVGLCAKVLAAGMKKLA', 'MKKLAAGIVKVLAAGMKVLAAGIV'];
  return prepare(await tinyModel(), { train: texts, test: texts, format: 'fasta' }, settings, () => {});
}

test('a step in each vocabulary of the rows is timed; the source stays as it is and no tensor is left', async () => {
  const cell = await prepared(64 * 400_000);
  const weights = async () => Promise.all(Object.values(parameters(cell.source.model)).map(w => w.data()));
  const [before, tensors] = [structuredClone(await weights()), memory().tensors];
  const both = describeTime([methods.source, methods.fvt], cell, cell.shape)!;
  expect(both).toMatch(
    /^time: about [\dhmins ]+ for all rows; a step takes [\d.e-]+ s in the source vocabulary, [\d.e-]+ s in the target/,
  );
  const target = describeTime([methods.fvt], cell, cell.shape)!;
  expect(target).not.toContain('source');
  // The time is that of the step it says, once for every batch of the work; seconds of hours are cut off.
  const step = Number(/takes ([\d.e-]+) s/.exec(target)![1]);
  const expected = (workOf(methods.fvt, cell) * step) / (3 * 63);
  expect(Math.abs(seconds(target) - expected)).toBeLessThan(61 + 0.06 * expected);
  expect(memory().tensors).toBe(tensors);
  expect(await weights()).toEqual(before);
});

test('a short run is not timed', async () => {
  const cell = await prepared(64 * 20);
  expect(describeTime([methods.fvt, methods.source], cell, cell.shape)).toBeUndefined();
});
