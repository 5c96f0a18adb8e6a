/** `start` and `adapt`: the whole job; `report`: what it shows, written again. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { getBackend, Random } from '../../../engine/index.ts';
import { UserError } from '../../../models/errors.ts';
import { loadModel, loadTokenizer } from '../../../models/node/checkpoint.ts';
import { explain, sha256File } from '../../../models/node/files.ts';
import { counted } from '../../../models/printable.ts';
import { AnotherRun } from '../../../models/state.ts';
import type { DataFile } from '../../cell.ts';
import { explainPlan } from '../../explain.ts';
import { methods as allMethods } from '../../methods.ts';
import type { PlanReport } from '../../plan.ts';
import { ratedWidth } from '../../settings.ts';
import { adapt, checkInputs, checkRows, defaultRows } from '../adapt.ts';
import { fitMemory, parkingFor } from '../memory.ts';
import { targetSizes } from '../prepare.ts';
import { dataFolder } from '../data/tools.ts';
import type { StepRecord } from '../experiment.ts';
import { writeRunReport } from '../report/run.ts';
import { explanationTable, resultsTable } from '../tables.ts';
import { commandLine, dtypeOption, dtypes, innerFraction, nameList, requiredOption, whole } from './arguments.ts';
import {
  checkOutput,
  checkStandardInput,
  readWithNotice,
  targetOptions,
  withCorpus,
  withTarget,
  type CorpusFlags,
  type TargetFlags,
} from './data.ts';
import { log, print, stop, withSignals } from './process.ts';
import { packageVersion } from '../version.ts';
import { ratesFrom, settingsFrom, withSettings, type SettingsFlags } from './settings.ts';

interface AdaptFlags extends SettingsFlags, CorpusFlags, TargetFlags {
  readonly model: string;
  readonly data: string;
  readonly test?: string;
  readonly testShare: number;
  readonly out: string;
  readonly dtype?: keyof typeof dtypes;
  /** Missing: `defaultRows` of the model. */
  readonly methods?: readonly string[];
  readonly maxTest?: number;
  readonly save?: string;
  readonly log?: string;
}

