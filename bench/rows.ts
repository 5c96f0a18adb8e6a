/**
 * Why starts differ after finetuning: what the rows of a start look like before anything is trained. For each end the
 * rows' scale, their mean cosine, how much of their variance lies in one direction and in how many directions it lies,
 * and for the frozen model its logits and its loss.
 *
 *     npm run bench:rows -- proteins code japanese
 */
import { noGrad, openBackend, Random, scope, setBackend } from '../engine/index.ts';
import { batchTensors, makeBatch, planBatches } from '../models/batches.ts';
import { loadModel } from '../models/node/checkpoint.ts';
import { batchLoss } from '../models/score.ts';
import { train } from '../models/train.ts';
import { forward } from '../models/transformer.ts';
import type { Transformer } from '../models/weights.ts';
import { loadDomain } from '../s2t2/app/data/domains.ts';
import { dataFolder } from '../s2t2/app/data/tools.ts';
import { prepare } from '../s2t2/app/prepare.ts';
import { renderTable } from '../models/node/table.ts';
import { symmetricEigen } from '../s2t2/eigen.ts';
import type { Context } from '../s2t2/method.ts';
import { methods } from '../s2t2/methods.ts';
import { defaultAlpha, defaults } from '../s2t2/settings.ts';

const names = process.argv.slice(2);
setBackend(await openBackend('wasm', { threads: 1 }));
const source = await loadModel(dataFolder('source'));
const settings = { ...defaults, planShare: 0, alpha: defaultAlpha(source.tokenizer.ordinaryIds().length) };

/** Rows (n, d) of a matrix. */
const rowsOf = (values: ArrayLike<number>, ids: ArrayLike<number>, d: number): Float64Array[] =>
  Array.from(ids, id => Float64Array.from({ length: d }, (_, c) => values[id * d + c]));

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};

/** Root mean square, mean cosine of two rows, and of the covariance the first eigenvalue's share and e^entropy. */
function describe(rows: readonly Float64Array[]) {
  const [n, d] = [rows.length, rows[0].length];
  const sum = new Float64Array(d);
  const directions = new Float64Array(d);
  for (const row of rows) {
    const length = Math.sqrt(dot(row, row));
    for (let c = 0; c < d; c++) {
      sum[c] += row[c];
      directions[c] += row[c] / length;
    }
  }
  const covariance = new Float64Array(d * d);
  for (const row of rows)
    for (let a = 0; a < d; a++)
      for (let b = 0; b < d; b++) covariance[a * d + b] += ((row[a] - sum[a] / n) * (row[b] - sum[b] / n)) / n;
  const spectrum = symmetricEigen(covariance, d).values.map(lambda => Math.max(0, lambda));
  const total = spectrum.reduce((a, b) => a + b, 0);
  const entropy = spectrum.reduce((h, lambda) => h - (lambda > 0 ? (lambda / total) * Math.log(lambda / total) : 0), 0);
  return {
    scale: Math.sqrt(rows.reduce((all, row) => all + dot(row, row), 0) / (n * d)),
    cosine: (dot(directions, directions) - n) / (n * (n - 1)),
    first: Math.max(...spectrum) / total,
    rank: Math.exp(entropy),
  };
}

for (const domain of names.length > 0 ? names : ['proteins', 'code', 'japanese']) {
  const texts = await loadDomain(domain);
  const { target, sequences } = await prepare(
    source,
    { train: texts.train, test: texts.validation },
    settings,
    () => {},
  );
  const context: Context = {
    settings,
    source,
    target,
    train: sequences.train,
    log: () => {},
    runStage: (_, training) => train(training),
  };
  const [group] = planBatches(sequences.train.target, 2048, { unit: 'tokens', amount: 1 }, new Random(0));
  const batch = makeBatch(group);
  const starts: [string, Transformer][] = [];
  for (const name of ['random', 'fvt', 'paper', 's2t2']) {
    const { model, finetuned } = await methods[name].start(context);
    starts.push([finetuned ? `${name}, frozen` : name, model]);
    if (finetuned) starts.push([`${name}, for finetuning`, finetuned]);
  }
  const { width } = source.model.config;
  const own = describe(rowsOf(await source.model.embedding.data(), source.tokenizer.ordinaryIds(), width));
  const table: string[][] = [];
  for (const [name, model] of starts) {
    const loss = noGrad(() => scope(() => batchLoss(model, batch)));
    const logits = noGrad(() => scope(() => forward(model, batchTensors(batch).ids).logits));
    const values = (await logits.data()) as Float32Array;
    const V = target.vocabSize;
    let variance = 0;
    for (let t = 0; t < values.length; t += V) {
      const line = values.subarray(t, t + V);
      const mean = line.reduce((a, b) => a + b, 0) / V;
      variance += line.reduce((all, x) => all + (x - mean) ** 2, 0) / values.length;
    }
    for (const end of ['embedding', 'head'] as const) {
      const { scale, cosine, first, rank } = describe(rowsOf(await model[end].data(), target.ordinaryIds(), width));
      table.push([
        end === 'embedding' ? name : '',
        end,
        (scale / own.scale).toFixed(2),
        cosine.toFixed(2),
        `${(100 * first).toFixed(0)}%`,
        rank.toFixed(0),
        end === 'head' ? Math.sqrt(variance).toFixed(2) : '',
        end === 'head' ? (await loss.item()).toFixed(2) : '',
      ]);
    }
    [loss, logits].forEach(t => t.dispose());
  }
  console.log(
    `${domain}: ${target.ordinaryIds().length} target tokens; a uniform guess is ` +
      `${Math.log(target.vocabSize).toFixed(2)} nats per token\n`,
  );
  const header = ['start', 'end', 'scale', 'cosine', 'first direction', 'directions', 'logits', 'nats per token'];
  console.log(`${renderTable(header, table)}\n`);
}
