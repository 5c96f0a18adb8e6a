/** The options that fix an adaptation, and the settings they stand for. */
import { Option, type Command } from 'commander';
import { defaultAlpha, defaults, type Settings } from '../../settings.ts';
import { variants, type Variant } from '../../sinkhorn.ts';
import { fraction, positive, whole } from './arguments.ts';

/** Options that fix an adaptation; `vocabSize` and others appear in `Settings` under the same names. */
export function withSettings(command: Command): Command {
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

/** Values of the options of `withSettings`. */
export interface SettingsFlags extends Omit<Settings, 'budget' | 'alpha'> {
  readonly tokens: number;
  readonly bytes?: number;
  readonly alpha?: number;
  readonly variant: Variant;
  readonly saveEvery: number;
  readonly fresh?: boolean;
}

/** The settings that the options ask for; `sourceTokens` gives the default of alpha. */
export const settingsFrom = (flags: SettingsFlags, sourceTokens: number): Settings => ({
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