async function runAdaptation(flags: AdaptFlags): Promise<void> {
  const { memoryLimit } = getBackend();
  if (flags.methods) checkRows({ methods: flags.methods, save: flags.save });
  checkStandardInput({ '--data': flags.data, '--test': flags.test, '--keep': flags.keep });
  if (flags.evalTexts !== undefined && flags.evalEvery === undefined)
    throw new UserError('--eval-texts is for --eval-every N, the steps between two looks at them');
  await checkInputs(flags.out, {
    '--model': flags.model,
    '--data': flags.data,
    '--test': flags.test,
    '--keep': flags.keep,
    // The run writes the tokenizer that it was given, but --fresh deletes it first.
    '--tokenizer': flags.fresh ? flags.tokenizer : undefined,
  });
  const { model, data, test, keep } = flags;
  await checkOutput(['--log', flags.log], { '--model': model, '--data': data, '--test': test, '--keep': keep });
  const target = await targetOptions(flags);
  const source = await loadModel(flags.model, {
    // Before a weight is read: a run that will not fit ends here.
    parking: ({ config, tokenizer }) => {
      const methods = flags.methods ?? defaultRows(config);
      checkRows({ methods, save: flags.save });
      const v = tokenizer.ordinaryIds().length;
      fitMemory(
        {
          config,
          settings: settingsFrom(flags, { config, tokenizer }),
          methods,
          v,
          ...(target.target
            ? targetSizes(tokenizer, target.target)
            : { u: flags.vocabSize, kept: flags.extend ? tokenizer.vocabSize : 0 }),
        },
        memoryLimit,
      );
      return parkingFor(config, memoryLimit);
    },
  });
  const methods = flags.methods ?? defaultRows(source.model.config);
  const { texts, format } = await readWithNotice(flags.data, flags);
  const split =
    flags.test === undefined
      ? splitRandomly(texts, flags.testShare, flags.seed, flags.data)
      : { train: texts, test: (await readWithNotice(flags.test, flags)).texts.slice(0, flags.maxTest) };
  const domain = { ...split, ...withValidation(split.train, flags), format };
  const settings = settingsFrom(flags, { config: source.model.config, tokenizer: source.tokenizer });
  log(
    `${getBackend().describe()}\n${counted(domain.train.length, 'training text')}, ` +
      `${domain.validation ? `${domain.validation.length} for validation, ` : ''}${domain.test.length} held out; ` +
      `results go to ${flags.out}`,
  );
  if (!flags.methods) log(`rows: ${methods.join(', ')}; --methods names others`);
  if (flags.spread === 'none' && methods.includes('fvt-spread'))
    log("'fvt-spread' spreads its rows, whatever --spread says; 'fvt' is the row without");
  const {
    results,
    target: tokenizer,
    plan,
  } = await adapt({
    ...target,
    source,
    domain,
    settings,
    ratesFor: budget => ratesFrom(flags, methods, budget),
    methods,
    origin: { model: flags.model, data: flags.data, command: commandLine() },
    dtype: flags.dtype && dtypes[flags.dtype],
    out: flags.out,
    save: flags.save,
    provenance: {
      version: packageVersion,
      command: process.argv.slice(2),
      data: [await dataFile('training', flags.data), ...(flags.test ? [await dataFile('held out', flags.test)] : [])],
    },
    onStep: flags.log === undefined ? undefined : stepLog(flags.log),
    fresh: flags.fresh,
    saveEverySeconds: flags.saveEvery,
    signal: stop.signal,
    interruptible: withSignals,
    log,
  }).catch((error: unknown) => {
    throw error instanceof AnotherRun
      ? new UserError(`${error.what}; start again with --fresh, or give another --out`)
      : error;
  });
  const report = await writeRunReport(flags.out, source.tokenizer);
  const files = [`results: ${join(flags.out, 'results.json')}`, `to look at: ${report}`];
  const parts = [resultsTable(results)];
  if (results.saved) files.unshift(`model of ${results.saved}: ${join(flags.out, 'model')}`);
  if (plan && results.plan) {
    parts.push(planSummary(results.plan), explanationTable(explainPlan(plan, source.tokenizer, tokenizer)));
    files.unshift(`plan: ${join(flags.out, 'plan.safetensors')}`);
  }
  print({ ...results, out: flags.out, report }, [...parts, files.join('   ')].join('\n\n'));
}

const dataFile = async (use: string, path: string): Promise<DataFile> => ({
  use,
  path,
  sha256: path === '-' ? null : await sha256File(path),
});

/** Appends a line of JSON for every step; a resumed run repeats those after its last save. */
function stepLog(path: string): (step: StepRecord) => void {
  const write = (text: string) => {
    try {
      appendFileSync(path, text);
    } catch (error) {
      throw explain(error, path);
    }
  };
  write(''); // a wrong path fails before the first step
  return step => write(`${JSON.stringify(step)}\n`);
}

const planSummary = ({ rows, columns, support, supportPerRow, residual, gap }: PlanReport): string =>
  [
    `plan ${rows}×${columns}: ${support.toLocaleString('en')} entries`,
    `${supportPerRow[1].toFixed(0)} source tokens a target token`,
    `${(100 * residual).toFixed(2)}% of the mass misplaced`,
    ...(gap === null ? [] : [`duality gap ${gap.toExponential(1)}`]),
  ].join(', ');

const saveOption = () =>
  new Option(
    '--save <name>',
    'row whose model is saved, or best: the row with the fewest bits per byte of held-out texts (with --eval-every, ' +
      'of validation texts); default: the last that learns a plan, or else the last with the target vocabulary',
  );
const logOption = () => new Option('--log <file>', 'append every training step to this file as a line of JSON');

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
      `${file}: too few texts (${order.length}) to hold out a share of ${share}; give a test file with --test`,
    );
  return { train: order.slice(n), test: order.slice(0, n) };
}

