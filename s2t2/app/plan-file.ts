/** A plan on disk. */
import { readSafetensors, writeSafetensors } from '../../models/node/safetensors.ts';
import type { Plan } from '../plan.ts';
import { parsePlan, planTensors, type Vocabularies } from '../plan-format.ts';

/** Writes a plan to a safetensors file, whole or not at all. */
export function savePlan(path: string, plan: Plan): Promise<void> {
  const { tensors, metadata } = planTensors(plan);
  return writeSafetensors(path, tensors, metadata);
}

/** Reads a plan and rejects one that is damaged or was made for other vocabularies. */
export const loadPlan = async (path: string, expected?: Vocabularies): Promise<Plan> =>
  parsePlan(await readSafetensors(path), expected);
