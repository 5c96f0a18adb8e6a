/** The report of one adaptation, from what its directory holds. */
import { join } from 'node:path';
import { loadTokenizer } from '../../../models/node/checkpoint.ts';
import { readJson, writeFileAtomic } from '../../../models/node/files.ts';
import { UserError } from '../../../models/errors.ts';
import type { Tokenizer } from '../../../models/tokenizer/index.ts';
import type { Results } from '../../cell.ts';
import { describeRun } from '../../view/describe.ts';
import { loadPlan } from '../plan-file.ts';
import { renderReport } from './page.ts';

/** Writes the report of the run in `directory`, to `out` or beside its results. Returns where. */
export async function writeRunReport(
  directory: string,
  source: Tokenizer,
  out = join(directory, 'report.html'),
): Promise<string> {
  const file = join(directory, 'results.json');
  const results = (await readJson(file)) as Results;
  if (!Array.isArray(results?.methods)) throw new UserError(`${file}: has no table of methods`);
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
