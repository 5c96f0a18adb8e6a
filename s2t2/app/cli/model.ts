/** `import`, `export`, `evaluate` and `generate`: a model as it is. */
import type { Command } from 'commander';
import { Random } from '../../../engine/index.ts';
import { dtypeNames, type FloatDType } from '../../../models/config.ts';
import { continuationText, encodePrompt, generate, rowsOfTokens } from '../../../models/generate.ts';
import { exportModel } from '../../../models/node/export.ts';
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

interface ConvertFlags {
  readonly out: string;
  readonly dtype?: keyof typeof dtypes;
}

/** Runs what writes bytes of weights, with a bar in megabytes. */
async function withBar<T>(
  title: string,
  write: (onProgress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  let bar: ProgressBar | undefined;
  return withSignals(() =>
    write((done, total) => {
      bar ??= progressBar(title, total / 1e6, 'MB');
      bar.update(done / 1e6);
    }),
  ).finally(() => bar?.stop());
}

/** Says which tensors were not written. */
function tellUnused(unused: readonly string[]): void {
  if (unused.length === 0) return;
  const more = unused.length > 5 ? ` and ${unused.length - 5} more` : '';
  log(`left out, since the model does not compute with them: ${unused.slice(0, 5).join(', ')}${more}`);
}

const describeWritten = ({ bytes, dtype }: { readonly bytes: number; readonly dtype: FloatDType }, out: string) =>
  `${(bytes / 1e6).toFixed(0)} MB of weights in ${dtypeNames[dtype]}, written to ${out}`;

/** Adds `import`, `export`, `evaluate` and `generate`. */
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
    .action(async (file: string, { out, dtype }: ConvertFlags) => {
      await checkOutput(['--out', out], { 'the model to import': file });
      const { skipped, unused, ...written } = await withBar('importing', onProgress =>
        importModel(file, { out, dtype: dtype && dtypes[dtype], signal: stop.signal, onProgress }),
      );
      if (skipped.length > 0) log(`not carried over: ${skipped.join(', ')}`);
      tellUnused(unused);
      print({ ...written, out }, describeWritten(written, out));
    });

  program
    .command('export')
    .description('write a model as a GGUF file, for llama.cpp and tools built on it')
    .argument('<model>', 'Hugging Face model directory, or a GGUF file to convert to another --dtype')
    .addOption(requiredOption('--out <file>', 'GGUF file to write'))
    .addOption(dtypeOption("dtype of the matrices; default: the source's, or float16 if that is quantised"))
    .action(async (model: string, { out, dtype }: ConvertFlags) => {
      await checkOutput(['--out', out], { 'the model to export': model });
      await prepareToWrite(out);
      const { unused, ...written } = await withBar('exporting', onProgress =>
        exportModel(model, { out, dtype: dtype && dtypes[dtype], signal: stop.signal, onProgress }),
      );
      tellUnused(unused);
      const { unknownBytes } = written;
      if (unknownBytes > 0)
        log(`${unknownBytes} of 256 byte values have no token in this vocabulary; llama.cpp leaves them out of a text`);
      print({ ...written, out }, describeWritten(written, out));
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
