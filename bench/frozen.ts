/**
 * What a plan is worth to a frozen model: bits per byte of validation text after phase 1 alone, and source tokens a
 * target token, for the sparse plan from the prior coupling, the same in the paper's form, and the dense plan.
 *
 *     npm run bench:frozen -- 7500 proteins code japanese        tokens of phase 1, and domains
 */
import { openBackend, setBackend } from '../engine/index.ts';
import { loadModel } from '../models/node/checkpoint.ts';
import { score } from '../models/score.ts';
import { train } from '../models/train.ts';
import { loadDomain } from '../s2t2/app/data/domains.ts';
import { dataFolder } from '../s2t2/app/data/tools.ts';
import { prepare } from '../s2t2/app/prepare.ts';
import { renderTable } from '../models/node/table.ts';
import { metrics } from '../s2t2/evaluate.ts';
import { methods } from '../s2t2/methods.ts';
import { defaultAlpha, defaults } from '../s2t2/settings.ts';

/** Plan rates: of those tried (a factor of 3 or more apart), the best on proteins. */
const planRates = { s2t2: 3e-2, paper: 5e-3, dense: 6e-2 };

const [tokens = 7500, ...names] = process.argv.slice(2).map(text => (/^\d+$/.test(text) ? Number(text) : text));
setBackend(await openBackend('wasm', { threads: 1 }));
const source = await loadModel(dataFolder('source'));
const settings = {
  ...defaults,
  alpha: defaultAlpha(source.tokenizer.ordinaryIds().length),
  planShare: 1,
  budget: { unit: 'tokens' as const, amount: Number(tokens) },
};
const rows: string[][] = [];
for (const domain of names.map(String)) {
  const texts = await loadDomain(domain);
  const held = { train: texts.train, test: texts.validation.slice(0, 40) };
  const { target, sequences } = await prepare(source, held, settings, () => {});
  for (const [name, planRate] of Object.entries(planRates)) {
    const { model, plan } = await methods[name].start({
      settings: { ...settings, planRate },
      source,
      target,
      train: sequences.train,
      log: () => {},
      runStage: (_, training) => train(training),
    });
    const { bitsPerByte } = metrics(await score(model, [...sequences.test.target].slice(0, 60)));
    rows.push([domain, name, bitsPerByte.toFixed(3), plan ? (plan.values.length / plan.mu.length).toFixed(0) : '']);
  }
}
console.log(renderTable(['domain', 'plan', 'bits/byte, frozen', 'source tokens a row'], rows));
