/** A model that is read and never trained: to score texts, to continue a prompt, to take hidden states from. */
import { getBackend } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { loadModel } from '../../models/node/checkpoint.ts';
import { parkingFor } from './memory.ts';

/**
 * Loads a model whose weights wait outside the backend in their stored precision, so that it may be larger than the
 * backend's memory. Without gradients and optimiser state there is room for twice the weights that `adapt` keeps in
 * the backend.
 */
export const loadFrozen = (path: string): Promise<LanguageModel> =>
  loadModel(path, { parking: ({ config }) => parkingFor(config, 2 * (getBackend().memoryLimit ?? Infinity)) });
