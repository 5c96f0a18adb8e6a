/** What a visitor takes away, as one zip: the run's directory as the application writes it, and the held-out texts. */
import { zipSync, type Zippable } from 'fflate';
import { modelTensors, modelTexts, type LanguageModel } from '../../../models/checkpoint.ts';
import { safetensorsBytes } from '../../../models/safetensors/write.ts';
import { tokenizerToJson, type Tokenizer } from '../../../models/tokenizer/index.ts';
import { utf8 } from '../../../models/utf8.ts';
import type { Results } from '../../cell.ts';
import type { Plan } from '../../plan.ts';
import { planTensors } from '../../plan-format.ts';
import { describeRun } from '../../view/describe.ts';
import { reportPage } from '../../view/report.ts';
import { siteFile } from './site.ts';

/** What a visitor takes away. */
export interface Adaptation {
  readonly results: Results;
  readonly source: Tokenizer;
  readonly adapted: LanguageModel | null;
  readonly plan: Plan | null;
  /** Held-out pieces, as they were scored. */
  readonly heldOut: readonly string[];
}

/** The adapted model, its plan, results and report as one zip file. */
export async function zip({ results, source, adapted, plan, heldOut }: Adaptation): Promise<Blob> {
  const target = adapted?.tokenizer ?? null;
  const report = reportPage(describeRun({ results, source, target, plan }), await (await siteFile('report.js')).text());
  const files: Record<string, Uint8Array> = {
    'results.json': utf8(`${JSON.stringify(results, null, 2)}\n`),
    'report.html': utf8(report),
    'held-out.jsonl': utf8(heldOut.map(text => `${JSON.stringify({ text })}\n`).join('')),
    'README.txt': utf8(readme),
  };
  if (adapted) {
    for (const [name, text] of Object.entries(modelTexts(adapted, 'F32'))) files[`model/${name}`] = utf8(text);
    files['model/model.safetensors'] = await safetensorsBytes(await modelTensors(adapted.model, 'F32'), {
      format: 'pt',
    });
    files['tokenizer.json'] = utf8(tokenizerToJson(adapted.tokenizer));
  }
  if (plan) {
    const { tensors, metadata } = planTensors(plan);
    files['plan.safetensors'] = await safetensorsBytes(tensors, metadata);
  }
  // Weights hardly shrink; texts do. One fixed time, so that the same run gives the same file.
  const zippable: Zippable = Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [
      name,
      [bytes, { level: name.endsWith('.safetensors') ? 0 : 6, mtime: new Date(1980, 0, 2) }],
    ]),
  );
  return new Blob([zipSync(zippable)], { type: 'application/zip' });
}

const readme = `Made by the playground of Sparse Sinkhorn Token Translation (S2T2).

model/             the adapted model, a Hugging Face directory: transformers loads it as it is
plan.safetensors   the translation plan
results.json       the table
report.html        all of it to look at; open it in a browser
held-out.jsonl     the texts that the table was scored on

Check the table with the command line:

    npx s2t2 evaluate --model model --data held-out.jsonl
`;
