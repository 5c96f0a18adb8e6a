/** What lies in a drop: files, and the files of directories at any depth, with their paths. */
import type { DroppedFile } from '../protocol.ts';

/** The files of a drop. It must be called while the event is handled: the browser clears the list afterwards. */
export async function droppedFiles({ items, files }: DataTransfer): Promise<DroppedFile[]> {
  const entries = Array.from(items, item => item.webkitGetAsEntry()).filter(entry => entry !== null);
  // A browser without entries gives the files alone.
  if (entries.length === 0) return Array.from(files, file => ({ name: file.name, file }));
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry: FileSystemEntry): Promise<DroppedFile[]> {
  if (!entry.isDirectory) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ name: entry.fullPath, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: DroppedFile[] = [];
  // A reader gives some entries at each call, and none at the end.
  for (;;) {
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return found;
    found.push(...(await Promise.all(batch.map(filesOf))).flat());
  }
}
