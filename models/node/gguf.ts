/**
 * GGUF files on disk. Each reading opens the file again and makes sure that it is still the one whose header was read.
 */
import { stat } from 'node:fs/promises';
import type { ModelFiles } from '../checkpoint.ts';
import { UserError } from '../errors.ts';
import { damagedGguf, ggufFiles } from '../gguf/index.ts';
import { explain, openFile } from './files.ts';

/** Whether a path is read as a GGUF file. */
export const isGguf = (path: string): boolean => path.toLowerCase().endsWith('.gguf');

/**
 * Opens a GGUF file as the files of a model directory: reads and checks its header. An architecture, tokenizer or
 * number format that is not read is an error.
 */
export async function openGguf(path: string): Promise<ModelFiles> {
  const { handle, size } = await openFile(path);
  await handle.close();
  const { mtimeMs, ino } = await stat(path);
  return ggufFiles(path, size, async (begin, end) => {
    const file = await openFile(path);
    try {
      const now = await file.handle.stat();
      if (now.size !== size || now.mtimeMs !== mtimeMs || now.ino !== ino)
        throw new UserError(`${path}: was changed while it was read; run again`);
      const bytes = new Uint8Array(end - begin);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await file.handle.read(bytes, done, bytes.length - done, begin + done);
        if (bytesRead === 0) throw damagedGguf(path, 'it ends too early');
        done += bytesRead;
      }
      return bytes;
    } catch (error) {
      throw explain(error, path);
    } finally {
      await file.handle.close();
    }
  });
}
