/** `import`, `evaluate` and `generate`: a model as it is. */
import type { Command } from 'commander';
import { Random } from '../../../engine/index.ts';
import { dtypeNames } from '../../../models/config.ts';
import { continuationText, encodePrompt, generate, rowsOfTokens } from '../../../models/generate.ts';
import { prepareToWrite, writeFileAtomic } from '../../../models/node/files.ts';
import { importModel } from '../../../models/node/import.ts';
import { progressBar, type ProgressBar } from '../../../models/node/progress.ts';
import { evaluationTokens, score, type Score } from '../../../models/score.ts';
import { scoredTokens, sumOver } from '../../../models/sequences.ts';
import { longestSequence } from '../../../models/transformer-config.ts';
import { metrics } from '../../evaluate.ts';
import { defaults } from '../../settings.ts';
import { cutAll } from '../../corpus/sequences.ts';
import { encodeInTwo } from '../encode.ts';
import { loadFrozen } from '../frozen.ts';
import { describeUnknown } from '../prepare.ts';
import { evaluationTable } from '../tables.ts';
import { batchTokens, dtypeOption, dtypes, fraction, nonNegative, requiredOption, whole } from './arguments.ts';
import { checkOutput, readWithNotice, withCorpus, type CorpusFlags } from './data.ts';
import { log, print, stop, stoppedCode, withSignals } from './process.ts';

interface EvaluateFlags extends CorpusFlags {
  readonly model: string;
  readonly data: string;
  readonly maxBytes: number;
  readonly batchTokens: number;
  readonly perText?: string;
}

/** Adds `import`, `evaluate` and `generate`. */
export function addModelCommands(program: Command): void {
  program
    .command('import')
    .description('write the model of a GGUF file as a Hugging Face model directory')
    .argument(
      '<file>',
      'GGUF file, or a model directory to convert to another --dtype; its licence, card and templates come along',
    )
    .addOption(requiredOption('--out <dir>', 'model directory to write'))
    .addOption(dtypeOption("dtype of the weights; default: the source's, or float16 if that is quantised"))
    .action(async (file: string, { out, dtype }: { out: string; dtype?: keyof typeof dtypes }) => {
      await checkOutput(['--out', out], { 'the model to import': file });
      let bar: ProgressBar | undefined;
      const onProgress = (done: number, total: number) => {
        bar ??= progressBar('importing', total / 1e6, 'MB');
        bar.update(done / 1e6);
      };
      const { skipped, unused, ...written } = await withSignals(() =>
        importModel(file, { out, dtype: dtype && dtypes[dtype], signal: stop.signal, onProgress }),
      ).finally(() => bar?.stop());
      if (skipped.length > 0) log(`not carried over: ${skipped.join(', ')}`);
      if (unused.length > 0) {
        const more = unused.length > 5 ? ` and ${unused.length - 5} more` : '';
        log(`left out, since the model does not compute with them: ${unused.slice(0, 5).join(', ')}${more}`);
      }
      print(
        { ...written, out },
        `${(written.bytes / 1e6).toFixed(0)} MB of weights in ${dtypeNames[written.dtype]}, written to ${out}`,
      );
    });

  const evaluate = program
    .command('evaluate')
    .description('perplexity and bits per byte of a model directory on a corpus');
  withCorpus(evaluate)
    .addOption(requiredOption('--model <dir>', 'Hugging Face model directory or GGUF file'))
    .addOption(requiredOption('--data <file>', 'texts; - reads standard input'))
    .option('--max-bytes <n>', 'cut longer texts into pieces of this many bytes', whole(1), defaults.maxBytes)
    .option('--batch-tokens <n>', 'tokens per batch', batchTokens, evaluationTokens)
    .option('--per-text <file>', 'write the score of every text to this file as a line of JSON')
    .action(async ({ model: directory, data, maxBytes, batchTokens: tokensAtOnce, ...flags }: EvaluateFlags) => {
      await checkOutput(['--per-text', flags.perText], { '--data': data, '--model': directory });
      if (flags.perText !== undefined) await prepareToWrite(flags.perText);
      const { model, tokenizer } = await loadFrozen(directory);
      const { texts: documents, format, skipped } = await readWithNotice(data, flags);
      const texts = cutAll(documents, maxBytes);
      const context = longestSequence(model.config);
      const { sequences, unknown } = await encodeInTwo(texts, tokenizer, context, stop.signal);
      if (unknown) log(describeUnknown(unknown, data, "model's"));
      const bar = progressBar('evaluating', sumOver(sequences, scoredTokens), 'tokens');
      const started = performance.now();
      let done = 0;
      const scores = await score(model, sequences, {
        batchTokens: tokensAtOnce,
        signal: stop.signal,
        onProgress: n => bar.update((done += n)),
      }).finally(() => bar.stop());
      const total = (of: (s: Score) => number) => scores.reduce((n, s) => n + of(s), 0);
      const [tokens, bytes] = [total(s => s.tokens), total(s => s.bytes)];
      const result = {
        texts: texts.length,
        bytes,
        tokensPerByte: tokens / bytes,
        ...metrics(scores),
        endBits: total(s => s.endNats) / Math.LN2 / scores.length,
        secondsPerThousandBytes: (performance.now() - started) / bytes,
      };
      if (flags.perText !== undefined)
        await writeFileAtomic(
          flags.perText,
          scores.map(
            (s, i) => `${JSON.stringify({ text: texts[i], ...s, bitsPerByte: s.nats / Math.LN2 / s.bytes })}\n`,
          ),
        );
      const { tokens: unknownBytes = 0, texts: unknownTexts = 0 } = unknown ?? {};
      print(
        { ...result, format, skipped, unknown: { bytes: unknownBytes, texts: unknownTexts } },
        evaluationTable(result),
      );
    });

  program
    .command('generate')
    .description('continue a prompt')
    .addOption(requiredOption('--model <dir>', 'Hugging Face model directory or GGUF file'))
    .option('--prompt <text>', 'text to continue', '')
    .option('--max-tokens <n>', 'maximum number of tokens to generate', whole(1), 100)
    .option('--temperature <x>', 'sampling temperature; 0 always takes the most likely token', nonNegative, 1)
    .option(
      '--top-p <x>',
      'sample from the fewest most likely tokens whose probabilities add up to this',
      fraction,
      0.95,
    )
    .option('--seed <n>', 'random seed; the same seed gives the same text', whole(0), 0)
    .action(
      async ({
        model: directory,
        prompt,
        maxTokens,
        temperature,
        topP,
        seed,
      }: {
        model: string;
        prompt: string;
        maxTokens: number;
        temperature: number;
        topP: number;
        seed: number;
      }) => {
        const { model, tokenizer, endTokens } = await loadFrozen(directory);
        const start = encodePrompt(tokenizer, prompt);
        const ids: number[] = [];
        const options = {
          maxTokens,
          temperature,
          topP,
          stop: endTokens,
          random: new Random(seed),
          ids: rowsOfTokens(tokenizer, model.config.vocabSize),
        };
        await withSignals(async () => {
          for await (const id of generate(model, start, options)) {
            ids.push(id);
            if (stop.signal.aborted) break;
          }
        });
        const text = continuationText(tokenizer, start, ids);
        print({ prompt, text, tokens: ids.length }, prompt + text);
        if (stop.signal.aborted) process.exitCode = stoppedCode();
      },
    );
}
