/** `pretrain`: makes the bundled source model, or another one. */
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { familyNames } from '../../../models/families.ts';
import { loadEnglish } from '../data/english.ts';
import { withLock } from '../lock.ts';
import {
  checkPretrain,
  judgePretrained,
  leastVocabulary,
  leastWindow,
  optimizers,
  pretrain,
  pretrainDefaults,
} from '../pretrain.ts';
import { batchTokens, fraction, positive, whole } from './arguments.ts';
import { log, print, stop, withSignals } from './process.ts';

/** Adds `pretrain`. */
export function addPretrainCommand(program: Command): void {
  program
    .command('pretrain')
    .description('pretrain a source model on English')
    .option('--out <dir>', 'model directory to write', 'runs/pretrain/model')
    .option('--judge <dir>', 'do not train; score this pretrained model and a 5-gram model again and write its record')
    .option('--work <dir>', 'directory for texts and the state of the run', 'runs/pretrain')
    .addOption(new Option('--family <name>', 'architecture').choices([...familyNames]).default(pretrainDefaults.family))
    .option('--seed <n>', 'random seed; the same seed gives the same model', whole(0), pretrainDefaults.seed)
    .option('--tokens <n>', 'number of training tokens', whole(1), pretrainDefaults.tokens)
    .option('--text <share>', 'share of the training documents to use', fraction, pretrainDefaults.text)
    .option('--vocab-size <n>', 'size of the vocabulary', whole(leastVocabulary), pretrainDefaults.vocabSize)
    .option('--width <n>', 'width of the residual stream', whole(2), pretrainDefaults.width)
    .option('--layers <n>', 'number of transformer layers', whole(1), pretrainDefaults.layers)
    .option('--heads <n>', 'number of attention heads', whole(1), pretrainDefaults.heads)
    .option(
      '--window <n>',
      'tokens per sequence; the context length of a gpt2 model',
      whole(leastWindow),
      pretrainDefaults.window,
    )
    .option('--batch-tokens <n>', 'tokens per batch', batchTokens, pretrainDefaults.batchTokens)
    .option('--rate <x>', 'peak learning rate', positive, pretrainDefaults.rate)
    .addOption(
      new Option('--optimizer <name>', "optimiser of the layers' matrices")
        .choices([...optimizers])
        .default(pretrainDefaults.optimizer),
    )
    .option(
      '--ends-rate <x>',
      'learning rate of embedding and head with muon, as a multiple of --rate',
      positive,
      pretrainDefaults.endsRate,
    )
    .option(
      '--teacher <share>',
      'initial weight of a 5-gram model in the targets; it falls to 0',
      fraction,
      pretrainDefaults.teacher,
    )
    .option('--fresh', 'discard the state of an earlier run in --work')
    .action(flags =>
      withLock(flags.work, async () => {
        // Rejects mistakes before anything is installed.
        if (flags.judge === undefined) checkPretrain(flags);
        else await loadModel(flags.judge);
        const common = {
          english: await loadEnglish({ cache: join(flags.work, 'english'), log }),
          signal: stop.signal,
          interruptible: withSignals,
          log,
        };
        const record = await (flags.judge === undefined
          ? pretrain({ ...flags, ...common })
          : judgePretrained({ ...flags, ...common, model: flags.judge }));
        const written = join(flags.judge ?? flags.out, 'record.json');
        print(record, written);
      }),
    );
}
