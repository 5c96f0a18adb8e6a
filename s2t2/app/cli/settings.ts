/** The options that fix an adaptation, and the settings they stand for. */
import { Option, type Command } from 'commander';
import {
  defaultAlpha,
  defaults,
  formOf,
  presets,
  ratedWidth,
  trainModes,
  type Form,
  type Rates,
  type Settings,
  type TrainMode,
} from '../../settings.ts';
import { linearNames, type LinearName } from '../../../models/families.ts';
import { loraDefaults } from '../../../models/lora.ts';
import type { Tokenizer } from '../../../models/tokenizer/index.ts';
import type { TransformerConfig } from '../../../models/transformer-config.ts';
import { variants, type Variant } from '../../sinkhorn.ts';
import { dataFolder } from '../data/tools.ts';
import { chosenRates, readGrid } from '../rates.ts';
import {
  batchTokens,
  fraction,
  linearList,
  onlyWith,
  positive,
  positiveFraction,
  regulariser,
  whole,
} from './arguments.ts';

/** Options that fix an adaptation; `vocabSize` and others appear in `Settings` under the same names. */
export function withSettings(command: Command): Command {
  command
    .option('--seed <n>', 'random seed; the same seed gives the same run', whole(0), defaults.seed)
    .option(
      '--vocab-size <n>',
      'size of the target vocabulary; with --extend, number of tokens to add',
      whole(4),
      defaults.vocabSize,
    )
    .option(
      '--tokens <n>',
      'training budget of each method, in tokens of its own vocabulary',
      whole(1),
      defaults.budget.amount,
    )
    .option('--bytes <n>', 'training budget in bytes of text instead of tokens', whole(1))
    .option('--plan-share <x>', 'share of the budget for learning the plan', fraction, defaults.planShare)
    .option('--batch-tokens <n>', 'tokens per batch', batchTokens, defaults.batchTokens)
    .option('--max-bytes <n>', 'cut longer texts into pieces of this many bytes', whole(1), defaults.maxBytes)
    .option(
      '--rate <x>',
      'peak learning rate of finetuning; layers and head of a model wider than 160 take less, in proportion to ' +
        "its width; default: each method's own (s2t2/data/rates.jsonl)",
      positive,
    )
    .option(
      '--body-rate <x>',
      'rate of the layers between embedding and head, as a multiple of --rate; default likewise',
      fraction,
    )
    .option('--plan-rate <x>', "peak learning rate of the plan's cost; default likewise", positive)
    .addOption(
      new Option(
        '--preset <name>',
        "form of the method: ours (default) or the paper's; the next four options override parts of it",
      )
        .choices(Object.keys(presets))
        .default('default'),
    )
    .option('--smoothing <x>', 'share of the uniform coupling in the initial plan, in (0, 1]', positiveFraction)
    .addOption(new Option('--head-normalisation <name>', 'sums that the head divides by').choices(['columns', 'rows']))
    .addOption(
      new Option(
        '--spread <name>',
        'how embedding rows are spread before finetuning; default: isotropic, or none for a model wider than ' +
          `${ratedWidth}`,
      ).choices(['none', 'isotropic']),
    )
    .addOption(
      new Option('--head-bias <name>', 'what the new head knows of how often tokens come').choices([
        'none',
        'frequencies',
      ]),
    )
    .addOption(
      new Option('--variant <name>', 'variant of the sparse Sinkhorn layer')
        .choices([...variants])
        .default(defaults.variant),
    )
    .option('--iterations <n>', 'iterations of the sparse Sinkhorn layer', whole(1, 1000), defaults.iterations)
    .option('--alpha <x>', 'regulariser in units of 1/(u v); default: 1/v', regulariser)
    .addOption(
      new Option(
        '--train <what>',
        'weights to finetune: all, embedding and head (ends), or these and low-rank adapters (lora)',
      )
        .choices([...trainModes])
        .default('all'),
    )
    .option('--lora-rank <r>', 'rank of the adapters of --train lora', whole(1, 1024), loraDefaults.rank)
    .option('--lora-alpha <x>', 'scale of the adapters: alpha / rank', positive, loraDefaults.alpha)
    .option(
      '--lora-targets <names>',
      `layers with adapters: ${linearNames.join(', ')}`,
      linearList,
      loraDefaults.targets,
    )
    .option(
      '--eval-every <n>',
      'steps of finetuning between looks at validation texts; the model of the best look is kept',
      whole(1),
    )
    .option(
      '--eval-texts <n>',
      'texts for that, taken out of the training texts at random, at most a tenth of them; default: 100',
      whole(1),
    )
    .option('--save-every <s>', 'seconds between saves of the training state', whole(0), 20)
    .option('--fresh', 'discard an earlier run in the same directory');
  return onlyWith(command, ['--lora-rank', '--lora-alpha', '--lora-targets'], '--train lora');
}

/** Values of the options of `withSettings`. */
export interface SettingsFlags
  extends Omit<Settings, 'budget' | 'alpha' | 'train' | 'lora' | keyof Rates | keyof Form>,
    Partial<Rates>,
    Partial<Form> {
  readonly preset: keyof typeof presets;
  readonly tokens: number;
  readonly bytes?: number;
  readonly alpha?: number;
  readonly variant: Variant;
  readonly train: TrainMode;
  readonly loraRank: number;
  readonly loraAlpha: number;
  readonly loraTargets: readonly LinearName[];
  readonly evalTexts?: number;
  readonly saveEvery: number;
  readonly fresh?: boolean;
}

/** The settings that the options ask for, with defaults for a source model of this shape. */
export const settingsFrom = (
  flags: SettingsFlags,
  { config, tokenizer }: { config: TransformerConfig; tokenizer: Tokenizer },
): Settings => ({
  ...defaults,
  seed: flags.seed,
  vocabSize: flags.vocabSize,
  budget: flags.bytes === undefined ? { unit: 'tokens', amount: flags.tokens } : { unit: 'bytes', amount: flags.bytes },
  planShare: flags.planShare,
  batchTokens: flags.batchTokens,
  maxBytes: flags.maxBytes,
  variant: flags.variant,
  iterations: flags.iterations,
  alpha: flags.alpha ?? defaultAlpha(tokenizer.ordinaryIds().length),
  ...formOf(flags.preset, config),
  // Missing where everything learns, so that such runs keep the name they have had.
  ...(flags.train !== 'all' && { train: flags.train }),
  ...(flags.train === 'lora' && {
    lora: { rank: flags.loraRank, alpha: flags.loraAlpha, targets: flags.loraTargets },
  }),
  ...given(flags, ['smoothing', 'headNormalisation', 'spread', 'headBias', 'evalEvery']),
});

/**
 * Learning rates of each method: those given, and else those of the published grid for proteins at the nearest budget.
 */
export async function ratesFrom(
  flags: SettingsFlags,
  names: readonly string[],
  tokens: number,
): Promise<Map<string, Rates>> {
  const grid = await readGrid(dataFolder('rates.jsonl'));
  return new Map(
    names.map(name => {
      const { rate, planRate, bodyRate } = chosenRates(grid, name, 'proteins', tokens) ?? defaults;
      return [name, { rate, planRate, bodyRate, ...given(flags, ['rate', 'planRate', 'bodyRate']) }];
    }),
  );
}

/** Those of the options that were given. */
const given = <T extends object, K extends keyof T>(flags: T, keys: readonly K[]): Partial<T> =>
  Object.fromEntries(
    keys.filter(key => flags[key] !== undefined).map(key => [key, flags[key]]),
  ) as unknown as Partial<T>;
