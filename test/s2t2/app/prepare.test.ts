/** What an experiment is made of: its fingerprint tells any two apart that are not the same. */
import { beforeAll, expect, test } from 'vitest';
import { tensor } from '../../../engine/index.ts';
import type { LanguageModel } from '../../../models/checkpoint.ts';
import { trainBPE } from '../../../models/tokenizer/index.ts';
import { metrics, orderZero, unigram, uniformFloor } from '../../../s2t2/evaluate.ts';
import { floors } from '../../../s2t2/cell.ts';
import { prepare } from '../../../s2t2/app/prepare.ts';
import { defaults, type Settings } from '../../../s2t2/settings.ts';
import { tinyModel } from '../fixture.ts';
import { fromParameters, parameters } from '../../../models/weights.ts';

const domain = { train: ['MKVLAAGIVGLCAKVLAAGMKKLA', 'MKKLAAGIVKVLAAGMKVLAAGIV'], test: ['GIVGLCAMKVKVLAAGLCAMKKLA'] };
const settings: Settings = { ...defaults, alpha: 1 / 317, vocabSize: 16, maxBytes: 20 };
let source: LanguageModel;
beforeAll(async () => {
  source = await tinyModel();
});

test('a fingerprint depends on the settings, weights, vocabularies and texts, and on nothing else', async () => {
  const of = async (
    ...[model, texts, set, given]: [LanguageModel?, typeof domain?, Settings?, ReturnType<typeof trainBPE>?]
  ) => (await prepare(model ?? source, texts ?? domain, set ?? settings, () => {}, { target: given })).fingerprint;
  const name = 'layers.1.feedForward.down.weight';
  const weight = parameters(source.model)[name];
  const withWeight = (values: Float32Array<ArrayBuffer>): LanguageModel => ({
    ...source,
    model: fromParameters(source.model.config, {
      ...parameters(source.model),
      [name]: tensor(values, { shape: weight.shape }),
    }),
  });
  const values = Float32Array.from(weight.dataSync());
  const other = await Promise.all([
    of(),
    of(withWeight(values.with(7, values[7] + 1e-6))),
    of({ ...source, tokenizer: trainBPE(['banana '.repeat(9)], { vocabSize: 265, alphabet: 'bytes' }) }),
    of(source, { ...domain, train: domain.train.toReversed() }),
    of(source, { ...domain, test: ['GIVGLCAMKVKVLAAGLCAMKKLG'] }),
    of(source, domain, { ...settings, seed: 1 }),
    of(source, domain, settings, trainBPE(domain.test, { vocabSize: 16, alphabet: 'seen' })),
  ]);
  expect(new Set(other).size).toBe(other.length);
  expect(await of(withWeight(values))).toBe(other[0]);
});

test('texts are cut into pieces, which both vocabularies write whole', async () => {
  const { texts, sequences, target } = await prepare(source, domain, settings, () => {});
  expect(texts).toEqual({
    train: domain.train.flatMap(text => [text.slice(0, 20), text.slice(20)]),
    test: domain.test.flatMap(text => [text.slice(0, 20), text.slice(20)]),
  });
  for (const part of ['train', 'test'] as const)
    for (const [vocabulary, tokenizer] of [
      ['source', source.tokenizer],
      ['target', target],
    ] as const) {
      expect(Array.from(sequences[part][vocabulary], s => [tokenizer.decode(s.ids), s.bytes])).toEqual(
        texts[part].map(text => [text, text.length]),
      );
    }
});

test('fewer tokens than requested are reported, and only then', async () => {
  const said: string[] = [];
  const { target } = await prepare(source, domain, { ...settings, vocabSize: 300 }, line => said.push(line));
  expect(target.vocabSize).toBeLessThan(300);
  expect(said).toEqual([`the text has pairs for ${target.vocabSize} tokens only, not 300`]);
  await prepare(source, domain, { ...settings, vocabSize: target.vocabSize }, line => said.push(line));
  expect(said).toHaveLength(1);
});

test('the floors count in the training texts and are judged on the others', async () => {
  const prepared = await prepare(source, domain, settings, () => {});
  const {
    texts: { train, test: held },
    target,
  } = prepared;
  expect(floors(train, held, target).map(row => [row.name, row.before, row.after])).toEqual([
    ['uniform', null, metrics(uniformFloor(train, held))],
    ['order0', null, metrics(orderZero(train, held))],
    ['unigram', null, metrics(unigram(train, held, target))],
  ]);
  const nothing = { steps: 0, tokens: 0, bytes: 0, seconds: 0, curve: [] };
  for (const row of floors(train, held, target)) expect(row).toMatchObject(nothing);
  expect(metrics(orderZero(train, held))).not.toEqual(metrics(orderZero(held, train)));
});
