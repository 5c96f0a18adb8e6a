/** A head that knows how often the domain has each token, which a plan does not hold. */
import { UserError } from '../../../models/errors.ts';
import { loadTokenizer } from '../../../models/node/checkpoint.ts';
import { longestSequence } from '../../../models/transformer-config.ts';
import { hasFrequencies } from '../../frequencies.ts';
import { translatedStart } from '../../methods.ts';
import { defaults, type Settings } from '../../settings.ts';
import { encodeInTwo } from '../encode.ts';
import { loadFrozen } from '../frozen.ts';
import { loadPlan } from '../plan-file.ts';
import type { CheckpointTranslation } from './checkpoint.ts';

/**
 * The head (target size, width) that `translatedStart` makes of a plan: with the frequencies of target tokens in texts,
 * for rows that are spread or translated. It reads the whole model into the process's memory.
 *
 * @throws UserError for a target vocabulary that keeps the source's tokens, whose logits stay as they are.
 */
export async function headWithFrequencies(
  { model: path, plan: planFile, target: targetPath, spread }: Omit<CheckpointTranslation, 'out'>,
  texts: readonly string[],
): Promise<Float32Array<ArrayBuffer>> {
  const source = await loadFrozen(path);
  const target = await loadTokenizer(targetPath);
  const plan = await loadPlan(planFile, { source: source.tokenizer.hash, target: target.hash });
  const { seed, headScale } = { ...defaults, ...spread };
  const form = { spread: spread ? ('isotropic' as const) : ('none' as const), headBias: 'frequencies' as const };
  const settings: Settings = { ...defaults, alpha: plan.settings.alpha, seed, headScale, ...form };
  const context = { source, target, settings };
  if (!hasFrequencies(context))
    throw new UserError(`${targetPath}: keeps the source's tokens, whose logits stay as they are; leave out --data`);
  const { sequences } = await encodeInTwo(texts, target, longestSequence(source.model.config));
  const { model, finetuned = model } = await translatedStart(
    { ...context, train: { source: [], target: sequences } },
    plan,
  );
  return Float32Array.from((await finetuned.head.data()) as Float32Array);
}
