/** A training state as one safetensors file. */
import { UserError } from '../errors.ts';
import type { StateStore } from '../state.ts';
import { readSafetensors, writeSafetensors } from './safetensors.ts';

/** Keeps the state at `path`, written whole or not at all. */
export const fileState = (path: string): StateStore => ({
  name: path,
  read: () =>
    readSafetensors(path).catch((error: unknown) => {
      if (error instanceof UserError && error.message.includes('no such file')) return null;
      throw error;
    }),
  write: (tensors, metadata) => writeSafetensors(path, tensors, metadata),
});
