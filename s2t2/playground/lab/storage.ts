/**
 * Where a run is kept between visits: the browser's own database, under one name. What the application keeps as files
 * in `work/` are entries here, so that a reloaded page resumes by the same means as a killed process.
 */
import { safetensorsFromBytes } from '../../../models/safetensors/source.ts';
import { safetensorsBytes } from '../../../models/safetensors/write.ts';
import type { StateStore } from '../../../models/train.ts';

const database = 's2t2-playground';
const entries = 'entries';

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(database, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(entries);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('the browser offers no storage'));
  });
}

async function transact<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const db = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = db.transaction(entries, mode);
      const request = work(transaction.objectStore(entries));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? new Error('the browser refused to store'));
    });
  } finally {
    db.close();
  }
}

/** Named values. Where a browser has no storage (private windows), nothing is kept and nothing fails. */
export interface Storage {
  get<T>(name: string): Promise<T | undefined>;
  put(name: string, value: unknown): Promise<void>;
  clear(): Promise<void>;
}

/** States and scores in the browser's IndexedDB. */
export const storage: Storage = {
  get: async <T>(name: string) =>
    (await transact('readonly', store => store.get(name) as IDBRequest<T | undefined>).catch(() => undefined)) as
      | T
      | undefined,
  put: async (name, value) => void (await transact('readwrite', store => store.put(value, name)).catch(() => {})),
  clear: async () => void (await transact('readwrite', store => store.clear()).catch(() => {})),
};

/** A training state as an entry, in the format of the file that the application writes. */
export const storedState = (name: string): StateStore => ({
  name,
  async read() {
    const bytes = await storage.get<Uint8Array>(name);
    return bytes ? safetensorsFromBytes(bytes, name) : null;
  },
  write: async (tensors, metadata) => storage.put(name, await safetensorsBytes(tensors, metadata)),
});
