/** The visitor's domain: texts from a file, a box or the site's samples, split into training and held-out pieces. */
import { Random } from '../../../engine/index.ts';
import { UserError } from '../../../models/errors.ts';
import { utf8Length } from '../../../models/utf8.ts';
import type { DomainSource, DomainSummary } from '../protocol.ts';
import { samples } from '../samples.ts';
import { readDocuments, type Documents } from './documents.ts';
import { siteFile } from './site.ts';

/** The visitor's texts, split into training and held-out ones. */
export interface Texts {
  readonly summary: DomainSummary;
  readonly train: readonly string[];
  readonly heldOut: readonly string[];
}

/** Share of the visitor's texts that is held out; a sample has a separate file for it. */
const heldOutShare = 0.1;
/** Held-out text is scored before and after each method: this much keeps that shorter than training. */
const heldOutLimit = 20_000;

/** Reads a dropped file, pasted text or bundled sample, up to `limitBytes`. */
export async function readDomain(source: DomainSource, limitBytes: number): Promise<Texts> {
  if (source.kind === 'sample') {
    const sample = samples.find(s => s.name === source.name);
    if (!sample)
      throw new UserError(`unknown sample '${source.name}'; expected one of ${samples.map(s => s.name).join(', ')}`);
    const part = async (name: 'train' | 'test', limit: number) => {
      const file = `${sample.name}.${name}.${sample.format}.gz`;
      return readDocuments({ name: file, file: await siteFile(`data/${file}`) }, limit);
    };
    return describe(sample.title, await part('train', limitBytes), (await part('test', heldOutLimit)).texts);
  }
  const name = source.kind === 'file' ? source.file.name : 'the pasted text';
  const documents = await readDocuments(
    source.kind === 'file' ? source.file : { name, file: new Blob([source.text]) },
    limitBytes,
  );
  const { texts } = documents;
  const order = new Random(0).split('split').shuffle([...texts]);
  const n = Math.round(heldOutShare * order.length);
  if (n < 1 || n >= order.length)
    throw new UserError(
      `${name}: ${order.length} ${order.length === 1 ? 'text is' : 'texts are'} too few to hold some out; ` +
        `give ten or more (paragraphs are texts)`,
    );
  return describe(name, { ...documents, texts: order.slice(n) }, within(order.slice(0, n), heldOutLimit));
}

/** The first texts that have `limit` bytes together, one at least. */
function within(texts: readonly string[], limit: number): string[] {
  let bytes = 0;
  return texts.filter(text => {
    const kept = bytes < limit;
    bytes += utf8Length(text);
    return kept;
  });
}

function describe(name: string, { format, texts: train, notes }: Documents, heldOut: readonly string[]): Texts {
  const size = (texts: readonly string[]) => ({
    texts: texts.length,
    bytes: texts.reduce((n, text) => n + utf8Length(text), 0),
  });
  const passage = [...heldOut[0]].slice(0, 240).join('');
  return { summary: { name, format, train: size(train), heldOut: size(heldOut), notes, passage }, train, heldOut };
}
