/**
 * Model directories that transformers has written, one or two for every row of the table of families, and how far what
 * is computed on them here is from what PyTorch computes. `npm run families` prints the list.
 */
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createReferenceBackend, createWasmBackend, noGrad, scope, setBackend, tensor } from '../../engine/index.ts';
import type { LanguageModel } from '../../models/checkpoint.ts';
import { families } from '../../models/families.ts';
import { loadModel } from '../../models/node/checkpoint.ts';
import { readSafetensors } from '../../models/node/safetensors.ts';
import { forward } from '../../models/transformer.ts';
import { disposeModel, fromParameters, parameters } from '../../models/weights.ts';
import { tenSteps, worstOf, type ByName, type Recipe, type Steps } from './training/steps.ts';
import { thorough } from '../thorough.ts';

/** `test/oracles/huggingface`, also from the compiled program. */
export const huggingFace = new URL('huggingface', import.meta.url).pathname.replace('/dist/test/', '/test/');

/** The names of the directories. */
export const familyDirectories: readonly string[] = readdirSync(huggingFace).sort();

/**
 * Those that `npm test` takes where a case is slow: a directory of every family but Mistral's, which computes as
 * LLaMA's; `npm run test:long` adds clipped, scaled, serial and other variants.
 */
export const someDirectories = familyDirectories.filter(
  name => thorough || ['llama', 'olmo', 'olmo2', 'qwen2', 'qwen3', 'gpt2', 'gpt_neox'].includes(name),
);

/** The largest difference, in units of the largest value. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const largest = (values: number[]) => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return a.length === b.length
    ? largest(Array.from(a, (x, i) => x - b[i])) / largest(Array.from(b))
    : Number.POSITIVE_INFINITY;
}

/** Logits of a sequence, (T, V) flat. */
export const logitsOf = ({ model }: Pick<LanguageModel, 'model'>, ids: Int32Array<ArrayBuffer>) =>
  noGrad(() => scope(() => forward(model, tensor(ids, { shape: [1, ids.length] })).logits.dataSync()));

/** The steps that transformers made on a directory, of whose gradients only the first are kept. */
export interface StepsThere extends Recipe {
  readonly losses: readonly number[];
  readonly gradients: ByName;
  readonly weights: ByName;
}

/** Ten steps of training on a directory in double precision, here and there. */
export async function trainAsThere(name: string): Promise<{ actual: Steps; expected: StepsThere }> {
  const expected = JSON.parse(await readFile(join(huggingFace, name, 'steps.json'), 'utf8')) as StepsThere;
  setBackend(createReferenceBackend());
  const { model } = await loadModel(join(huggingFace, name));
  const exact = Object.entries(parameters(model)).map(([key, weight]) => {
    const values = Float64Array.from(weight.dataSync());
    return [key, tensor(values, { shape: weight.shape, requiresGrad: true })] as const;
  });
  const actual = await tenSteps(fromParameters(model.config, Object.fromEntries(exact)), expected);
  disposeModel(model);
  return { actual, expected };
}

/** A line of the list: errors in units of the largest logit, of a loss, and of a tensor's norm. */
async function line(name: string): Promise<string[]> {
  setBackend(createWasmBackend({ threads: 1 }));
  const source = await loadModel(join(huggingFace, name));
  const oracle = await readSafetensors(join(huggingFace, name, 'oracle.safetensors'));
  const ids = (await oracle.read('ids')) as Int32Array<ArrayBuffer>;
  const logits = distance(logitsOf(source, ids), await oracle.readFloats('logits'));
  disposeModel(source.model);
  const { actual, expected } = await trainAsThere(name);
  const lost = Math.max(...actual.losses.map((loss, step) => Math.abs(loss / expected.losses[step] - 1)));
  return [
    name,
    families[source.model.config.family].architecture,
    logits.toExponential(1),
    Math.abs(actual.losses[0] / expected.losses[0] - 1).toExponential(1),
    worstOf(actual.gradients[0], expected.gradients).error.toExponential(1),
    lost.toExponential(1),
    worstOf(actual.weights, expected.weights).error.toExponential(1),
  ];
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const head = ['directory', 'class in transformers', 'logits (float32)', 'loss', 'gradients', '10 losses', 'weights'];
  console.log(`| ${head.join(' | ')} |\n| --- | --- | ${head.slice(2).fill('---:').join(' | ')} |`);
  for (const name of familyDirectories) console.log(`| ${(await line(name)).join(' | ')} |`);
}