/** Texts for validation, taken out of the training texts, and the others in their order; none without `evalEvery`. */
function withValidation(
  texts: readonly string[],
  { evalEvery, evalTexts = 100, seed, data }: Pick<AdaptFlags, 'evalEvery' | 'evalTexts' | 'seed' | 'data'>,
): { readonly train: readonly string[]; readonly validation?: readonly string[] } {
  if (evalEvery === undefined) return { train: texts };
  const n = Math.min(evalTexts, Math.floor(texts.length / 10));
  if (n < 1)
    throw new UserError(
      `${data}: of ${texts.length} training texts none can be spared for validation; leave out --eval-every`,
    );
  const order = new Random(seed).split('validation').shuffle(texts.map((_, i) => i));
  const chosen = new Set(order.slice(0, n));
  return { train: texts.filter((_, i) => !chosen.has(i)), validation: texts.filter((_, i) => chosen.has(i)) };
}

const adaptedDType = dtypeOption(
  "dtype of the adapted model's weights; default: the source model's, or float16 if that is quantised",
);

/** Adds `start`, `adapt` and `report`. */
export function addAdaptCommands(program: Command): void {
  withSettings(
    program.command('start').description('adapt the bundled English model to the bundled proteins and print the table'),
  )
    .addOption(adaptedDType)
    .option('--out <dir>', 'run directory', 'runs/proteins')
    .option('--max-test <n>', 'maximum number of test sequences', whole(2), 100)
    .option('--methods <names>', `rows of the table: ${Object.keys(allMethods).join(', ')}`, nameList, [
      'source',
      'random',
      'fvt',
      'scratch',
      'fvt-spread',
      's2t2',
    ])
    .addOption(saveOption())
    .addOption(logOption())
    .action((flags: AdaptFlags) =>
      runAdaptation({
        ...flags,
        model: dataFolder('source'),
        data: dataFolder('proteins.train.fasta.gz'),
        test: dataFolder('proteins.test.fasta.gz'),
      }),
    );

  const adaptCommand = program
    .command('adapt')
    .description('adapt a model directory to a corpus (FASTA, text or JSON Lines, plain or gzipped)');
  withTarget(withCorpus(withSettings(adaptCommand)))
    .addOption(requiredOption('--model <dir>', 'Hugging Face model directory or GGUF file, with a BPE tokenizer'))
    .addOption(requiredOption('--data <file>', 'training texts; - reads standard input'))
    .option(
      '--test <file>',
      'held-out texts; default: a random part of the data, in which close relatives of training texts may remain',
    )
    .addOption(
      new Option('--test-share <x>', 'share of the data to hold out where --test is not given')
        .argParser(innerFraction)
        .default(0.05)
        .conflicts(['test']),
    )
    .addOption(requiredOption('--out <dir>', 'run directory'))
    .addOption(adaptedDType)
    .option(
      '--methods <names>',
      `rows of the table: ${Object.keys(allMethods).join(', ')}; default: source, and fvt-spread, or fvt for a ` +
        `model wider than ${ratedWidth}`,
      nameList,
    )
    .addOption(saveOption())
    .addOption(logOption())
    .action(runAdaptation);

  program
    .command('report')
    .description('write the report of a run again: one HTML file for any browser')
    .addOption(requiredOption('--run <dir>', 'run directory'))
    .addOption(requiredOption('--source <dir>', 'source model directory, or its tokenizer.json'))
    .option('--out <file>', 'HTML file to write; default: report.html in the run directory')
    .action(async ({ run, source, out }: { run: string; source: string; out?: string }) => {
      const written = ['results.json', 'plan.safetensors', 'tokenizer.json'].map(name => join(run, name));
      await checkOutput(['--out', out], { '--source': source, ...Object.fromEntries(written.map(f => [f, f])) });
      const report = await writeRunReport(run, await loadTokenizer(source), out);
      print({ report }, report);
    });
}
