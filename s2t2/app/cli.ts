#!/usr/bin/env node
/**
 * The command line. A mistake in the input is one line on standard error and exit code 2; Ctrl-C and SIGTERM save and
 * exit with 130 and 143; any other failure is a bug and shows its stack.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import {
  backendNames,
  getBackend,
  openBackend,
  Random,
  setBackend,
  type Backend,
  type BackendName,
} from '../../engine/index.ts';
import { loadModel, loadTokenizer } from '../../models/node/checkpoint.ts';
import { UserError } from '../../models/errors.ts';
import { writeFileAtomic } from '../../models/node/files.ts';
import { generate } from '../../models/generate.ts';
import { score } from '../../models/score.ts';
import { tokenizerToJson, trainBPE } from '../../models/tokenizer/index.ts';
import { Interrupted } from '../../models/train.ts';
import { families } from '../../models/transformer.ts';
import { adapt } from './adapt.ts';
import { readCorpus } from './corpus.ts';
import { domains, type DomainName } from './data/domains.ts';
import { loadEnglish } from './data/english.ts';
import { makeDomain, type MakeOptions } from './data/make.ts';
import { dataFolder } from './data/tools.ts';
import { metrics } from '../evaluate.ts';
import { explainPlan } from '../explain.ts';
import { withLock } from './lock.ts';
import { methods } from '../methods.ts';
import { ablationNames, type AblationName } from './paper/ablations.ts';
import { rotated } from './paper/cells.ts';
import { domainsMarkdown, paperMarkdown } from './paper/markdown.ts';
import type { Paper } from './paper/paper.ts';
import { helpPaper, paper, type PaperOptions } from './paper/run.ts';
import { lines } from './paper/table.ts';
import { loadPlan } from './plan-file.ts';
import { cutAll, toSequences } from './prepare.ts';
import { judgePretrained, optimizers, pretrain, pretrainDefaults } from './pretrain.ts';
import { progressBar, type ProgressBar } from '../../models/node/progress.ts';
import { writeRunReport } from './report/run.ts';
import { defaultAlpha, defaults, type Settings } from '../settings.ts';
import { variants, type Variant } from '../sinkhorn.ts';
import { translateCheckpoint } from './stream.ts';
import { explanationTable, renderTable, resultsTable } from './tables.ts';

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const log = (text: string): void => void process.stderr.write(`${text}\n`);

/** Exit codes of processes that a signal ended, as shells count them. */
const signalled = { SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 };

// Whoever reads our output may have seen enough (`| head`); work goes on where only its progress is not wanted.
process.stdout.on('error', () => process.exit(signalled.SIGPIPE));
process.stderr.on('error', () => {});

const stop = new AbortController();
let stoppedBy: 'SIGINT' | 'SIGTERM' = 'SIGINT';
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    if (stop.signal.aborted) process.exit(signalled[name]);
    log(`\nstopping after this step${name === 'SIGINT' ? '; press Ctrl-C again to stop at once' : ''}`);
    stoppedBy = name;
    stop.abort(new Interrupted('stopped'));
  });
}

