/** `pretrain`: how the bundled source model was made, or another one is. */
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { loadModel } from '../../../models/node/checkpoint.ts';
import { familyNames } from '../../../models/families.ts';
import { loadEnglish } from '../data/english.ts';
import { withLock } from '../lock.ts';
import { checkPretrain, judgePretrained, optimizers, pretrain, pretrainDefaults } from '../pretrain.ts';
import { batchTokens, fraction, positive, whole } from './arguments.ts';
import { log, print, stop, withSignals } from './process.ts';

/** Adds `pretrain`. */
export function addPretrainCommand(program: Command): void {
  program
    .command('pretrain')
    .description('pretrain a source model on English')
    .option('--out <dir>', 'model directory to write', 'runs/pretrain/model')
    .option('--judge <dir>', 'train nothing: score this pretrained model anew, beside a 5-gram model, for its record')
    .option('--work <dir>', 'where texts and the state of the run lie', 'runs/pretrain')
    .addOption(
      new Option('--family <name>', 'of the architecture').choices([...familyNames]).default(pretrainDefaults.family),
    )
    .option('--seed <n>', 'fixes the model', whole(0), pretrainDefaults.seed)
    .option('--tokens <n>', 'to train on', whole(1), pretrainDefaults.tokens)
    .option('--text <share>', 'of the training documents to use', fraction, pretrainDefaults.text)
    .option('--vocab-size <n>', 'tokens', whole(259), pretrainDefaults.vocabSize)
    .option('--width <n>', 'of the residual stream', whole(2), pretrainDefaults.width)
    .option('--layers <n>', 'of the transformer', whole(1), pretrainDefaults.layers)
    .option('--heads <n>', 'of attention', whole(1), pretrainDefaults.heads)
    .option('--window <n>', 'tokens in a sequence; the context of a gpt2 model', whole(2), pretrainDefaults.window)
    .option('--batch-tokens <n>', 'tokens in a batch', batchTokens, pretrainDefaults.batchTokens)
    .option('--rate <x>', 'peak learning rate', positive, pretrainDefaults.rate)
    .addOption(
      new Option('--optimizer <name>', 'of the matrices in the layers')
        .choices([...optimizers])
        .default(pretrainDefaults.optimizer),
    )
    .option(
      '--ends-rate <x>',
      'learning rate of embedding and head under muon, in units of --rate',
      positive,
      pretrainDefaults.endsRate,
    )
    .option(
      '--teacher <share>',
      'of a 5-gram model in what is learned at first; it falls to 0',
      fraction,
      pretrainDefaults.teacher,
    )
    .option('--fresh', 'forget the state of an earlier run in --work')
    .action(flags =>
      withLock(flags.work, async () => {
        // Mistakes are told before anything is installed.
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
