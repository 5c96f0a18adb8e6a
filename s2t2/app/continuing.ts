/**
 * A run with a larger budget in the directory of a finished one continues it. The rate of finetuning has fallen to zero
 * at the end of the smaller budget, so what follows is another cycle: a new warm-up to the peak rate and a fall to zero
 * over the batches that come next, from the finished model, with fresh moments (warm restarts, Loshchilov & Hutter
 * 2017). That is not the larger budget in one go, and the command says so; it is a function of the budgets alone, so it
 * resumes and repeats like any other run.
 */
import * as v from 'valibot';
import type { Settings } from '../settings.ts';
import { claim, differences } from './claim.ts';
import type { RunIdentity } from './prepare.ts';
import { count, readSealed, writeSealed } from './records.ts';

const runSchema = v.looseObject({
  settings: v.looseObject({
    budget: v.object({ unit: v.picklist(['tokens', 'bytes']), amount: count }),
    continuedFrom: v.optional(v.array(count)),
  }),
});

/** The budgets of a run, as its file has them. */
type Budgets = Pick<Settings, 'budget' | 'continuedFrom'>;

/** The same with the budgets that a run has been through before. */
function withEarlier<S extends Budgets>(settings: S, { budget, continuedFrom = [] }: Budgets): S {
  const larger = settings.budget.unit === budget.unit && settings.budget.amount > budget.amount;
  const earlier = larger ? [...continuedFrom, budget.amount] : continuedFrom;
  return earlier.length > 0 ? { ...settings, continuedFrom: earlier } : settings;
}

/**
 * Marks the file `path` as this run's, or as that of a run which it continues with a larger budget. Gives the settings
 * with all budgets, and the amount that is continued from where this command is the first to do so.
 *
 * @param advice what to do where it is another run's, after "or".
 * @throws UserError that names what differs.
 */
export async function claimRun(
  path: string,
  now: RunIdentity,
  advice: string,
): Promise<{ readonly settings: Settings; readonly continues?: number }> {
  const before = await readSealed(path, runSchema, advice);
  const settings = before ? withEarlier(now.settings, before.settings) : now.settings;
  const continues = before?.settings.budget.amount;
  if (before && continues !== undefined && continues < settings.budget.amount) {
    const { budget, continuedFrom } = before.settings;
    if (differences(before, { ...now, settings: { ...settings, budget, continuedFrom } }).length === 0) {
      await writeSealed(path, { ...now, settings });
      return { settings, continues };
    }
  }
  await claim(path, { ...now, settings }, advice);
  return { settings };
}
