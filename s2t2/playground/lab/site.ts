/** Files of the site itself, from wherever the worker's script came. */
const base = new URL('./', (globalThis as unknown as { location: Location }).location.href);

/** A file of the site; a missing one is an error with its name. */
export async function siteFile(path: string): Promise<Blob> {
  const response = await fetch(new URL(path, base)).catch(() => null);
  if (!response?.ok)
    throw new Error(
      `${path}: cannot be fetched (${response ? response.status : 'no connection'}); reload the page when online`,
    );
  return response.blob();
}
