/** A tiny model that has learned a little English, and a few real proteins, for tests of the whole job. */
import { join } from 'node:path';
import { Random } from '../../engine/index.ts';
import { planBatches } from '../../models/batches.ts';
import { saveModel } from '../../models/node/checkpoint.ts';
import { type LanguageModel } from '../../models/checkpoint.ts';
import { writeFileAtomic } from '../../models/node/files.ts';
import { batchLoss } from '../../models/score.ts';
import { gpt2Pattern, trainBPE } from '../../models/tokenizer/index.ts';
import { train } from '../../models/train.ts';
import { initTransformer } from '../../models/init.ts';
import { readCorpus } from '../../s2t2/app/corpus.ts';
import type { Context } from '../../s2t2/method.ts';
import { toSequences } from '../../s2t2/app/prepare.ts';
import { defaults } from '../../s2t2/settings.ts';
import { parameters } from '../../models/weights.ts';

const english =
  'The translation of a sentence is a path from one language to another. A model of language reads a text token by\n' +
  'token and says what it expects next. WHEN THE TEXT IS STRANGE, THE MODEL IS SURPRISED. Proteins are written in ' +
  'letters too: each\nletter is an amino acid, and a chain of them folds into a shape that does work in the cell. AN ' +
  'ENGLISH TOKENIZER CUTS SUCH A CHAIN\nINTO SINGLE LETTERS, and a model has to learn again what the letters mean.';

export async function tinyModel(): Promise<LanguageModel> {
  const tokenizer = trainBPE([english], { vocabSize: 320, pattern: gpt2Pattern, alphabet: 'bytes' });
  const model = initTransformer(
    {
      family: 'olmo',
      vocabSize: 320,
      width: 32,
      layers: 2,
      heads: 2,
      keyValueHeads: 2,
      feedForward: 64,
      context: 128,
      rotaryBase: 10000,
      normEps: 1e-5,
      tied: true,
    },
    new Random(1),
  );
  const sequences = toSequences(english.split('. '), tokenizer, 128);
  await train({
    parameters: parameters(model),
    batches: planBatches(sequences, 256, { unit: 'tokens', amount: 8000 }, new Random(2)),
    loss: b => batchLoss(model, b),
    rate: 3e-3,
    warmup: 5,
  });
  return { model, tokenizer };
}

const proteins = [
  'MKVLAAGIVGLCAKVLAAGMKKLA',
  'MKKLAAGIVKVLAAGMKVLAAGIV',
  'GIVGLCAMKVKVLAAGLCAMKKLA',
  'AAGIVGLCAMKVLAAGKKLAMKVL',
];

/**
 * What a method may use: the tiny model, 20 target tokens for the four proteins above, and a budget that goes to the
 * plan.
 */
export async function tinyContext(): Promise<Context> {
  const source = await tinyModel();
  const target = trainBPE(proteins, { vocabSize: 20, alphabet: 'seen' });
  const sequences = (t: typeof target) => toSequences(proteins, t, 128);
  return {
    source,
    target,
    settings: {
      ...defaults,
      alpha: 1 / 317,
      budget: { unit: 'tokens', amount: 3000 },
      planShare: 1,
      planRate: 0.05,
      batchTokens: 64,
    },
    train: { source: sequences(source.tokenizer), target: sequences(target) },
    runStage: (_, training) => train(training),
    log: () => {},
  };
}

/** Writes the model and two FASTA files into a directory and returns their paths. */
export async function writeFixture(directory: string): Promise<{ model: string; train: string; test: string }> {
  const paths = {
    model: join(directory, 'source'),
    train: join(directory, 'train.fasta'),
    test: join(directory, 'test.fasta'),
  };
  await saveModel(paths.model, await tinyModel());
  const { documents } = await readCorpus(
    new URL('../../s2t2/data/proteins.validation.fasta.gz', import.meta.url).pathname,
    { maxLength: 120 },
  );
  const fasta = (from: number, to: number) =>
    documents
      .slice(from, to)
      .map(d => `>${d.name}\n${d.text}\n`)
      .join('');
  await writeFileAtomic(paths.train, fasta(0, 24));
  await writeFileAtomic(paths.test, fasta(24, 32));
  return paths;
}
