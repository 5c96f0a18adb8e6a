/** The report of one adaptation, from what its directory holds. */
import { join } from 'node:path';
import { loadTokenizer } from '../../../models/node/checkpoint.ts';
import { writeFileAtomic } from '../../../models/node/files.ts';
import type { Tokenizer } from '../../../models/tokenizer/index.ts';
import { describeRun } from '../../view/describe.ts';
import { loadPlan } from '../plan-file.ts';
import { readResults } from '../results.ts';
import { renderReport } from './page.ts';

/** Writes the report of the run in `directory`, to `out` or beside its results. Returns where. */
export async function writeRunReport(
  directory: string,
  source: Tokenizer,
  out = join(directory, 'report.html'),
): Promise<string> {
  const results = await readResults(join(directory, 'results.json'));
  const target = results.plan && (await loadTokenizer(directory));
  const plan =
    target &&
    (await loadPlan(join(directory, 'plan.safetensors'), {
      source: source.hash,
      target: target.hash,
      sourceSize: source.vocabSize,
      targetSize: target.vocabSize,
    }));
  await writeFileAtomic(out, await renderReport(describeRun({ results, source, target, plan })));
  return out;
}
