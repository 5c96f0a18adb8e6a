/** `explain` and `translate`: what a plan says, and what it does to another model. */
import type { Command } from 'commander';
import { loadTokenizer } from '../../../models/node/checkpoint.ts';
import { progressBar, type ProgressBar } from '../../../models/node/progress.ts';
import { explainPlan } from '../../explain.ts';
import { cutAll } from '../../corpus/sequences.ts';
import { defaults } from '../../settings.ts';
import { loadPlan } from '../plan-file.ts';
import { translateCheckpoint } from '../translate/checkpoint.ts';
import { headWithFrequencies } from '../translate/head.ts';
import { explanationTable } from '../tables.ts';
import { commandLine, onlyWith, requiredOption, whole } from './arguments.ts';
import { readWithNotice, withCorpus, type CorpusFlags } from './data.ts';
import { log, print, stop, withSignals } from './process.ts';

interface TranslateFlags extends CorpusFlags, Record<'model' | 'plan' | 'target' | 'out', string> {
  readonly spread?: true;
  readonly seed: number;
  readonly data?: string;
  readonly maxBytes: number;
}

/** Adds `explain` and `translate`. */
export function addPlanCommands(program: Command): void {
  program
    .command('explain')
    .description('show which source tokens each target token is made of')
    .addOption(requiredOption('--plan <file>', 'plan.safetensors of a run'))
    .addOption(requiredOption('--source <dir>', 'source model directory, or its tokenizer.json'))
    .addOption(requiredOption('--target <dir>', 'adapted model directory, or its tokenizer.json'))
    .option('--top <n>', 'source tokens per row', whole(1), 5)
    .option('--count <n>', 'number of rows, most concentrated first', whole(1), 12)
    .option('--token <texts...>', 'show these target tokens instead')
    .action(
      async ({
        plan: file,
        source,
        target,
        top,
        count,
        token,
      }: {
        plan: string;
        source: string;
        target: string;
        top: number;
        count: number;
        token?: string[];
      }) => {
        const [from, to] = [await loadTokenizer(source), await loadTokenizer(target)];
        const plan = await loadPlan(file, {
          source: from.hash,
          target: to.hash,
          sourceSize: from.vocabSize,
          targetSize: to.vocabSize,
        });
        const rows = explainPlan(plan, from, to, { top, count, tokens: token });
        print({ plan: file, tokens: rows }, explanationTable(rows));
      },
    );

  const translate = program
    .command('translate')
    .description(
      'apply a plan to a model of any size that shares the source vocabulary, one block in memory at a time',
    );
  withCorpus(translate)
    .addOption(requiredOption('--model <dir>', 'Hugging Face model directory or GGUF file'))
    .addOption(requiredOption('--plan <file>', 'plan.safetensors of a run'))
    .addOption(requiredOption('--target <dir>', "directory with the plan's target tokenizer, or its tokenizer.json"))
    .addOption(
      requiredOption(
        '--out <dir>',
        'model directory to write: a new one, or one that a stopped run of this command left',
      ),
    )
    .option(
      '--spread',
      "rows for finetuning, drawn about the translated ones at the source's scale; without it the translated rows, " +
        'for a model that stays frozen',
    )
    .option('--seed <n>', 'of --spread and of the sample of --data', whole(0), defaults.seed)
    .option(
      '--data <file>',
      'texts of the domain, - reads standard input: the head gets the frequencies of their tokens, which a plan does ' +
        'not hold; reads the whole model into memory',
    )
    .option('--max-bytes <n>', 'cut longer texts into pieces of this many bytes', whole(1), defaults.maxBytes)
    .action(async ({ spread: isSpread, seed, data, maxBytes, format, field, strict, ...options }: TranslateFlags) => {
      const started = performance.now();
      const spread = isSpread && { seed, headScale: defaults.headScale };
      const texts = data === undefined ? undefined : (await readWithNotice(data, { format, field, strict })).texts;
      const head = texts && (await headWithFrequencies({ ...options, spread }, cutAll(texts, maxBytes)));
      let bar: ProgressBar | undefined;
      let bytes = 0;
      await withSignals(() =>
        translateCheckpoint({
          ...options,
          spread,
          head,
          command: commandLine(),
          log,
          signal: stop.signal,
          onProgress: (done, total, file) => {
            bar ??= progressBar('translating', total / 1e6, 'MB');
            bytes = done;
            bar.update(done / 1e6, file);
          },
        }),
      ).finally(() => bar?.stop());
      const seconds = (performance.now() - started) / 1000;
      print(
        { bytes, seconds, out: options.out },
        `${(bytes / 1e6).toFixed(0)} MB of weights in ${seconds.toFixed(1)} s, ` +
          `${(bytes / 1e6 / seconds).toFixed(0)} MB/s; written to ${options.out}`,
      );
    });
  onlyWith(translate, ['--format', '--field', '--strict', '--max-bytes'], '--data');
}