/** A whole number of at least `least`. */
const whole =
  (least: number) =>
  (text: string): number => {
    const value = Number(text.replaceAll('_', ''));
    if (!Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It is a whole number of ${least} or more.`);
    return value;
  };
const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0 && value < Infinity)) throw new InvalidArgumentError('It is a positive number.');
  return value;
};
const fraction = (text: string): number => {
  const value = Number(text);
  if (!(value >= 0 && value <= 1) || text === '') throw new InvalidArgumentError('It is a number between 0 and 1.');
  return value;
};

let opened = null as Backend | null;

/** Threads for each of so many processes. */
const share = (jobs: number): number => Math.max(1, Math.floor(availableParallelism() / jobs));

/**
 * Runs `work` while as many processes more run this very command as helpers; they end with it, and when this process
 * dies.
 */
async function withHelpers<R>(count: number, work: () => Promise<R>): Promise<R> {
  let over = false;
  const helpers = Array.from({ length: count }, (_, i) => {
    const helper = fork(process.argv[1], [...process.argv.slice(2), '--helper', String((i + 1) / (count + 1))], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let last = '';
    helper.stderr!.setEncoding('utf8').on('data', (text: string) => {
      last = `${last}${text}`.slice(-2000);
    });
    helper.once('exit', code => {
      if (code !== 0 && !over && !stop.signal.aborted)
        log(`a helper ended with code ${code}; this process goes on without it:\n${last}`);
    });
    return { helper, ended: once(helper, 'exit') };
  });
  try {
    return await work();
  } finally {
    over = true;
    for (const { helper } of helpers) if (helper.connected) helper.disconnect();
    await Promise.all(helpers.map(h => h.ended));
  }
}

const program = new Command('s2t2')
  .description('Sparse Sinkhorn Token Translation: adapt a language model to a domain its tokenizer was not made for.')
  .addOption(new Option('--backend <name>', 'what computes').choices(backendNames).default('auto'))
  .option('--threads <n>', 'of the wasm backend; by default as many as processors, at most 8', whole(1))
  .hook('preAction', async (_, command) => {
    const {
      backend,
      jobs = 1,
      threads = jobs > 1 ? share(jobs) : undefined,
    } = command.optsWithGlobals<{ backend: BackendName; threads?: number; jobs?: number }>();
    opened = await openBackend(backend, { threads }).catch((error: Error) => {
      throw new UserError(error.message);
    });
    setBackend(opened);
  })
  .showHelpAfterError('(--help lists the options)')
  .configureOutput({ outputError: (text, write) => write(text) })
  .exitOverride();

/** Options that fix an adaptation; `vocabSize` and others appear in `Settings` under the same names. */
function withSettings(command: Command): Command {
  return command
    .option('--seed <n>', 'fixes the whole run', whole(0), defaults.seed)
    .option('--vocab-size <n>', 'tokens of the target vocabulary', whole(4), defaults.vocabSize)
    .option(
      '--tokens <n>',
      'training budget of every method, in tokens of its own vocabulary',
      whole(1),
      defaults.budget.amount,
    )
    .option('--bytes <n>', 'the budget in bytes of text instead', whole(1))
    .option('--plan-share <x>', 'part of the budget for learning the plan', fraction, defaults.planShare)
    .option('--batch-tokens <n>', 'tokens in a batch', whole(1), defaults.batchTokens)
    .option('--max-bytes <n>', 'longer texts are cut into pieces of this many bytes', whole(1), defaults.maxBytes)
    .option('--rate <x>', 'peak learning rate of finetuning', positive, defaults.rate)
    .option(
      '--body-rate <x>',
      'that of the layers between embedding and head, in units of --rate',
      fraction,
      defaults.bodyRate,
    )
    .option('--plan-rate <x>', "peak learning rate of the plan's cost", positive, defaults.planRate)
    .addOption(
      new Option('--variant <name>', 'of the sparse Sinkhorn layer').choices([...variants]).default(defaults.variant),
    )
    .option('--iterations <n>', 'rounds of the layer', whole(1), defaults.iterations)
    .option('--alpha <x>', 'regulariser, in units of 1/(u v); default 1/v', positive)
    .addOption(
      new Option('--marginals <name>', 'of the plan').choices(['uniform', 'frequency']).default(defaults.marginals),
    )
    .addOption(new Option('--init <name>', 'of the cost').choices(['noise', 'pieces']).default(defaults.init))
    .option('--save-every <s>', 'seconds between saves of the state of training', whole(0), 20)
    .option('--fresh', 'forget what an earlier run in the same directory has done');
}

interface SettingsFlags extends Omit<Settings, 'budget' | 'alpha'> {
  readonly tokens: number;
  readonly bytes?: number;
  readonly alpha?: number;
  readonly variant: Variant;
  readonly saveEvery: number;
  readonly fresh?: boolean;
}

const settingsFrom = (flags: SettingsFlags, sourceTokens: number): Settings => ({
  ...defaults,
  seed: flags.seed,
  vocabSize: flags.vocabSize,
  budget: flags.bytes === undefined ? { unit: 'tokens', amount: flags.tokens } : { unit: 'bytes', amount: flags.bytes },
  planShare: flags.planShare,
  batchTokens: flags.batchTokens,
  maxBytes: flags.maxBytes,
  rate: flags.rate,
  planRate: flags.planRate,
  bodyRate: flags.bodyRate,
  variant: flags.variant,
  iterations: flags.iterations,
  alpha: flags.alpha ?? defaultAlpha(sourceTokens),
  marginals: flags.marginals,
  init: flags.init,
});

const methodList = (text: string): string[] => text.split(',').map(name => name.trim());
const domainList = (text: string): DomainName[] =>
  methodList(text).map(name => {
    if (!Object.hasOwn(domains, name))
      throw new InvalidArgumentError(`There is no domain ${name}; there are ${Object.keys(domains).join(', ')}.`);
    return name as DomainName;
  });
const ablationList = (text: string): AblationName[] =>
  methodList(text).map(name => {
    if (!ablationNames.includes(name as AblationName))
      throw new InvalidArgumentError(`There are ${ablationNames.join(', ')}.`);
    return name as AblationName;
  });

interface AdaptFlags extends SettingsFlags {
  readonly model: string;
  readonly data: string;
  readonly test?: string;
  readonly testShare: number;
  readonly out: string;
  readonly methods: readonly string[];
  readonly maxTest?: number;
}

async function runAdaptation(flags: AdaptFlags): Promise<void> {
  const source = await loadModel(flags.model);
  const texts = (await readCorpus(flags.data)).documents.map(d => d.text);
  const domain =
    flags.test === undefined
      ? splitRandomly(texts, flags.testShare, flags.seed, flags.data)
      : { train: texts, test: (await readCorpus(flags.test)).documents.map(d => d.text).slice(0, flags.maxTest) };
  const settings = settingsFrom(flags, source.tokenizer.ordinaryIds().length);
  log(
    `${getBackend().describe()}\n${domain.train.length} training texts, ${domain.test.length} held out; results go to ${flags.out}`,
  );
  const { results, target, plan } = await adapt({
    source,
    domain,
    settings,
    methods: flags.methods,
    out: flags.out,
    fresh: flags.fresh,
    saveEverySeconds: flags.saveEvery,
    signal: stop.signal,
    log,
  });
  print(resultsTable(results));
  const report = await writeRunReport(flags.out, source.tokenizer);
  if (!plan || !results.plan) {
    print(`\nresults: ${join(flags.out, 'results.json')}   to look at: ${report}`);
    return;
  }
  const { rows, columns, support, supportPerRow, residual, gap } = results.plan;
  print(
    `\nplan ${rows}×${columns}: ${support.toLocaleString('en')} entries, ${supportPerRow[1].toFixed(0)} source tokens a target token, ${(100 * residual).toFixed(2)}% of the mass misplaced${gap === null ? '' : `, duality gap ${gap.toExponential(1)}`}\n`,
  );
  print(explanationTable(explainPlan(plan, source.tokenizer, target)));
  print(
    `\nadapted model: ${join(flags.out, 'model')}   plan: ${join(flags.out, 'plan.safetensors')}   results: ${join(flags.out, 'results.json')}   to look at: ${report}`,
  );
}

function splitRandomly(
  texts: readonly string[],
  share: number,
  seed: number,
  file: string,
): { train: string[]; test: string[] } {
  const order = new Random(seed).split('split').shuffle([...texts]);
  const n = Math.round(share * order.length);
  if (n < 1 || n >= order.length)
    throw new UserError(
      `${file}: ${order.length} texts cannot be split into training and test; give a test file with --test`,
    );
  return { train: order.slice(n), test: order.slice(0, n) };
}

withSettings(
  program
    .command('start', { isDefault: true })
    .description('adapt the bundled English model to the bundled proteins and print the table'),
)
  .option('--out <dir>', 'directory of the run', 'runs/proteins')
  .option('--max-test <n>', 'test sequences to evaluate on', whole(2), 100)
  .option('--methods <names>', `rows of the table: ${Object.keys(methods).join(', ')}`, methodList, [
    'source',
    'truncated',
    'fvt',
    's2t2',
    'scratch',
  ])
  .action((flags: AdaptFlags) =>
    runAdaptation({
      ...flags,
      model: dataFolder('source'),
      data: dataFolder('proteins.train.fasta.gz'),
      test: dataFolder('proteins.test.fasta.gz'),
    }),
  );

withSettings(
  program
    .command('adapt')
    .description('adapt a model directory to a corpus (FASTA, text or JSON Lines, plain or gzipped)'),
)
  .requiredOption('--model <dir>', 'Hugging Face model directory (OLMo-1, LLaMA or GPT-2, with a BPE tokenizer)')
  .requiredOption('--data <file>', 'training texts')
  .option(
    '--test <file>',
    'held-out texts; without it a random part of the data, which is no protection against relatives',
  )
  .option('--test-share <x>', 'that part', fraction, 0.05)
  .requiredOption('--out <dir>', 'directory of the run')
  .option('--methods <names>', `rows of the table: ${Object.keys(methods).join(', ')}`, methodList, ['source', 's2t2'])
  .action(runAdaptation);

program
  .command('tokenize')
  .description('train a byte-level BPE tokenizer on a corpus and write tokenizer.json')
  .requiredOption('--data <file>', 'texts')
  .option('--vocab-size <n>', 'tokens in all', whole(4), defaults.vocabSize)
  .requiredOption('--out <file>', 'the tokenizer.json to write')
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
  .command('evaluate')
  .description('perplexity and bits per byte of a model directory on a corpus')
  .requiredOption('--model <dir>', 'Hugging Face model directory')
  .requiredOption('--data <file>', 'texts')
  .option('--max-bytes <n>', 'longer texts are cut into pieces of this many bytes', whole(1), defaults.maxBytes)
  .action(async ({ model: directory, data, maxBytes }: { model: string; data: string; maxBytes: number }) => {
    const { model, tokenizer } = await loadModel(directory);
    const texts = cutAll(
      (await readCorpus(data)).documents.map(d => d.text),
      maxBytes,
    );
    const sequences = toSequences(texts, tokenizer, model.config.context);
    const bar = progressBar(
      'evaluating',
      sequences.reduce((n, s) => n + s.ids.length - 1, 0),
      'tokens',
    );
    const started = performance.now();
    let done = 0;
    const scores = await score(model, sequences, {
      signal: stop.signal,
      onProgress: n => bar.update((done += n)),
    }).finally(() => bar.stop());
    const m = metrics(scores);
    const [tokens, bytes] = [scores.reduce((n, s) => n + s.tokens, 0), scores.reduce((n, s) => n + s.bytes, 0)];
    print(
      renderTable(
        ['texts', 'bytes', 'tokens/byte', 'perplexity', 'bits/byte', 'end token, bits', 's per 1000 bytes'],
        [
          [
            String(texts.length),
            String(bytes),
            (tokens / bytes).toFixed(3),
            m.perplexity.toPrecision(4),
            `${m.bitsPerByte.toFixed(4)} ± ${m.standardError.toFixed(4)}`,
            (scores.reduce((n, s) => n + s.endNats, 0) / Math.LN2 / scores.length).toFixed(2),
            ((performance.now() - started) / bytes).toFixed(3),
          ],
        ],
      ),
    );
  });

program
  .command('generate')
  .description('continue a prompt')
  .requiredOption('--model <dir>', 'Hugging Face model directory')
  .option('--prompt <text>', 'what to continue', '')
  .option('--max-tokens <n>', 'at most', whole(1), 100)
  .option('--temperature <x>', '0 takes the likeliest token', t => (t === '0' ? 0 : positive(t)), 1)
  .option('--top-p <x>', 'sample among the likeliest tokens that hold this probability', fraction, 0.95)
  .option('--seed <n>', 'fixes the text', whole(0), 0)
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
      const { model, tokenizer } = await loadModel(directory);
      const { bos, eos } = tokenizer.specialTokens;
      const start = [...(bos === undefined ? [] : [bos]), ...tokenizer.encode(prompt)];
      const ids: number[] = [];
      for await (const id of generate(model, Int32Array.from(start), {
        maxTokens,
        temperature,
        topP,
        stop: eos,
        random: new Random(seed),
      })) {
        ids.push(id);
        if (stop.signal.aborted) break;
      }
      print(prompt + tokenizer.decode(ids));
    },
  );

program
  .command('explain')
  .description('the source tokens that target tokens are made of')
  .requiredOption('--plan <file>', 'plan.safetensors of a run')
  .requiredOption('--source <dir>', 'directory of the source model or its tokenizer.json')
  .requiredOption('--target <dir>', 'directory of the adapted model or its tokenizer.json')
  .option('--top <n>', 'source tokens a row', whole(1), 5)
  .option('--count <n>', 'rows, the most concentrated first', whole(1), 12)
  .option('--token <texts...>', 'these target tokens instead')
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
      print(explanationTable(explainPlan(plan, from, to, { top, count, tokens: token })));
    },
  );

program
  .command('translate')
  .description('apply a plan to a model of any size that shares the source vocabulary; memory holds one block of it')
  .requiredOption('--model <dir>', 'Hugging Face model directory')
  .requiredOption('--plan <file>', 'plan.safetensors of a run')
  .requiredOption('--target <dir>', "directory of the plan's target tokenizer, or its tokenizer.json")
  .requiredOption('--out <dir>', 'model directory to write, new or of the same translation stopped earlier')
  .action(async (options: { model: string; plan: string; target: string; out: string }) => {
    const started = performance.now();
    let bar: ProgressBar | undefined;
    let bytes = 0;
    await translateCheckpoint({
      ...options,
      signal: stop.signal,
      onProgress: (done, total, file) => {
        bar ??= progressBar('translating', total / 1e6, 'MB');
        bytes = done;
        bar.update(done / 1e6, file);
      },
    }).finally(() => bar?.stop());
    const seconds = (performance.now() - started) / 1000;
    print(
      `${(bytes / 1e6).toFixed(0)} MB of weights in ${seconds.toFixed(1)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s; written to ${options.out}`,
    );
  });

program
  .command('report')
  .description('write the report of a run anew: one HTML file, to open in any browser')
  .requiredOption('--run <dir>', 'directory of the run')
  .requiredOption('--source <dir>', 'directory of the source model or its tokenizer.json')
  .option('--out <file>', 'the HTML file; default report.html in the run')
  .action(async ({ run, source, out }: { run: string; source: string; out?: string }) =>
    print(await writeRunReport(run, await loadTokenizer(source), out)),
  );

program
  .command('paper')
  .description('the table of the paper, with every baseline, over several seeds; resumable')
  .option('--out <dir>', 'where cells and results are kept', 'runs/paper')
  .option('--model <dir>', 'source model; the bundled one, if missing')
  .option(
    '--domain <names>',
    `what to adapt to: ${Object.keys(domains).join(', ')}; several have a directory each below --out, and a table of them all`,
    domainList,
    ['proteins'],
  )
  .option('--data <dir>', 'where `s2t2 data` put the files of domains that are not bundled', 'runs/data')
  .option('--seeds <n>', 'seeds', whole(1), 5)
  .option('--tokens <n>', 'training budget of every method', whole(1), defaults.budget.amount)
  .option('--held-out <n>', 'sequences of validation and of test data, at most', whole(2), 200)
  .option(
    '--lines <names>',
    `rows of the table: ${lines.map(l => l.name).join(', ')}`,
    methodList,
    lines.map(l => l.name),
  )
  .option('--ablate <names>', `settings to vary: ${ablationNames.join(', ')}`, ablationList, [])
  .option(
    '--rates <path>',
    'take the learning rates that an earlier table chose, in place of a grid: its directory, whose cells are taken too, or a file like its rates.json',
  )
  .option('--transfer <dir>', 'apply the plans to this model of the same vocabulary as well')
  .option('--jobs <n>', 'processes that train cells side by side, each on its share of the processors', whole(1), 1)
  .addOption(new Option('--helper <share>').argParser(fraction).hideHelp())
  .action(
    async ({
      domain: names,
      out,
      jobs,
      helper,
      ...flags
    }: Omit<PaperOptions, 'domain'> & {
      readonly domain: readonly DomainName[];
      readonly jobs: number;
      readonly helper?: number;
    }) => {
      const papers = names.map(domain => ({
        ...flags,
        domain,
        out: names.length === 1 ? out : join(out, domain),
        signal: stop.signal,
        log,
      }));
      if (helper !== undefined) {
        process.once('disconnect', () => stop.abort(new Interrupted('no longer needed')));
        process.channel?.unref();
        for (const options of rotated(papers, helper)) await helpPaper({ ...options, share: helper });
        return;
      }
      const results: Paper[] = [];
      await withHelpers(jobs - 1, async () => {
        for (const options of papers) {
          results.push(await paper(options));
          print(paperMarkdown(results.at(-1)!));
        }
      });
      if (names.length > 1) {
        print(domainsMarkdown(results));
        await writeFileAtomic(join(out, 'domains.md'), domainsMarkdown(results));
      }
      print(`written to ${out}`);
    },
  );

program
  .command('pretrain')
  .description('pretrain a source model on English')
  .option('--out <dir>', 'model directory to write', 'runs/pretrain/model')
  .option('--judge <dir>', 'train nothing: score this pretrained model anew, beside a 5-gram model, for its record')
  .option('--work <dir>', 'where texts and the state of the run lie', 'runs/pretrain')
  .addOption(
    new Option('--family <name>', 'of the architecture').choices([...families]).default(pretrainDefaults.family),
  )
  .option('--seed <n>', 'fixes the model', whole(0), pretrainDefaults.seed)
  .option('--tokens <n>', 'to train on', whole(1), pretrainDefaults.tokens)
  .option('--text <share>', 'of the training documents to use', fraction, pretrainDefaults.text)
  .option('--vocab-size <n>', 'tokens', whole(259), pretrainDefaults.vocabSize)
  .option('--width <n>', 'of the residual stream', whole(2), pretrainDefaults.width)
  .option('--layers <n>', 'of the transformer', whole(1), pretrainDefaults.layers)
  .option('--heads <n>', 'of attention', whole(1), pretrainDefaults.heads)
  .option('--window <n>', 'tokens in a sequence; the context of a gpt2 model', whole(2), pretrainDefaults.window)
  .option('--batch-tokens <n>', 'tokens in a batch', whole(1), pretrainDefaults.batchTokens)
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
  .action(flags =>
    withLock(flags.work, async () => {
      // or learn now, before anything is installed, that there is none
      if (flags.judge !== undefined) await loadModel(flags.judge);
      const common = {
        english: await loadEnglish({ cache: join(flags.work, 'english'), log }),
        signal: stop.signal,
        log,
      };
      await (flags.judge === undefined
        ? pretrain({ ...flags, ...common })
        : judgePretrained({ ...flags, ...common, model: flags.judge }));
    }),
  );

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

program.version(
  (JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }).version,
);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else if (error instanceof UserError) {
    log(`s2t2: ${error.message}`);
    process.exitCode = 2;
  } else if (error instanceof Interrupted || stop.signal.aborted) {
    log('stopped; run the same command again to go on');
    process.exitCode = signalled[stoppedBy];
  } else throw error;
} finally {
  opened?.close?.();
}
