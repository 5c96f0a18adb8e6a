/**
 * How a source model cuts the tokens of a domain, and whether it knows the pieces: what may decide whether rows had
 * better stay as they are or be spread (s2t2/README.md).
 *
 *     npm run bench:pieces -- [--model FILE_OR_DIRECTORY] [DOMAIN…]
 *
 * `single` counts target tokens that are one source token, and their share of the training text. Of these, `known` have
 * a row of their own: the nearest other row is farther than a twentieth of the mean squared distance of two rows. A row
 * that was never trained lies at others like it.
 */
import { Command } from 'commander';
import { openBackend, setBackend } from '../engine/index.ts';
import { loadModel } from '../models/node/checkpoint.ts';
import { renderTable } from '../models/node/table.ts';
import type { Sequences } from '../models/sequences.ts';
import { domains, loadDomain } from '../s2t2/app/data/domains.ts';
import { dataFolder } from '../s2t2/app/data/tools.ts';
import { toSequences, cutAll, trainTarget } from '../s2t2/app/prepare.ts';
import { rowVariance } from '../s2t2/spread.ts';
import { defaults } from '../s2t2/settings.ts';

/** In units of the mean squared distance of two rows, which is 2dσ². */
const apart = 0.05;

async function main(names: readonly string[], flags: { readonly model: string }): Promise<void> {
  setBackend(await openBackend('wasm', { threads: 1 }));
  const { model, tokenizer } = await loadModel(flags.model);
  const { width } = model.config;
  const rows = (await model.embedding.data()) as Float32Array; // (V, C)
  const ids = tokenizer.ordinaryIds();
  const variance = rowVariance(width);
  for (const id of ids) variance.add(rows.subarray(id * width, (id + 1) * width));
  const limit = apart * 2 * width * variance.result();

  /** Whether two rows are nearer than the limit. */
  const areNear = (a: number, b: number): boolean => {
    let distance = 0;
    for (let c = 0; c < width && distance <= limit; c++) distance += (rows[a * width + c] - rows[b * width + c]) ** 2;
    return distance <= limit;
  };
  const isKnown = (id: number): boolean => !ids.some(other => other !== id && areNear(id, other));

  const table: string[][] = [];
  for (const name of names.length > 0 ? names : Object.keys(domains)) {
    const domain = await loadDomain(name);
    const texts = cutAll(domain.train, defaults.maxBytes);
    const format = domain.unit === 'byte' ? 'jsonl' : 'fasta';
    const target = await trainTarget(texts, format, defaults.vocabSize, {}, console.error);
    const counts = tokenCounts(toSequences(texts, target, Infinity), target.vocabSize);
    const total = counts.reduce((a, b) => a + b, 0);
    const pieces = Array.from(target.ordinaryIds(), id => ({
      count: counts[id],
      ids: tokenizer.encodeBytes(target.tokenBytes(id)),
    }));
    const single = pieces.filter(p => p.ids.length === 1);
    const sum = (all: typeof pieces, weight: (p: (typeof pieces)[number]) => number) =>
      all.reduce((n, p) => n + weight(p) * p.count, 0);
    table.push([
      name,
      String(pieces.length),
      `${single.length}, ${((100 * sum(single, () => 1)) / total).toFixed(0)} %`,
      String(single.filter(p => isKnown(p.ids[0])).length),
      (sum(pieces, p => p.ids.length) / total).toFixed(2),
    ]);
  }
  console.log(renderTable(['domain', 'tokens', 'single, of the text', 'known', 'pieces a token'], table));
}

/** How often each token comes, begin and end tokens left out. */
function tokenCounts(sequences: Sequences, vocabSize: number): Float64Array {
  const counts = new Float64Array(vocabSize);
  for (const { ids } of sequences) for (let t = 1; t < ids.length - 1; t++) counts[ids[t]]++;
  return counts;
}

await new Command('bench:pieces')
  .description('How a source model cuts the tokens of a domain, and whether it knows the pieces.')
  .argument('[domains...]', 'bundled domains; default: all')
  .option('--model <file>', 'GGUF file or model directory', dataFolder('source'))
  .action(main)
  .parseAsync();
